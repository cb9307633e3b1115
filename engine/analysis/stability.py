"""How much of a maximum is due to the company a sample ran in, and to the dtype: measured by running it again.

- `Stability`       what two reruns of the samples that hold the maxima have shown
- `choose_peaks`    the samples that hold the maxima of most sites
- `rerun_maxima`    the maxima of these samples in another session, per site
- `read_stability`  the newest such result of a session
- `KIND`            its kind in the session file

Matrix products add in another order when a batch has another shape, and every dtype rounds elsewhere; both move a
maximum a little. A difference between two sessions that is smaller says nothing about the models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.base.stored import UnsoundError, build
from engine.session.damage import reading
from engine.session.reader import SessionReader

KIND: Final = "stability"
LEVEL: Final = 0.95  # of the sites lie within a limit
# The largest relative distance of neighbouring numbers: a maximum that moves at all moves by one of these.
STEPS: Final = {"bfloat16": 2.0**-7, "float16": 2.0**-10, "float32": 2.0**-23}


@dataclass(frozen=True, slots=True)
class _Data:
    """What the session keeps beside the arrays; see `Stability`."""

    dtype: str
    other_dtype: str
    skipped: str
    samples: tuple[int, ...]
    maximum: tuple[float | None, float | None, float | None]
    nonfinite: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Stability:
    """What two reruns have shown. Relative differences are signed, NaN where a site's peak was not run again.

    Attributes:
        dtype, other_dtype: of the session, and of the second rerun; the latter empty if there was none.
        skipped: why there was none, one line.
        samples: that were run again, each in a batch of its own.
        maximum: M of the session, of those samples alone, and of those in the other dtype; NaN where unknown.
        batch: float64 [sites], peak of the site's own peak sample run alone, over the session's, less 1.
        rounding: float64 [sites], the same in the other dtype over alone in the session's.
        nonfinite: sites with NaN or infinity in the session, in the rerun alone, and in the other dtype, whose maxima
            are those of finite elements; empty in results of earlier versions, which did not look.
    """

    dtype: str
    other_dtype: str
    skipped: str
    samples: tuple[int, ...]
    maximum: tuple[float, float, float]
    batch: NDArray[np.float64]
    rounding: NDArray[np.float64]
    nonfinite: tuple[int, ...] = ()

    @property
    def nonfinite_words(self) -> str:
        """What became of NaN and infinity; empty where there was none, or nobody looked."""
        if not any(self.nonfinite):
            return ""
        places = ("in the session", "alone", f"in {self.other_dtype}")
        found = (f"{count:,} {where}" for count, where in zip(self.nonfinite, places, strict=False))
        return f"sites with Inf/NaN: {', '.join(found)}; what is compared are the finite elements"

    @property
    def sites(self) -> int:
        """Sites whose peak was run again."""
        return int(np.isfinite(self.batch).sum())

    @property
    def batch_limit(self) -> float:
        """What batch composition explains: 95 % of the sites differ by no more; one step of the dtype at least.

        NaN if unknown.
        """
        return float(np.maximum(_limit(self.batch), STEPS.get(self.dtype, 0.0)))

    @property
    def dtype_limit(self) -> float:
        """What the other dtype explains beyond that, in the same way."""
        return _limit(self.rounding)

    def explains(self, dtype: str) -> float:
        """The difference that batch size explains, and dtype where the other session's is another; NaN if unknown."""
        if dtype == self.dtype:
            return self.batch_limit
        return self.batch_limit + self.dtype_limit if dtype == self.other_dtype else float("nan")

    def to_data(self) -> dict[str, Any]:
        """What the session keeps beside the arrays; `read_stability` reads it back."""
        return {
            "dtype": self.dtype,
            "other_dtype": self.other_dtype,
            "skipped": self.skipped,
            "samples": list(self.samples),
            "maximum": [None if np.isnan(value) else value for value in self.maximum],
            "nonfinite": list(self.nonfinite),
        }


def read_stability(reader: SessionReader) -> Stability | None:
    """The newest result of `maxact-tui stability`; None if there is none."""
    results = reader.results(KIND)
    if not results:
        return None
    arrays = reader.result_arrays(results[-1].number)
    with reading(reader.path, "what the reruns have shown"):
        data = build(_Data, results[-1].data)
        first, alone, other = (float("nan") if value is None else float(value) for value in data.maximum)
        held = [arrays[name] for name in ("batch", "rounding") if name in arrays]
        if any(one.ndim != 1 or one.dtype.kind != "f" for one in held):
            raise UnsoundError("changed")
        # Of an array that is not there nothing was measured.
        unknown = np.full(len(held[0]) if held else 0, np.nan)
    return Stability(
        dtype=data.dtype,
        other_dtype=data.other_dtype,
        skipped=data.skipped,
        samples=data.samples,
        maximum=(first, alone, other),
        batch=arrays.get("batch", unknown).astype(np.float64),
        rounding=arrays.get("rounding", unknown).astype(np.float64),
        nonfinite=data.nonfinite,
    )


def choose_peaks(reader: SessionReader, most: int) -> list[int]:
    """At most so many samples that hold the maxima of as many sites as possible, ascending; M's is among them."""
    plan, maxima = reader.meta().plan, reader.sample_maxima()
    peaks = _peak_samples(maxima)
    if plan is None or not len(maxima) or not (peaks >= 0).any():
        return []
    counted = np.array([site.counts_for_m for site in plan.sites])
    values = np.where(counted & (peaks >= 0), np.nanmax(np.where(np.isnan(maxima), -1.0, maxima), axis=1), -1.0)
    first = int(peaks[int(values.argmax())])
    # A site that counts for M outweighs all that do not.
    weights = np.bincount(peaks[peaks >= 0], weights=np.where(counted, len(counted), 1)[peaks >= 0])
    order = [first, *(int(n) for n in np.argsort(-weights, kind="stable") if weights[n] and n != first)]
    return sorted(order[:most])


def rerun_maxima(reader: SessionReader, samples: Sequence[int], of: SessionReader) -> NDArray[np.float64]:
    """Largest |x| of every site's own peak sample, float64 [sites], NaN where that is not among `samples`.

    Args:
        reader: the session whose peaks are meant.
        samples: that were run again, in the order in which `of` numbers them.
        of: the session to read the maxima from; `reader` itself for those of the first run.

    Raises:
        ValueError: the sessions have other sites.
    """
    plan, other = reader.meta().plan, of.meta().plan
    if plan is None or other is None or [s.name for s in plan.sites] != [s.name for s in other.sites]:
        raise ValueError("the rerun has other sites")
    peaks, maxima = _peak_samples(reader.sample_maxima()), of.sample_maxima().astype(np.float64)
    place = {number: number if of is reader else index for index, number in enumerate(samples)}
    return np.array([maxima[site, place[n]] if n in place else np.nan for site, n in enumerate(peaks.tolist())])


def _peak_samples(maxima: NDArray[np.float32]) -> NDArray[np.int64]:
    """The sample with the largest |x| of each site, -1 where it saw nothing."""
    if not maxima.size:
        return np.zeros(0, np.int64)
    known = np.where(np.isnan(maxima), -1.0, maxima)
    return np.where(known.max(axis=1) >= 0, known.argmax(axis=1), -1)


def _limit(differences: NDArray[np.float64]) -> float:
    known = np.abs(differences[np.isfinite(differences)])
    return float(np.quantile(known, LEVEL, method="higher")) if known.size else float("nan")
