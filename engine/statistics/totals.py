"""`SiteTotals`: everything kept of one site, as plain numpy arrays that merge.

Totals are a commutative monoid: `merge` is associative and commutative and merging parts equals measuring the
whole, which is what resume, several devices and session merging all rest on. The merge rule of every field is
data (`MERGE_RULES`), so a new field states its rule where it is declared.

- `TOP_K`          how many of the largest |x| are kept per site
- `TOP_DTYPE`      one entry of that list: signed value and its address
- `CENSUS_LADDER`  |x| thresholds at which channels are counted, 100 * 2^k
- `SiteTotals`     the arrays, with `empty`, `merge`, `to_arrays`, `from_arrays`
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

TOP_K = 100
SUN_MAGNITUDE = 100.0
SUN_RATIO = 1000.0
CENSUS_RUNGS = 16
CENSUS_LADDER: NDArray[np.float64] = SUN_MAGNITUDE * 2.0 ** np.arange(CENSUS_RUNGS)
PATTERNS = 65_536
MAGNITUDES = 32_768
LOG_BINS = 512

TOP_DTYPE = np.dtype([("value", "<f8"), ("sample", "<i4"), ("position", "<i4"), ("channel", "<i4")])
NOWHERE = np.array([-1, -1, -1], np.int64)


class TotalsMismatchError(ValueError):
    """Two totals describe different things (width, dtype, samples) and cannot be merged."""


@dataclass(frozen=True, slots=True, eq=False)
class SiteTotals:
    """The sufficient statistics of one site. Population: finite elements of valid tokens, unless said.

    Attributes:
        dtype: activation dtype, `bfloat16`, `float16` or `float32`; fixes what `histogram` bins mean.
        width: D, elements per token.
        tokens: int64 scalar, valid tokens seen (visits, if a module runs twice per forward).
        histogram: int64 [65536], count of each 16-bit pattern (sign included) of ALL valid elements, the
            non-finite ones too; for float32 the top 16 bits of the fp32 pattern.
        extremes: float64 [2], exact (max, min); (-inf, inf) before the first element.
        pivot: float64 scalar about which `power_sums` are taken (float32 only), NaN before the first element.
        power_sums: float64 [5], sums of (x-pivot)^1..4 and of |x| (float32 only; 16-bit formats derive them
            exactly from the histogram and leave zeros here).
        log_histogram: int64 [512], the reference's log10 bins over [1e-8, 1e8] of non-zero |x|; counted only
            in compat detail for float32, else zeros (16-bit formats derive it from `histogram`).
        nonfinite: int64 [3], counts of NaN, +inf, -inf.
        nonfinite_address: int64 [3], lowest (sample, position, channel) of them, -1 if none.
        token_maxima: int64 [32768], histogram of the per-token max|x| by magnitude pattern (top 15 bits
            without sign, same format rule as `histogram`).
        channel_max: float32 [D], per-channel max|x|.
        channel_tokens: int64 [16, D], tokens in which the channel's |x| > CENSUS_LADDER[k]; shape [16, 0]
            where the census is not taken.
        sample_max: float32 [N], per-sample max|x|, NaN for samples not seen.
        top: TOP_DTYPE [<=100], largest |x| first, ties by lowest (sample, position, channel).
        peak_median: float64 scalar, lower median of |x| over the token of top[0]; NaN if unknown.
        sun_tokens: int64 scalar, tokens with max|x| > 100 and > 1000 x their own lower median (strict).
        sun_ratio: float64 [5], the largest max/median ratio over the judged tokens and (its max, its median,
            sample, position); -1 when no token was judged. Judged: tokens with max|x| > 100, in compat all.
        ratio_sums: float64 [3], (tokens, sum, sum of squares) of finite ratios over ALL tokens; compat only.
    """

    dtype: str
    width: int
    tokens: NDArray[np.int64]
    histogram: NDArray[np.int64]
    extremes: NDArray[np.float64]
    pivot: NDArray[np.float64]
    power_sums: NDArray[np.float64]
    log_histogram: NDArray[np.int64]
    nonfinite: NDArray[np.int64]
    nonfinite_address: NDArray[np.int64]
    token_maxima: NDArray[np.int64]
    channel_max: NDArray[np.float32]
    channel_tokens: NDArray[np.int64]
    sample_max: NDArray[np.float32]
    top: NDArray[np.void]
    peak_median: NDArray[np.float64]
    sun_tokens: NDArray[np.int64]
    sun_ratio: NDArray[np.float64]
    ratio_sums: NDArray[np.float64]

    @classmethod
    def empty(cls, dtype: str, width: int, samples: int, *, census: bool) -> SiteTotals:
        """The identity of `merge` for a site of this dtype, width and corpus size."""
        return cls(
            dtype=dtype,
            width=width,
            tokens=np.zeros((), np.int64),
            histogram=np.zeros(PATTERNS, np.int64),
            extremes=np.array([-np.inf, np.inf]),
            pivot=np.full((), np.nan),
            power_sums=np.zeros(5),
            log_histogram=np.zeros(LOG_BINS, np.int64),
            nonfinite=np.zeros(3, np.int64),
            nonfinite_address=NOWHERE.copy(),
            token_maxima=np.zeros(MAGNITUDES, np.int64),
            channel_max=np.zeros(width, np.float32),
            channel_tokens=np.zeros((CENSUS_RUNGS, width if census else 0), np.int64),
            sample_max=np.full(samples, np.nan, np.float32),
            top=np.zeros(0, TOP_DTYPE),
            peak_median=np.full((), np.nan),
            sun_tokens=np.zeros((), np.int64),
            sun_ratio=np.full(5, -1.0),
            ratio_sums=np.zeros(3),
        )
