"""What remains of a site when its first tokens are dropped or some channels are kept out of the quantiser.

- `Remainder`, `remove`           the elements that remain, as far as the totals tell them apart
- `Bounded`, `remainder_error`    their error, with bounds for what the totals do not tell
- `largest_channels`              the channels one would keep in bfloat16 first

No histogram is kept per token or channel. Known are the largest |x| of every channel, the address of the 100 largest
elements, and hence that every element above the largest one that remains is gone. Of the other removed elements only
their number is known: they stay in the distribution, and the bounds hold whatever they are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.quantization.distribution import Distribution
from engine.quantization.metrics import QuantError
from engine.quantization.schemes import error_of, fake_quantise
from engine.schemes import Scheme
from engine.statistics.patterns import SIGN_BIT, magnitude_values
from engine.statistics.totals import MAGNITUDES, TOP_K, SiteTotals

_ROUNDS: Final = 12
_CLOSE: Final = 1e-6
_NOTHING: Final = 1e-12  # of the error: what is left of it is rounding


@dataclass(frozen=True, slots=True, eq=False)
class Remainder:
    """What remains of a site.

    Attributes:
        distribution: every element that is not known to be removed.
        removed: elements that are known to be removed, and are not in `distribution`.
        uncertain: at most so many elements of `distribution` are removed, too.
        is_largest_exact: whether the largest |x| of `distribution` is that of what remains, not only a bound of it.
    """

    distribution: Distribution
    removed: int
    uncertain: int
    is_largest_exact: bool


@dataclass(frozen=True, slots=True)
class Bounded:
    """The error of what remains.

    Attributes:
        error: of all elements that are not known to be removed.
        lowest_db, highest_db: SQNR of what remains lies between them.
    """

    error: QuantError
    lowest_db: float
    highest_db: float


def largest_channels(totals: SiteTotals, number: int) -> tuple[int, ...]:
    """The channels with the largest |x|, largest first, ties by number; none where they were not measured."""
    if not totals.has("channel_max"):
        return ()
    return tuple(np.argsort(-totals.channel_max, kind="stable")[:number].tolist())


def remove(totals: SiteTotals, *, first_tokens: int = 0, channels: Sequence[int] = ()) -> Remainder | None:
    """A site without the first token of each sample, without some channels, or without both.

    Args:
        totals: of the site.
        first_tokens: how many tokens are at position 0 (once per sample and visit); 0 keeps them.
        channels: numbers of the channels that are left out.

    Returns:
        What remains; None without a histogram or a finite element, or where what tells them apart was not measured.
    """
    if not totals.has_histogram or not totals.finite or not totals.has("channel_max", "top", "tokens", "extremes"):
        return None
    top, kept = totals.top, np.setdiff1d(np.arange(totals.width), channels)
    gone = np.isin(top["channel"], channels) | ((top["position"] == 0) & (first_tokens > 0))
    bound = float(totals.channel_max[kept].max()) if len(kept) else 0.0
    is_exact = not first_tokens
    if first_tokens:
        stays = np.flatnonzero(~gone)
        if len(stays):
            bound, is_exact = abs(float(top["value"][stays[0]])), True
        elif len(top):
            bound = min(bound, abs(float(top["value"][-1])) if len(top) == TOP_K else 0.0)
    histogram = _without(totals, bound, top[gone])
    limits = (float(totals.extremes[0]), float(totals.extremes[1])) if not channels and not first_tokens else None
    left = Distribution(totals.dtype, histogram, limits)
    removed = totals.finite - left.count
    outside = first_tokens * totals.width + len(set(channels)) * max(int(totals.tokens) - first_tokens, 0)
    return Remainder(left, removed, min(max(outside - removed, 0), left.count), is_exact)


def remainder_error(remainder: Remainder, scheme: Scheme, threshold: float) -> Bounded:
    """The error of what remains under a scheme with this threshold.

    The bounds are the least and the largest SQNR that any choice of the uncertain elements leaves.
    """
    distribution = remainder.distribution
    error = error_of(scheme, distribution, threshold)
    if not remainder.uncertain or error.is_zero or error.rmse == 0:
        return Bounded(error, error.sqnr_db, error.sqnr_db)
    values, counts = _signed(distribution)
    signal = values**2
    squares = (fake_quantise(values, scheme, threshold, distribution) - values) ** 2
    lowest = _extreme_ratio(signal, squares, counts, remainder.uncertain, 1.0)
    highest = _extreme_ratio(signal, squares, counts, remainder.uncertain, -1.0)
    return Bounded(error, _db(lowest), _db(highest))


def _without(totals: SiteTotals, bound: float, listed: NDArray[np.void]) -> NDArray[np.int64]:
    """The histogram without what is larger than `bound`, and without those of the listed elements that are not."""
    histogram = totals.histogram.copy()
    values = magnitude_values(totals.dtype)
    last = int(np.searchsorted(values[np.isfinite(values)], bound, "right"))
    if totals.dtype == "float32":
        last = max(last, _pattern(np.array([bound]), totals.dtype)[0] + 1)
    finite = int(np.isfinite(values).sum())
    histogram[last:finite] = histogram[MAGNITUDES + last : MAGNITUDES + finite] = 0
    small = listed["value"][np.abs(listed["value"]) <= bound]
    if len(small):
        patterns = _pattern(np.abs(small), totals.dtype) + np.where(np.signbit(small), SIGN_BIT, 0)
        np.subtract.at(histogram, patterns, 1)
    return np.maximum(histogram, 0)


def _pattern(magnitudes: NDArray[np.float64], dtype: str) -> NDArray[np.int64]:
    if dtype == "float16":
        return magnitudes.astype(np.float16).view(np.uint16).astype(np.int64)
    return (magnitudes.astype(np.float32).view(np.uint32) >> 16).astype(np.int64)


def _signed(distribution: Distribution) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    positive, negative = distribution.by_sign
    return (
        np.concatenate([positive.magnitudes, -negative.magnitudes]),
        np.concatenate([positive.counts, negative.counts]),
    )


def _extreme_ratio(
    signal: NDArray[np.float64], squares: NDArray[np.float64], counts: NDArray[np.float64], number: int, sign: float
) -> float:
    """The least (sign 1) or largest (-1) signal over error when up to `number` elements are taken out.

    Dinkelbach's method: for a ratio r the best elements to take out are those with the largest signal - r * error;
    the ratio that remains is the next r.
    """
    total, wrong = float(signal @ counts), float(squares @ counts)
    ratio = total / wrong
    for _ in range(_ROUNDS):
        weight = sign * (signal - ratio * squares)
        order = np.argsort(-weight)
        before = np.cumsum(counts[order]) - counts[order]
        taken = np.where(weight[order] > 0, np.clip(number - before, 0.0, counts[order]), 0.0)
        left, left_wrong = total - float(signal[order] @ taken), wrong - float(squares[order] @ taken)
        if left_wrong <= _NOTHING * wrong:
            return math.inf
        found = max(left, 0.0) / left_wrong
        if abs(found - ratio) <= _CLOSE * ratio:
            break
        ratio = found
    return ratio


def _db(ratio: float) -> float:
    return 10 * math.log10(ratio) if 0 < ratio < math.inf else (math.inf if ratio else -math.inf)
