"""`SiteTotals`: everything kept of one site, as plain numpy arrays that merge.

Totals are a commutative monoid: `merge` is associative and commutative and merging parts equals measuring the
whole, which is what resume, several devices and session merging all rest on. The merge rule of every field is
data (`MERGE_RULES`), so a new field states its rule where it is declared.

- `TOP_K`          how many of the largest |x| are kept per site
- `TOP_DTYPE`      one entry of that list: signed value and its address
- `CENSUS_LADDER`  |x| thresholds at which channels are counted, 100 * 2^k
- `MERGE_RULES`    field -> the name of the rule by which two totals combine it
- `SiteTotals`     the arrays, with `empty`, `to_arrays`, `from_arrays`
- `merge`          two totals of the same site as one
- `shift_power_sums`  power sums about another number
- `TotalsMismatchError`  two totals that are not of the same thing
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import comb
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

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

MERGE_RULES: Final[Mapping[str, str]] = {
    "dtype": "equal",
    "width": "equal",
    "tokens": "add",
    "histogram": "add",
    "extremes": "extremes",
    "pivot": "shifted sums",
    "power_sums": "shifted sums",
    "log_histogram": "add",
    "nonfinite": "add",
    "nonfinite_address": "first address",
    "token_maxima": "add",
    "channel_max": "maximum",
    "channel_tokens": "add",
    "sample_max": "maximum of seen",
    "top": "largest",
    "peak_median": "with the largest",
    "sun_tokens": "add",
    "sun_ratio": "largest ratio",
    "ratio_sums": "add",
}


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

    @property
    def elements(self) -> int:
        """Valid elements seen, the non-finite ones included."""
        return int(self.tokens) * self.width

    @property
    def finite(self) -> int:
        """Valid finite elements seen: the population of every other field."""
        return self.elements - int(self.nonfinite.sum())

    @property
    def has_histogram(self) -> bool:
        """Whether elements were counted by pattern; lean detail does not."""
        return bool(self.histogram.any())

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Every array field by name (not copied); with `dtype` and `width` they are the whole state."""
        return {name: getattr(self, name) for name in ARRAY_FIELDS}

    @classmethod
    def from_arrays(cls, dtype: str, width: int, arrays: Mapping[str, NDArray[Any]]) -> SiteTotals:
        """Read what `to_arrays` gave.

        Raises:
            TotalsMismatchError: an array is missing, or has another shape than the field it is read for.
        """
        missing = [name for name in ARRAY_FIELDS if name not in arrays]
        if missing:
            raise TotalsMismatchError(
                f"totals without {', '.join(missing)}: the session was written by another version"
            )
        samples, census = len(arrays["sample_max"]), arrays["channel_tokens"].shape[-1] > 0
        model = cls.empty(dtype, width, samples, census=census)
        fields: dict[str, NDArray[Any]] = {}
        for name in ARRAY_FIELDS:
            expected, found = getattr(model, name), np.asarray(arrays[name])
            if found.shape != expected.shape and name != "top":
                raise TotalsMismatchError(
                    f"{name} has shape {found.shape}, not {expected.shape}: not this site's totals"
                )
            fields[name] = found.astype(expected.dtype, copy=False)
        return cls(dtype=dtype, width=width, **fields)


ARRAY_FIELDS: Final = tuple(name for name, rule in MERGE_RULES.items() if rule != "equal")


def merge(a: SiteTotals, b: SiteTotals, *, reuse: bool = False) -> SiteTotals:
    """Two totals of one site over different tokens, as if measured together.

    Integers, extremes and the top list are exact; float sums are exact up to float64 rounding.

    Args:
        a: the first.
        b: the second.
        reuse: add up in a's arrays, which must not be used afterwards but through the result.

    Raises:
        TotalsMismatchError: dtype, width, samples, census or detail differ.
    """
    _check_same_kind(a, b)
    fields: dict[str, Any] = {"dtype": a.dtype, "width": a.width}
    # Before the counters, because shifting needs the number of elements of each part.
    fields["pivot"], fields["power_sums"] = _merge_power_sums(a, b)
    for name, rule in MERGE_RULES.items():
        left, right = getattr(a, name), getattr(b, name)
        if rule == "add" and reuse and not right.any():
            fields[name] = left
        elif rule == "add":
            fields[name] = np.asarray(np.add(left, right, out=left if reuse else None))
        elif rule in _BINARY:
            fields[name] = np.asarray(_BINARY[rule](left, right))
    fields["top"] = order_top(np.concatenate([a.top, b.top]))
    fields["peak_median"] = min(a, b, key=_peak_key).peak_median.copy()
    return SiteTotals(**fields)


def order_top(entries: NDArray[np.void]) -> NDArray[np.void]:
    """The TOP_K first entries by |value| descending, then sample, position, channel ascending, then + before -."""
    value = entries["value"]
    order = np.lexsort((-value, entries["channel"], entries["position"], entries["sample"], -np.abs(value)))
    return entries[order[:TOP_K]]


def _check_same_kind(a: SiteTotals, b: SiteTotals) -> None:
    for what, left, right in (
        ("dtypes", a.dtype, b.dtype),
        ("widths", a.width, b.width),
        ("numbers of samples", len(a.sample_max), len(b.sample_max)),
        ("censuses", a.channel_tokens.shape, b.channel_tokens.shape),
    ):
        if left != right:
            raise TotalsMismatchError(f"totals of different {what} cannot be merged: {left} and {right}")
    if a.finite and b.finite and a.has_histogram != b.has_histogram:
        raise TotalsMismatchError("totals of lean detail cannot be merged with totals that have a histogram")


def _extremes(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array([max(a[0], b[0]), min(a[1], b[1])])


def _first_address(a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.int64]:
    seen = [address for address in (a, b) if address[0] >= 0]
    return min(seen, key=tuple).copy() if seen else NOWHERE.copy()


def _largest_ratio(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    # -1 marks "none judged" and is below every ratio; maximum and median break ties between visits of one token.
    return min((a, b), key=lambda r: (-r[0], r[3], r[4], -r[1], r[2])).copy()


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


_BINARY: Final[Mapping[str, Any]] = {
    "maximum": np.maximum,
    "maximum of seen": np.fmax,
    "extremes": _extremes,
    "first address": _first_address,
    "largest ratio": _largest_ratio,
}
