"""Quantiser errors in torch, on every device: the judge of the compiled ones.

- `Calibration`     what a site's quantisers know beforehand, on its device
- `add_errors`      all schemes on some rows, summed in float64
- `quantised_rows`  x' of every scheme, one by one; `quantise`, of one
- `round_under`     numbers rounded to a format under a scale; `round_to_format`, as they are

Per token, channel and group: x' = s round(x / s), s = max|x| / L of what shares the scale, L being the format's largest
number (127 of INT8). Asymmetric integers: s = (max - min) / (2^bits - 1) over a range that holds zero, with a whole
zero point. NF4: the 16 levels of QLoRA (arXiv 2305.14314), appendix E.
MX: OCP Microscaling Formats (MX) Specification v1.0, sections 5 and 6.3: blocks of 32 share an E8M0 scale
X = 2^(floor(log2 max|x|) - emax), emax being the exponent of L; elements are rounded to nearest even and saturate.
NVFP4: NVIDIA's two levels ("Introducing NVFP4 for Efficient and Accurate Low-Precision Inference", 2025; Transformer
Engine): a float32 scale of the tensor, g = M / (L * L'), L' being E4M3's largest number and M taken from the
calibration samples, and for each 16 elements an E4M3 scale max|x| / L / g, rounded to nearest even; E2M1 elements
saturate.
SmoothQuant (arXiv 2211.10438): x_j / s_j is quantised, s_j = max|x_j|^alpha / max|w_j|^(1 - alpha).
Nothing here waits for the device.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from engine.formats import E4M3_LIMIT, ELEMENTS, CodeBook, FloatFormat, Format, IntegerFormat
from engine.schemes import FULL_SCHEMES, NVFP4, Scheme
from engine.statistics.pass_sums import SUM_FIELDS
from engine.statistics.smoothing import smoothing_divisors

CHUNK: Final = 1 << 22  # elements widened to float32 at a time
_SQUARED, _ABSOLUTE, _SIGNAL_SQUARES, _SIGNAL, _CLIPPED_SQUARES, _CLIPPED, _ELEMENTS, _NONFINITE = range(
    len(SUM_FIELDS)
)
_EXPONENT: Final = 0x7F80_0000


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """What a site's quantisers know beforehand, as float32 tensors on its device.

    Attributes:
        schemes: those that apply to the site, in the order of their sums.
        channel_max: [D], largest |x| of each channel over the calibration samples.
        tensor_scale: scalar, NVFP4's scale of the tensor.
        smoothing: [S, D], SmoothQuant's divisors, a row for each of `schemes` that smooths, in their order.
    """

    schemes: tuple[Scheme, ...]
    channel_max: torch.Tensor
    tensor_scale: torch.Tensor
    smoothing: torch.Tensor

    @classmethod
    def of(
        cls,
        channel_max: NDArray[np.float32],
        weight_max: NDArray[np.float32] | None,
        device: torch.device,
        schemes: Iterable[Scheme] = FULL_SCHEMES,
    ) -> Calibration:
        """What these schemes need to know of a site.

        Args:
            channel_max: float32 [D], largest |x| of each channel.
            weight_max: float32 [D], largest |w| of each input column of the weights that read the site; None where
                there are none: then no scheme with smoothing applies.
            device: where the site's tensors are.
            schemes: what is applied.
        """
        largest = np.asarray(channel_max, np.float32)
        tensor_scale = np.float32(largest.max(initial=0) / np.float32(NVFP4.form.largest * E4M3_LIMIT))
        usable = tuple(one for one in schemes if one.alpha is None or weight_max is not None)
        divisors = np.zeros((0, len(largest)), np.float32)
        strengths = [one.alpha for one in usable if one.alpha is not None]
        if weight_max is not None and strengths:
            divisors = np.stack([smoothing_divisors(largest, weight_max, alpha) for alpha in strengths])
        return cls(
            usable,
            torch.from_numpy(largest.copy()).to(device),
            torch.tensor(tensor_scale).to(device),
            torch.from_numpy(divisors).to(device),
        )

    def divisor(self, scheme: Scheme) -> torch.Tensor:
        """SmoothQuant's divisors of one of `schemes`, [D]."""
        return self.smoothing[[one for one in self.schemes if one.alpha is not None].index(scheme)]

    def only(self, schemes: tuple[Scheme, ...]) -> Calibration:
        """The same for some of the schemes."""
        smooths = [one for one in self.schemes if one.alpha is not None]
        rows = [number for number, one in enumerate(smooths) if one in schemes]
        return Calibration(schemes, self.channel_max, self.tensor_scale, self.smoothing[rows])


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


