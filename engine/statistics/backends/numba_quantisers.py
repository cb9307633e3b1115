"""Quantiser errors compiled for the CPU: a row is widened once, then every scheme reads it from the first cache.

- `Program`     a site's schemes as the kernels take them; `step_of`, one of them
- `sweep_rows`  a program over some rows; rows that need float64 are left and named
- `Workspace`   a thread's buffers
"""

# numba takes the types of these functions from each call.
# ruff: noqa: ANN001, ANN201
# mypy: allow-untyped-defs, allow-untyped-calls

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from engine.formats import CodeBook, FloatFormat
from engine.schemes import Scheme
from engine.statistics.backends.numba_quantised_rows import (
    NARROW,
    ZERO,
    add_signal,
    block_maxima,
    halve,
    largest_of,
    narrow_float,
    per_book64,
    per_channel,
    per_group32,
    per_group64,
    per_group128,
    per_range32,
    per_range128,
    per_token,
    scaled_float,
    smoothed,
    widen,
)

# What `sweep_rows` can do with a row, and the blocks whose maxima it knows.
TOKEN, CHANNEL, GROUP, MICROSCALED, TWO_LEVELS, SMOOTHED, RANGE, BOOK = range(8)
BLOCKS = (16, 32, 64, 128)
PAD = BLOCKS[-1]
# Within these bounds of a row's largest |x| no float32 sum of squares overflows and none that matters underflows.
LEAST, MOST = np.float32(1e-12), np.float32(1e15)
_INTEGERS = {"token": TOKEN, "channel": CHANNEL, "group": GROUP}


@dataclass(frozen=True, slots=True)
class Program:
    """The schemes of a site as the kernels take them.

    Attributes:
        places: which of the site's schemes are compiled; the others are left to torch.
        steps: int64 [steps, 5]: what is done, row of the errors, place of the block among `BLOCKS`, and two numbers:
            octaves below the largest power of two and fraction bits (MX), or which of the arrays below.
        largest: float32 [steps], the largest number of the format; over its largest power of two for MX.
        channels: float32 [schemes per channel, 3, D] of `prepare_scales`.
        smoothing: float32 [smoothing schemes, 2, D], reciprocals of the divisors and the divisors.
        books: float32 [code books, 2, 16], boundaries and levels.
        tensor_scale: of NVFP4.
    """

    places: tuple[int, ...]
    steps: NDArray[np.int64]
    largest: NDArray[np.float32]
    channels: NDArray[np.float32]
    smoothing: NDArray[np.float32]
    books: NDArray[np.float32]
    tensor_scale: np.float32

    @classmethod
    def of(
        cls,
        schemes: Sequence[Scheme],
        channel_max: NDArray[np.float32],
        divisors: NDArray[np.float32],
        tensor_scale: np.float32,
    ) -> Program:
        """What there are kernels for.

        Args:
            schemes: of the site.
            channel_max: float32 [D].
            divisors: float32 [smoothing schemes, D], in the order of `schemes`.
            tensor_scale: of NVFP4.
        """
        places, steps, largest = [], [], []
        channels: list[NDArray[np.float32]] = []
        smoothing: list[NDArray[np.float32]] = []
        books: list[tuple[tuple[float, ...], ...]] = []
        rows = iter(divisors)
        for place, scheme in enumerate(schemes):
            divisor = next(rows) if scheme.alpha is not None else None
            found = step_of(scheme)
            if found is None:
                continue
            step, number = found
            if step[0] == CHANNEL:
                step = (*step[:2], len(channels), 0)
                channels.append(prepare_scales(channel_max, number))
            if isinstance(scheme.form, CodeBook):
                step = (*step[:2], len(books), 0)
                books.append(((*scheme.form.boundaries, np.inf), scheme.form.levels))
            if divisor is not None:
                step = (*step[:2], len(smoothing), 0)
                smoothing.append(np.stack([1 / divisor, divisor]))
            places.append(place)
            steps.append((step[0], place, *step[1:]))
            largest.append(number)
        width = len(channel_max)
        return cls(
            tuple(places),
            np.array(steps, np.int64).reshape(-1, 5),
            np.array(largest, np.float32),
            np.array(channels, np.float32).reshape(-1, 3, width),
            np.array(smoothing, np.float32).reshape(-1, 2, width),
            np.array(books, np.float32).reshape(-1, 2, 16),
            tensor_scale,
        )

    def arguments(self) -> tuple[Any, ...]:
        """The arrays in the order `sweep_rows` takes them."""
        return self.steps, self.largest, self.channels, self.smoothing, self.books, self.tensor_scale


