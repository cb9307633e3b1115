"""The Triton kernels that read the whole tensor: row, column and signed extremes, pattern counts, power sums.

A program owns a chunk of columns and strides through the rows in tiles, so that column maxima and pattern counts
stay in registers until its end. `sweep_usual` holds nothing but what an ordinary tile needs; a tile with anything
else in it (a non-finite element, a magnitude outside the program's window of patterns, an edge of the tensor) is
only flagged there, and `sweep_flagged` gives it its due. Keeping the two apart halves the registers of the first.

A program counts patterns in 2 x WINDOW bins of its own, around the magnitudes it meets first and with zeros in the
last bin of either sign, and adds them to the site's counts once.

- `sweep_usual`    every tile that is ordinary
- `sweep_flagged`  the others, or with ALL every tile
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
    element_address,
    magnitude_mask,
    pattern_shift,
    rows_of,
    sign_shift,
    token_address,
)

MAGNITUDES = tl.constexpr(_totals.MAGNITUDES)
NO_ADDRESS = tl.constexpr(_state.NO_ADDRESS)
NONFINITE = tl.constexpr(_state.NONFINITE.start)
NONFINITE_ADDRESS = tl.constexpr(_state.NONFINITE_ADDRESS)


@triton.jit
def _ordered(bits, INFINITY: tl.constexpr):
    """Integers that sort as the numbers do: a key, or the complement of a negative number's key."""
    return bits ^ ((bits >> sign_shift(INFINITY)) & magnitude_mask(INFINITY))


@triton.jit
def _total(tile):
    return tl.sum(tl.sum(tile, 1), 0)


