"""The Triton kernel for whole tokens: their maxima, Sun's medians and the channel census where a token is large.

- `judge_tokens`   one program for a few tokens; most of them only look at a maximum
"""

# Triton takes the types of these functions from each launch.
# ruff: noqa: ANN001, ANN201, ANN202, N803
# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-calls, allow-untyped-decorators

from __future__ import annotations

import triton
import triton.language as tl

from engine.statistics import totals as _totals
from engine.statistics.backends.triton_keys import load_keys, lower_median, mantissa_bits, pattern_shift, rows_of

CENSUS_RUNGS = tl.constexpr(_totals.CENSUS_RUNGS)


@triton.jit
def _raise_samples(sample_keys, samples, keys, live):
    """Raise the maxima of the samples these tokens belong to; tokens of one sample stand together."""
    first = tl.min(tl.where(live, samples, 0x7FFFFFFF), 0)
    last = tl.max(tl.where(live, samples, 0), 0)
    if first == last:
        tl.atomic_max(sample_keys + first, tl.max(keys, 0), sem="relaxed")
    else:
        tl.atomic_max(sample_keys + samples, keys, mask=live, sem="relaxed")


@triton.jit
def _take_census(channel_tokens, row, width, largest, LADDER, INFINITY: tl.constexpr, BLOCK: tl.constexpr):
    """Count the channels of a row (a pointer) above each rung; its largest key is `largest`."""
    for start in range(0, width, BLOCK):
        channels = start + tl.arange(0, BLOCK)
        keys = load_keys(row, channels, channels < width, INFINITY)
        for rung in range(CENSUS_RUNGS):
            # The rungs are 100 * 2^k; one beyond the largest number is the key of a NaN, exceeded by none.
            threshold = LADDER + (rung << mantissa_bits(INFINITY))
            if largest > threshold:
                above = (keys > threshold) & (keys < INFINITY)
                tl.atomic_add(channel_tokens + rung * width + channels, 1, mask=above, sem="relaxed")


@triton.jit(do_not_specialize=["count", "chunks"], do_not_specialize_on_alignment=["index", "sample"])
def judge_tokens(
    x, index, sample, count, width, row_maxima, chunks, row_keys, medians, token_maxima, sample_keys, channel_tokens,
    LADDER: tl.constexpr, INFINITY: tl.constexpr, INDEXED: tl.constexpr, JUDGED: tl.constexpr, ALL: tl.constexpr,
    CENSUS: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """What is kept of whole tokens, grid (count / ROWS).

    Writes row_keys int32 [count], the largest key of each token (-1 without a finite element), and with JUDGED
    medians int32 [count], -1 where the token is not judged: those above LADDER (the key of 100), with ALL every one.
    """
    numbers = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    live = numbers < count
    keys = tl.full([ROWS], -1, tl.int32)
    for start in range(0, chunks, ROWS):
        chunk = start + tl.arange(0, ROWS)[:, None]
        parts = row_maxima + chunk.to(tl.int64) * count + numbers[None, :]
        keys = tl.maximum(keys, tl.max(tl.load(parts, mask=(chunk < chunks) & live[None, :], other=-1), 0))
    tl.store(row_keys + numbers, keys, mask=live)
    tl.atomic_add(token_maxima + (keys >> pattern_shift(INFINITY)), 1, mask=keys >= 0, sem="relaxed")
    _raise_samples(sample_keys, tl.load(sample + numbers, mask=live, other=0), keys, live)
    if JUDGED or CENSUS:
        least = LADDER
        if ALL:
            least = -1
        judged = tl.full([ROWS], -1, tl.int32)
        if tl.max(keys, 0) > least:
            for i in range(ROWS):
                mine = tl.arange(0, ROWS) == i
                largest = tl.max(tl.where(mine, keys, -1), 0)
                if largest > least:
                    row = x + rows_of(index, tl.program_id(0) * ROWS + i, count, INDEXED) * width
                    if JUDGED:
                        judged = tl.where(mine, lower_median(row, width, INFINITY, BLOCK), judged)
                    if CENSUS:
                        _take_census(channel_tokens, row, width, largest, LADDER, INFINITY, BLOCK)
        if JUDGED:
            tl.store(medians + numbers, judged, mask=live)
