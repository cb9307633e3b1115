"""One site in numbers: every per-site field, from its totals alone.

- `TopEntry`, `TopList`  one of the largest |x| with its address; all of a site's
- `NonFinite`    how many elements were not finite, and where the first
- `SiteSummary`  all fields of a site
- `summarise`    totals -> summary
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
from numpy.typing import NDArray

from engine.analysis.channels import ChannelSummary, census
from engine.analysis.verdicts import LayerVerdict, TokenVerdict, judge_layer, judge_token
from engine.statistics.patterns import is_exact, moments, quantiles
from engine.statistics.totals import ARRAY_FIELDS, SiteTotals

LEVELS = (0.25, 0.5, 0.75, 0.9, 0.99, 0.999, 0.9999)


@dataclass(frozen=True, slots=True)
class TopEntry:
    """One of the largest |x|: the signed value, its sample, token position and channel."""

    value: float
    sample: int
    position: int
    channel: int


class TopList(Sequence[TopEntry]):
    """Entries kept as the array they come from: those of a thousand sites are 2 MB instead of 14.

    Args:
        entries: TOP_DTYPE; must not be changed afterwards.
    """

    __slots__ = ("_entries",)

    def __init__(self, entries: NDArray[np.void]) -> None:
        self._entries = entries

    def __len__(self) -> int:
        return len(self._entries)

    @overload
    def __getitem__(self, place: int) -> TopEntry: ...
    @overload
    def __getitem__(self, place: slice) -> TopList: ...
    def __getitem__(self, place: int | slice) -> TopEntry | TopList:
        if isinstance(place, slice):
            return TopList(self._entries[place])
        return TopEntry(*self._entries[place].item())

    def __iter__(self) -> Iterator[TopEntry]:
        return (TopEntry(*entry) for entry in self._entries.tolist())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TopList) and bool(np.array_equal(self._entries, other._entries))

    def __hash__(self) -> int:
        return hash(self._entries.tobytes())


@dataclass(frozen=True, slots=True)
class NonFinite:
    """Elements that are not finite; they are in no other field.

    Attributes:
        nan, positive_infinity, negative_infinity: how many.
        sample, position, channel: the lowest address among them, -1 if there is none.
    """

    nan: int
    positive_infinity: int
    negative_infinity: int
    sample: int
    position: int
    channel: int

    @property
    def count(self) -> int:
        """All of them."""
        return self.nan + self.positive_infinity + self.negative_infinity


@dataclass(frozen=True, slots=True)
class SiteSummary:
    """Every field of one site. Population: finite elements of valid tokens. Unknown numbers are NaN.

    Attributes:
        dtype: activation dtype.
        width: elements per token.
        exact: whether quantiles, median, zero share and token counts are exact (16-bit dtypes); for float32 they
            are known to a relative 2^-7. Extremes, moments and the top list are exact for every dtype.
        measured: False in lean detail, where moments, quantiles and medians were not taken.
        tokens: valid tokens; None where they were not counted.
        count: finite elements; None where neither they nor a histogram are known.
        max, min: signed extremes.
        magnitude: M_site = max(|max|, |min|).
        mean, std, abs_mean, rms: moments; std is the population's.
        kurtosis: fourth standardised moment (3 for a normal distribution).
        crest: magnitude / rms.
        zero_share: share of exact zeros (float32: |x| < 2^-133).
        abs_q25 ... abs_q9999: quantiles of |x|; `abs_median` is the lower median.
        nonfinite: the alarm; None where it was not measured.
        sun_layer, sun_token: Sun's criterion by the two medians.
        top: the largest |x|, at most 100, largest first.
        channels: channels that stand out; None where they were not counted.
        not_measured: names of the arrays that the session does not hold; what follows from them is unknown.
    """

    dtype: str
    width: int
    exact: bool
    measured: bool
    tokens: int | None
    count: int | None
    max: float
    min: float
    magnitude: float
    mean: float
    std: float
    abs_mean: float
    rms: float
    kurtosis: float
    crest: float
    zero_share: float
    abs_q25: float
    abs_median: float
    abs_q75: float
    abs_q90: float
    abs_q99: float
    abs_q999: float
    abs_q9999: float
    nonfinite: NonFinite | None
    sun_layer: LayerVerdict
    sun_token: TokenVerdict
    top: TopList
    channels: tuple[ChannelSummary, ...] | None
    not_measured: tuple[str, ...] = ()


def summarise(totals: SiteTotals) -> SiteSummary:
    """Every field of the site these totals were kept of."""
    nan = math.nan
    highest, lowest = totals.extremes.tolist() if np.isfinite(totals.extremes).all() else (nan, nan)
    magnitude = max(abs(highest), abs(lowest))
    found = moments(totals)
    rms = found.rms if found else nan
    layer = judge_layer(totals, magnitude)
    # The middle of a float32 pattern can lie beyond the largest element in it.
    levels = np.minimum(quantiles(totals.dtype, totals.histogram, LEVELS), magnitude).tolist()
    return SiteSummary(
        dtype=totals.dtype,
        width=totals.width,
        exact=is_exact(totals.dtype),
        measured=totals.has_histogram,
        tokens=int(totals.tokens) if totals.has("tokens") else None,
        count=totals.finite if totals.has("tokens", "nonfinite") or totals.has_histogram else None,
        max=highest,
        min=lowest,
        magnitude=magnitude,
        mean=found.mean if found else nan,
        std=found.std if found else nan,
        abs_mean=found.abs_mean if found else nan,
        rms=rms,
        kurtosis=found.kurtosis if found else nan,
        crest=magnitude / rms if rms > 0 else nan,
        zero_share=found.zeros / found.count if found else nan,
        abs_q25=levels[0],
        abs_median=levels[1],
        abs_q75=levels[2],
        abs_q90=levels[3],
        abs_q99=levels[4],
        abs_q999=levels[5],
        abs_q9999=levels[6],
        nonfinite=_nonfinite(totals),
        sun_layer=layer,
        sun_token=judge_token(totals, magnitude),
        top=TopList(totals.top),
        channels=census(totals, layer.threshold, layer.median),
        not_measured=tuple(name for name in ARRAY_FIELDS if name in totals.missing),
    )


def _nonfinite(totals: SiteTotals) -> NonFinite | None:
    if not totals.has("nonfinite"):
        return None
    return NonFinite(*(int(n) for n in totals.nonfinite), *(int(n) for n in totals.nonfinite_address))
