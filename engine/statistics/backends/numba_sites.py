"""A whole tensor: one read of its rows, then what needs all of them.

- `sweep_rows`    one read of some rows: maxima, patterns, medians, sums
- `count_rungs`   the channel census
- `least_key`     the smallest |x|, where it is an extreme
- `keep_tokens`   per-sample maxima, the histogram of token maxima, Sun's criterion
- `keep_top`      the hundred largest, with addresses
"""

# numba takes the types of these functions from each call.
# ruff: noqa: ANN001, ANN201
# mypy: allow-untyped-defs, allow-untyped-calls

from __future__ import annotations

import numpy as np
from numba import njit

from engine.statistics.backends.numba_rows import (
    add_powers,
    bad_row_maxima,
    count_log_bins,
    count_patterns,
    keep_finite,
    lower_median,
    raise_channels,
    signed_maxima,
)
from engine.statistics.state import (
    CHANNEL_BITS,
    POSITION_BITS,
    RATIO_SUMS,
    SUN_ADDRESS,
    SUN_RATIO,
    SUN_TOKENS,
    TOP_ADDRESSES,
    TOP_KEYS,
)
from engine.statistics.totals import CENSUS_RUNGS, SUN_MAGNITUDE, TOP_K
from engine.statistics.totals import SUN_RATIO as SUN_FACTOR

# Compiled code knows plain numbers, not slices.
ADDRESSES, KEYS = TOP_ADDRESSES.start, TOP_KEYS.start
RATIOS, BEST_RATIO = RATIO_SUMS.start, SUN_RATIO.start
# What a range of rows holds: NaN, +inf, -inf, first bad row * D + channel, largest positive and negative key.
FIRST_BAD, POSITIVE, NEGATIVE = 3, 4, 5
NO_PLACE = 2**62


def nothing_found():
    """Int64 [6] before the first row."""
    return np.array([0, 0, 0, NO_PLACE, -1, -1], np.int64)


@njit(nogil=True, cache=True)
def row_number(index, r):
    """Where the r-th row that counts lies in the tensor."""
    return index[r] if index.size else r


@njit(nogil=True, cache=True)
def sweep_rows(
    first, last, bits, index, form, what, counts, log_counts, token_keys, medians, channels, found, powers, edges
):
    """Read the rows from `first` to before `last` once.

    Args:
        first: number of a row that counts.
        last: number of a row that counts.
        bits: signed integers [R, D].
        index: int64 rows that count, empty if all R do.
        form: int64 (magnitude mask, infinity, pattern shift, key of 100).
        what: int64 (1 to count patterns, 1 to count log bins, 1 to judge rows above 100 or 2 to judge all).
        counts: int32 [65536], raised by the patterns.
        log_counts: int32 [512], raised by the log bins.
        token_keys: int64 [n], receives each row's largest key, -1 if it has none.
        medians: int64 [n], receives each judged row's lower median, else -1.
        channels: integers [D], raised to the channel maxima.
        found: int64 [6], as `nothing_found` makes it, updated.
        powers: float64 [6], raised by the sums of powers, and the pivot; None for 16-bit formats.
        edges: int32 [2, 32768], for `count_log_bins`; None for 16-bit formats.
    """
    mask, infinity, shift, hundred = form[0], form[1], form[2], form[3]
    width = bits.shape[1]
    keys, fixed = np.empty(width, bits.dtype), np.empty(width, bits.dtype)
    guess = infinity >> 1
    for r in range(first, last):
        row = bits[row_number(index, r)]
        positive, negative = signed_maxima(row)
        finite, clean = width, row
        if max(positive, negative) >= infinity:
            positive, negative, finite, channel = bad_row_maxima(row, infinity, mask, fixed, found)
            found[FIRST_BAD] = min(found[FIRST_BAD], r * width + channel)
            clean = fixed
        key = max(positive, negative)
        token_keys[r] = key
        found[POSITIVE] = max(found[POSITIVE], positive)
        found[NEGATIVE] = max(found[NEGATIVE], negative)
        raise_channels(clean, mask, channels)
        if what[0]:
            count_patterns(row, shift, counts)
        if powers is not None and what[0]:
            add_powers((row if finite == width else keep_finite(row, mask, infinity, keys)).view(np.float32), powers)
        if edges is not None and what[1]:
            count_log_bins(row, mask, infinity, edges, log_counts)
        medians[r] = -1
        if key >= 0 and (what[2] == 2 or (what[2] == 1 and key > hundred)):
            guess = lower_median(row, mask, finite, infinity, guess, keys)
            medians[r] = guess


