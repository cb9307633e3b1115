"""Quantiser errors compiled for the CPU: a row is widened once, then every scheme reads it from the first cache.

- `prepare_scales`  what a site's calibration means for the kernels, as arrays
- `sweep_rows`      all schemes over some rows; rows that need float64 are left and named
- `Workspace`       a thread's buffers
"""

# numba takes the types of these functions from each call.
# ruff: noqa: ANN001, ANN201
# mypy: allow-untyped-defs, allow-untyped-calls

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from engine.formats import find_float
from engine.statistics.backends.numba_quantised_rows import (
    LEVELS,
    NARROW,
    ZERO,
    add_signal,
    block_maxima,
    halve,
    largest_of,
    narrow_float,
    per_channel,
    per_group32,
    per_group64,
    per_group128,
    per_token,
    scaled_float,
    smoothed,
    widen,
)

# Order of the schemes in a table of errors, as in `engine.statistics.pass_sums`.
TOKEN, CHANNEL, GROUP32, GROUP64, GROUP128, E4M3, E5M2, MXFP4, NVFP4, SMOOTH = range(10)
_FORMS = tuple(find_float(name) for name in ("e4m3", "e5m2", "e2m1"))
DEPTH = tuple(form.largest_exponent - form.smallest_exponent for form in _FORMS)
FRACTION = tuple(form.fraction_bits for form in _FORMS)
TOP = tuple(np.float32(form.largest / 2.0**form.largest_exponent) for form in _FORMS)
PAD = 128
# Within these bounds of a row's largest |x| no float32 sum of squares overflows and none that matters underflows.
LEAST, MOST = np.float32(1e-12), np.float32(1e15)


@dataclass(frozen=True, slots=True)
class Workspace:
    """A thread's buffers for rows of one width, and what it has summed.

    Attributes:
        row, scratch: float32 [D rounded up to 128].
        blocks: float32 [3, the same / 16].
        errors: float64 [schemes, 4]; signal: float64 [2], sums of x^2 and |x|.
    """

    row: NDArray[np.float32]
    scratch: NDArray[np.float32]
    blocks: NDArray[np.float32]
    errors: NDArray[np.float64]
    signal: NDArray[np.float64]

    @classmethod
    def of(cls, width: int, schemes: int) -> Workspace:
        """Empty buffers."""
        size = -(-width // PAD) * PAD
        row, scratch = np.zeros(size, np.float32), np.zeros(size, np.float32)
        blocks = np.zeros((3, size // NARROW), np.float32)
        return cls(row, scratch, blocks, np.zeros((schemes, 4)), np.zeros(2))

    def buffers(self) -> tuple[Any, ...]:
        """The arrays in the order `sweep_rows` takes them."""
        return self.row, self.scratch, self.blocks, self.errors, self.signal


def prepare_scales(channel_max: NDArray[np.float32]) -> NDArray[np.float32]:
    """Float32 [3, D]: reciprocal scale, scale and threshold of each channel; a channel of zeros has scale 0."""
    scale = (channel_max / LEVELS).astype(np.float32)
    with np.errstate(divide="ignore", over="ignore"):
        inverse = np.float32(1) / scale
    # A reciprocal beyond float32 belongs to numbers too small to matter: they become 0.
    inverse[~np.isfinite(inverse)] = 0
    return np.stack([inverse, scale, channel_max.astype(np.float32)])


@njit(nogil=True, cache=True)
def sweep_rows(
    first, last, bits, index, shift, channel, tensor_scale, smooth, left, row, scratch, blocks, errors, signal
):
    """All schemes over the rows from `first` to before `last`.

    Args:
        first: number of a row that counts.
        last: number of a row that counts.
        bits: int16 or int32 [R, D].
        index: int64 rows that count, empty if all R do.
        shift: 16 for bfloat16, 0 for float32.
        channel: float32 [3, D] of `prepare_scales`.
        tensor_scale: NVFP4's scale of the tensor.
        smooth: float32 [alphas, 2, D], each channel's divisor's reciprocal and the divisor; empty without smoothing.
        left: bool [n], set for rows that must be swept elsewhere.
        row: float32 [P], as the following arrays of a `Workspace`; zeros from D on.
        scratch: float32 [P].
        blocks: float32 [3, P / 16].
        errors: float64 [schemes, 4], raised.
        signal: float64 [2], raised.
    """
    width = bits.shape[1]
    patterns = row.view(np.int32)
    maxima = blocks[0]
    largest = maxima.view(np.int32)
    x = row[:width]
    for r in range(first, last):
        widen(bits[index[r] if index.size else r], shift, patterns)
        block_maxima(patterns, largest)
        peak = largest_of(largest)
        if peak == ZERO:
            continue
        if not LEAST <= peak <= MOST:
            left[r] = True
            continue
        add_signal(x, signal)
        per_token(x, peak, errors[TOKEN])
        per_channel(x, channel, errors[CHANNEL])
        narrow_float(row, maxima, tensor_scale, blocks[1], blocks[2], errors[NVFP4])
        halve(maxima, maxima.size // 2)
        per_group32(row, maxima, errors[GROUP32])
        scaled_float(row, patterns, largest, DEPTH[0], FRACTION[0], TOP[0], errors[E4M3])
        scaled_float(row, patterns, largest, DEPTH[1], FRACTION[1], TOP[1], errors[E5M2])
        scaled_float(row, patterns, largest, DEPTH[2], FRACTION[2], TOP[2], errors[MXFP4])
        halve(maxima, maxima.size // 4)
        per_group64(row, maxima, errors[GROUP64])
        halve(maxima, maxima.size // 8)
        per_group128(row, maxima, errors[GROUP128])
        for number in range(smooth.shape[0]):
            smoothed(x, smooth[number, 0], smooth[number, 1], scratch, errors[SMOOTH + number])