@triton.jit
def _window_start(row, inside, INFINITY: tl.constexpr, WINDOW: tl.constexpr):
    """The least magnitude with a bin of its own, for a program whose first row this is (pointers).

    Five eighths of the window lie below the mean magnitude of that row: small numbers stray further than large ones.
    """
    magnitudes = (tl.load(row, mask=inside, other=0).to(tl.int32) & magnitude_mask(INFINITY)) >> pattern_shift(INFINITY)
    mean = tl.sum(magnitudes, 0) // tl.maximum(tl.sum((magnitudes > 0).to(tl.int32), 0), 1)
    # Above the window nothing but numbers: what is not finite must never have a bin.
    highest = (INFINITY >> pattern_shift(INFINITY)) - WINDOW + 1
    return tl.minimum(tl.maximum(mean - WINDOW * 5 // 8, 1), highest)


@triton.jit
def _places(keys, start, INFINITY: tl.constexpr):
    """(whether a magnitude is 0, its place above the least with a bin of its own) of a tile; uint32 wraps below it."""
    magnitude = (keys >> pattern_shift(INFINITY)).to(tl.int32)
    return magnitude == 0, (magnitude - start).to(tl.uint32)


@triton.jit
def _count_places(zero, above_start, negative, WINDOW: tl.constexpr, SIZE: tl.constexpr):
    """How often a tile has each of a program's own bins, int32 [2 x WINDOW]."""
    bins = tl.where(zero, WINDOW - 1, above_start.to(tl.int32)) + tl.where(negative, WINDOW, 0)
    return tl.histogram(tl.reshape(bins, [SIZE]), 2 * WINDOW)


@triton.jit
def _add_window(histogram, counts, start, WINDOW: tl.constexpr):
    """Add a program's own counts to the site's."""
    bins = tl.arange(0, 2 * WINDOW)
    magnitude = tl.where(bins % WINDOW == WINDOW - 1, 0, start + bins % WINDOW)
    tl.atomic_add(histogram + bins // WINDOW * MAGNITUDES + magnitude, counts, mask=counts > 0, sem="relaxed")


@triton.jit
def _power_sums(bits, finite, pivot):
    """Sums over each row of a float32 tile of (x - pivot)^1..4 and |x|, float64 [ROWS, 8], the last three zero."""
    wide = tl.where(finite, bits.to(tl.float32, bitcast=True), 0.0).to(tl.float64)
    shifted = tl.where(finite, wide - pivot, 0.0)
    squared = shifted * shifted
    slot = tl.arange(0, 8)[None, :]
    sums = tl.where(slot == 0, tl.sum(shifted, 1)[:, None], 0.0)
    sums = tl.where(slot == 1, tl.sum(squared, 1)[:, None], sums)
    sums = tl.where(slot == 2, tl.sum(squared * shifted, 1)[:, None], sums)
    sums = tl.where(slot == 3, tl.sum(squared * squared, 1)[:, None], sums)
    return tl.where(slot == 4, tl.sum(tl.abs(wide), 1)[:, None], sums)


@triton.jit
def _report_extremes(channel_keys, columns, width, column_key, extremes, program, high, low):
    """Raise the columns' maxima to a program's, and write its own signed extremes."""
    tl.atomic_max(channel_keys + columns, column_key, mask=(columns < width) & (column_key > 0), sem="relaxed")
    tl.store(extremes + 2 * program, high)
    tl.store(extremes + 2 * program + 1, low)


@triton.jit(do_not_specialize=["count"], do_not_specialize_on_alignment=["index", "pivot"])
def sweep_usual(
    x, index, count, width, row_maxima, flags, flagged, extremes, powers, pivot, channel_keys, histogram,
    INFINITY: tl.constexpr, INDEXED: tl.constexpr, WINDOW: tl.constexpr, POWERED: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """The ordinary tiles, grid (chunks, programs of a chunk).

    Writes row_maxima int32 [chunks, count], flags int8 [chunks, tiles] (not of tiles at an edge), and for each
    program flagged int32 (how many flags), extremes int32 [2] and powers float64 [5]. With WINDOW 0 no counts.
    """
    chunk = tl.program_id(0)
    program = tl.program_id(1) * tl.num_programs(0) + chunk
    columns = chunk * COLUMNS + tl.arange(0, COLUMNS)
    high = tl.full([ROWS, COLUMNS], -INFINITY - 1, x.dtype.element_ty)
    low = tl.full([ROWS, COLUMNS], INFINITY, x.dtype.element_ty)
    odd_tiles = tl.full([], 0, tl.int32)
    whole = (chunk + 1) * COLUMNS <= width
    end = tl.where(whole, count // ROWS * ROWS, 0)
    begin = tl.program_id(1) * ROWS
    if WINDOW:
        counts = tl.zeros([2 * WINDOW], tl.int32)
        first_row = x + rows_of(index, begin, count, INDEXED) * width
        start = _window_start(first_row + columns, columns < width, INFINITY, WINDOW)
    if POWERED:
        about = tl.load(pivot)
        sums = tl.zeros([ROWS, 8], tl.float64)
    for first in range(begin, end, tl.num_programs(1) * ROWS):
        numbers = first + tl.arange(0, ROWS)
        row = rows_of(index, numbers, count, INDEXED)
        bits = tl.load(x + row[:, None] * width + columns[None, :])
        keys = bits & magnitude_mask(INFINITY)
        row_max = tl.max(keys, 1)
        if WINDOW:
            zero, above_start = _places(keys, start, INFINITY)
            odd = tl.max(tl.max(tl.where(zero, 0, above_start), 1), 0) >= WINDOW - 1
        else:
            odd = tl.max(row_max, 0) >= INFINITY
        tl.store(flags + chunk * tl.cdiv(count, ROWS) + first // ROWS, odd.to(tl.int8))
        odd_tiles += odd.to(tl.int32)
        if odd == 0:
            tl.store(row_maxima + chunk.to(tl.int64) * count + numbers, row_max.to(tl.int32))
            ordered = _ordered(bits, INFINITY)
            high = tl.maximum(high, ordered)
            low = tl.minimum(low, ordered)
            if WINDOW:
                counts += _count_places(zero, above_start, bits < 0, WINDOW, ROWS * COLUMNS)
            if POWERED:
                sums += _power_sums(bits, keys >= 0, about)
    tl.store(flagged + program, odd_tiles)
    column_key = tl.maximum(tl.max(high, 0), ~tl.min(low, 0)).to(tl.int32)
    highest, lowest = tl.max(tl.max(high, 0), 0).to(tl.int32), tl.min(tl.min(low, 0), 0).to(tl.int32)
    _report_extremes(channel_keys, columns, width, column_key, extremes, program, highest, lowest)
    if WINDOW:
        _add_window(histogram, counts, start, WINDOW)
    if POWERED:
        tl.store(powers + 8 * program + tl.arange(0, 8), tl.sum(sums, 0))


@triton.jit
def _report_nonfinite(integers, sample, position, numbers, count, columns, bits, keys, bad, INFINITY: tl.constexpr):
    """Count NaN, +inf and -inf of a tile and keep the lowest address of them."""
    if _total(bad.to(tl.int32)) > 0:
        infinite = bad & (keys == INFINITY)
        tl.atomic_add(integers + NONFINITE, _total((bad & (keys > INFINITY)).to(tl.int64)), sem="relaxed")
        tl.atomic_add(integers + NONFINITE + 1, _total((infinite & (bits >= 0)).to(tl.int64)), sem="relaxed")
        tl.atomic_add(integers + NONFINITE + 2, _total((infinite & (bits < 0)).to(tl.int64)), sem="relaxed")
        known = tl.minimum(numbers, count - 1)
        token = token_address(tl.load(sample + known), tl.load(position + known))
        address = tl.where(bad, element_address(token[:, None], columns[None, :]), NO_ADDRESS)
        tl.atomic_min(integers + NONFINITE_ADDRESS, tl.min(tl.min(address, 1), 0), sem="relaxed")


@triton.jit
def _has_work(flagged, program, count, whole, ROWS: tl.constexpr):
    """Whether a program has a flagged tile, a chunk beyond the width, or the last and incomplete tile of rows."""
    last = (tl.cdiv(count, ROWS) - 1) % tl.num_programs(1) == tl.program_id(1)
    return (whole == 0) | (last & (count % ROWS != 0)) | (tl.load(flagged + program) > 0)


@triton.jit
def _extremes_so_far(extremes, program, INFINITY: tl.constexpr, ALL: tl.constexpr):
    """(largest, smallest) of what the program has seen; with ALL that is nothing yet."""
    if ALL:
        high = tl.full([], -INFINITY - 1, tl.int32)
        low = tl.full([], INFINITY, tl.int32)
    else:
        high = tl.load(extremes + 2 * program)
        low = tl.load(extremes + 2 * program + 1)
    return high, low


@triton.jit
def _is_left(flags, chunk, first, count, whole, ALL: tl.constexpr, ROWS: tl.constexpr):
    """Whether the tile that begins with this row was left to `sweep_flagged`."""
    if ALL:
        left = first >= 0
    else:
        inner = whole & (first + ROWS <= count)
        left = tl.load(flags + chunk * tl.cdiv(count, ROWS) + first // ROWS, mask=inner, other=1) != 0
    return left


@triton.jit
def _load_tile(x, index, numbers, columns, count, width, INDEXED: tl.constexpr):
    """(elements, which of them are the tensor's) of a tile that may reach beyond an edge; the others are 0."""
    row = rows_of(index, numbers, count, INDEXED)
    real = (numbers < count)[:, None] & (columns < width)[None, :]
    return tl.load(x + row[:, None] * width + columns[None, :], mask=real, other=0), real


@triton.jit
def _add_powers(powers, program, sums, ALL: tl.constexpr):
    """Add the sums over a program's rows to those of its ordinary tiles; with ALL there are none."""
    slots = powers + 8 * program + tl.arange(0, 8)
    if ALL:
        tl.store(slots, tl.sum(sums, 0))
    else:
        tl.store(slots, tl.load(slots) + tl.sum(sums, 0))


@triton.jit(
    do_not_specialize=["count"],
    do_not_specialize_on_alignment=["index", "sample", "position", "pivot", "integers"],
)
def sweep_flagged(
    x, index, sample, position, count, width, row_maxima, flags, flagged, extremes, powers, pivot, channel_keys,
    histogram, integers,
    INFINITY: tl.constexpr, INDEXED: tl.constexpr, COUNTED: tl.constexpr, POWERED: tl.constexpr, ALL: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """The tiles that `sweep_usual` flagged and those at an edge, in the same grid; with ALL every tile.

    Non-finite elements are counted and addressed, and are in nothing else but the pattern counts.
    """
    chunk = tl.program_id(0)
    program = tl.program_id(1) * tl.num_programs(0) + chunk
    columns = chunk * COLUMNS + tl.arange(0, COLUMNS)
    whole = (chunk + 1) * COLUMNS <= width
    busy = count > 0 if ALL else _has_work(flagged, program, count, whole, ROWS)
    if busy:
        high, low = _extremes_so_far(extremes, program, INFINITY, ALL)
        if POWERED:
            about = tl.load(pivot)
            sums = tl.zeros([ROWS, 8], tl.float64)
        column_key = tl.full([COLUMNS], -1, tl.int32)
        for first in range(tl.program_id(1) * ROWS, count, tl.num_programs(1) * ROWS):
            if _is_left(flags, chunk, first, count, whole, ALL, ROWS):
                numbers = first + tl.arange(0, ROWS)
                bits, real = _load_tile(x, index, numbers, columns, count, width, INDEXED)
                keys = bits.to(tl.int32) & magnitude_mask(INFINITY)
                bad = real & (keys >= INFINITY)
                finite = real & (keys < INFINITY)
                finite_keys = tl.where(finite, keys, -1)
                place = row_maxima + chunk.to(tl.int64) * count + numbers
                tl.store(place, tl.max(finite_keys, 1), mask=numbers < count)
                column_key = tl.maximum(column_key, tl.max(finite_keys, 0))
                ordered = _ordered(bits, INFINITY).to(tl.int32)
                high = tl.maximum(high, tl.max(tl.max(tl.where(finite, ordered, -INFINITY - 1), 1), 0))
                low = tl.minimum(low, tl.min(tl.min(tl.where(finite, ordered, INFINITY), 1), 0))
                if COUNTED:
                    pattern = (bits >> pattern_shift(INFINITY)).to(tl.int32) & (2 * MAGNITUDES - 1)
                    tl.atomic_add(histogram + pattern, 1, mask=real, sem="relaxed")
                if POWERED:
                    sums += _power_sums(bits, finite, about)
                _report_nonfinite(integers, sample, position, numbers, count, columns, bits, keys, bad, INFINITY)
        _report_extremes(channel_keys, columns, width, column_key, extremes, program, high, low)
        if POWERED:
            _add_powers(powers, program, sums, ALL)
