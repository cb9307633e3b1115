"""The distinct magnitudes of a site with their counts: all that a per-tensor quantiser's error depends on.

- `Side`          ascending magnitudes with counts and running sums
- `Distribution`  a site's elements, folded (|x|) or by sign; without its massive ones, without its largest
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.statistics.patterns import is_exact, magnitude_values
from engine.statistics.totals import MAGNITUDES, SUN_MAGNITUDE, SUN_RATIO, SiteTotals


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """Elements of one sign, or of both folded together; zeros are left out.

    Attributes:
        magnitudes: distinct |x| > 0, ascending, float64 [n].
        counts: how often each occurs, float64 [n] (exact up to 2^53).
        running_count, running_sum, running_squares: elements, sum of |x| and sum of x^2 over the first k magnitudes,
            float64 [n + 1].
    """

    magnitudes: NDArray[np.float64]
    counts: NDArray[np.float64]
    running_count: NDArray[np.float64]
    running_sum: NDArray[np.float64]
    running_squares: NDArray[np.float64]

    @classmethod
    def of(cls, magnitudes: NDArray[np.float64], counts: NDArray[np.float64]) -> Side:
        """From ascending positive magnitudes and their counts."""
        running = np.zeros((3, len(counts) + 1))
        np.cumsum(counts, out=running[0, 1:])
        np.cumsum(weighted := counts * magnitudes, out=running[1, 1:])
        np.cumsum(weighted * magnitudes, out=running[2, 1:])
        return cls(magnitudes, counts, *running)

    def up_to(self, magnitude: float, taken: float = 0.0) -> Side:
        """The elements of at most this magnitude, less `taken` of those that have exactly it; arrays are shared."""
        end = int(self.magnitudes.searchsorted(magnitude, "right"))
        kept = Side(self.magnitudes[:end], self.counts[:end], *(one[: end + 1] for one in self._running))
        if not taken or not end or self.magnitudes[end - 1] != magnitude:
            return kept
        counts = kept.counts.copy()
        counts[-1] -= taken
        filled = end if counts[-1] > 0 else end - 1
        return Side.of(self.magnitudes[:filled], counts[:filled])

    @property
    def _running(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        return self.running_count, self.running_sum, self.running_squares

    @property
    def largest(self) -> float:
        """The largest |x|, 0 without elements."""
        return float(self.magnitudes[-1]) if len(self.magnitudes) else 0.0


class Distribution:
    """All finite elements of a site, reduced to distinct values and counts.

    Attributes:
        dtype: activation dtype.
        count: finite elements, zeros included.
        nonfinite: elements that were left out because they are NaN or infinite.
        folded: both signs together.
    """

    __slots__ = (
        "_counts", "_cut", "_limits", "_patterns", "_sides", "_whole", "count", "dtype", "folded", "nonfinite"
    )  # fmt: skip

    def __init__(self, dtype: str, histogram: NDArray[np.int64], limits: tuple[float, float] | None = None) -> None:
        """Take a pattern histogram.

        Args:
            dtype: `bfloat16`, `float16` or `float32`.
            histogram: int64 [65536], the count of each pattern.
            limits: exact (max, min) if known; the middle of a float32 pattern may lie beyond them.
        """
        finite = np.isfinite(magnitude_values(dtype))
        both = histogram[:MAGNITUDES] + histogram[MAGNITUDES:]
        self.dtype = dtype
        self.nonfinite = int(both[~finite].sum())
        self.count = int(both.sum()) - self.nonfinite
        # A board holds these of every site: the patterns that occur are a small part of all.
        self._patterns = np.flatnonzero(histogram).astype(np.uint16)
        self._counts = histogram[self._patterns]
        self._limits = limits
        self._sides: tuple[Side, Side] | None = None
        self._whole: Distribution | None = None
        self._cut = (0.0, 0.0)
        self.folded = self._side(both, None if limits is None else max(abs(limits[0]), abs(limits[1])))

    @classmethod
    def of(cls, totals: SiteTotals) -> Distribution | None:
        """The distribution of a site; None if it was measured in lean detail, or has no finite element."""
        if not totals.has_histogram or not totals.finite:
            return None
        limits = (float(totals.extremes[0]), float(totals.extremes[1])) if totals.has("extremes") else None
        return cls(totals.dtype, totals.histogram, limits)

    @property
    def is_exact(self) -> bool:
        """Whether every number derived from it is exact; False for float32."""
        return is_exact(self.dtype)

    @property
    def by_sign(self) -> tuple[Side, Side]:
        """Positive elements, and the magnitudes of the negative ones."""
        if self._sides is None and self._whole is not None:
            (magnitude, taken), sides = self._cut, self._whole.by_sign
            shares = [float(np.sum(side.counts, where=side.magnitudes == magnitude)) for side in sides]
            found = [
                side.up_to(magnitude, taken * share / max(sum(shares), 1.0))
                for side, share in zip(sides, shares, strict=True)
            ]
            self._sides = (found[0], found[1])
        if self._sides is None:
            high, low = self._limits if self._limits is not None else (None, None)
            histogram = np.zeros(2 * MAGNITUDES, np.int64)
            histogram[self._patterns] = self._counts
            self._sides = (
                self._side(histogram[:MAGNITUDES], None if high is None else max(high, 0.0)),
                self._side(histogram[MAGNITUDES:], None if low is None else max(-low, 0.0)),
            )
        return self._sides

    @property
    def massive_threshold(self) -> float:
        """|x| above which an element is massive: 100, and 1,000 times the lower median of |x| (arXiv 2402.17762)."""
        place = (self.count - 1) // 2 - (self.count - self.folded.running_count[-1])
        if place < 0 or not len(self.folded.magnitudes):
            return SUN_MAGNITUDE
        median = self.folded.magnitudes[int(self.folded.running_count.searchsorted(place, "right")) - 1]
        return max(SUN_MAGNITUDE, SUN_RATIO * float(median))

    def without_massive(self) -> Distribution:
        """The elements that are not massive; itself if none is."""
        limit = self.massive_threshold
        return self if self.largest <= limit else self._up_to(limit, 0.0)

    def without_largest(self, number: int) -> Distribution:
        """All but so many of the largest |x|. Of equal ones it does not matter which go, but for their signs.

        Where elements of both signs have the last magnitude that goes in part, both lose the same share.
        """
        running = self.folded.running_count
        left = running[-1] - number
        if left <= 0:
            return self._up_to(0.0, 0.0)
        place = int(running.searchsorted(left, "left")) - 1
        return self._up_to(float(self.folded.magnitudes[place]), float(running[place + 1] - left))

    def _up_to(self, magnitude: float, taken: float) -> Distribution:
        """The elements of at most this magnitude, less `taken` of those that have exactly it."""
        found = Distribution.__new__(Distribution)
        found.dtype, found.nonfinite = self.dtype, self.nonfinite
        found.folded = self.folded.up_to(magnitude, taken)
        found.count = self.count - round(float(self.folded.running_count[-1] - found.folded.running_count[-1]))
        found._whole, found._cut, found._sides, found._limits = self, (magnitude, taken), None, None
        return found

    @property
    def largest(self) -> float:
        """M_site."""
        return self.folded.largest

    @property
    def sum_abs(self) -> float:
        """Sum of |x|."""
        return float(self.folded.running_sum[-1])

    @property
    def sum_squares(self) -> float:
        """Sum of x^2."""
        return float(self.folded.running_squares[-1])

    def _side(self, counts: NDArray[np.int64], limit: float | None) -> Side:
        seen = np.flatnonzero(counts[1:]) + 1
        magnitudes = magnitude_values(self.dtype)[seen]
        if len(seen) and not np.isfinite(magnitudes[-1]):  # patterns that are not finite come last
            keep = int(np.isfinite(magnitudes).sum())
            seen, magnitudes = seen[:keep], magnitudes[:keep]
        if limit is not None and not self.is_exact and len(seen):
            # The largest element is known exactly, and is in the last pattern.
            magnitudes = np.minimum(magnitudes, limit)
            magnitudes[-1] = limit
        return Side.of(magnitudes, counts[seen].astype(np.float64))
