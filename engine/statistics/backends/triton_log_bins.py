"""The Triton kernel that counts |x| in the reference's bins, for float32 in compat detail.

- `count_log_bins`
"""

# Triton takes the types of these functions from each launch.
# ruff: noqa: ANN001, ANN201, N803
# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-calls, allow-untyped-decorators

from __future__ import annotations

import triton
import triton.language as tl

from engine.statistics import totals as _totals
from engine.statistics.backends.triton_keys import load_keys, rows_of

LOG_BINS = tl.constexpr(_totals.LOG_BINS)


@triton.jit(do_not_specialize=["count"], do_not_specialize_on_alignment=["index"])
def count_log_bins(
    x, index, count, width, edges, log_histogram,
    INFINITY: tl.constexpr, INDEXED: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Count the finite non-zero |x| between `edges`, keys int32 [LOG_BINS - 1], in the grid of the sweeps."""
    columns = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    counts = tl.zeros([LOG_BINS], tl.int32)
    for first in range(tl.program_id(1) * ROWS, count, tl.num_programs(1) * ROWS):
        numbers = first + tl.arange(0, ROWS)
        row = rows_of(index, numbers, count, INDEXED)
        real = (numbers < count)[:, None] & (columns < width)[None, :]
        keys = load_keys(x, row[:, None] * width + columns[None, :], real, INFINITY)
        # Halving search for the number of edges that a key has reached.
        reached = tl.zeros([ROWS, COLUMNS], tl.int32)
        for step in tl.static_range(9):
            probe = reached + (LOG_BINS >> (step + 1))
            reached = tl.where(tl.load(edges + probe - 1) <= keys, probe, reached)
        kept = (keys > 0) & (keys < INFINITY)
        counts += tl.histogram(tl.reshape(reached, [ROWS * COLUMNS]), LOG_BINS, mask=tl.reshape(kept, [ROWS * COLUMNS]))
    tl.atomic_add(log_histogram + tl.arange(0, LOG_BINS), counts, mask=counts > 0, sem="relaxed")
