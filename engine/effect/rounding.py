"""Fake quantisation in torch: values rounded to a format and back, in float32.

- `round_asymmetric`  all levels between two limits, zero exactly representable
- `token_peaks`, `group_peaks`  the largest |x| that dynamic scales come from

Everything symmetric, blocks and smoothing are those of `engine.statistics.quantisers`. The numpy counterpart for single
numbers is `engine.quantization.schemes.fake_quantise`. A scale of 0 makes everything 0, never NaN.
"""

from __future__ import annotations

import torch

from engine.formats import find_integer


def round_asymmetric(x: torch.Tensor, low: float, high: float, bits: int) -> torch.Tensor:
    """The values on 2^bits levels over [-low, high], zero being one of them; `low` is a magnitude."""
    levels = find_integer(bits, is_symmetric=False).level
    scale = (high + low) / levels
    if scale == 0:
        return torch.zeros_like(x)
    zero_point = round(low / scale)  # half to even, as the others
    return torch.div(x, scale).round_().add_(zero_point).clamp_(0, levels).sub_(zero_point).mul_(scale)


def token_peaks(x: torch.Tensor) -> torch.Tensor:
    """The largest |x| of each row, [..., 1]."""
    return x.abs().amax(dim=-1, keepdim=True)


def group_peaks(x: torch.Tensor, size: int) -> torch.Tensor:
    """The largest |x| of each group of `size` neighbouring channels, for each of its channels, like `x`.

    The last group of a row may be shorter.
    """
    width = x.shape[-1]
    padded = torch.nn.functional.pad(x.abs(), (0, -width % size))
    peaks = padded.unflatten(-1, (-1, size)).amax(dim=-1)
    return peaks.repeat_interleave(size, dim=-1)[..., :width]
