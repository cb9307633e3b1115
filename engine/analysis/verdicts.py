"""Sun et al.'s criterion of a massive activation, |x| > 100 and |x| > 1000 x median|x|, by two medians.

- `Bracket`         a count known exactly, or between two bounds
- `LayerVerdict`    by the median of |x| over the whole site (Sun et al.'s code; the default verdict)
- `TokenVerdict`    by the median of each token's own |x| (the code of arXiv 2605.15572; stricter)
- `judge_layer`, `judge_token`
- `magnitude_bounds`  smallest and largest |x| a magnitude pattern stands for

Criterion: arXiv 2402.17762, section 2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from engine.statistics.patterns import is_exact, layer_median, magnitude_values
from engine.statistics.totals import MAGNITUDES, SUN_MAGNITUDE, SUN_RATIO, SiteTotals


@dataclass(frozen=True, slots=True)
class Bracket:
    """A count that lies between `lower` and `upper`, both included."""

    lower: int
    upper: int

    @property
    def is_exact(self) -> bool:
        """Whether the count is known."""
        return self.lower == self.upper


@dataclass(frozen=True, slots=True)
class LayerVerdict:
    """Sun's criterion by the layer median.

    Attributes:
        passes: None where the median is unknown (lean detail) and M_site exceeds 100, or M_site was not measured, or
            none of the finite elements passes beside NaN or infinity: what those would have been nobody knows.
        certain: False where the float32 median is known to a pattern only and the verdict depends on where in it.
        median: lower median of |x| over the site, NaN if unknown.
        ratio: M_site / median; infinite for a zero median and a non-zero maximum, NaN if unknown.
        threshold: |x| above which an element is massive, max(100, 1000 x median); 100 if the median is unknown.
        tokens: tokens with an element above the threshold; None where the verdict is None, or they were not counted.
    """

    passes: bool | None
    certain: bool
    median: float
    ratio: float
    threshold: float
    tokens: Bracket | None


@dataclass(frozen=True, slots=True)
class TokenVerdict:
    """Sun's criterion by each token's own lower median.

    Attributes:
        passes: whether a token passes; None where medians were not taken (lean detail) and M_site exceeds 100, or
            the tokens that pass were not counted, or none passes beside NaN or infinity.
        tokens: how many tokens pass (strict); None where `passes` is None.
        peak_median: lower median of |x| over the token that holds M_site, NaN if unknown.
        peak_ratio: M_site / peak_median; infinite for a zero median and a non-zero maximum, NaN if unknown.
        largest_ratio: largest ratio over the judged tokens, NaN if none was judged.
        largest_ratio_max: max|x| of that token, NaN if none.
        largest_ratio_median: its median, NaN if none.
        largest_ratio_sample: its sample, -1 if none.
        largest_ratio_position: its position, -1 if none.
    """

    passes: bool | None
    tokens: int | None
    peak_median: float
    peak_ratio: float
    largest_ratio: float
    largest_ratio_max: float
    largest_ratio_median: float
    largest_ratio_sample: int
    largest_ratio_position: int


@cache
def magnitude_bounds(dtype: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Smallest and largest |x| of each of the 32,768 magnitude patterns; equal for 16-bit dtypes, NaN if not finite."""
    if is_exact(dtype):
        return magnitude_values(dtype), magnitude_values(dtype)
    patterns = np.arange(MAGNITUDES, dtype=np.uint32) << 16
    finite = np.isfinite(magnitude_values(dtype))
    # A signalling NaN would be reported by the widening cast.
    with np.errstate(invalid="ignore"):
        lowest = np.where(finite, patterns.view(np.float32).astype(np.float64), np.nan)
        highest = np.where(finite, (patterns | 0xFFFF).view(np.float32).astype(np.float64), np.nan)
    return lowest, highest


def _ratio_to(median: float, magnitude: float) -> float:
    """The ratio of the two; infinite over a zero median, NaN for 0 / 0 or an unknown part."""
    if math.isnan(median) or math.isnan(magnitude):
        return math.nan
    if median > 0:
        return magnitude / median
    return math.inf if magnitude > 0 else math.nan


def judge_layer(totals: SiteTotals, magnitude: float) -> LayerVerdict:
    """The verdict by the layer median.

    Args:
        totals: of the site.
        magnitude: M_site, NaN without a finite element.
    """
    median = layer_median(totals)
    if not totals.has("extremes"):
        threshold = SUN_MAGNITUDE if math.isnan(median) else max(SUN_MAGNITUDE, SUN_RATIO * median)
        return LayerVerdict(None, False, median, math.nan, threshold, None)
    is_open = _is_open(totals)
    if math.isnan(median):
        small = magnitude <= SUN_MAGNITUDE and not is_open
        return LayerVerdict(
            False if small else None, small, math.nan, math.nan, SUN_MAGNITUDE, Bracket(0, 0) if small else None
        )
    least, most = _median_bounds(totals.dtype, median)
    strictest, mildest = max(SUN_MAGNITUDE, SUN_RATIO * most), max(SUN_MAGNITUDE, SUN_RATIO * least)
    threshold = max(SUN_MAGNITUDE, SUN_RATIO * median)
    passes = None if is_open and not magnitude > threshold else magnitude > threshold
    return LayerVerdict(
        passes=passes,
        certain=(magnitude > strictest) == (magnitude > mildest) and passes is not None,
        median=median,
        ratio=_ratio_to(median, magnitude),
        threshold=threshold,
        tokens=_tokens_above(totals, strictest, mildest) if passes is not None and totals.has("token_maxima") else None,
    )


def _tokens_above(totals: SiteTotals, strictest: float, mildest: float) -> Bracket:
    """Tokens whose max|x| is above a threshold known to lie in [mildest, strictest]; exact for 16-bit dtypes."""
    lowest, highest = magnitude_bounds(totals.dtype)
    return Bracket(
        int(totals.token_maxima[lowest > strictest].sum()), int(totals.token_maxima[highest > mildest].sum())
    )


def judge_token(totals: SiteTotals, magnitude: float) -> TokenVerdict:
    """The verdict by the tokens' own medians; arguments as for `judge_layer`."""
    tokens = int(totals.sun_tokens)
    peak_median = float(totals.peak_median)
    # A session without the histogram tells by the largest element's token whether medians were taken.
    taken = totals.has_histogram or not (totals.has("histogram") or math.isnan(peak_median))
    small = magnitude <= SUN_MAGNITUDE and totals.has("extremes")
    unknown = not totals.has("sun_tokens") or not (taken or small) or (not tokens and _is_open(totals))
    ratio, largest, median, sample, position = totals.sun_ratio.tolist()
    judged = ratio >= 0
    return TokenVerdict(
        passes=None if unknown else tokens > 0,
        tokens=None if unknown else tokens,
        peak_median=peak_median,
        peak_ratio=_ratio_to(peak_median, magnitude),
        largest_ratio=ratio if judged else math.nan,
        largest_ratio_max=largest if judged else math.nan,
        largest_ratio_median=median if judged else math.nan,
        largest_ratio_sample=int(sample) if judged else -1,
        largest_ratio_position=int(position) if judged else -1,
    )


def _is_open(totals: SiteTotals) -> bool:
    """Whether finite elements alone cannot deny a verdict, because there is NaN or infinity beside them."""
    return bool(totals.nonfinite.any())


def _median_bounds(dtype: str, median: float) -> tuple[float, float]:
    if is_exact(dtype):
        return median, median
    lowest, highest = magnitude_bounds(dtype)
    pattern = int(np.searchsorted(magnitude_values(dtype), median))
    return float(lowest[pattern]), float(highest[pattern])
