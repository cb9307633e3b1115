"""`SiteTotals`: everything kept of one site, as plain numpy arrays that merge.

Totals are a commutative monoid: `merge` is associative and commutative and merging parts equals measuring the
whole, which is what resume, several devices and session merging all rest on. Each array declares itself where it
stands (`engine.statistics.declared`): shape, dtype, identity, merge rule, unit and meaning are said once.

- `TOP_K`          how many of the largest |x| are kept per site
- `TOP_DTYPE`      one entry of that list: signed value and its address
- `CENSUS_LADDER`  |x| thresholds at which channels are counted, 100 * 2^k
- `SiteTotals`     the arrays, with `empty`, `to_arrays`, `from_arrays`
- `merge`          two totals of the same site as one
- `shift_power_sums`  power sums about another number
- `TotalsMismatchError`  two totals that are not of the same thing
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import comb
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.base.stored import UnsoundError
from engine.statistics.declared import RULES, array, declared, empty_arrays, read_arrays

TOP_K: Final = 100
SUN_MAGNITUDE: Final = 100.0
SUN_RATIO: Final = 1000.0
CENSUS_RUNGS: Final = 16
CENSUS_LADDER: NDArray[np.float64] = np.ldexp(np.full(CENSUS_RUNGS, SUN_MAGNITUDE), np.arange(CENSUS_RUNGS))
PATTERNS: Final = 65_536
MAGNITUDES: Final = 32_768
LOG_BINS: Final = 512

TOP_DTYPE = np.dtype([("value", "<f8"), ("sample", "<i4"), ("position", "<i4"), ("channel", "<i4")])
NOWHERE = np.array([-1, -1, -1], np.int64)
_INFINITIES: Final = {"bfloat16": 0x7F80, "float16": 0x7C00, "float32": 0x7F80}
"""The magnitude pattern of infinity; those from here on are not finite."""


class TotalsMismatchError(ValueError):
    """Two totals describe different things (width, dtype, samples, detail) and cannot be merged."""


@dataclass(frozen=True, slots=True, eq=False)
class SiteTotals:
    """The sufficient statistics of one site. Population: finite elements of valid tokens, unless said.

    Attributes:
        dtype: activation dtype, `bfloat16`, `float16` or `float32`; fixes what `histogram` bins mean.
        width: D, elements per token.
        tokens: int64 scalar, valid tokens seen (visits, if a module runs twice per forward).
        histogram: int64 [65536], count of each 16-bit pattern (sign included) of ALL valid elements, the
            non-finite ones too; for float32 the top 16 bits of the fp32 pattern. All zero in lean detail.
        extremes: float64 [2], exact (max, min); (-inf, inf) before the first element.
        pivot: float64 scalar about which `power_sums` are taken (float32 only), NaN before the first element.
        power_sums: float64 [5], sums of (x-pivot)^1..4 and of |x| (float32 only; 16-bit formats derive them
            exactly from the histogram and leave zeros here, as does lean detail).
        log_histogram: int64 [512], the reference's log10 bins over [1e-8, 1e8] of non-zero |x|; counted only
            in compat detail for float32, else zeros (16-bit formats derive it from `histogram`).
        nonfinite: int64 [3], counts of NaN, +inf, -inf.
        nonfinite_address: int64 [3], lowest (sample, position, channel) of them, -1 if none.
        token_maxima: int64 [32768], histogram of the per-token max|x| by magnitude pattern (top 15 bits
            without sign, same format rule as `histogram`); a token without a finite element is in no bin.
        channel_max: float32 [D], per-channel max|x|.
        channel_tokens: int64 [16, D], tokens in which the channel's |x| > CENSUS_LADDER[k]; shape [16, 0]
            where the census is not taken.
        sample_max: float32 [N], per-sample max|x|, NaN for samples not seen.
        top: TOP_DTYPE [<=100], largest |x| first, ties by lowest (sample, position, channel).
        peak_median: float64 scalar, lower median of |x| over the token of top[0]; NaN if unknown.
        sun_tokens: int64 scalar, tokens with max|x| > 100 and > 1000 x their own lower median (strict).
        sun_ratio: float64 [5], the largest max/median ratio over the judged tokens and (its max, its median,
            sample, position), ties by lowest address; -1 when no token was judged. Judged: tokens with
            max|x| > 100; in compat every token of a site with a census; in lean none. A zero median makes the
            ratio infinite, an all-zero token's ratio is 0.
        ratio_sums: float64 [3], (tokens, sum, sum of squares) of finite ratios over ALL tokens of a site with a
            census; compat only.
        missing: the arrays that the session does not hold, as one of an earlier version does not: they were not
            measured, and are as of a site that saw nothing. Part of a whole, they are missing in the whole, too.
    """

    dtype: str
    width: int
    tokens: NDArray[np.int64] = field(metadata=array((), "i8", 0, "add", "the number of tokens", "tokens"))
    histogram: NDArray[np.int64] = field(
        metadata=array((PATTERNS,), "i8", 0, "add", "the histogram (moments, quantiles, quantisers)", "elements")
    )
    extremes: NDArray[np.float64] = field(
        metadata=array((2,), "f8", (-np.inf, np.inf), "extremes", "the extremes", "activation")
    )
    pivot: NDArray[np.float64] = field(
        metadata=array(
            (), "f8", np.nan, "shifted sums", "the pivot of the power sums (moments of float32)", "activation"
        )
    )
    power_sums: NDArray[np.float64] = field(
        metadata=array((5,), "f8", 0, "shifted sums", "the power sums (moments of float32)", "activation")
    )
    log_histogram: NDArray[np.int64] = field(
        metadata=array((LOG_BINS,), "i8", 0, "add", "the reference's log histogram", "elements")
    )
    nonfinite: NDArray[np.int64] = field(metadata=array((3,), "i8", 0, "add", "NaN and infinities", "elements"))
    nonfinite_address: NDArray[np.int64] = field(
        metadata=array((3,), "i8", -1, "first address", "where the first non-finite element is")
    )
    token_maxima: NDArray[np.int64] = field(
        metadata=array((MAGNITUDES,), "i8", 0, "add", "the maxima of tokens (how many tokens are massive)", "tokens")
    )
    channel_max: NDArray[np.float32] = field(
        metadata=array(("D",), "f4", 0, "maximum", "the maxima of channels", "activation")
    )
    channel_tokens: NDArray[np.int64] = field(
        metadata=array((CENSUS_RUNGS, "C"), "i8", 0, "add", "the census of channels", "tokens")
    )
    sample_max: NDArray[np.float32] = field(
        metadata=array(("N",), "f4", np.nan, "maximum of seen", "the maxima of samples", "activation")
    )
    top: NDArray[np.void] = field(
        metadata=array(("K",), TOP_DTYPE, 0, "largest", "the largest elements and where they are", "activation")
    )
    peak_median: NDArray[np.float64] = field(
        metadata=array((), "f8", np.nan, "with the largest", "the median of the largest element's token", "activation")
    )
    sun_tokens: NDArray[np.int64] = field(
        metadata=array((), "i8", 0, "add", "how many tokens are massive by their own median", "tokens")
    )
    sun_ratio: NDArray[np.float64] = field(
        metadata=array((5,), "f8", -1, "largest ratio", "the largest ratio of a token's maximum to its median", "1")
    )
    ratio_sums: NDArray[np.float64] = field(
        metadata=array((3,), "f8", 0, "add", "the mean ratio of a token's maximum to its median", "1")
    )
    missing: frozenset[str] = frozenset()

    @classmethod
    def empty(cls, dtype: str, width: int, samples: int, *, census: bool) -> SiteTotals:
        """The identity of `merge` for a site of this dtype, width and corpus size."""
        return cls(dtype, width, **empty_arrays(cls, {"D": width, "C": width if census else 0, "N": samples}))

    @property
    def elements(self) -> int:
        """Valid elements seen, the non-finite ones included."""
        return int(self.tokens) * self.width

    @property
    def finite(self) -> int:
        """Valid finite elements seen: the population of every other field; 0 where neither counts nor histogram are."""
        if self.missing.isdisjoint(("tokens", "nonfinite")):
            return self.elements - int(self.nonfinite.sum())
        return int(self.histogram.reshape(2, MAGNITUDES)[:, : _INFINITIES[self.dtype]].sum())

    @property
    def has_histogram(self) -> bool:
        """Whether elements were counted by pattern; lean detail does not."""
        return bool(self.histogram.any())

    def has(self, *names: str) -> bool:
        """Whether all of these arrays were measured."""
        return self.missing.isdisjoint(names)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Every array that was measured, by name (not copied); with `dtype` and `width` they are the whole state."""
        return {name: getattr(self, name) for name in ARRAY_FIELDS if name not in self.missing}

    @classmethod
    def from_arrays(cls, dtype: str, width: int, arrays: Mapping[str, NDArray[Any]]) -> SiteTotals:
        """Read what `to_arrays` gave; an array that is not there was not measured.

        Raises:
            UnsoundError: an array has another shape than the field it is read for, another kind of numbers, or such
                as no run can have measured.
        """
        found, missing = read_arrays(cls, arrays, {"D": width})
        if found["channel_tokens"].shape[1] not in (0, width):
            raise UnsoundError(f"channel_tokens has shape {found['channel_tokens'].shape}: not this site's")
        if np.isnan(found["pivot"]) and "pivot" not in missing and found["power_sums"].any():
            raise UnsoundError("the power sums are about no number")
        return cls(dtype, width, **found, missing=missing)


