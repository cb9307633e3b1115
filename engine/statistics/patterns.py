"""16-bit pattern histograms in numpy: what values they stand for, and the moments and quantiles they determine.

A bfloat16 or float16 element IS its 16-bit pattern, so its histogram holds the exact distribution. For float32 the
pattern is the upper half of the number: quantiles are then known to a relative 2^-7 (`is_exact` is False), while
moments come from exact power sums.

- `pattern_values`, `magnitude_values`   float64 value of each pattern
- `is_exact`          whether a pattern of this dtype stands for one value
- `Moments`, `moments`  count, zeros, mean, std, rms, kurtosis of a site
- `magnitude_counts`  how often each |x| occurred, in ascending order of |x|
- `quantiles`         of |x|, exact for 16-bit dtypes
- `layer_median`      the lower median of |x| over the whole site
- `LOG_EDGES`, `log_bins`, `log_bin_of`, `compat_quantiles`   the reference's 512-bin histogram and its quantiles
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from engine.statistics.totals import LOG_BINS, MAGNITUDES, PATTERNS, SiteTotals, shift_power_sums

SIGN_BIT = 0x8000
LOG_LOW, LOG_HIGH = -8.0, 8.0
BINS_PER_DECADE = LOG_BINS / (LOG_HIGH - LOG_LOW)
LOG_EDGES: NDArray[np.float64] = 10.0 ** (np.arange(LOG_BINS + 1) / BINS_PER_DECADE + LOG_LOW)


def is_exact(dtype: str) -> bool:
    """Whether a 16-bit pattern of `dtype` stands for exactly one value."""
    return dtype != "float32"


@cache
def pattern_values(dtype: str) -> NDArray[np.float64]:
    """Value of each of the 65,536 patterns; NaN where the pattern is infinite or not a number.

    For float32 a pattern covers the numbers that share its upper 16 bits and is valued at their middle; the
    patterns of zero are valued 0, though they also cover the denormals below 2^-133.

    Raises:
        ValueError: `dtype` is not `bfloat16`, `float16` or `float32`.
    """
    patterns = np.arange(PATTERNS, dtype=np.uint32)
    if dtype == "float16":
        raw = patterns.astype(np.uint16).view(np.float16).astype(np.float64)
    elif dtype in ("bfloat16", "float32"):
        middle = np.where(patterns & 0x7FFF, 0x8000, 0) if dtype == "float32" else 0
        # The middle of the patterns of infinity is a signalling NaN, which the widening cast reports.
        with np.errstate(invalid="ignore"):
            raw = ((patterns << 16) | middle).astype(np.uint32).view(np.float32).astype(np.float64)
    else:
        raise ValueError(f"no pattern table for {dtype}: use bfloat16, float16 or float32")
    values = np.where(np.isfinite(raw), raw, np.nan)
    values.setflags(write=False)
    return values


@cache
def magnitude_values(dtype: str) -> NDArray[np.float64]:
    """Value of each of the 32,768 patterns without sign, ascending; NaN where not finite."""
    return pattern_values(dtype)[:MAGNITUDES]


@dataclass(frozen=True, slots=True)
class Moments:
    """Moments of one site over its finite elements.

    Attributes:
        count: elements.
        zeros: how many of them are zero (for float32: below 2^-133).
        mean: arithmetic mean.
        abs_mean: mean of |x|.
        rms: root of the mean square.
        std: population standard deviation, from squares about the mean.
        kurtosis: fourth central moment over the squared variance (3 for a normal distribution); NaN if std is 0.
    """

    count: int
    zeros: int
    mean: float
    abs_mean: float
    rms: float
    std: float
    kurtosis: float


def moments(totals: SiteTotals) -> Moments | None:
    """The moments of a site; None if it has no finite element, or what they follow from was not measured."""
    if not totals.has_histogram or not totals.finite:
        return None
    if totals.dtype == "float32":
        return _moments_of_sums(totals) if totals.has("pivot", "power_sums") else None
    return histogram_moments(totals.dtype, totals.histogram)


def histogram_moments(dtype: str, histogram: NDArray[np.int64]) -> Moments | None:
    """Moments of a pattern histogram, taken about the mean in a second look, so that nothing cancels."""
    values = pattern_values(dtype)
    seen = np.flatnonzero((histogram > 0) & np.isfinite(values))
    if not len(seen):
        return None
    counts, x = histogram[seen].astype(np.float64), values[seen]
    count = int(histogram[seen].sum())
    mean = float(counts @ x) / count
    # A mean of equal values may round beside them: the correction leaves exactly zero deviation.
    mean += float(counts @ (x - mean)) / count
    squares = (x - mean) ** 2
    variance = float(counts @ squares) / count
    return Moments(
        count=count,
        zeros=int(histogram[0] + histogram[SIGN_BIT]),
        mean=mean,
        abs_mean=float(counts @ np.abs(x)) / count,
        rms=float(np.sqrt(counts @ (x * x) / count)),
        std=float(np.sqrt(variance)),
        kurtosis=_kurtosis(float(counts @ (squares * squares)) / count, variance),
    )


def _moments_of_sums(totals: SiteTotals) -> Moments:
    """Moments from sums about a pivot among the numbers, so that little cancels when they are moved to the mean."""
    count = totals.finite
    pivot = float(totals.pivot)
    mean = pivot + float(totals.power_sums[0]) / count
    about_mean = shift_power_sums(totals, mean)
    variance = max(float(about_mean[1] - about_mean[0] ** 2 / count) / count, 0.0)
    return Moments(
        count=count,
        zeros=int(totals.histogram[0] + totals.histogram[SIGN_BIT]),
        mean=mean,
        abs_mean=float(totals.power_sums[4]) / count,
        rms=float(np.sqrt(variance + mean * mean)),
        std=float(np.sqrt(variance)),
        kurtosis=_kurtosis(float(about_mean[3]) / count, variance),
    )


def _kurtosis(fourth: float, variance: float) -> float:
    return fourth / variance**2 if variance > 0 and variance**2 > 0 else float("nan")


def magnitude_counts(dtype: str, histogram: NDArray[np.int64]) -> NDArray[np.int64]:
    """How often each finite |x| occurred, int64 [32768] in the order of `magnitude_values`."""
    both = histogram[:MAGNITUDES] + histogram[MAGNITUDES:]
    return np.where(np.isfinite(magnitude_values(dtype)), both, 0)


def quantiles(dtype: str, histogram: NDArray[np.int64], levels: Sequence[float]) -> NDArray[np.float64]:
    """Quantiles of |x| over the finite elements.

    The level-q quantile of n numbers is the one at place floor(q (n - 1)) of their ascending order, counted from 0:
    always an element, never between two; level 0.5 is the lower median, as `torch.median` takes it.

    Returns:
        float64, one per level, NaN without elements; for float32 the middle of the pattern it falls in.
    """
    running = np.cumsum(magnitude_counts(dtype, histogram))
    if not running[-1]:
        return np.full(len(levels), np.nan)
    places = np.floor(np.asarray(levels, np.float64) * (running[-1] - 1)).astype(np.int64)
    return np.asarray(magnitude_values(dtype)[np.searchsorted(running, places, side="right")])


def layer_median(totals: SiteTotals) -> float:
    """Lower median of |x| over all finite elements of the site; NaN if unknown (lean detail, no elements)."""
    return float(quantiles(totals.dtype, totals.histogram, [0.5])[0])


def log_bin_of(magnitude: NDArray[np.float64]) -> NDArray[np.int64]:
    """The reference's bin of each |x| > 0: 32 per decade from 1e-8; what lies beyond falls in the outermost."""
    return np.clip(np.searchsorted(LOG_EDGES, magnitude, side="right") - 1, 0, LOG_BINS - 1)


