"""The Triton kernels for the hundred largest |x|, and what is concluded at the end of a sweep.

The hundred largest elements lie in the hundred rows with the largest maxima (the first ones among equals), and of
each such row only its own hundred largest can be among them. So ties, however many, need a fixed room: a segment of
candidates for each of a hundred rows. Rows and channels ascend there, so the first among equals is the lowest.

- `choose_rows`       the rows worth looking through; none if the list so far is not reached
- `collect_elements`  their largest elements, one program a row
- `conclude`          the new list and its first token's median, Sun's criterion, signed extremes, power sums
"""

# Triton takes the types of these functions from each launch.
# ruff: noqa: ANN001, ANN201, ANN202, N803
# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-calls, allow-untyped-decorators

from __future__ import annotations

import triton
import triton.language as tl

from engine.statistics import state as _state
from engine.statistics import totals as _totals
from engine.statistics.backends.triton_keys import (
    cut_of_largest,
    element_address,
    lower_median,
    magnitude_mask,
    places_of,
    rows_of,
    take_largest,
    token_address,
    value_of,
)

TOP_K = tl.constexpr(_totals.TOP_K)
TOP_KEYS = tl.constexpr(_state.TOP_KEYS.start)
TOP_ADDRESSES = tl.constexpr(_state.TOP_ADDRESSES.start)
SUN_TOKENS = tl.constexpr(_state.SUN_TOKENS)
SUN_ADDRESS = tl.constexpr(_state.SUN_ADDRESS)
SUN_RATIO = tl.constexpr(_state.SUN_RATIO.start)
RATIO_SUMS = tl.constexpr(_state.RATIO_SUMS.start)
PEAK_MEDIAN = tl.constexpr(_state.PEAK_MEDIAN)
EXTREMES = tl.constexpr(_state.EXTREMES.start)
POWER_SUMS = tl.constexpr(_state.POWER_SUMS.start)
SUN_MAGNITUDE = tl.constexpr(_totals.SUN_MAGNITUDE)
SUN_FACTOR = tl.constexpr(_totals.SUN_RATIO)
# Candidates of one row, in a round number.
SEGMENT = tl.constexpr(128)
# Places in `counters`.
CHOSEN = tl.constexpr(0)
CUT = tl.constexpr(1)
LARGEST = tl.constexpr(2)


@triton.jit(do_not_specialize=["count"], do_not_specialize_on_alignment=["integers"])
def choose_rows(row_keys, count, integers, counters, chosen, INFINITY: tl.constexpr, BLOCK: tl.constexpr):
    """Choose at most TOP_K rows by their maxima, one program.

    Writes counters int32 [3] (rows chosen, the least key worth collecting, the largest key) and chosen int32 [TOP_K],
    ascending.
    """
    largest = tl.full([], -1, tl.int32)
    for start in range(0, count, BLOCK):
        numbers = start + tl.arange(0, BLOCK)
        largest = tl.maximum(largest, tl.max(tl.load(row_keys + numbers, mask=numbers < count, other=-1), 0))
    cut = tl.maximum(tl.load(integers + TOP_KEYS + TOP_K - 1).to(tl.int32), 0)
    found = tl.full([], 0, tl.int32)
    if largest >= cut:
        cut, quota = cut_of_largest(row_keys, count, cut, INFINITY, BLOCK)
        for start in range(0, count, BLOCK):
            numbers = start + tl.arange(0, BLOCK)
            keys = tl.load(row_keys + numbers, mask=numbers < count, other=-1)
            if tl.max(keys, 0) >= cut:
                taken, quota = take_largest(keys, cut, quota, INFINITY)
                tl.store(chosen + found + places_of(taken), numbers, mask=taken)
                found += tl.sum(taken.to(tl.int32), 0)
    tl.store(counters + CHOSEN, found)
    tl.store(counters + CUT, cut)
    tl.store(counters + LARGEST, largest)