def quantise(x: torch.Tensor, scheme: Scheme, calibration: Calibration) -> tuple[torch.Tensor, torch.Tensor | None]:
    """What one scheme with scales inside the tensor makes of x, and its limit; as `quantised_rows`."""
    form = scheme.form
    if scheme.alpha is not None:
        smooth = x / (divisor := calibration.divisor(scheme))
        return round_under(smooth, _peaks(smooth), form) * divisor, None
    if scheme.scale == "token":
        return _round_alone(x, form), None
    if scheme.scale == "channel":
        return round_under(x, calibration.channel_max, form), calibration.channel_max
    width = x.shape[1]
    blocks = torch.nn.functional.pad(x, (0, -width % scheme.block)).view(len(x), -1, scheme.block)
    if scheme.scale == "group":
        return _round_alone(blocks, form).view(len(x), -1)[:, :width], None
    scale = _block_scales(_peaks(blocks), scheme, calibration.tensor_scale)
    quantised = round_to_format(blocks / _divisible(scale), form) * scale
    limit = (form.largest * scale).expand_as(blocks)
    return quantised.reshape(len(x), -1)[:, :width], limit.reshape(len(x), -1)[:, :width]


def round_under(x: torch.Tensor, threshold: torch.Tensor, form: Format) -> torch.Tensor:
    """Rounded to a format, scaled so that the threshold, which broadcasts, becomes its largest number; 0 under 0."""
    scale = threshold / form.largest
    return round_to_format(x / _divisible(scale), form) * scale


def round_to_format(y: torch.Tensor, form: Format) -> torch.Tensor:
    """Float32 numbers rounded to a symmetric format as it is, half to even, saturated."""
    if isinstance(form, FloatFormat):
        power = _power_of_two(y).clamp_(min=2.0**form.smallest_exponent)
        step = power * 2.0**-form.fraction_bits
        return (torch.round(y / step) * step).clamp_(-form.largest, form.largest)
    if isinstance(form, CodeBook):
        boundaries, levels = _book(form, y.device)
        return levels[torch.bucketize(y, boundaries)]
    return torch.round(y).clamp_(-form.level, form.level)


def _round_alone(x: torch.Tensor, form: Format) -> torch.Tensor:
    """Each row or block under a scale from its own largest |x|, or from its own range and zero."""
    if not isinstance(form, IntegerFormat) or form.is_symmetric:
        return round_under(x, _peaks(x), form)
    low, high = x.amin(-1, keepdim=True).clamp(max=0), x.amax(-1, keepdim=True).clamp(min=0)
    scale = (high - low) / form.level
    zero_point = torch.round(-low / _divisible(scale))
    levels = (torch.round(x / _divisible(scale)) + zero_point).clamp_(0, form.level)
    return (levels - zero_point) * scale


@cache
def _book(form: CodeBook, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """(boundaries, levels) of a code book, float32, uploaded once."""
    with torch.inference_mode(False):
        boundaries, levels = (torch.tensor(one, dtype=torch.float32) for one in (form.boundaries, form.levels))
        return boundaries.to(device), levels.to(device)


def _block_scales(largest: torch.Tensor, scheme: Scheme, tensor_scale: torch.Tensor) -> torch.Tensor:
    """The stored scale of each block, from its largest |x|."""
    form = scheme.form
    if scheme.scale == "block-e4m3":
        share = torch.where(tensor_scale > 0, largest / form.largest / tensor_scale, 0.0)
        return round_to_format(share, ELEMENTS["e4m3"]) * tensor_scale
    assert isinstance(form, FloatFormat)
    # E8M0 holds 2^-127 and up; below, every element is far under what a scale can reach.
    power = _power_of_two(largest) * 2.0**-form.largest_exponent
    return torch.where(largest > 0, power.clamp(min=2.0**-127), 0.0)


def _peaks(x: torch.Tensor) -> torch.Tensor:
    """The largest |x| of each row or block, [..., 1]."""
    return x.abs().amax(-1, keepdim=True)


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
