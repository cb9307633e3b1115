"""Out of memory: telling it apart from other errors, and making batches that fit.

- `is_out_of_memory`  CUDA's own error, and the CPU allocator's plain RuntimeError
- `split_batches`     the same samples in batches under a smaller budget
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a forward pass failed for want of memory."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def split_batches(
    batches: Iterable[Sequence[int]], lengths: NDArray[np.int64], token_budget: int
) -> list[tuple[int, ...]]:
    """Halve every batch until its padded size fits the budget; single samples stay whatever their length.

    Args:
        batches: sample numbers, ascending within a batch.
        lengths: tokens of each sample, int64 [samples].
        token_budget: padded tokens per batch.
    """
    result: list[tuple[int, ...]] = []
    for batch in batches:
        if len(batch) <= 1 or len(batch) * max(lengths[i] for i in batch) <= token_budget:
            result.append(tuple(batch))
            continue
        middle = len(batch) // 2
        result += split_batches([batch[:middle], batch[middle:]], lengths, token_budget)
    return result
