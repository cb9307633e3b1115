"""One row at a time: the inner loops of the numba sweep, written so that LLVM vectorises them.

A row is read as signed integers. Positive numbers sort as their patterns do and lie above all negative ones; with
the sign bit flipped the negative numbers come out on top. Two plain maxima therefore give both signed extremes.

- `signed_maxima`      largest pattern among the positive, and among the negative elements
- `bad_row_maxima`     the same for a row with non-finite elements, which are counted and set to zero in a copy
- `raise_channels`     channel maxima
- `count_patterns`     the histogram
- `lower_median`       of a row's keys, by galloping from a guess
- `keep_finite`        a row without its non-finite elements
- `add_powers`         float64 sums of powers about a pivot
- `count_log_bins`     the reference's bins for float32
"""

# numba takes the types of these functions from each call.
# ruff: noqa: ANN001, ANN201, ANN202
# mypy: allow-untyped-defs, allow-untyped-calls

from __future__ import annotations

import numpy as np
from numba import njit

# Sums may be reordered for vectorising; NaN and infinities must stay what they are.
_REORDER = {"reassoc", "contract", "nsz"}


@njit(nogil=True, cache=True)
def signed_maxima(row):
    """(positive, negative): the largest key of either sign, below zero where no element has that sign."""
    integer = row.dtype.type
    lowest = integer(np.iinfo(row.dtype).min)
    positive = lowest
    negative = lowest
    for i in range(row.size):
        positive = max(positive, row[i])
        negative = max(negative, integer(row[i] ^ lowest))
    return positive, negative


@njit(nogil=True, cache=True)
def bad_row_maxima(row, infinity, mask, fixed, bad):
    """As `signed_maxima` over the finite elements; also (how many they are, the first channel that is not).

    `fixed` receives the row with zeros for non-finite elements; bad[0:3] is raised by the NaN, +inf and -inf.
    """
    integer = row.dtype.type
    positive = integer(-1)
    negative = integer(-1)
    finite = 0
    first = -1
    for i in range(row.size):
        key = row[i] & mask
        if key < infinity:
            finite += 1
            fixed[i] = row[i]
            if row[i] >= 0:
                positive = max(positive, integer(key))
            else:
                negative = max(negative, integer(key))
            continue
        fixed[i] = 0
        bad[0 if key > infinity else (1 if row[i] >= 0 else 2)] += 1
        if first < 0:
            first = i
    return positive, negative, finite, first


@njit(nogil=True, cache=True)
def raise_channels(row, mask, channels):
    """Raise each channel to the row's key where that is larger."""
    integer = row.dtype.type
    m = integer(mask)
    for i in range(row.size):
        channels[i] = max(channels[i], integer(row[i] & m))


@njit(nogil=True, cache=True)
def count_patterns(row, shift, counts):
    """Add one to the count of each element's 16-bit pattern."""
    for i in range(row.size):
        counts[np.uint16(row[i] >> shift)] += np.int32(1)


@njit(nogil=True, cache=True)
def _count_below(keys, limit):
    # Counters as narrow as the keys fill whole vector lanes; the blocks keep them from overflowing.
    integer = keys.dtype.type
    total = 0
    for start in range(0, keys.size, 16384):
        block = keys[start : start + 16384]
        count = integer(0)
        for i in range(block.size):
            count = integer(count + integer(block[i] < limit))
        total += count
    return total


@njit(nogil=True, cache=True)
def lower_median(row, mask, finite, infinity, guess, keys):
    """Lower median of the row's finite keys, at least one; `keys` is room for a copy, `guess` where to look first."""
    integer = row.dtype.type
    m = integer(mask)
    for i in range(row.size):
        keys[i] = integer(row[i] & m)
    wanted = (finite + 1) // 2
    step = infinity >> 9
    below, above = np.int64(0), infinity  # count(key < below) < wanted <= count(key < above)
    if _count_below(keys, integer(guess)) < wanted:
        below = guess
        while below + step < above:
            if _count_below(keys, integer(below + step)) >= wanted:
                above = below + step
                break
            below += step
            step *= 2
    else:
        above = guess
        while above - step > below:
            if _count_below(keys, integer(above - step)) < wanted:
                below = above - step
                break
            above -= step
            step *= 2
    while above - below > 1:
        middle = (below + above) >> 1
        if _count_below(keys, integer(middle)) < wanted:
            below = middle
        else:
            above = middle
    return below


@njit(nogil=True, cache=True)
def keep_finite(row, mask, infinity, room):
    """The finite elements of a row, copied to the front of `room`."""
    count = 0
    for i in range(row.size):
        if (row[i] & mask) < infinity:
            room[count] = row[i]
            count += 1
    return room[:count]


@njit(nogil=True, cache=True, fastmath=_REORDER)
def add_powers(numbers, powers):
    """Add the sums of (x - pivot)^1..4 and of |x| over finite numbers to powers[0:5]; the pivot is powers[5]."""
    pivot = powers[5]
    first = second = third = fourth = absolute = 0.0
    for i in range(numbers.size):
        x = np.float64(numbers[i])
        d = x - pivot
        q = d * d
        first += d
        second += q
        third += q * d
        fourth += q * q
        absolute += abs(x)
    powers[0] += first
    powers[1] += second
    powers[2] += third
    powers[3] += fourth
    powers[4] += absolute


@njit(nogil=True, cache=True)
def count_log_bins(row, mask, infinity, edges, counts):
    """Add one to the bin of each non-zero finite element.

    A 16-bit pattern spans at most two bins: edges[0] holds the lower one, edges[1] the key where it ends.
    """
    first_bin, next_edge = edges[0], edges[1]
    for i in range(row.size):
        key = row[i] & mask
        if 0 < key < infinity:
            cell = key >> 16
            counts[first_bin[cell] + (1 if key >= next_edge[cell] else 0)] += np.int32(1)