def step_of(scheme: Scheme) -> tuple[tuple[int, ...], np.float32] | None:
    """(what is done, place of the block, two numbers), and the largest number; None where there is no kernel."""
    form, place = scheme.form, BLOCKS.index(scheme.block) if scheme.block in BLOCKS else 0
    if isinstance(form, FloatFormat):
        if scheme.scale == "block-e4m3":
            return (TWO_LEVELS, place, 0, 0), np.float32(form.largest)
        if scheme.scale == "block-power-of-two":
            depth = form.largest_exponent - form.smallest_exponent
            top = np.float32(form.largest / 2.0**form.largest_exponent)
            return (MICROSCALED, place, depth, form.fraction_bits), top
        return None
    if isinstance(form, CodeBook):
        is_compiled = scheme.block == 64 and len(form.levels) == 16
        return ((BOOK, place, 0, 0), np.float32(form.largest)) if is_compiled else None
    if not form.is_symmetric:
        return ((RANGE, place, 0, 0), np.float32(form.largest)) if scheme.block in (32, 128) else None
    if scheme.scale == "group" and not place:
        return None
    kind = SMOOTHED if scheme.alpha is not None else _INTEGERS[scheme.scale]
    return (kind, place, 0, 0), np.float32(form.largest)


@dataclass(frozen=True, slots=True)
class Workspace:
    """A thread's buffers for rows of one width, and what it has summed.

    Attributes:
        row, scratch: float32 [D rounded up to 128].
        blocks: float32 [len(BLOCKS) + 2, the same / 16]: maxima of blocks, scales, and their reciprocals.
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
        blocks = np.zeros((len(BLOCKS) + 2, size // NARROW), np.float32)
        return cls(row, scratch, blocks, np.zeros((schemes, 4)), np.zeros(2))

    def buffers(self) -> tuple[Any, ...]:
        """The arrays in the order `sweep_rows` takes them."""
        return self.row, self.scratch, self.blocks, self.errors, self.signal


def prepare_scales(channel_max: NDArray[np.float32], level: np.float32) -> NDArray[np.float32]:
    """Float32 [3, D]: reciprocal scale, scale and threshold of each channel; a channel of zeros has scale 0."""
    scale = (channel_max / level).astype(np.float32)
    with np.errstate(divide="ignore", over="ignore"):
        inverse = np.float32(1) / scale
    # A reciprocal beyond float32 belongs to numbers too small to matter: they become 0.
    inverse[~np.isfinite(inverse)] = 0
    return np.stack([inverse, scale, channel_max.astype(np.float32)])


@njit(nogil=True, cache=True)
def sweep_rows(
    first, last, bits, index, shift,
    steps, most, channels, smooth, books, tensor_scale,
    left, row, scratch, blocks, errors, signal,
):  # fmt: skip
    """All steps of a program over the rows from `first` to before `last`.

    Args:
        first: number of a row that counts.
        last: number of a row that counts.
        bits: int16 or int32 [R, D].
        index: int64 rows that count, empty if all R do.
        shift: 16 for bfloat16, 0 for float32.
        steps: int64 [steps, 5], as the following arrays of a `Program`.
        most: float32 [steps].
        channels: float32 [., 3, D].
        smooth: float32 [., 2, D].
        books: float32 [., 2, 16].
        tensor_scale: NVFP4's scale of the tensor.
        left: bool [n], set for rows that must be swept elsewhere.
        row: float32 [P], as the following arrays of a `Workspace`; zeros from D on.
        scratch: float32 [P].
        blocks: float32 [len(BLOCKS) + 2, P / 16].
        errors: float64 [schemes, 4], raised.
        signal: float64 [2], raised.
    """
    width = bits.shape[1]
    patterns, keys = row.view(np.int32), blocks.view(np.int32)
    x, count = row[:width], blocks.shape[1]
    for r in range(first, last):
        widen(bits[index[r] if index.size else r], shift, patterns)
        block_maxima(patterns, keys[0])
        peak = largest_of(keys[0])
        if peak == ZERO:
            continue
        if not LEAST <= peak <= MOST:
            left[r] = True
            continue
        for wider in range(1, 4):
            halve(blocks[wider - 1, : count >> (wider - 1)], blocks[wider])
        add_signal(x, signal)
        for s in range(steps.shape[0]):
            kind, out, place = steps[s, 0], errors[steps[s, 1]], steps[s, 2]
            if kind == TOKEN:
                per_token(x, peak, most[s], out)
            elif kind == CHANNEL:
                per_channel(x, channels[steps[s, 3]], most[s], out)
            elif kind == GROUP:
                if place == 1:
                    per_group32(row, blocks[1], most[s], out)
                elif place == 2:
                    per_group64(row, blocks[2], most[s], out)
                else:
                    per_group128(row, blocks[3], most[s], out)
            elif kind == MICROSCALED:
                scaled_float(row, patterns, keys[1], steps[s, 3], steps[s, 4], most[s], out)
            elif kind == TWO_LEVELS:
                narrow_float(row, blocks[0], tensor_scale, blocks[4], blocks[5], out)
            elif kind == RANGE:
                if place == 1:
                    per_range32(row, most[s], out)
                else:
                    per_range128(row, most[s], out)
            elif kind == BOOK:
                per_book64(row, blocks[2], books[steps[s, 3]], out)
            else:
                smoothed(x, smooth[steps[s, 3], 0], smooth[steps[s, 3], 1], most[s], scratch, out)
