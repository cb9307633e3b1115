"""The sweep in eager torch: on every device, and the judge of the faster backends.

All comparisons are made on integers (keys, see `engine.statistics.state`), so the outcome does not depend on the
device. Two ways through: on the CPU rare work (rows above 100, non-finite rows, a new top entry) is done only for
the rows that need it, because reading a number there costs nothing; elsewhere everything is done for all rows
(`dense`), because looking would wait for the device.

- `backend`        the instance `choose_backend` hands out
- `TorchBackend`   the sweep
- `log_edge_keys`  the reference's bin edges as keys
"""

from __future__ import annotations

from functools import cache
from typing import Final

import numpy as np
import torch

from engine.statistics.backends.torch_top import lower_medians, update_top
from engine.statistics.patterns import LOG_EDGES
from engine.statistics.rows import Rows
from engine.statistics.state import (
    CHANNEL_BITS,
    EXTREMES,
    NO_ADDRESS,
    NONFINITE,
    NONFINITE_ADDRESS,
    PIVOT,
    POWER_SUMS,
    RATIO_SUMS,
    SUN_ADDRESS,
    SUN_RATIO,
    SUN_TOKENS,
    SiteState,
    token_address,
)
from engine.statistics.totals import CENSUS_RUNGS, LOG_BINS, PATTERNS, SUN_MAGNITUDE
from engine.statistics.totals import SUN_RATIO as SUN_FACTOR

CHUNK: Final = 1 << 22  # elements widened to float64 or int64 at a time


class TorchBackend:
    """The sweep in eager torch.

    Args:
        dense: treat all rows alike and read nothing back; None decides by the device (only the CPU reads).
    """

    name = "torch"

    def __init__(self, *, dense: bool | None = None) -> None:
        self._dense = dense

    def sweep(self, state: SiteState, x: torch.Tensor, rows: Rows) -> None:
        """See `engine.statistics.backends.Backend`."""
        dense = x.device.type != "cpu" if self._dense is None else self._dense
        if rows.index is not None:
            x = x.index_select(0, rows.index)
        form = state.format
        bits = x.view(form.integer_type)
        keys = torch.bitwise_and(bits, form.magnitude_mask)
        token_keys = keys.amax(1)
        has_bad = dense or bool((token_keys.numpy() >= form.infinity).any())
        if has_bad:
            token_keys = _set_nonfinite_aside(state, bits, keys, token_keys, rows, dense)
        torch.maximum(state.channel_keys, keys.amax(0).to(torch.int32), out=state.channel_keys)
        _update_extremes(state, x, keys if has_bad else None)
        if state.detail != "lean":
            _count_patterns(state, bits, dense)
            if form.name == "float32":
                _add_powers(state, x, keys if has_bad else None)
        if len(state.log_histogram):
            _count_log_bins(state, keys)
        token_keys = token_keys.to(torch.int32)
        _update_tokens(state, token_keys, rows)
        _judge_tokens(state, keys, token_keys, rows, has_bad, dense)
        if state.census:
            _take_census(state, keys, token_keys, dense)
        update_top(state, bits, keys, token_keys, rows, has_bad, dense)
        state.tokens += len(token_keys)


@cache
def backend() -> TorchBackend:
    """The shared instance; it keeps nothing between calls."""
    return TorchBackend()


def _rows_where(mask: torch.Tensor, dense: bool) -> torch.Tensor | None:
    """Row numbers where `mask` holds, on the CPU; None, meaning all rows, where reading would wait."""
    return None if dense else torch.from_numpy(np.flatnonzero(mask.numpy()))


def _first(mask: torch.Tensor) -> torch.Tensor:
    """Number of the first true element, int64 scalar; the length if there is none."""
    numbers = torch.arange(len(mask), device=mask.device)
    return torch.where(mask, numbers, len(mask)).min()


def _pick(row: torch.Tensor, of: torch.Tensor) -> torch.Tensor:
    """of[row] for an index on the device, the last row if it lies beyond."""
    return of.index_select(0, row.clamp(max=len(of) - 1).view(1))[0]


