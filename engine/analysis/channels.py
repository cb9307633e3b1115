"""Which channels are large, and whether in few tokens (massive activation) or in most (outlier feature).

- `ChannelSummary`  one channel that stands out
- `census`          all of them, the largest first
- `channel_maxima`  max|x| of every channel, unknown where nothing finite may have been seen

Thresholds that are not a rung of the census ladder are bracketed by the rungs around them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from engine.analysis.verdicts import Bracket
from engine.statistics.totals import CENSUS_LADDER, SUN_MAGNITUDE, TOP_K, SiteTotals

ChannelKind = Literal["massive", "outlier", "mixed"]

FEW_TOKENS = 0.1
MOST_TOKENS = 0.5
# LLM.int8() (arXiv 2208.07339) calls |x| >= 6 an outlier where activations have unit scale. The scale is taken from
# the median, 0.6745 standard deviations of a normal distribution, because massive activations inflate the rms.
OUTLIER_MEDIANS = 6.0 / 0.6745


@dataclass(frozen=True, slots=True)
class ChannelSummary:
    """One channel that stands out.

    Attributes:
        channel: its number.
        magnitude: max|x| of the channel.
        kind: `massive`: above the massive threshold in at most 10 % of the tokens; `outlier`: above 100 and 8.9
            x the site's median in at least half of the tokens; `mixed`: neither, or the bounds do not tell.
        massive_tokens: tokens in which |x| is above the massive threshold.
        large_tokens: tokens in which |x| is above 100 and 8.9 x the site's median.
        tokens: all tokens of the site.
    """

    channel: int
    magnitude: float
    kind: ChannelKind
    massive_tokens: Bracket
    large_tokens: Bracket
    tokens: int


def census(totals: SiteTotals, threshold: float, median: float) -> tuple[ChannelSummary, ...] | None:
    """The channels above `threshold` somewhere, or large in most tokens; the largest first.

    Args:
        totals: of the site.
        threshold: |x| above which an element is massive.
        median: of |x| over the site, NaN if unknown (then 100 alone decides what is large).

    Returns:
        None where channels were not counted at this site, or what tells them apart was not measured, or no element
        is finite.
    """
    if totals.nonfinite.any() and not totals.finite:
        return None
    if totals.channel_tokens.shape[1] == 0 or not totals.has("channel_tokens", "channel_max", "tokens"):
        return None
    tokens = int(totals.tokens)
    floor = SUN_MAGNITUDE if math.isnan(median) else max(SUN_MAGNITUDE, OUTLIER_MEDIANS * median)
    massive, large = _tokens_over(totals, threshold), _tokens_over(totals, floor)
    standing_out = (totals.channel_max > threshold) | ((large[0] >= MOST_TOKENS * tokens) & (tokens > 0))
    found = np.flatnonzero(standing_out)
    order = found[np.argsort(-totals.channel_max[found], kind="stable")]
    return tuple(_summary(totals, int(c), massive[:, c], large[:, c]) for c in order)


def channel_maxima(totals: SiteTotals) -> NDArray[np.float64]:
    """max|x| of each channel, float64 [D], NaN where nothing finite may have been seen.

    Zero is the maximum of zeros, and what is kept of a channel without a finite element. It is taken for the latter
    where the site's NaN and infinities are enough to fill a channel: one for each token.
    """
    maxima = totals.channel_max.astype(np.float64)
    # An array that was not measured is zero: unknown tokens are as few as any.
    bad = int(totals.nonfinite.sum())
    may_be_full = bad > 0 and bad >= int(totals.tokens)
    return np.where((maxima == 0) & may_be_full, np.nan, maxima)


def _summary(totals: SiteTotals, channel: int, massive: NDArray[np.int64], large: NDArray[np.int64]) -> ChannelSummary:
    tokens = int(totals.tokens)
    kind: ChannelKind = "mixed"
    if large[0] >= MOST_TOKENS * tokens:
        kind = "outlier"
    elif massive[0] > 0 and massive[1] <= max(1.0, FEW_TOKENS * tokens):
        kind = "massive"
    return ChannelSummary(
        channel=channel,
        magnitude=float(totals.channel_max[channel]),
        kind=kind,
        massive_tokens=Bracket(int(massive[0]), int(massive[1])),
        large_tokens=Bracket(int(large[0]), int(large[1])),
        tokens=tokens,
    )


def _tokens_over(totals: SiteTotals, threshold: float) -> NDArray[np.int64]:
    """Bounds of the tokens per channel with |x| > threshold, int64 [2, D]."""
    above = int(np.searchsorted(CENSUS_LADDER, threshold, side="left"))
    below = int(np.searchsorted(CENSUS_LADDER, threshold, side="right")) - 1
    everyone = np.full(totals.width, int(totals.tokens))
    lower = totals.channel_tokens[above] if above < len(CENSUS_LADDER) else np.zeros(totals.width, np.int64)
    upper = totals.channel_tokens[below] if below >= 0 else everyone
    listed = _listed_tokens(totals, threshold)
    # The maximum says whether there is at least one, and a list that reaches below the threshold has them all.
    lower = np.maximum.reduce([lower, listed, (totals.channel_max > threshold).astype(np.int64)])
    upper = np.where(totals.channel_max > threshold, upper, 0)
    if totals.has("top") and (len(totals.top) < TOP_K or abs(totals.top["value"][-1]) <= threshold):
        upper = listed
    return np.stack([lower, np.maximum(lower, upper)])


def _listed_tokens(totals: SiteTotals, threshold: float) -> NDArray[np.int64]:
    listed = totals.top[np.abs(totals.top["value"]) > threshold]
    return np.bincount(listed["channel"], minlength=totals.width).astype(np.int64)
