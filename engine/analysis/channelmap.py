"""The largest channels of one component, layer by layer.

- `ChannelMap`   max|x| of each of them at each site, with the element that is it
- `channel_map`  from a session, as of its last checkpoint
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.analysis.channels import channel_maxima
from engine.analysis.site import TopEntry
from engine.session.reader import SessionReader


@dataclass(frozen=True, slots=True, eq=False)
class ChannelMap:
    """The K channels with the largest |x| at any of R sites, the largest first.

    Attributes:
        sites: number of each site.
        channels: int64 [K].
        maxima: float32 [R, K], max|x| of the channel at the site; NaN where the site has seen nothing, may have seen
            nothing finite in this channel, or has another number of channels than most.
        width: channels there are, 0 where nothing was seen.
        entries: of each site the largest element of each channel that is among the site's 100 largest.
        checkpoint: number of the checkpoint.
        tokens: seen by the run at that checkpoint.
    """

    sites: tuple[int, ...]
    channels: NDArray[np.int64]
    maxima: NDArray[np.float32]
    width: int
    entries: tuple[Mapping[int, TopEntry], ...]
    checkpoint: int
    tokens: int

    def holds_the_same(self, other: ChannelMap) -> bool:
        """Whether both are of the same channels, in whatever order."""
        return set(self.channels.tolist()) == set(other.channels.tolist())

    def in_order_of(self, other: ChannelMap) -> ChannelMap:
        """The same with the channels in the order of another map of the same channels."""
        places = {channel: place for place, channel in enumerate(self.channels.tolist())}
        order = [places[channel] for channel in other.channels.tolist()]
        return replace(self, channels=self.channels[order], maxima=self.maxima[:, order])


def channel_map(reader: SessionReader, sites: Sequence[int], count: int) -> ChannelMap:
    """The `count` largest channels over these sites; ties go to the lower channel."""
    with reader.snapshot():
        held = [reader.some_totals(site, ("channel_max", "top", "tokens", "nonfinite")) for site in sites]
        rows = [channel_maxima(one) if one is not None and one.has("channel_max") else None for one in held]
        entries = tuple(_first_of_each(one.top if one is not None else None) for one in held)
        checkpoint, saved = reader.checkpoint_number(), reader.checkpoint_status()
    widths = Counter(len(row) for row in rows if row is not None)
    width = widths.most_common(1)[0][0] if widths else 0
    maxima = np.full((len(rows), width), np.nan, np.float32)
    for number, row in enumerate(rows):
        if row is not None and len(row) == width:
            maxima[number] = row
    overall = np.nan_to_num(maxima, nan=-1.0).max(axis=0, initial=-1.0)
    channels = np.argsort(-overall, kind="stable")[:count]
    return ChannelMap(
        sites=tuple(sites),
        channels=channels.astype(np.int64),
        maxima=maxima[:, channels],
        width=width,
        entries=entries,
        checkpoint=checkpoint,
        tokens=saved.tokens_done if saved is not None else 0,
    )


def _first_of_each(top: NDArray[Any] | None) -> Mapping[int, TopEntry]:
    """The largest element of each channel in a list that begins with the largest."""
    found: dict[int, TopEntry] = {}
    for entry in top.tolist() if top is not None else ():
        one = TopEntry(*entry)
        found.setdefault(one.channel, one)
    return found