def _set_nonfinite_aside(
    state: SiteState, bits: torch.Tensor, keys: torch.Tensor, token_keys: torch.Tensor, rows: Rows, dense: bool
) -> torch.Tensor:
    """Count non-finite elements, give them key -1 in place, and return the token keys without them."""
    infinity = state.format.infinity
    some = _rows_where(token_keys >= infinity, dense)
    near = keys if some is None else keys.index_select(0, some)
    signs = bits if some is None else bits.index_select(0, some)
    bad = near >= infinity
    infinite = near == infinity
    negative = (infinite & (signs < 0)).sum()
    state.integers[NONFINITE] += torch.stack([(near > infinity).sum(), infinite.sum() - negative, negative])
    has_bad = bad.any(1)
    first = _first(has_bad)
    row = first.clamp(max=len(near) - 1) if some is None else some[first.clamp(max=max(len(some) - 1, 0))]
    address = (token_address(_pick(row, rows.sample), _pick(row, rows.position)) << CHANNEL_BITS) | _first(
        _pick(first, bad)
    )
    address = torch.where(first < len(near), address, NO_ADDRESS)
    state.integers[NONFINITE_ADDRESS] = torch.minimum(state.integers[NONFINITE_ADDRESS], address)
    near.masked_fill_(bad, -1)
    if some is None:
        return near.amax(1)
    keys.index_copy_(0, some, near)
    return token_keys.index_copy(0, some, near.amax(1))


def _update_extremes(state: SiteState, x: torch.Tensor, keys: torch.Tensor | None) -> None:
    if keys is None:
        low, high = torch.aminmax(x)
    else:
        bad = keys < 0
        low, high = x.masked_fill(bad, torch.inf).amin(), x.masked_fill(bad, -torch.inf).amax()
    extremes = state.reals[EXTREMES]
    extremes[0] = torch.maximum(extremes[0], high.to(torch.float64))
    extremes[1] = torch.minimum(extremes[1], low.to(torch.float64))


def _count_patterns(state: SiteState, bits: torch.Tensor, dense: bool) -> None:
    shift, flat = state.format.pattern_shift, bits.view(-1)
    for part in flat.split(4 * CHUNK):
        # Widening int32 to int32 would be x itself, so the first step must make the copy.
        pattern = (part >> shift if shift else part.to(torch.int32)).bitwise_and_(PATTERNS - 1)
        if dense:
            one = torch.ones(1, dtype=torch.int32, device=bits.device)
            state.histogram.index_add_(0, pattern, one.expand(len(pattern)))
        else:
            state.histogram += torch.bincount(pattern, minlength=PATTERNS)


def _add_powers(state: SiteState, x: torch.Tensor, keys: torch.Tensor | None) -> None:
    """Sums of (x - pivot)^1..4 and |x|; the pivot is the mean of the first row the site ever sees."""
    if not state.pivot_is_set:
        state.choose_pivot(x[0])
    pivot = state.reals[PIVOT]
    flat = x.reshape(-1)
    for start in range(0, len(flat), CHUNK):
        wide = flat[start : start + CHUNK].to(torch.float64)
        shifted = wide - pivot
        if keys is not None:
            bad = keys.view(-1)[start : start + CHUNK] < 0
            wide.masked_fill_(bad, 0)
            shifted.masked_fill_(bad, 0)
        squared = shifted * shifted
        sums = [
            shifted.sum(),
            squared.sum(),
            torch.dot(squared, shifted),
            torch.dot(squared, squared),
            wide.abs_().sum(),
        ]
        state.reals[POWER_SUMS] += torch.stack(sums)


@cache
def log_edge_keys(device: torch.device) -> torch.Tensor:
    """Key of the smallest float32 at or above each inner edge of the reference's bins."""
    edges = LOG_EDGES[1:LOG_BINS]
    near = edges.astype(np.float32)
    above = np.where(near < edges, np.nextafter(near, np.float32(np.inf)), near)
    return torch.from_numpy(above.view(np.int32)).to(device)


def _count_log_bins(state: SiteState, keys: torch.Tensor) -> None:
    edges = log_edge_keys(keys.device)
    counts = torch.zeros(LOG_BINS + 1, dtype=torch.int32, device=keys.device)
    for part in keys.view(-1).split(CHUNK):
        bins = torch.bucketize(part, edges, right=True, out_int32=True).masked_fill_(part <= 0, LOG_BINS)
        counts.index_add_(0, bins, torch.ones(1, dtype=torch.int32, device=keys.device).expand(len(bins)))
    state.log_histogram += counts[:LOG_BINS]


