"""One row through every quantiser, in loops that compile to vector instructions.

- `widen`, `block_maxima`, `halve`, `largest_of`   a row as float32 patterns, and the largest |x| of its blocks
- `add_signal`                       sums of x^2 and |x|
- `per_token`, `per_channel`, `per_group32`, `64` and `128`, `smoothed`   integers
- `per_range32` and `128`, `per_book64`   asymmetric integers, code books
- `scaled_float`                     MX
- `narrow_float`                     NVFP4

A loop over a block is vectorised where its length is written in the code and its sums are its own, hence a function
for each length. Rounding to a small float works on bits: the exponent field of a number, at least that of the
format's smallest normal number, less the fraction bits, is that of the spacing around it. Each step is cast to int32:
numba widens what it computes to int64, of which half as many fit into a vector.
"""

# numba takes the types of these functions from each call.
# ruff: noqa: ANN001, ANN201
# mypy: allow-untyped-defs, allow-untyped-calls

from __future__ import annotations

import numpy as np
from numba import njit

from engine.formats import find_float

SQUARED, ABSOLUTE, CLIPPED_SQUARED, CLIPPED = range(4)
NARROW = 16
SIGNLESS, EXPONENT, ONE = np.int32(0x7FFFFFFF), np.int32(0x7F800000), np.int32(1 << 23)
INVERSE = np.int32(254 << 23)  # less an exponent field, the field of the reciprocal
TINY_FIELD = np.int32((127 - 80) << 23)
NEGLIGIBLE = np.float32(1e-30)  # beside a row's largest; as if it were zero
ZERO = np.float32(0)
E2M1, E4M3 = find_float("e2m1"), find_float("e4m3")
LARGEST_ELEMENT, LARGEST_SCALE = np.float32(E2M1.largest), np.float32(E4M3.largest)
LEAST_ELEMENT, LEAST_SCALE = (np.int32((127 + form.smallest_exponent) << 23) for form in (E2M1, E4M3))
ELEMENT_FRACTION, SCALE_FRACTION = (np.int32(form.fraction_bits << 23) for form in (E2M1, E4M3))
ONE_ELEMENT = np.float32(1)
# Sums in any order, products and sums fused, no NaN expected: rows that hold any are left to others.
SUMS = {"reassoc", "contract", "nsz", "nnan"}


@njit(nogil=True, cache=True)
def widen(row, shift, patterns):
    """A row's numbers as patterns of float32."""
    for c in range(row.size):
        patterns[c] = np.int32(row[c]) << shift


@njit(nogil=True, cache=True)
def block_maxima(patterns, largest):
    """Pattern of the largest |x| of each 16."""
    rows = patterns.reshape(-1, NARROW)
    for b in range(largest.size):
        most = np.int32(0)
        for i in range(NARROW):
            key = rows[b, i] & SIGNLESS
            most = key if key > most else most
        largest[b] = most


