"""The distinct magnitudes of a site with their counts: all that a per-tensor quantiser's error depends on.

- `Side`          ascending magnitudes with counts and running sums
- `Distribution`  a site's elements, folded (|x|) or by sign
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.statistics.patterns import is_exact, magnitude_values
from engine.statistics.totals import MAGNITUDES, SiteTotals


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

    __slots__ = ("_counts", "_limits", "_patterns", "_sides", "count", "dtype", "folded", "nonfinite")

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