def _update_tokens(state: SiteState, token_keys: torch.Tensor, rows: Rows) -> None:
    state.sample_keys.scatter_reduce_(0, rows.sample.to(torch.int64), token_keys, "amax")
    pattern = token_keys.clamp(min=0) >> state.format.pattern_shift
    state.token_maxima.index_add_(0, pattern, (token_keys >= 0).to(torch.int32))


def _judge_tokens(
    state: SiteState, keys: torch.Tensor, token_keys: torch.Tensor, rows: Rows, has_bad: bool, dense: bool
) -> None:
    """Sun's criterion by the token median, for tokens above 100, in compat for all."""
    if state.detail == "lean":
        return
    judged = token_keys >= 0 if state.judges_all else token_keys > state.format.ladder[0]
    some = _rows_where(judged, dense)
    sample, position = rows.sample, rows.position
    if some is not None:
        if not len(some):
            return
        if len(some) < len(keys):
            keys, token_keys = keys.index_select(0, some), token_keys.index_select(0, some)
            sample, position = sample.index_select(0, some), position.index_select(0, some)
        judged = torch.ones(1, dtype=torch.bool)
    maxima, medians = state.format.values(token_keys), state.format.values(lower_medians(keys, has_bad))
    ratios = torch.where(maxima == 0, 0.0, maxima / medians)
    massive = judged & (maxima > SUN_MAGNITUDE) & (maxima > SUN_FACTOR * medians)
    state.integers[SUN_TOKENS] += massive.sum()
    ratios = torch.where(judged, ratios, -1.0)
    best = ratios.max()
    row = _first(ratios == best)
    address = torch.where(best < 0, NO_ADDRESS, token_address(_pick(row, sample), _pick(row, position)))
    kept = state.reals[SUN_RATIO]
    better = (best > kept[0]) | ((best == kept[0]) & (address < state.integers[SUN_ADDRESS]))
    kept.copy_(torch.where(better, torch.stack([best, _pick(row, maxima), _pick(row, medians)]), kept))
    state.integers[SUN_ADDRESS] = torch.where(better, address, state.integers[SUN_ADDRESS])
    if state.judges_all:
        counted = (ratios >= 0) & (ratios < torch.inf)
        ratios = torch.where(counted, ratios, 0.0)
        state.reals[RATIO_SUMS] += torch.stack([counted.sum().to(torch.float64), ratios.sum(), ratios.square().sum()])


@cache
def _rungs(ladder: tuple[int, ...], device: torch.device) -> torch.Tensor:
    """The ladder on a device, where a fresh upload would wait."""
    return torch.tensor(ladder, dtype=torch.int32, device=device)


def _take_census(state: SiteState, keys: torch.Tensor, token_keys: torch.Tensor, dense: bool) -> None:
    """Per channel, in how many tokens it exceeds each rung; only rows above the first rung matter."""
    ladder = state.format.ladder
    some = _rows_where(token_keys > ladder[0], dense)
    if some is None:
        rungs = _rungs(ladder, keys.device)
        channels = torch.arange(state.width, dtype=torch.int32, device=keys.device)
        counts = torch.zeros((CENSUS_RUNGS + 1) * state.width, dtype=torch.int32, device=keys.device)
        for part in keys.split(max(CHUNK // state.width, 1)):
            place = torch.bucketize(part.to(torch.int32), rungs, out_int32=True) * state.width + channels
            counts.index_add_(
                0, place.view(-1), torch.ones(1, dtype=torch.int32, device=keys.device).expand(place.numel())
            )
        reached = counts.view(CENSUS_RUNGS + 1, state.width)[1:]
        state.channel_tokens += reached.flip(0).cumsum(0).flip(0)
    elif len(some):
        near = keys.index_select(0, some).numpy()
        row, channel = np.nonzero(near > ladder[0])
        rung = np.searchsorted(ladder, near[row, channel])
        counts = np.zeros((CENSUS_RUNGS + 1, state.width), np.int32)
        np.add.at(counts, (rung, channel), 1)
        state.channel_tokens += torch.from_numpy(np.cumsum(counts[:0:-1], 0, dtype=np.int32)[::-1].copy())
