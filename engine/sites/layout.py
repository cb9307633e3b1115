"""How the rows of a site's tensor correspond to the tokens of a batch.

- `row_layout`  a shape -> its layout, None where it does not hold one row per token
"""

from __future__ import annotations

from math import prod
from typing import Literal


def row_layout(shape: tuple[int, ...], batch: tuple[int, int]) -> Literal["BTD", "ND"] | None:
    """How a tensor of this shape holds one row per token of a [B, T] batch.

    Args:
        shape: the tensor's shape, channels last.
        batch: (B, T), different from each other and both above 1, so that their order shows.

    Returns:
        `BTD` for [B, T, D]; `ND` where the leading dimensions flatten to B * T rows in order ([B * T, D],
        [B, 1, T, D]); None for anything else, such as [T, B, D] or attention heads.
    """
    samples, length = batch
    leading = shape[:-1]
    if leading == batch:
        return "BTD"
    in_order = len(leading) == 1 or [size for size in leading if size != 1] == [samples, length]
    return "ND" if prod(leading) == samples * length and in_order else None
