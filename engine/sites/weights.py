"""The weights that multiply a site's tensor.

- `input_column_maxima`  largest |w| of each input column, over all linears that read one tensor
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from engine.sites.modules import child, linear_shape


def input_column_maxima(model: nn.Module, readers: Sequence[str]) -> NDArray[np.float32] | None:
    """Largest |w| per input channel over these linears, float32 [inputs]: SmoothQuant's max|W_j|.

    Args:
        model: the loaded model.
        readers: paths of linear modules with the same input.

    Returns:
        None where a weight is not a plain floating-point matrix (packed, quantised, not in memory).
    """
    largest: torch.Tensor | None = None
    for path in readers:
        module = child(model, path)
        weight = getattr(module, "weight", None)
        if module is None or not isinstance(weight, torch.Tensor) or not weight.is_floating_point() or weight.is_meta:
            return None
        inputs, outputs = linear_shape(module)
        is_transposed = type(module).__name__ == "Conv1D"
        if tuple(weight.shape) != ((inputs, outputs) if is_transposed else (outputs, inputs)):
            return None
        columns = weight.detach().abs().amax(1 if is_transposed else 0).to(torch.float32).cpu()
        if largest is not None and len(largest) != len(columns):
            return None
        largest = columns if largest is None else torch.maximum(largest, columns)
    return None if largest is None else np.asarray(largest.numpy(), np.float32)