@triton.jit(do_not_specialize=["count"], do_not_specialize_on_alignment=["index", "sample", "position"])
def collect_elements(
    x, index, sample, position, count, width, counters, chosen, keys, addresses,
    INFINITY: tl.constexpr, INDEXED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Fill the segment of one chosen row, grid (TOP_K): keys int32 [TOP_K, SEGMENT], -1 where unused; addresses."""
    if tl.program_id(0) < tl.load(counters + CHOSEN):
        number = tl.load(chosen + tl.program_id(0))
        token = token_address(tl.load(sample + number), tl.load(position + number))
        row = x + rows_of(index, number, count, INDEXED) * width
        cut, quota = cut_of_largest(row, width, tl.load(counters + CUT), INFINITY, BLOCK)
        begin = tl.program_id(0) * SEGMENT
        found = tl.full([], 0, tl.int32)
        for start in range(0, width, BLOCK):
            channels = start + tl.arange(0, BLOCK)
            bits = tl.load(row + channels, mask=channels < width, other=-1)
            block = bits.to(tl.int32) & magnitude_mask(INFINITY)
            taken, quota = take_largest(block, cut, quota, INFINITY)
            places = begin + found + places_of(taken)
            address = (element_address(token, channels) << 1) | (bits < 0).to(tl.int64)
            tl.store(keys + places, block, mask=taken)
            tl.store(addresses + places, address, mask=taken)
            found += tl.sum(taken.to(tl.int32), 0)
        slots = tl.arange(0, SEGMENT)
        tl.store(keys + begin + slots, -1, mask=slots >= found)


@triton.jit
def _list_candidates(
    integers, counters, chosen, keys, addresses, list_keys, list_addresses, list_rows,
    INFINITY: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The list so far and behind it the TOP_K largest candidates, with their rows (-1 in the list so far).

    Returns how many there are; list_keys int32, list_addresses int64, list_rows int32 [2 * TOP_K].
    """
    slots = tl.arange(0, SEGMENT)
    held = slots < TOP_K
    tl.store(list_keys + slots, tl.load(integers + TOP_KEYS + slots, mask=held, other=0).to(tl.int32), mask=held)
    tl.store(list_addresses + slots, tl.load(integers + TOP_ADDRESSES + slots, mask=held, other=0), mask=held)
    tl.store(list_rows + slots, -1, mask=held)
    listed = tl.full([], TOP_K, tl.int32)
    length = tl.load(counters + CHOSEN) * SEGMENT
    cut, quota = cut_of_largest(keys, length, tl.load(counters + CUT), INFINITY, BLOCK)
    for start in range(0, length, BLOCK):
        places = start + tl.arange(0, BLOCK)
        block = tl.load(keys + places, mask=places < length, other=-1)
        if tl.max(block, 0) >= cut:
            taken, quota = take_largest(block, cut, quota, INFINITY)
            slot = listed + places_of(taken)
            tl.store(list_keys + slot, block, mask=taken)
            tl.store(list_addresses + slot, tl.load(addresses + places, mask=taken, other=0), mask=taken)
            tl.store(list_rows + slot, tl.load(chosen + places // SEGMENT, mask=taken, other=0), mask=taken)
            listed += tl.sum(taken.to(tl.int32), 0)
    return listed


@triton.jit
def _order_list(integers, list_keys, list_addresses, list_rows, listed, MINE: tl.constexpr, THEIRS: tl.constexpr):
    """Put the TOP_K first of the list in their places; the row of the first of all if it is new, else -1.

    A place is how many go before: larger keys, then lower addresses, then (for one element of a token visited
    twice) whoever is listed first.
    """
    new_first = tl.full([], -1, tl.int32)
    for start in range(0, listed, MINE):
        mine = start + tl.arange(0, MINE)
        key = tl.load(list_keys + mine, mask=mine < listed, other=-1)
        address = tl.load(list_addresses + mine, mask=mine < listed, other=0)
        place = tl.where(mine < listed, 0, TOP_K)
        for other in range(0, listed, THEIRS):
            theirs = other + tl.arange(0, THEIRS)
            their_key = tl.load(list_keys + theirs, mask=theirs < listed, other=-2)[None, :]
            their_address = tl.load(list_addresses + theirs, mask=theirs < listed, other=0)[None, :]
            sooner = (their_address == address[:, None]) & (theirs[None, :] < mine[:, None])
            sooner = sooner | (their_address < address[:, None])
            before = (their_key > key[:, None]) | ((their_key == key[:, None]) & sooner)
            place += tl.sum(before.to(tl.int32), 1)
        tl.store(integers + TOP_KEYS + place, key.to(tl.int64), mask=place < TOP_K)
        tl.store(integers + TOP_ADDRESSES + place, address, mask=place < TOP_K)
        new_first = tl.maximum(new_first, tl.max(tl.load(list_rows + mine, mask=place == 0, other=-1), 0))
    return new_first


@triton.jit
def _conclude_sun(
    integers, reals, row_keys, medians, sample, position, count,
    INFINITY: tl.constexpr, SUMMED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Sun's criterion over the judged tokens: how many meet it, which comes nearest; with SUMMED sums of ratios."""
    passed = tl.full([], 0, tl.int32)
    best = tl.full([], -1.0, tl.float64)
    best_number = tl.full([], 0, tl.int32)
    counted = tl.full([], 0, tl.int32)
    ratio_sum = tl.full([], 0.0, tl.float64)
    square_sum = tl.full([], 0.0, tl.float64)
    for start in range(0, count, BLOCK):
        numbers = start + tl.arange(0, BLOCK)
        median_keys = tl.load(medians + numbers, mask=numbers < count, other=-1)
        judged = median_keys >= 0
        median = value_of(tl.maximum(median_keys, 0), INFINITY)
        maximum = value_of(tl.load(row_keys + numbers, mask=judged, other=0), INFINITY)
        massive = judged & (maximum > SUN_MAGNITUDE) & (maximum > median * SUN_FACTOR)
        passed += tl.sum(massive.to(tl.int32), 0)
        ratio = tl.where(median == 0, float("inf"), maximum / tl.where(median == 0, 1.0, median))
        ratio = tl.where(judged, tl.where(maximum == 0, 0.0, ratio), -1.0)
        here = tl.max(ratio, 0)
        if here > best:
            best = here
            best_number = tl.min(tl.where(ratio == here, numbers, 0x7FFFFFFF), 0)
        if SUMMED:
            finite = judged & (ratio < float("inf"))
            kept = tl.where(finite, ratio, 0.0)
            counted += tl.sum(finite.to(tl.int32), 0)
            ratio_sum += tl.sum(kept, 0)
            square_sum += tl.sum(kept * kept, 0)
    tl.store(integers + SUN_TOKENS, tl.load(integers + SUN_TOKENS) + passed)
    if best >= 0:
        address = token_address(tl.load(sample + best_number), tl.load(position + best_number))
        held = tl.load(reals + SUN_RATIO)
        if (best > held) | ((best == held) & (address < tl.load(integers + SUN_ADDRESS))):
            tl.store(integers + SUN_ADDRESS, address)
            tl.store(reals + SUN_RATIO, best)
            tl.store(reals + SUN_RATIO + 1, value_of(tl.load(row_keys + best_number), INFINITY))
            tl.store(reals + SUN_RATIO + 2, value_of(tl.load(medians + best_number), INFINITY))
    if SUMMED:
        tl.store(reals + RATIO_SUMS, tl.load(reals + RATIO_SUMS) + counted.to(tl.float64))
        tl.store(reals + RATIO_SUMS + 1, tl.load(reals + RATIO_SUMS + 1) + ratio_sum)
        tl.store(reals + RATIO_SUMS + 2, tl.load(reals + RATIO_SUMS + 2) + square_sum)


@triton.jit
def _signed_value(ordered, INFINITY: tl.constexpr):
    """The number of an integer that sorts as numbers do, float64."""
    magnitude = value_of(tl.where(ordered < 0, ~ordered, ordered), INFINITY)
    return tl.where(ordered < 0, -magnitude, magnitude)


@triton.jit
def _conclude_programs(
    reals, extremes, powers, programs, INFINITY: tl.constexpr, POWERED: tl.constexpr, BLOCK: tl.constexpr
):
    """Signed extremes and power sums from what each program of the sweep left, in the order of the programs."""
    high = tl.full([], -INFINITY - 1, tl.int32)
    low = tl.full([], INFINITY, tl.int32)
    sums = tl.zeros([8], tl.float64)
    for start in range(0, programs, BLOCK):
        program = start + tl.arange(0, BLOCK)
        there = program < programs
        high = tl.maximum(high, tl.max(tl.load(extremes + 2 * program, mask=there, other=-INFINITY - 1), 0))
        low = tl.minimum(low, tl.min(tl.load(extremes + 2 * program + 1, mask=there, other=INFINITY), 0))
        if POWERED:
            places = powers + 8 * program[:, None] + tl.arange(0, 8)[None, :]
            sums += tl.sum(tl.load(places, mask=there[:, None], other=0.0), 0)
    tl.store(reals + EXTREMES, tl.maximum(tl.load(reals + EXTREMES), _signed_value(high, INFINITY)))
    tl.store(reals + EXTREMES + 1, tl.minimum(tl.load(reals + EXTREMES + 1), _signed_value(low, INFINITY)))
    if POWERED:
        slots = tl.arange(0, 8)
        held = tl.load(reals + POWER_SUMS + slots, mask=slots < 5, other=0.0)
        tl.store(reals + POWER_SUMS + slots, held + sums, mask=slots < 5)


@triton.jit(
    do_not_specialize=["count", "programs"],
    do_not_specialize_on_alignment=["index", "sample", "position", "integers", "reals"],
)
def conclude(
    x, index, sample, position, count, width, integers, reals, row_keys, medians, extremes, powers, programs, counters,
    chosen, keys, addresses, list_keys, list_addresses, list_rows,
    LADDER: tl.constexpr, INFINITY: tl.constexpr, INDEXED: tl.constexpr, JUDGED: tl.constexpr, ALL: tl.constexpr,
    POWERED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The end of a sweep, one program: everything that is one number for the site, and the list."""
    _conclude_programs(reals, extremes, powers, programs, INFINITY, POWERED, 128)
    if tl.load(counters + CHOSEN) > 0:
        listed = _list_candidates(
            integers, counters, chosen, keys, addresses, list_keys, list_addresses, list_rows, INFINITY, BLOCK
        )
        # The list was written by all threads of this program and is now read by all.
        tl.debug_barrier()
        first = _order_list(integers, list_keys, list_addresses, list_rows, listed, 64, 128)
        if first >= 0:
            row = x + rows_of(index, first, count, INDEXED) * width
            tl.store(reals + PEAK_MEDIAN, value_of(lower_median(row, width, INFINITY, BLOCK), INFINITY))
    if JUDGED:
        least = LADDER
        if ALL:
            least = -1
        if tl.load(counters + LARGEST) > least:
            _conclude_sun(integers, reals, row_keys, medians, sample, position, count, INFINITY, ALL, BLOCK)
