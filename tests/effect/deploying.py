"""A recipe made ready for a model without an engine.

- `calibrated`  run some token ids through the model as calibration samples
"""

from __future__ import annotations

import numpy as np
import torch

from corpus.batching import Batch
from engine.effect.deployed import Deployment


def calibrated(one: Deployment, model: torch.nn.Module, ids: torch.Tensor) -> Deployment:
    """The deployment, calibrated on all of these ids, int64 [B, T]."""
    lengths = np.full(len(ids), ids.shape[1], np.int64)
    batch = Batch(ids.numpy(), lengths, np.arange(len(ids), dtype=np.int32), padded=False)
    while one.needs_samples:
        with torch.inference_mode(), one.attached(batch):
            model(input_ids=ids, use_cache=False)
        one.prepare()
    return one