@njit(nogil=True, cache=True)
def count_rungs(first, last, bits, where, form, ladder, census):
    """For the channels from `first` to before `last`, how many of the rows `where` exceed each rung."""
    for r in where:
        row = bits[r]
        for c in range(first, last):
            key = row[c] & form[0]
            if ladder[0] < key < form[1]:
                for k in range(CENSUS_RUNGS):
                    census[k, c] += key > ladder[k]


@njit(nogil=True, cache=True)
def least_key(bits, index, form, count):
    """The smallest finite key, which is the other extreme where all elements have one sign."""
    least = form[1]
    for r in range(count):
        row = bits[row_number(index, r)]
        for c in range(row.size):
            least = min(least, row[c] & form[0])
    return least


@njit(nogil=True, cache=True)
def keep_tokens(tokens, form, token_keys, maxima, medians, judges_all, sample_keys, token_maxima, integers, reals):
    """What follows from each token's maximum and median.

    Args:
        tokens: int64 [n], address of each token.
        form: int64 (magnitude mask, infinity, pattern shift, key of 100).
        token_keys: int64 [n], -1 without a finite element.
        maxima: float64 [n], their values.
        medians: float64 [n], NaN where the token is not judged.
        judges_all: whether ratios are summed.
        sample_keys: int32 [N], raised.
        token_maxima: int32 [32768], counted up.
        integers: the site's, updated.
        reals: the site's, updated.
    """
    for r in range(token_keys.size):
        key = token_keys[r]
        if key < 0:
            continue
        sample = tokens[r] >> POSITION_BITS
        sample_keys[sample] = max(sample_keys[sample], np.int32(key))
        token_maxima[key >> form[2]] += np.int32(1)
        maximum, median = maxima[r], medians[r]
        if np.isnan(median):
            continue
        ratio = 0.0 if maximum == 0 else (np.inf if median == 0 else maximum / median)
        if maximum > SUN_MAGNITUDE and maximum > SUN_FACTOR * median:
            integers[SUN_TOKENS] += 1
        best = reals[BEST_RATIO]
        if ratio > best or (ratio == best and tokens[r] < integers[SUN_ADDRESS]):
            reals[BEST_RATIO], reals[BEST_RATIO + 1], reals[BEST_RATIO + 2] = ratio, maximum, median
            integers[SUN_ADDRESS] = tokens[r]
        if judges_all and ratio < np.inf:
            reals[RATIOS] += 1
            reals[RATIOS + 1] += ratio
            reals[RATIOS + 2] += ratio * ratio


@njit(nogil=True, cache=True)
def keep_top(bits, index, form, tokens, token_keys, least, integers):
    """Insert what belongs to the hundred largest, none of which lies below `least`.

    Returns:
        The row of the new first element, -1 if the first stays.
    """
    peak = -1
    for r in range(token_keys.size):
        if token_keys[r] < least:
            continue
        row = bits[row_number(index, r)]
        for c in range(row.size):
            key = np.int64(row[c] & form[0])
            if least <= key < form[1]:
                address = (((tokens[r] << CHANNEL_BITS) | c) << 1) | (row[c] < 0)
                if insert(key, address, integers):
                    peak = r
        least = max(least, integers[KEYS + TOP_K - 1])
    return peak


@njit(nogil=True, cache=True)
def insert(key, address, integers):
    """Put an element into the ordered list if it belongs there; says whether it is the new first."""
    place = TOP_K
    while place > 0:
        held = integers[KEYS + place - 1]
        if held > key or (held == key and integers[ADDRESSES + place - 1] <= address):
            break
        place -= 1
    for i in range(TOP_K - 1, place, -1):
        integers[KEYS + i], integers[ADDRESSES + i] = integers[KEYS + i - 1], integers[ADDRESSES + i - 1]
    if place < TOP_K:
        integers[KEYS + place], integers[ADDRESSES + place] = key, address
    return place == 0
