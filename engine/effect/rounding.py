"""Fake quantisation in torch: values rounded to a format and back, in float32.

- `round_integers`    symmetric integers, any scale that broadcasts
- `round_asymmetric`  all levels between two limits, zero exactly representable
- `round_floats`      FP8, saturating
- `token_peaks`, `group_peaks`  the largest |x| that dynamic scales come from

The numpy counterpart for single numbers is `engine.quantization.schemes.fake_quantise`. A scale of 0 makes
everything 0, never NaN.
"""

from __future__ import annotations

import torch

FLOAT_TYPES = {"e4m3": torch.float8_e4m3fn, "e5m2": torch.float8_e5m2}


def round_integers(x: torch.Tensor, scale: torch.Tensor, level: int) -> torch.Tensor:
    """clamp(round_half_even(x / scale), -level, level) * scale.

    Args:
        x: float32.
        scale: broadcasts against `x`.
        level: the largest integer, 127 for INT8.
    """
    return torch.div(x, _divisor(scale)).round_().clamp_(-level, level).mul_(scale)


def round_asymmetric(x: torch.Tensor, low: float, high: float, bits: int) -> torch.Tensor:
    """The values on 2^bits levels over [-low, high], zero being one of them; `low` is a magnitude."""
    levels = 2**bits - 1
    scale = (high + low) / levels
    if scale == 0:
        return torch.zeros_like(x)
    zero_point = round(low / scale)  # half to even, as the others
    return torch.div(x, scale).round_().add_(zero_point).clamp_(0, levels).sub_(zero_point).mul_(scale)


def round_floats(x: torch.Tensor, scale: torch.Tensor, name: str) -> torch.Tensor:
    """cast(x / scale) * scale in the format `name` (`e4m3`, `e5m2`), to nearest even, saturating."""
    target = FLOAT_TYPES[name]
    largest = torch.finfo(target).max
    return torch.div(x, _divisor(scale)).clamp_(-largest, largest).to(target).to(x.dtype).mul_(scale)


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


def _divisor(scale: torch.Tensor) -> torch.Tensor:
    return torch.where(scale > 0, scale, 1.0)