ARRAY_FIELDS: Final = tuple(declared(SiteTotals))


def merge(a: SiteTotals, b: SiteTotals, *, reuse: bool = False) -> SiteTotals:
    """Two totals of one site over different tokens, as if measured together.

    Integers, extremes and the top list are exact; float sums are exact up to float64 rounding. What one of them has
    not measured is not measured in the whole.

    Args:
        a: the first.
        b: the second.
        reuse: add up in a's arrays, which must not be used afterwards but through the result.

    Raises:
        TotalsMismatchError: dtype, width, samples, census or detail differ.
    """
    missing = a.missing | b.missing
    _check_same_kind(a, b, missing)
    found: dict[str, NDArray[Any]] = {}
    # Before the counters, because shifting needs the number of elements of each part.
    found["pivot"], found["power_sums"] = _merge_power_sums(a, b)
    for name, one in declared(SiteTotals).items():
        left, right = getattr(a, name), getattr(b, name)
        if name in missing and left.shape != right.shape:
            # A census that one part lacks: its other part is of no use.
            found[name] = left if name in a.missing else right
        elif one.rule == "add" and reuse and not right.any():
            found[name] = left
        elif one.rule == "add":
            found[name] = np.asarray(np.add(left, right, out=left if reuse else None))
        elif one.rule in RULES:
            found[name] = np.asarray(RULES[one.rule](left, right))
    found["top"] = order_top(np.concatenate([a.top, b.top]))
    found["peak_median"] = min(a, b, key=_peak_key).peak_median.copy()
    return SiteTotals(a.dtype, a.width, **found, missing=missing)


