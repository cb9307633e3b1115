"""The weights that read a tensor: largest |w| of each input column."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from engine.sites.weights import input_column_maxima


class PackedLinear(nn.Module):
    """As quantised layers keep their weights: integers, in a shape of their own."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.in_features, self.out_features = inputs, outputs
        self.register_buffer("weight", torch.zeros(outputs, inputs // 2, dtype=torch.uint8))


def model() -> nn.Module:
    torch.manual_seed(0)
    parts = {
        "q": nn.Linear(6, 4),
        "k": nn.Linear(6, 2).bfloat16(),
        "c": Conv1D(4, 6),
        "packed": PackedLinear(6, 4),
        "ghost": nn.Linear(6, 4, device="meta"),
        "wider": nn.Linear(8, 4),
    }
    return nn.ModuleDict(parts)


def test_columns_are_inputs_whether_weights_are_stored_by_row_or_transposed() -> None:
    made = model()
    q, k, c = (made[name].weight.detach().float().abs() for name in ("q", "k", "c"))
    np.testing.assert_array_equal(input_column_maxima(made, ["q"]), q.amax(0))
    np.testing.assert_array_equal(input_column_maxima(made, ["c"]), c.amax(1))
    np.testing.assert_array_equal(
        input_column_maxima(made, ["q", "k", "c"]), torch.stack([q.amax(0), k.amax(0), c.amax(1)]).amax(0)
    )


def test_weights_that_are_no_plain_matrix_give_none() -> None:
    made = model()
    for readers in (["packed"], ["q", "packed"], ["ghost"], ["nowhere"], ["q", "wider"], []):
        assert input_column_maxima(made, readers) is None, readers
