"""The naive way to measure activations, restated: the yardstick of `bench_overhead`.

Each site and each sample by itself, everything in float32: masked sums, signed extremes, a top hundred, the median
of every token, a log10 histogram filled through a boolean index, and a number read back from the device at every turn.

- `NaiveMeter`   begin_batch, record, end_batch, as `Meter`
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

LOG_BINS = 512


class NaiveMeter:
    """Per-site dictionaries of running numbers. Only sites with `whole` set get medians, histogram and top list."""

    def __init__(self, whole: list[bool]) -> None:
        self._whole = whole
        self._sites: list[dict[str, Any]] = [{} for _ in whole]
        self._mask = torch.zeros(0)

    def begin_batch(self, mask: np.ndarray) -> None:
        """Take the attention mask [B, T] of the next batch."""
        self._mask = torch.from_numpy(mask.astype(bool))

    def end_batch(self) -> None:
        """Nothing is left to do."""

    def record(self, site: int, x: torch.Tensor, token_index: torch.Tensor | None = None) -> None:
        """Measure [B, T, D], sample by sample."""
        mask = self._mask.to(x.device)
        x = x.view(*mask.shape, -1)
        for sample, valid in zip(x, mask, strict=True):
            if valid.any():
                _moments(self._sites[site], sample, valid)
                if self._whole[site]:
                    _medians(self._sites[site], sample, valid)
                    _histogram(self._sites[site], sample, valid)
                    _top(self._sites[site], sample, valid)


def _moments(kept: dict[str, Any], sample: torch.Tensor, valid: torch.Tensor) -> None:
    wide, chosen = sample.float(), valid[:, None]
    masked = wide * chosen.float()
    kept["sum"] = kept.get("sum", 0.0) + masked.sum().item()
    kept["squares"] = kept.get("squares", 0.0) + (masked * masked).sum().item()
    kept["absolute"] = kept.get("absolute", 0.0) + masked.abs().sum().item()
    kept["max"] = max(kept.get("max", -np.inf), torch.where(chosen, wide, -torch.inf).max().item())
    kept["min"] = min(kept.get("min", np.inf), torch.where(chosen, wide, torch.inf).min().item())
    kept["count"] = kept.get("count", 0) + int(valid.sum().item()) * sample.shape[-1]


def _medians(kept: dict[str, Any], sample: torch.Tensor, valid: torch.Tensor) -> None:
    magnitude = sample.float().abs()
    maxima, medians = magnitude.amax(-1)[valid], magnitude.median(-1).values[valid]
    ratios = maxima / medians.clamp_min(1e-38)
    place = int(ratios.argmax().item())
    if ratios[place].item() > kept.get("ratio", -1.0):
        kept["ratio"], kept["ratio_max"] = ratios[place].item(), maxima[place].item()
    kept["passes"] = kept.get("passes", 0) + int(((maxima > 100) & (ratios > 1000)).sum().item())
    kept["ratio_sum"] = kept.get("ratio_sum", 0.0) + ratios.double().sum().item()
    kept["ratio_squares"] = kept.get("ratio_squares", 0.0) + ratios.double().square().sum().item()


def _histogram(kept: dict[str, Any], sample: torch.Tensor, valid: torch.Tensor) -> None:
    magnitude = sample.float().abs()[valid].reshape(-1)
    seen = magnitude[magnitude > 0]
    bins = ((seen.log10() + 8) * (LOG_BINS / 16)).long().clamp(0, LOG_BINS - 1)
    counts = kept.setdefault("bins", torch.zeros(LOG_BINS, dtype=torch.int64, device=sample.device))
    counts.scatter_add_(0, bins, torch.ones_like(bins))
    kept["zeros"] = kept.get("zeros", 0) + int((magnitude == 0).sum().item())


def _top(kept: dict[str, Any], sample: torch.Tensor, valid: torch.Tensor) -> None:
    magnitude = torch.where(valid[:, None], sample.float().abs(), -1.0).reshape(-1)
    largest, place = magnitude.topk(min(100, len(magnitude)))
    signed = sample.float().reshape(-1).gather(0, place)
    if "top" in kept:
        largest, signed = torch.cat([kept["top"], largest]), torch.cat([kept["signed"], signed])
        largest, place = largest.topk(min(100, len(largest)))
        signed = signed[place]
    kept["top"], kept["signed"] = largest, signed