def order_top(entries: NDArray[np.void]) -> NDArray[np.void]:
    """The TOP_K first entries by |value| descending, then sample, position, channel ascending, then + before -."""
    value = entries["value"]
    order = np.lexsort((-value, entries["channel"], entries["position"], entries["sample"], -np.abs(value)))
    return entries[order[:TOP_K]]


def _check_same_kind(a: SiteTotals, b: SiteTotals, missing: frozenset[str]) -> None:
    kinds = [
        ("dtypes", a.dtype, b.dtype),
        ("widths", a.width, b.width),
        ("numbers of samples", len(a.sample_max), len(b.sample_max)),
    ]
    if "channel_tokens" not in missing:
        kinds.append(("censuses", a.channel_tokens.shape, b.channel_tokens.shape))
    for what, left, right in kinds:
        if left != right:
            raise TotalsMismatchError(f"totals of different {what} cannot be merged: {left} and {right}")
    if "histogram" not in missing and a.finite and b.finite and a.has_histogram != b.has_histogram:
        raise TotalsMismatchError("totals of lean detail cannot be merged with totals that have a histogram")


def _peak_key(totals: SiteTotals) -> tuple[float, ...]:
    if not len(totals.top):
        return (1.0,)
    value, sample, position, channel = totals.top[0].tolist()
    median = float(totals.peak_median)
    return (-abs(value), sample, position, channel, -value, np.inf if np.isnan(median) else median)


def _merge_power_sums(a: SiteTotals, b: SiteTotals) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    pivots = [float(t.pivot) for t in (a, b) if not np.isnan(t.pivot)]
    if not pivots:
        return np.full((), np.nan), a.power_sums + b.power_sums
    # The choice depends on the two pivots alone, so it is the same in any order of merging.
    pivot = min(pivots, key=lambda p: (abs(p), p))
    return np.full((), pivot), shift_power_sums(a, pivot) + shift_power_sums(b, pivot)


def shift_power_sums(totals: SiteTotals, pivot: float) -> NDArray[np.float64]:
    """`power_sums` about another pivot, by the binomial theorem: x - q = (x - p) + (p - q)."""
    if np.isnan(totals.pivot):
        return totals.power_sums.copy()
    distance = float(totals.pivot) - pivot
    about = [float(totals.finite), *totals.power_sums[:4].tolist()]
    shifted = [sum(comb(k, j) * distance ** (k - j) * about[j] for j in range(k + 1)) for k in range(1, 5)]
    return np.array([*shifted, totals.power_sums[4]])
