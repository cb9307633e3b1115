"""Quantiser errors in torch, on every device: the judge of the compiled ones.

- `Calibration`     what a site's quantisers know beforehand, on its device
- `add_errors`      all schemes on some rows, summed in float64
- `quantised_rows`  x' of every scheme, one by one; `quantise`, of one
- `round_to`        numbers rounded to a small float format
- `round_integers`  numbers rounded to symmetric integers and back

INT8: x' = s clamp(round(x / s), -127, 127), s = max|x| / 127 of what shares the scale.
MXFP8, MXFP4: OCP Microscaling Formats (MX) Specification v1.0, sections 5 and 6.3: blocks of 32 share an E8M0 scale
X = 2^(floor(log2 max|x|) - emax), emax being the exponent of the element format's largest number (8, 15, 2); elements
are rounded to nearest even and saturate.
NVFP4: NVIDIA's two levels ("Introducing NVFP4 for Efficient and Accurate Low-Precision Inference", 2025; Transformer
Engine): a float32 scale of the tensor, g = M / (6 * 448), M taken from the calibration samples, and for each 16
elements an E4M3 scale max|x| / 6 / g, rounded to nearest even; E2M1 elements saturate at 6.
SmoothQuant (arXiv 2211.10438): x_j / s_j is quantised, s_j = max|x_j|^alpha / max|w_j|^(1 - alpha).
Nothing here waits for the device.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from engine.formats import E4M3_LIMIT, FORMATS, find_float, find_integer
from engine.statistics.pass_sums import SMOOTH_SCHEMES, SUM_FIELDS, TENSOR_SCHEMES, PassScheme
from engine.statistics.smoothing import smoothing_divisors

CHUNK: Final = 1 << 22  # elements widened to float32 at a time
_SQUARED, _ABSOLUTE, _SIGNAL_SQUARES, _SIGNAL, _CLIPPED_SQUARES, _CLIPPED, _ELEMENTS, _NONFINITE = range(
    len(SUM_FIELDS)
)
_EXPONENT: Final = 0x7F80_0000


_INT8: Final = find_integer(8).level


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """What a site's quantisers know beforehand, as float32 tensors on its device.

    Attributes:
        schemes: those that apply to the site, in the order of their sums.
        channel_max: [D], largest |x| of each channel over the calibration samples.
        tensor_scale: scalar, NVFP4's scale of the tensor.
        smoothing: [alphas, D], SmoothQuant's divisors; [0, D] for a site that is no input of a matrix product.
    """

    schemes: tuple[PassScheme, ...]
    channel_max: torch.Tensor
    tensor_scale: torch.Tensor
    smoothing: torch.Tensor

    @classmethod
    def of(
        cls, channel_max: NDArray[np.float32], weight_max: NDArray[np.float32] | None, device: torch.device
    ) -> Calibration:
        """From per-channel maxima, float32 [D], of the activation and of the weights that read it (if known)."""
        largest = np.asarray(channel_max, np.float32)
        tensor_scale = np.float32(largest.max(initial=0) / np.float32(FORMATS["e2m1"].largest * E4M3_LIMIT))
        divisors = np.zeros((0, len(largest)), np.float32)
        if weight_max is not None:
            divisors = np.stack([smoothing_divisors(largest, weight_max, s.alpha or 0.0) for s in SMOOTH_SCHEMES])
        return cls(
            TENSOR_SCHEMES + (SMOOTH_SCHEMES if len(divisors) else ()),
            torch.from_numpy(largest.copy()).to(device),
            torch.tensor(tensor_scale).to(device),
            torch.from_numpy(divisors).to(device),
        )


def add_errors(table: torch.Tensor, x: torch.Tensor, calibration: Calibration) -> None:
    """Add the errors of every scheme on all rows of x.

    Args:
        table: float64 [schemes, len(SUM_FIELDS)] on x's device, raised.
        x: [R, D] floating; non-finite elements count as such and in nothing else.
        calibration: of the site.
    """
    for part in x.split(max(CHUNK // x.shape[-1], 1)):
        wide = part.to(torch.float32)
        finite = wide.isfinite()
        wide = wide.where(finite, 0.0)
        elements = finite.sum(dtype=torch.float64)
        # Plain columns: an index made of a list would be an upload for every tensor.
        table[:, _SIGNAL_SQUARES] += _squares(wide)
        table[:, _SIGNAL] += _absolute(wide)
        table[:, _ELEMENTS] += elements
        table[:, _NONFINITE] += part.numel() - elements
        for number, (quantised, limit) in enumerate(quantised_rows(wide, calibration)):
            error = quantised - wide
            table[number, _SQUARED] += _squares(error)
            table[number, _ABSOLUTE] += _absolute(error)
            if limit is not None:
                beyond = wide.abs() > limit
                table[number, _CLIPPED] += beyond.sum(dtype=torch.float64)
                table[number, _CLIPPED_SQUARES] += _squares(error.where(beyond, 0.0))


def quantised_rows(x: torch.Tensor, calibration: Calibration) -> Iterator[tuple[torch.Tensor, torch.Tensor | None]]:
    """What each scheme makes of x of the calibration, and the |x| above which it clips; None where it never does.

    Args:
        x: float32 [R, D], finite.
        calibration: of the site.
    """
    for scheme in calibration.schemes:
        yield quantise(x, scheme, calibration)


def quantise(x: torch.Tensor, scheme: PassScheme, calibration: Calibration) -> tuple[torch.Tensor, torch.Tensor | None]:
    """What one scheme makes of x, and its limit; as `quantised_rows`."""
    if scheme.alpha is not None:
        smooth = x / (divisor := calibration.smoothing[SMOOTH_SCHEMES.index(scheme)])
        return round_integers(smooth, _token_scale(smooth)) * divisor, None
    if scheme.scale_of == "token":
        return round_integers(x, _token_scale(x)), None
    if scheme.scale_of == "channel":
        return round_integers(x, calibration.channel_max / _INT8), calibration.channel_max
    return _blocks(x, scheme, calibration.tensor_scale)


def round_to(y: torch.Tensor, element: str) -> torch.Tensor:
    """Float32 numbers rounded to `e4m3`, `e5m2` or `e2m1`, half to even, saturated; subnormals included."""
    form = find_float(element)
    power = _power_of_two(y).clamp_(min=2.0**form.smallest_exponent)
    step = power * 2.0**-form.fraction_bits
    return (torch.round(y / step) * step).clamp_(-form.largest, form.largest)


def _blocks(
    x: torch.Tensor, scheme: PassScheme, tensor_scale: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """What a scheme with a scale per block makes of x, and its limits, both [R, D]."""
    width = x.shape[1]
    padded = torch.nn.functional.pad(x, (0, -width % scheme.block)).view(len(x), -1, scheme.block)
    largest = padded.abs().amax(-1, keepdim=True)
    if scheme.element == "int8":
        return round_integers(padded, largest / _INT8).view(len(x), -1)[:, :width], None
    form = find_float(scheme.element)
    if scheme.name == "nvfp4":
        share = torch.where(tensor_scale > 0, largest / form.largest / tensor_scale, 0.0)
        scale = round_to(share, "e4m3") * tensor_scale
    else:
        # E8M0 holds 2^-127 and up; below, every element is far under what a scale can reach.
        scale = torch.where(
            largest > 0, (_power_of_two(largest) * 2.0**-form.largest_exponent).clamp(min=2.0**-127), 0.0
        )
    quantised = round_to(padded / _divisible(scale), scheme.element) * scale
    limit = (form.largest * scale).expand_as(padded)
    return quantised.reshape(len(x), -1)[:, :width], limit.reshape(len(x), -1)[:, :width]


def round_integers(x: torch.Tensor, scale: torch.Tensor, level: int = _INT8) -> torch.Tensor:
    """`clamp(round(x / scale), -level, level) * scale`, ties to even; 0 where the scale is 0. Scales broadcast."""
    return torch.round(x / _divisible(scale)).clamp_(-level, level) * scale


def _token_scale(x: torch.Tensor) -> torch.Tensor:
    return x.abs().amax(-1, keepdim=True) / _INT8


def _divisible(scale: torch.Tensor) -> torch.Tensor:
    """The scale, infinite instead of 0: dividing by it gives 0, and 0 times the scale is 0."""
    return scale.where(scale > 0, torch.inf)


def _power_of_two(y: torch.Tensor) -> torch.Tensor:
    """The largest power of two up to |y|, by clearing all but the exponent; 0 for float32 subnormals."""
    return (y.view(torch.int32) & _EXPONENT).view(torch.float32)


def _squares(x: torch.Tensor) -> torch.Tensor:
    return torch.linalg.vector_norm(x, dtype=torch.float64).square_()


def _absolute(x: torch.Tensor) -> torch.Tensor:
    return torch.linalg.vector_norm(x, 1, dtype=torch.float64)
