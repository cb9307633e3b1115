"""What the benches run: a model with its hook plan, and one batch of tokens.

- `Workload`        model, plan and batch
- `local_workload`  a model on this machine; the demo model by default
- `random_workload` random weights with the dimensions of a preset
- `PRESETS`         their dimensions
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from engine.base.computing import computing
from engine.base.job import Job, SiteSet
from engine.sites.discovery import find_sites
from engine.sites.site import HookPlan

ORACLES = Path(__file__).parents[1] / "oracles"
PRESETS: dict[str, dict[str, Any]] = {
    "qwen3-8b": {
        "hidden_size": 4096, "intermediate_size": 12288, "num_hidden_layers": 36, "num_attention_heads": 32,
        "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151_936,
    },
    "qwen3-0.6b": {
        "hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 28, "num_attention_heads": 16,
        "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151_936,
    },
}  # fmt: skip


@dataclass
class Workload:
    """A model on its device with one batch; `mask` is None where all places hold tokens."""

    model: torch.nn.Module
    text_model: torch.nn.Module
    plan: HookPlan
    tokens: torch.Tensor
    lengths: np.ndarray

    @property
    def mask(self) -> np.ndarray:
        return np.arange(self.tokens.shape[1])[None, :] < self.lengths[:, None]

    @property
    def rows(self) -> tuple[np.ndarray | None, np.ndarray, np.ndarray]:
        """What `Meter.begin_batch` takes."""
        sample, position = np.nonzero(self.mask)
        return (None if self.mask.all() else np.flatnonzero(self.mask)), sample, position

    def forward(self) -> None:
        device = self.tokens.device
        mask = None if self.mask.all() else torch.from_numpy(self.mask.astype(np.int64)).to(device)
        with computing(self.text_model):
            self.text_model(input_ids=self.tokens, attention_mask=mask, use_cache=False)
        if device.type == "cuda":
            torch.cuda.synchronize()


def local_workload(
    name: str, device: str, dtype: str, samples: int, length: int, ragged: bool, sites: SiteSet = "paper"
) -> Workload:
    """A hub id, folder or GGUF file; `demo` is the demo model. The tokens are those of the oracles, repeated."""
    from engine.loading.load import load_model

    if name == "demo":
        from engine.loading.demo import find_demo_model

        name = find_demo_model()
    loaded = load_model(Job(model=name, device=device, dtype=dtype), lambda _progress: None)
    lines = (ORACLES / "smollm2_tokens.jsonl").read_text().splitlines()
    stream = np.concatenate([json.loads(line)["input_ids"] for line in lines]) % loaded.model.config.vocab_size
    return _with_batch(loaded.model, stream, samples, length, ragged, sites)


def random_workload(
    preset: str, device: str, dtype: str, samples: int, length: int, ragged: bool, sites: SiteSet = "paper"
) -> Workload:
    """A Qwen3 of the preset's dimensions with random weights, made on the device."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    config = Qwen3Config(**PRESETS[preset], torch_dtype=dtype, max_position_embeddings=max(length, 4096))
    torch.manual_seed(0)
    with torch.device(device):
        before = torch.get_default_dtype()
        torch.set_default_dtype(getattr(torch, dtype))
        model = Qwen3ForCausalLM(config).eval()
        torch.set_default_dtype(before)
    stream = np.random.default_rng(0).integers(0, config.vocab_size, samples * length)
    return _with_batch(model, stream, samples, length, ragged, sites)


def _with_batch(model: Any, stream: np.ndarray, samples: int, length: int, ragged: bool, sites: SiteSet) -> Workload:
    plan = find_sites(model, sites)
    tokens = torch.from_numpy(np.resize(stream, (samples, length))).to(model.device)
    lengths = np.full(samples, length)
    if ragged:
        lengths = np.linspace(length / 4, length, samples).astype(np.int64)
    text_model = model.get_submodule(plan.text_model) if plan.text_model else model
    return Workload(model, text_model, plan, tokens, lengths)