def log_bins(totals: SiteTotals) -> NDArray[np.int64]:
    """The reference's 512-bin log10 histogram of non-zero |x|, int64.

    Exact for 16-bit dtypes in every detail with a histogram, and for float32 in compat detail; otherwise (float32,
    standard detail) each pattern's count goes to the bin of its middle.
    """
    if totals.log_histogram.any():
        return totals.log_histogram
    counts = magnitude_counts(totals.dtype, totals.histogram)[1:]
    seen = np.flatnonzero(counts)
    bins = np.zeros(LOG_BINS, np.int64)
    np.add.at(bins, log_bin_of(magnitude_values(totals.dtype)[1:][seen]), counts[seen])
    return bins


def compat_quantiles(totals: SiteTotals, levels: Sequence[float]) -> NDArray[np.float64]:
    """Quantiles of |x| as the reference prints them, from its 512 bins (7.5 % wide), float64; NaN without elements.

    The element at q n of n is looked for among the zeros first, then in the bin where the running count reaches it,
    and placed within the bin linearly in log10|x|.
    """
    bins = log_bins(totals)
    zeros = int(totals.histogram[0] + totals.histogram[SIGN_BIT])
    running = zeros + np.cumsum(bins)
    if not running[-1]:
        return np.full(len(levels), np.nan)
    target = np.asarray(levels, np.float64) * running[-1]
    place = np.minimum(np.searchsorted(running, target), LOG_BINS - 1)
    inside = (target - (running[place] - bins[place])) / np.maximum(bins[place], 1)
    return np.where(target <= zeros, 0.0, 10.0 ** (LOG_LOW + (place + inside) / BINS_PER_DECADE))
