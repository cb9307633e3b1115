"""Interventions made ready for a model: a site's tensor in, the changed tensor out, with nothing left to look up.

- `SiteNumbers`   what calibration found out about one site
- `Quantiser`     fake quantisation of some sites
- `Ablation`      massive activations of one site set to a constant; counts what it replaces
- `Change`        either of them

Nothing here waits for a device.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from engine.effect.errors import EffectError
from engine.effect.interventions import Quantise
from engine.effect.rounding import round_asymmetric
from engine.quantization.distribution import Distribution
from engine.quantization.schemes import threshold_of
from engine.schemes import Scheme
from engine.statistics.quantisers import Calibration, quantise, round_under


@dataclass(frozen=True, slots=True, eq=False)
class SiteNumbers:
    """What static quantisers of one site need, from the calibration samples.

    Attributes:
        distribution: all elements; None if none is finite.
        channel_max: float32 [D], the largest |x| of each channel.
        weight_max: float32 [D], the largest |w| of each input column of the linears that read it; None where unknown.
    """

    distribution: Distribution | None
    channel_max: NDArray[np.float32]
    weight_max: NDArray[np.float32] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Ready:
    """One site's quantiser.

    Attributes:
        threshold: T of a quantiser with one scale.
        limits: (largest negative magnitude, largest positive value) of an asymmetric one.
        kept: bool [D], channels that are left as they are; None for none.
        calibration: of a quantiser with scales inside the tensor.
    """

    threshold: float = 0.0
    limits: tuple[float, float] | None = None
    kept: torch.Tensor | None = None
    calibration: Calibration | None = None


class Quantiser:
    """Quantises and dequantises the tensors of some sites, in float32, back to their own dtype.

    Args:
        intervention: what to do.
        numbers: of each site by its number; needed where the intervention is calibrated.
    """

    def __init__(self, intervention: Quantise, numbers: Mapping[int, SiteNumbers]) -> None:
        self._intervention = intervention
        self._numbers = numbers
        self._ready: dict[tuple[int, torch.device], _Ready] = {}

    def __call__(self, site: int, x: torch.Tensor) -> torch.Tensor:
        """The tensor after quantisation and back."""
        scheme = self._intervention.scheme
        if scheme is None:
            return x
        wide = x.to(torch.float32)
        ready = self._on(site, x)
        kept = ready.kept
        changed = self._rounded(scheme, wide if kept is None else wide.masked_fill(kept, 0.0), ready)
        return (changed if kept is None else torch.where(kept, wide, changed)).to(x.dtype)

    def _rounded(self, scheme: Scheme, x: torch.Tensor, ready: _Ready) -> torch.Tensor:
        if ready.calibration is not None:
            return quantise(x.reshape(-1, x.shape[-1]), scheme, ready.calibration)[0].reshape(x.shape)
        if ready.limits is not None:
            return round_asymmetric(x, *ready.limits, scheme.bits)
        return round_under(x, x.new_full((), ready.threshold), scheme.form)

    def _on(self, site: int, x: torch.Tensor) -> _Ready:
        """The site's numbers on a device, made ready and uploaded once."""
        known = self._ready.get((site, x.device))
        if known is None:
            found = self._numbers.get(site)
            known = self._ready[site, x.device] = _ready(self._intervention, found, x.shape[-1], x.device)
        return known


class Ablation:
    """Sets the massive activations of one site to zero, or to their channel's mean.

    Args:
        threshold: |x| above which an element is massive.
        means: float32 [D], NaN for channels without a mean, whose elements stay; None for zeros.
    """

    def __init__(self, threshold: float, means: NDArray[np.float32] | None) -> None:
        self._threshold = threshold
        self._means = None if means is None else torch.from_numpy(means)
        self._valid: torch.Tensor | None = None
        self._counted: list[torch.Tensor] = []

    def begin_batch(self, valid: torch.Tensor) -> None:
        """Say which places of the next batch hold tokens, bool [B * T]; only those are counted."""
        self._valid = valid
        self._counted = []

    def __call__(self, site: int, x: torch.Tensor) -> torch.Tensor:
        """The tensor, [B, T, D] or [B * T, D], without its massive activations."""
        massive = x.abs().float() > self._threshold
        if self._means is None:
            changed, chosen = x.masked_fill(massive, 0.0), massive
        else:
            means = self._means.to(x.device)
            chosen = massive & ~means.isnan()
            changed = torch.where(chosen, means.to(x.dtype), x)
        if self._valid is not None:
            valid = self._valid.to(x.device)[:, None]
            counts = [(mask.reshape(-1, x.shape[-1]) & valid).sum() for mask in (massive, chosen)]
            self._counted.append(torch.stack(counts))
        return changed

    def counts(self) -> tuple[int, int]:
        """(massive elements, those of them that were replaced) of the latest batch; this waits for the device."""
        found = sum((one.cpu() for one in self._counted), torch.zeros(2, dtype=torch.int64))
        massive, chosen = found.tolist()
        return int(massive), int(chosen)


def _ready(intervention: Quantise, found: SiteNumbers | None, width: int, device: torch.device) -> _Ready:
    """One site's quantiser from its calibration; without one, what the name says.

    Raises:
        EffectError: it needs a calibration and has none.
    """
    scheme = intervention.scheme
    if intervention.is_calibrated and found is None:
        raise EffectError(f"{intervention.name}: a site saw none of the calibration samples; take int8-token")
    largest = found.channel_max if found is not None else np.zeros(width, np.float32)
    mask = None
    if intervention.keep:
        kept = np.zeros(len(largest), bool)
        kept[np.argsort(-largest, kind="stable")[: intervention.keep]] = True
        largest, mask = np.where(kept, np.float32(0), largest), torch.from_numpy(kept).to(device)
    if scheme is not None and scheme.is_in_pass:
        return _Ready(kept=mask, calibration=_calibration(scheme, largest, found, device))
    distribution = found.distribution if found is not None else None
    if scheme is None or distribution is None or scheme.policy in ("value", "unscaled"):
        return _Ready(threshold=_named_threshold(scheme), kept=mask)
    if mask is not None:
        return _Ready(threshold=float(largest.max()), kept=mask)
    threshold = threshold_of(scheme, distribution)
    if scheme.is_symmetric:
        return _Ready(threshold)
    high, low = (min(side.largest, threshold) for side in distribution.by_sign)
    return _Ready(threshold, (low, high))


def _calibration(
    scheme: Scheme, largest: NDArray[np.float32], found: SiteNumbers | None, device: torch.device
) -> Calibration:
    """What a quantiser with scales inside the tensor knows; without weights the smoothing does nothing."""
    weights = found.weight_max if found is not None else None
    if weights is None or len(weights) != len(largest):
        weights = np.zeros(len(largest), np.float32)
    return Calibration.of(largest, weights, device, (scheme,))


def _named_threshold(scheme: Scheme | None) -> float:
    """The threshold that a scheme's name gives, 0 if it gives none."""
    if scheme is not None and scheme.policy == "unscaled":
        return scheme.form.largest
    return scheme.value if scheme is not None and scheme.policy == "value" else 0.0


Change = Quantiser | Ablation
