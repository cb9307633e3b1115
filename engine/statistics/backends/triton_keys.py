"""What the Triton kernels share: reading keys, finding the key of a rank, choosing the largest with ties in order.

A number format is told by one constant, `INFINITY`, the key of infinity: 0x7F80 for bfloat16, 0x7C00 for float16,
0x7F800000 for float32. A place beyond the end reads as -1, whose key is a NaN's, so every `key < INFINITY` leaves
out what is not finite and what is not there alike.

- `magnitude_mask`, `pattern_shift`, `sign_shift`, `mantissa_bits`   constants of a format
- `rows_of`         which rows of a tensor are counted
- `load_keys`       keys of some elements of a row
- `token_address`, `element_address`   as in `engine.statistics.state`
- `value_of`        |x| of keys, float64
- `count_from`      how many elements of a row are finite and at least a floor
- `key_at_rank`     the key with so many smaller ones before it, by a count of its digits
- `lower_median`    of a row's finite elements
- `cut_of_largest`, `take_largest`, `places_of`   the TOP_K largest of a row, the first ones among equals
"""

# Triton takes the types of these functions from each launch.
# ruff: noqa: ANN001, ANN201, N803
# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-calls, allow-untyped-decorators

from __future__ import annotations

import triton
import triton.language as tl

from engine.statistics import state as _state
from engine.statistics import totals as _totals

TOP_K = tl.constexpr(_totals.TOP_K)
POSITION_BITS = tl.constexpr(_state.POSITION_BITS)
CHANNEL_BITS = tl.constexpr(_state.CHANNEL_BITS)
DIGIT_BITS = tl.constexpr(8)
DIGITS = tl.constexpr(256)
_FLOAT16 = tl.constexpr(0x7C00)


@triton.constexpr_function
def magnitude_mask(infinity):
    """All bits but the sign."""
    return 0x7FFF if infinity < 0x8000 else 0x7FFFFFFF


@triton.constexpr_function
def pattern_shift(infinity):
    """From key or bits to the 16-bit pattern."""
    return 0 if infinity < 0x8000 else 16


@triton.constexpr_function
def sign_shift(infinity):
    """Place of the sign bit."""
    return 15 if infinity < 0x8000 else 31


@triton.constexpr_function
def mantissa_bits(infinity):
    """A key is raised by 1 << this when its number doubles."""
    return {0x7F80: 7, 0x7C00: 10, 0x7F800000: 23}[infinity]


@triton.constexpr_function
def digits_of(infinity):
    """How many 8-bit digits a key has."""
    return 2 if infinity < 0x8000 else 4


@triton.jit
def rows_of(index, numbers, count, INDEXED: tl.constexpr):
    """Rows of the tensor (int64) that are counted as these numbers; a number beyond the last is the last again."""
    known = tl.minimum(numbers, count - 1)
    if INDEXED:
        return tl.load(index + known)
    return known.to(tl.int64)


@triton.jit
def load_keys(numbers, places, inside, INFINITY: tl.constexpr):
    """Keys (int32) of numbers[places]; those that are not inside have the key of a NaN."""
    return tl.load(numbers + places, mask=inside, other=-1).to(tl.int32) & magnitude_mask(INFINITY)


@triton.jit
def token_address(sample, position):
    """Address of a token, int64; it sorts as (sample, position)."""
    return (sample.to(tl.int64) << POSITION_BITS) | position


@triton.jit
def element_address(token, channel):
    """Address of an element of a token, int64."""
    return (token << CHANNEL_BITS) | channel


@triton.jit
def value_of(keys, INFINITY: tl.constexpr):
    """|x| of int32 keys that are not negative, float64."""
    if INFINITY == _FLOAT16:
        return keys.to(tl.int16).to(tl.float16, bitcast=True).to(tl.float64)
    return (keys << (16 - pattern_shift(INFINITY))).to(tl.float32, bitcast=True).to(tl.float64)


@triton.jit
def count_from(numbers, length, floor, INFINITY: tl.constexpr, BLOCK: tl.constexpr):
    """How many of numbers[:length] are finite and have a key of at least `floor` (>= 0)."""
    count = tl.full([], 0, tl.int32)
    for start in range(0, length, BLOCK):
        places = start + tl.arange(0, BLOCK)
        keys = load_keys(numbers, places, places < length, INFINITY)
        count += tl.sum(((keys >= floor) & (keys < INFINITY)).to(tl.int32), 0)
    return count


@triton.jit
def key_at_rank(numbers, length, rank, INFINITY: tl.constexpr, BLOCK: tl.constexpr):
    """The key of a finite element of numbers[:length] that stands at place `rank` of their ascending order.

    One pass for each 8-bit digit of a key, from the top: count the digits of those that agree so far, and find the
    one in which the running count passes the rank.
    """
    found = tl.full([], 0, tl.int32)
    for step in tl.static_range(digits_of(INFINITY)):
        counts = tl.zeros([DIGITS], tl.int32)
        for start in range(0, length, BLOCK):
            places = start + tl.arange(0, BLOCK)
            keys = load_keys(numbers, places, places < length, INFINITY)
            rest = keys >> (DIGIT_BITS * (digits_of(INFINITY) - 1 - step))
            agree = (keys < INFINITY) & ((rest >> DIGIT_BITS) == found)
            counts += tl.histogram(rest & (DIGITS - 1), DIGITS, mask=agree)
        digit = tl.sum((tl.cumsum(counts, 0) <= rank).to(tl.int32), 0)
        rank -= tl.sum(tl.where(tl.arange(0, DIGITS) < digit, counts, 0), 0)
        found = (found << DIGIT_BITS) | digit
    return found


@triton.jit
def lower_median(numbers, length, INFINITY: tl.constexpr, BLOCK: tl.constexpr):
    """Key of the lower median of |x| over the finite elements of numbers[:length]; there must be one."""
    finite = count_from(numbers, length, 0, INFINITY, BLOCK)
    return key_at_rank(numbers, length, (finite - 1) // 2, INFINITY, BLOCK)


@triton.jit
def cut_of_largest(numbers, length, floor, INFINITY: tl.constexpr, BLOCK: tl.constexpr):
    """(cut, quota): the TOP_K largest from `floor` up are those above the cut and the first `quota` at the cut."""
    cut = floor
    if count_from(numbers, length, floor, INFINITY, BLOCK) > TOP_K:
        finite = count_from(numbers, length, 0, INFINITY, BLOCK)
        cut = key_at_rank(numbers, length, finite - TOP_K, INFINITY, BLOCK)
    above = count_from(numbers, length, cut + 1, INFINITY, BLOCK)
    return (
        cut,
        -above + TOP_K,
    )  # in this order: Triton 3.7's interpreter takes a constexpr minus a tensor for a constexpr


@triton.jit
def take_largest(keys, cut, quota, INFINITY: tl.constexpr):
    """(taken, quota): which of a block's keys belong to the largest, and the quota left for the next block."""
    ties = (keys == cut).to(tl.int32)
    above = (keys > cut) & (keys < INFINITY)
    return above | ((ties == 1) & (tl.cumsum(ties, 0) <= quota)), quota - tl.sum(ties, 0)


@triton.jit
def places_of(taken):
    """For each element that is taken, how many are taken before it."""
    return tl.cumsum(taken.to(tl.int32), 0) - 1
