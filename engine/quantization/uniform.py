"""Integer quantisers per tensor: q = clamp(round_half_even(x / scale)), x' = q * scale.

- `symmetric`   scale = T / (2^(bits-1) - 1), q within +-(2^(bits-1) - 1)
- `asymmetric`  the range [max(min, -T), min(max, T)] over all 2^bits levels, zero exactly representable
- `symmetric_squares`, `asymmetric_squares`  their sums of squared errors alone, for searches
- `split`, `error_sums`  the three parts of a side: what becomes zero, what is rounded, what is clipped

Magnitudes up to half a step become zero, so their error is their own sum, read off the running sums; only those
between half a step and T (some 1,000 distinct bfloat16 values at 8 bits) are quantised one by one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.formats import QuantizationError, find_integer
from engine.quantization.distribution import Distribution, Side
from engine.quantization.metrics import ErrorSums, QuantError


def check_threshold(threshold: float) -> float:
    """The threshold itself.

    Raises:
        QuantizationError: negative, infinite or not a number.
    """
    if not 0 <= threshold < np.inf:
        raise QuantizationError(f"a threshold of {threshold}: give a number above 0")
    return threshold


def symmetric(distribution: Distribution, threshold: float, bits: int = 8) -> QuantError:
    """The error of the symmetric quantiser with this threshold."""
    level = find_integer(bits).level
    scale = check_threshold(threshold) / level
    sums = one_sided(distribution.folded, scale, level, threshold)
    return QuantError.of(distribution, sums, threshold, scale)


def asymmetric(
    distribution: Distribution, threshold: float, bits: int = 8, calibration: Distribution | None = None
) -> QuantError:
    """The error of the asymmetric quantiser whose range is that of `calibration` (else its own), cut at T."""
    scale, high, low = _asymmetric_sides(calibration or distribution, threshold, bits)
    positive, negative = distribution.by_sign
    sums = one_sided(positive, scale, *high) + one_sided(negative, scale, *low)
    return QuantError.of(distribution, sums, threshold, scale)


def symmetric_squares(distribution: Distribution, threshold: float, bits: int) -> float:
    """Sum of squared errors of `symmetric`."""
    level = find_integer(bits).level
    return squared_error(distribution.folded, threshold / level, level, threshold)


def asymmetric_squares(distribution: Distribution, threshold: float, bits: int) -> float:
    """Sum of squared errors of `asymmetric`."""
    scale, high, low = _asymmetric_sides(distribution, threshold, bits)
    positive, negative = distribution.by_sign
    return squared_error(positive, scale, *high) + squared_error(negative, scale, *low)


def _asymmetric_sides(
    distribution: Distribution, threshold: float, bits: int
) -> tuple[float, tuple[int, float], tuple[int, float]]:
    """The scale, and for the positive and the negative side the number of levels and the limit."""
    levels = find_integer(bits, is_symmetric=False).level
    high, low = (min(side.largest, check_threshold(threshold)) for side in distribution.by_sign)
    scale = (high + low) / levels
    zero_point = round(low / scale) if scale > 0 else 0  # Python rounds half to even, too
    return scale, (levels - zero_point, high), (zero_point, low)


def one_sided(side: Side, scale: float, level: int, limit: float) -> ErrorSums:
    """Error sums of q = min(round(m / scale), level) over the magnitudes of a side.

    Args:
        side: the magnitudes.
        scale: step; 0 makes every element 0.
        level: the largest q.
        limit: magnitudes above it count as clipped.
    """
    first, last = split(side, scale / 2, limit)
    middle = side.magnitudes[first:last]
    error = _rounding_error(middle, scale, level, limit)
    return error_sums(side, first, last, error, level * scale)


def squared_error(side: Side, scale: float, level: int, limit: float) -> float:
    """The sum of squared errors of `one_sided` alone."""
    first, last = split(side, scale / 2, limit)
    error = _rounding_error(side.magnitudes[first:last], scale, level, limit)
    error *= error
    total = float(side.running_squares[first]) + float(error @ side.counts[first:last])
    if last < len(side.magnitudes):
        beyond = side.magnitudes[last:] - level * scale
        total += float((beyond * beyond) @ side.counts[last:])
    return total


def split(side: Side, small: float, limit: float) -> tuple[int, int]:
    """How many magnitudes are at most `small` (they become zero), and how many at most `limit`."""
    last = int(side.magnitudes.searchsorted(limit, "right"))
    return min(int(side.magnitudes.searchsorted(small, "right")), last), last


def error_sums(side: Side, first: int, last: int, error: NDArray[np.float64], edge: float) -> ErrorSums:
    """Sums over a side of which the first become zero, the last are cut to `edge`, and the middle have this error.

    `error` is overwritten.
    """
    counts = side.counts[first:last]
    np.abs(error, out=error)
    rounded_abs = float(side.running_sum[first]) + float(error @ counts)
    error *= error
    rounded_squares = float(side.running_squares[first]) + float(error @ counts)
    # With a last level of 0 (no step, or no level on this side) nothing else is left.
    zeroed = float(side.running_count[first if edge > 0 else -1])
    if last == len(side.magnitudes):
        return ErrorSums(rounded_abs, rounded_squares, zeroed_count=zeroed)
    # An asymmetric quantiser's last level may lie half a step above its limit.
    counts, beyond = side.counts[last:], np.abs(side.magnitudes[last:] - edge)
    clipped = float(side.running_count[-1] - side.running_count[last])
    clipped_abs, clipped_squares = float(beyond @ counts), float((beyond * beyond) @ counts)
    return ErrorSums(rounded_abs, rounded_squares, clipped_abs, clipped_squares, clipped, zeroed)


def _rounding_error(magnitudes: NDArray[np.float64], scale: float, level: int, limit: float) -> NDArray[np.float64]:
    """The error q * scale - m of q = min(round(m / scale), level)."""
    if scale == 0:
        return -magnitudes
    error = magnitudes / scale
    np.rint(error, out=error)
    if level * scale < limit:
        np.minimum(error, level, out=error)
    error *= scale
    error -= magnitudes
    return error
