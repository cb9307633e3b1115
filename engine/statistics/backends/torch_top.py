"""The hundred largest |x| of a site, with addresses, and medians of rows, in torch.

An element of the top hundred lies in one of the hundred rows with the largest maxima, so only those are looked
through. Order is by key, then by lowest row and channel, packed into one int64 so that `topk` has no ties to break.

- `lower_medians`  of the keys of each row
- `update_top`     merge the top of one tensor into the state, and the median of its first token
"""

from __future__ import annotations

import numpy as np
import torch

from engine.statistics.rows import Rows
from engine.statistics.state import (
    CHANNEL_BITS,
    NO_ADDRESS,
    PEAK_MEDIAN,
    TOP_ADDRESSES,
    TOP_KEYS,
    SiteState,
    token_address,
)
from engine.statistics.totals import TOP_K

PLACE_BITS = 32
LAST_PLACE = (1 << PLACE_BITS) - 1


def lower_medians(keys: torch.Tensor, has_bad: bool) -> torch.Tensor:
    """Lower median of the keys of each row, [m, D] -> int32 [m], of those that are not -1."""
    if has_bad:
        bad = keys < 0
        finite = keys.shape[1] - bad.sum(1, keepdim=True)
        # So many stand-ins below and the rest above leave the middle of the row in the middle of its finite keys.
        below = (keys.shape[1] - 1) // 2 - (finite - 1) // 2
        above = bad & (bad.cumsum(1) > below)
        keys = keys.masked_fill(above, torch.iinfo(keys.dtype).max)
    return keys.median(1).values.to(torch.int32)


def update_top(
    state: SiteState,
    bits: torch.Tensor,
    keys: torch.Tensor,
    token_keys: torch.Tensor,
    rows: Rows,
    has_bad: bool,
    dense: bool,
) -> None:
    """Merge the largest |x| of one tensor into the state.

    Args:
        state: of the site.
        bits: integers [n, D], for the signs.
        keys: [n, D], -1 where not finite.
        token_keys: int32 [n], the largest key of each row, -1 if it has none.
        rows: whose rows these are.
        has_bad: whether any key may be -1.
        dense: do not look whether anything beats the current list.
    """
    held = state.integers[TOP_KEYS]
    if not dense and int(token_keys.numpy().max()) < int(held[-1].numpy()):
        return
    largest, place = _largest(keys, token_keys) if dense else _largest_above(keys, token_keys, int(held[-1].numpy()))
    if not len(largest):
        return
    row, channel = torch.div(place, state.width, rounding_mode="floor"), place % state.width
    negative = bits.reshape(-1).index_select(0, place) < 0
    element = (token_address(rows.sample[row], rows.position[row]) << CHANNEL_BITS) | channel
    address = torch.where(largest < 0, NO_ADDRESS, (element << 1) | negative)
    _update_peak_median(state, keys.index_select(0, row[:1]), largest[0], address[0], has_bad)
    all_keys = torch.cat([held, largest])
    all_addresses = torch.cat([state.integers[TOP_ADDRESSES], address])
    order = all_addresses.argsort(stable=True)
    order = order[all_keys[order].argsort(stable=True, descending=True)][:TOP_K]
    state.integers[TOP_KEYS] = all_keys[order]
    state.integers[TOP_ADDRESSES] = all_addresses[order]


def _largest(keys: torch.Tensor, token_keys: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The largest keys (int64, descending, lowest place first) and their places row * D + channel."""
    count, width = keys.shape
    rank = torch.arange(count - 1, -1, -1, device=keys.device)
    packed = (token_keys.to(torch.int64) << PLACE_BITS) | rank
    row = count - 1 - (packed.topk(min(TOP_K, count)).values & LAST_PLACE)
    place = row[:, None] * width + torch.arange(width, device=keys.device)
    packed = (keys.index_select(0, row).to(torch.int64) << PLACE_BITS) | (LAST_PLACE - place)
    best = packed.view(-1).topk(min(TOP_K, packed.numel())).values
    return best >> PLACE_BITS, LAST_PLACE - (best & LAST_PLACE)


def _largest_above(keys: torch.Tensor, token_keys: torch.Tensor, least: int) -> tuple[torch.Tensor, torch.Tensor]:
    """As `_largest`, without those below a key: on the CPU, where the few that remain can be picked out."""
    tokens = token_keys.numpy()
    if len(tokens) >= TOP_K:
        # A hundred rows reach this key, so the hundred largest do.
        least = max(least, int(np.partition(tokens, -TOP_K)[-TOP_K]))
    row = np.flatnonzero(tokens >= max(least, 0))
    if len(row) > TOP_K:
        row = np.sort(row[np.argsort(-tokens[row], kind="stable")[:TOP_K]])
    near = keys.index_select(0, torch.from_numpy(row)).numpy()
    line, channel = np.nonzero(near >= max(least, 0))
    found = near[line, channel].astype(np.int64)
    order = np.argsort(-found, kind="stable")[:TOP_K]
    place = row[line[order]] * keys.shape[1] + channel[order]
    return torch.from_numpy(found[order]), torch.from_numpy(place)


def _update_peak_median(
    state: SiteState, row: torch.Tensor, key: torch.Tensor, address: torch.Tensor, has_bad: bool
) -> None:
    held_key, held_address = state.integers[TOP_KEYS][0], state.integers[TOP_ADDRESSES][0]
    better = (key > held_key) | ((key == held_key) & (address < held_address))
    median = state.format.values(lower_medians(row, has_bad))[0]
    state.reals[PEAK_MEDIAN] = torch.where(better, median, state.reals[PEAK_MEDIAN])