@njit(nogil=True, cache=True)
def halve(maxima, wider):
    """The maxima of blocks twice as wide."""
    for b in range(maxima.size // 2):
        one, other = maxima[2 * b], maxima[2 * b + 1]
        wider[b] = one if one > other else other


@njit(nogil=True, cache=True)
def largest_of(largest):
    """The largest of some patterns without sign, as a number."""
    most = np.int32(0)
    for b in range(largest.size):
        most = largest[b] if largest[b] > most else most
    return np.int32(most).view(np.float32)


@njit(nogil=True, cache=True, fastmath=SUMS)
def add_signal(x, signal):
    """Sums of x^2 and |x|."""
    squares, total = ZERO, ZERO
    for c in range(x.size):
        squares += x[c] * x[c]
        total += abs(x[c])
    signal[0] += squares
    signal[1] += total


@njit(nogil=True, cache=True, fastmath=SUMS)
def per_token(x, peak, level, out):
    """One scale for the row, from its own maximum, which becomes `level`: nothing is clipped."""
    scale, inverse = np.float32(peak / level), np.float32(level / peak)
    squares, total = ZERO, ZERO
    for c in range(x.size):
        error = np.rint(x[c] * inverse) * scale - x[c]
        squares += error * error
        total += abs(error)
    out[SQUARED] += squares
    out[ABSOLUTE] += total


@njit(nogil=True, cache=True, fastmath=SUMS)
def per_channel(x, channel, most, out):
    """A scale for each channel, known beforehand: what exceeds its threshold is clipped."""
    inverse, scale, limit = channel[0], channel[1], channel[2]
    squares, total, clipped_squares, clipped = ZERO, ZERO, ZERO, ZERO
    for c in range(x.size):
        magnitude = abs(x[c])
        level = np.rint(magnitude * inverse[c])
        level = level if level < most else most
        error = level * scale[c] - magnitude
        square = error * error
        beyond = magnitude > limit[c]
        squares += square
        total += abs(error)
        clipped_squares += square if beyond else ZERO
        clipped += ONE_ELEMENT if beyond else ZERO
    out[SQUARED] += squares
    out[ABSOLUTE] += total
    out[CLIPPED_SQUARED] += clipped_squares
    out[CLIPPED] += clipped


def group_quantiser(block):
    """Integers with a scale for each `block` channels of a row, from their own maximum: nothing is clipped."""

    @njit(nogil=True, cache=True, fastmath=SUMS, error_model="numpy")
    def per_group(row, maxima, level, out):  # noqa: ANN202
        squares, total = ZERO, ZERO
        for b in range(row.size // block):
            most = maxima[b]
            scale = np.float32(most / level)
            inverse = np.float32(level / most) if most > NEGLIGIBLE else ZERO
            part = row[b * block : (b + 1) * block]
            part_squares, part_total = ZERO, ZERO
            for c in range(block):
                error = np.rint(part[c] * inverse) * scale - part[c]
                part_squares += error * error
                part_total += abs(error)
            squares += part_squares
            total += part_total
        out[SQUARED] += squares
        out[ABSOLUTE] += total

    return per_group


per_group32, per_group64, per_group128 = (group_quantiser(block) for block in (32, 64, 128))


def range_quantiser(block):
    """Asymmetric integers for each `block` channels of a row, from their own range and zero."""

    @njit(nogil=True, cache=True, fastmath=SUMS, error_model="numpy")
    def per_range(row, level, out):  # noqa: ANN202
        squares, total = ZERO, ZERO
        for b in range(row.size // block):
            part = row[b * block : (b + 1) * block]
            low, high = ZERO, ZERO
            for c in range(block):
                low = part[c] if part[c] < low else low
                high = part[c] if part[c] > high else high
            span = np.float32(high - low)
            scale = np.float32(span / level)
            is_usable = span > NEGLIGIBLE
            inverse = np.float32(level / span) if is_usable else ZERO
            zero_point = np.rint(np.float32(-low / scale)) if is_usable else ZERO
            part_squares, part_total = ZERO, ZERO
            for c in range(block):
                wanted = np.rint(part[c] * inverse) + zero_point
                wanted = wanted if wanted < level else level
                error = (wanted - zero_point) * scale - part[c]
                part_squares += error * error
                part_total += abs(error)
            squares += part_squares
            total += part_total
        out[SQUARED] += squares
        out[ABSOLUTE] += total

    return per_range


per_range32, per_range128 = (range_quantiser(block) for block in (32, 128))


@njit(nogil=True, cache=True, fastmath=SUMS, error_model="numpy")
def per_book64(row, maxima, book, out):
    """A code book of 16 levels, float32 [2, 16] with boundaries and levels, under the maximum of each 64 channels."""
    squares, total = ZERO, ZERO
    for b in range(row.size // 64):
        scale = maxima[b]
        inverse = np.float32(ONE_ELEMENT / scale) if scale > NEGLIGIBLE else ZERO
        part = row[b * 64 : (b + 1) * 64]
        part_squares, part_total = ZERO, ZERO
        for c in range(64):
            wanted = part[c] * inverse
            level = book[1, 0]
            for k in range(15):
                level = book[1, k + 1] if wanted > book[0, k] else level
            error = level * scale - part[c]
            part_squares += error * error
            part_total += abs(error)
        squares += part_squares
        total += part_total
    out[SQUARED] += squares
    out[ABSOLUTE] += total


@njit(nogil=True, cache=True, fastmath=SUMS)
def scaled_float(row, patterns, largest, depth, fraction_bits, top, out):
    """A small float under a power of two per 32 channels (MX), which saturates.

    Args:
        row: float32, a whole number of blocks.
        patterns: its bits.
        largest: pattern of the largest |x| of each block.
        depth: octaves from the format's largest power of two down to its smallest normal number.
        fraction_bits: of the format.
        top: its largest number over its largest power of two.
        out: float64 [4], raised.
    """
    below, less = np.int32(depth * ONE), np.int32(fraction_bits * ONE)
    squares, total, clipped_squares, clipped = ZERO, ZERO, ZERO, ZERO
    for b in range(row.size // 32):
        power = np.int32(max(largest[b] & EXPONENT, TINY_FIELD))
        limit, least = power.view(np.float32) * top, np.int32(power - below)
        part, bits = row[b * 32 : (b + 1) * 32], patterns[b * 32 : (b + 1) * 32]
        part_squares, part_total, beyond_squares, beyond_count = ZERO, ZERO, ZERO, ZERO
        for c in range(32):
            magnitude, own = abs(part[c]), np.int32(bits[c] & EXPONENT)
            normal = np.int32(own if own > least else least)
            field = np.int32(normal - less)
            step, finer = field.view(np.float32), np.int32(INVERSE - field).view(np.float32)
            kept = magnitude if magnitude < limit else limit
            error = np.rint(kept * finer) * step - magnitude
            square, beyond = error * error, magnitude > limit
            part_squares += square
            part_total += abs(error)
            beyond_squares += square if beyond else ZERO
            beyond_count += ONE_ELEMENT if beyond else ZERO
        squares += part_squares
        total += part_total
        clipped_squares += beyond_squares
        clipped += beyond_count
    out[SQUARED] += squares
    out[ABSOLUTE] += total
    out[CLIPPED_SQUARED] += clipped_squares
    out[CLIPPED] += clipped


@njit(nogil=True, cache=True, fastmath=SUMS, error_model="numpy")
def narrow_scales(maxima, tensor_scale, scales, inverses):
    """The E4M3 scales of NVFP4's blocks times that of the tensor, and their reciprocals."""
    for b in range(maxima.size):
        share = np.float32(np.float32(maxima[b] / LARGEST_ELEMENT) / tensor_scale)
        wanted = np.float32(share if share < LARGEST_SCALE else LARGEST_SCALE)
        own = np.int32(wanted.view(np.int32) & EXPONENT)
        normal = np.int32(own if own > LEAST_SCALE else LEAST_SCALE)
        field = np.int32(normal - SCALE_FRACTION)
        step, finer = field.view(np.float32), np.int32(INVERSE - field).view(np.float32)
        scale = np.float32(np.rint(wanted * finer) * step * tensor_scale)
        scales[b] = scale
        counted = scale if scale > NEGLIGIBLE else np.float32(np.inf)
        inverses[b] = np.float32(ONE_ELEMENT / counted)


@njit(nogil=True, cache=True)
def narrow_float(row, maxima, tensor_scale, scales, inverses, out):
    """NVFP4: E2M1 under an E4M3 scale per 16 channels and one scale of the tensor."""
    if tensor_scale > ZERO:
        narrow_scales(maxima, tensor_scale, scales, inverses)
    else:
        scales.fill(ZERO)
        inverses.fill(ZERO)
    four_bits(row, scales, inverses, out)


@njit(nogil=True, cache=True, fastmath=SUMS)
def four_bits(row, scales, inverses, out):
    """E2M1 under a scale per 16 channels, saturated."""
    squares, total, clipped_squares, clipped = ZERO, ZERO, ZERO, ZERO
    for b in range(row.size // NARROW):
        scale, inverse = scales[b], inverses[b]
        part, limit = row[b * NARROW : (b + 1) * NARROW], LARGEST_ELEMENT * scale
        part_squares, part_total, beyond_squares, beyond_count = ZERO, ZERO, ZERO, ZERO
        for c in range(NARROW):
            magnitude = abs(part[c])
            wanted = np.float32(magnitude * inverse)
            y = np.float32(wanted if wanted < LARGEST_ELEMENT else LARGEST_ELEMENT)
            own = np.int32(y.view(np.int32) & EXPONENT)
            normal = np.int32(own if own > LEAST_ELEMENT else LEAST_ELEMENT)
            field = np.int32(normal - ELEMENT_FRACTION)
            step, finer = field.view(np.float32), np.int32(INVERSE - field).view(np.float32)
            error = np.rint(y * finer) * step * scale - magnitude
            square, beyond = error * error, magnitude > limit
            part_squares += square
            part_total += abs(error)
            beyond_squares += square if beyond else ZERO
            beyond_count += ONE_ELEMENT if beyond else ZERO
        squares += part_squares
        total += part_total
        clipped_squares += beyond_squares
        clipped += beyond_count
    out[SQUARED] += squares
    out[ABSOLUTE] += total
    out[CLIPPED_SQUARED] += clipped_squares
    out[CLIPPED] += clipped


@njit(nogil=True, cache=True, fastmath=SUMS)
def smoothed(x, reciprocal, divisor, level, smooth, out):
    """SmoothQuant: channels divided by their factors, integers per token, and multiplied again."""
    for c in range(x.size):
        smooth[c] = x[c] * reciprocal[c]
    keys, most = smooth.view(np.int32), np.int32(0)
    for c in range(x.size):
        key = np.int32(keys[c] & SIGNLESS)
        most = key if key > most else most
    peak = np.int32(most).view(np.float32)
    if peak == ZERO:
        peak = ONE_ELEMENT
    scale, inverse = np.float32(peak / level), np.float32(level / peak)
    squares, total = ZERO, ZERO
    for c in range(x.size):
        error = (np.rint(smooth[c] * inverse) * scale - smooth[c]) * divisor[c]
        squares += error * error
        total += abs(error)
    out[SQUARED] += squares
    out[ABSOLUTE] += total
