"""One batch through the text model.

- `run_forward`  tell the meters whose rows come, and call the model
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from corpus.batching import Batch
from engine.preparation.prepare import Prepared


class Listener(Protocol):
    """What must know whose rows the next tensors hold."""

    def begin_batch(
        self,
        index: NDArray[np.integer[Any]] | None,
        sample: NDArray[np.integer[Any]],
        position: NDArray[np.integer[Any]],
    ) -> None:
        """Arguments as of `engine.statistics.meter.Meter.begin_batch`."""


def run_forward(prepared: Prepared, batch: Batch, listeners: Sequence[Listener]) -> None:
    """Compute one batch, embedding to final norm; padding is masked and told to be none of a sample's rows."""
    places = np.arange(batch.input_ids.shape[1])[None, :] < batch.lengths[:, None]
    row, position = np.nonzero(places)
    index = np.flatnonzero(places) if batch.padded else None
    for listener in listeners:
        listener.begin_batch(index, batch.samples[row], position)
    device = prepared.device
    mask = torch.from_numpy(places.astype(np.int64)).to(device) if batch.padded else None
    prepared.text_model(input_ids=torch.from_numpy(batch.input_ids).to(device), attention_mask=mask, use_cache=False)
