"""A model as a recipe leaves it: smoothed, weights and inputs rounded, for the length of a `with` block.

- `Deployment`       the modules of a recipe, its calibration, and the block itself
- `smoothing_sets`   which linears are balanced together with which module

Nothing of the model is changed for good: a linear gets its rounded weight when it is called, and its own back. What
is smoothed stays in its own unit: x / s is rounded and multiplied by s again, (s W) is rounded and divided again.
Integers are those of compressed-tensors, whose scale is max|x| / 127.5, but for its level -128: there the last bit of a
quotient decides whether the largest negative number becomes -128 or -127, here it is always -127. NVFP4's scale of the
tensor is each linear's own here; there q, k and v share one, and so do gate and up.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import nn

from corpus.batching import Batch
from engine.effect.calibration import places_of
from engine.effect.errors import EffectError
from engine.effect.recipe import Grid, Group, Recipe, matches
from engine.effect.rounding import group_peaks, round_floats, token_peaks
from engine.private import use_weight
from engine.sites.placement import is_offloaded
from engine.statistics.pass_sums import find_scheme
from engine.statistics.quantisers import Calibration, quantise

_LEAST_SCALE: Final = 1e-5  # llm-compressor's MINIMUM_SMOOTHING_SCALE


@dataclass(frozen=True, slots=True, eq=False)
class _Peaks:
    """The largest and smallest value of each channel over the calibration tokens, float32 [D]."""

    high: torch.Tensor
    low: torch.Tensor

    @property
    def magnitude(self) -> torch.Tensor:
        return torch.maximum(self.high.abs(), self.low.abs())


@dataclass(slots=True)
class _Scales:
    """What smoothing does to one linear: its inputs and outputs are divided by these, float32; None for nothing."""

    inputs: torch.Tensor | None = None
    outputs: torch.Tensor | None = None


class Deployment:
    """One recipe on one model.

    Args:
        model: the model.
        recipe: what to do.
        exclude: further patterns of modules to be left alone.
        prefix: path of the text model; nothing beside it is touched.

    Attributes:
        count: linears whose inputs or weights are rounded.

    Raises:
        EffectError: the recipe means no module of this model, or one whose weight is not in memory.
    """

    def __init__(self, model: nn.Module, recipe: Recipe, exclude: Sequence[str], prefix: str) -> None:
        modules = {
            name: module for name, module in model.named_modules() if not prefix or name.startswith(f"{prefix}.")
        }
        self._modules = modules
        self._recipe = recipe
        self._targets = _targets(modules, recipe, (*recipe.ignore, *exclude))
        self._sets = [
            (smooth, balance, recipe.strength)
            for pattern, smooth_pattern in recipe.mappings
            for smooth, balance in smoothing_sets(modules, pattern, smooth_pattern)
        ]
        self._peaks: dict[str, _Peaks] = {}
        self._scales: dict[str, _Scales] = {}
        self.count = len(self._targets)
        if not self.count:
            raise EffectError(f"{recipe.name} leaves nothing of this model to be quantised")
        for name in (*self._targets, *(name for _, balance, _ in self._sets for name in balance)):
            if not isinstance(modules[name], nn.Linear) or is_offloaded(modules[name]):
                raise EffectError(f"{recipe.name}: {name} is no plain linear module in memory; choose another model")

    @property
    def is_calibrated(self) -> bool:
        """Whether it needs other samples: for smoothing or static scales."""
        return bool(self._sets) or any(g.inputs is not None and not g.inputs.dynamic for g in self._targets.values())

    @contextmanager
    def attached(self, batch: Batch) -> Iterator[None]:
        """Within this block a batch of calibration samples is taken in; padding is not."""
        valid = torch.from_numpy(places_of(batch).reshape(-1))
        with ExitStack() as stack:
            for name in {*self._targets, *(names[0] for _, names, _ in self._sets)}:
                hook = self._modules[name].register_forward_pre_hook(self._taking(name, valid))
                stack.callback(hook.remove)
            yield

    def prepare(self) -> None:
        """Choose the smoothing, as llm-compressor does, mapping by mapping.

        s = range(x)^a / (2 max|w|)^(1 - a), range being max - min; the range alone where all weights are 0.

        Raises:
            EffectError: a module saw none of the calibration samples.
        """
        self._scales.clear()
        for smooth, balance, strength in self._sets:
            peaks = self._known(balance[0])
            spread = peaks.high - peaks.low
            columns = torch.stack([self._smoothed(name).abs().amax(0) for name in balance]).amax(0) * 2
            scale = torch.where(columns > 0, spread**strength / columns ** (1 - strength), spread)
            scale = scale.clamp_min(_LEAST_SCALE)
            for name in balance:
                known = self._scales.setdefault(name, _Scales())
                known.inputs = scale if known.inputs is None else known.inputs * scale
            if isinstance(self._modules[smooth], nn.Linear):
                self._scales.setdefault(smooth, _Scales()).outputs = scale

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within this block the model is as the recipe leaves it."""
        with ExitStack() as stack:
            for name, group in self._targets.items():
                module = self._modules[name]
                own = module.weight
                before, after = self._changing(name, group), _restoring(own)
                stack.callback(module.register_forward_pre_hook(before).remove)
                stack.callback(module.register_forward_hook(after, always_call=True).remove)
            yield

    def _taking(self, name: str, valid: torch.Tensor) -> Any:
        def hook(_module: nn.Module, args: tuple[Any, ...]) -> None:
            rows = args[0].reshape(-1, args[0].shape[-1]).float()
            if len(rows) == len(valid):
                rows = rows[valid.to(rows.device)]
            if not len(rows):
                return
            found = _Peaks(rows.amax(0), rows.amin(0))
            known = self._peaks.get(name)
            if known is not None:
                found = _Peaks(torch.maximum(found.high, known.high), torch.minimum(found.low, known.low))
            self._peaks[name] = found

        return hook

    def _changing(self, name: str, group: Group) -> Any:
        scales = self._scales.get(name, _Scales())
        peak = None
        if group.inputs is not None and not group.inputs.dynamic:
            peak = self._known(name).magnitude
            peak = peak if scales.inputs is None else peak / scales.inputs

        def hook(module: nn.Module, args: tuple[Any, ...]) -> Any:
            use_weight(module, self._weight(name, group))
            if group.inputs is None:
                return None
            x = args[0]
            smooth = scales.inputs
            wide = x.float() if smooth is None else x.float() / smooth
            changed = rounded(wide, group.inputs, peak)
            return ((changed if smooth is None else changed * smooth).to(x.dtype), *args[1:])

        return hook

    def _weight(self, name: str, group: Group) -> Any:
        """The linear's weight after smoothing, rounding and the way back, in its own dtype."""
        weight, scales = self._modules[name].weight, self._scales.get(name, _Scales())
        if group.weights is None:
            return weight
        changed = rounded(self._smoothed(name), group.weights, None)
        if scales.inputs is not None:
            changed = changed / scales.inputs
        if scales.outputs is not None:
            changed = changed * scales.outputs[:, None]
        return changed.to(weight.dtype)

    def _smoothed(self, name: str) -> torch.Tensor:
        """float32 [outputs, inputs]."""
        scales, weight = self._scales.get(name, _Scales()), self._modules[name].weight.detach().float()
        weight = weight if scales.inputs is None else weight * scales.inputs
        return weight if scales.outputs is None else weight / scales.outputs[:, None]

    def _known(self, name: str) -> _Peaks:
        found = self._peaks.get(name)
        if found is None:
            raise EffectError(f"{self._recipe.name}: {name} saw none of the calibration samples")
        return found


def rounded(x: torch.Tensor, grid: Grid, peak: torch.Tensor | None) -> torch.Tensor:
    """Numbers after rounding and back.

    Args:
        x: float32 [..., D]; a weight is [outputs, inputs], whose channel is a row.
        grid: how.
        peak: float32 [D], the largest |x| of each channel at calibration; None to take it from x.
    """
    if grid.strategy == "tensor_group":
        scheme = find_scheme("nvfp4")
        assert scheme is not None
        rows = x.reshape(-1, x.shape[-1])
        largest = (rows.abs().amax(0) if peak is None else peak).detach().cpu().numpy()
        return quantise(rows, scheme, Calibration.of(largest, None, x.device))[0].reshape(x.shape)
    if grid.strategy in ("token", "channel"):
        threshold = token_peaks(x)
    elif grid.strategy == "group":
        threshold = group_peaks(x, grid.group)
    else:
        threshold = (x.abs() if peak is None else peak).amax()
    if grid.is_float:
        return round_floats(x, threshold, "e4m3")
    levels = 2 ** (grid.bits - 1)
    scale = threshold / (levels - 0.5)
    return (x / scale.where(scale > 0, torch.inf)).round().clamp(1 - levels, levels - 1) * scale


def smoothing_sets(
    modules: Mapping[str, nn.Module], balance: Sequence[str], smooth: str
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """(module to smooth, linears to balance with it) for every place where the patterns meet.

    As compressed-tensors' `match_modules_set`: in the model's order, a set is full once every pattern has a module,
    and ends where the next module has another parent in common with it.
    """
    wanted = (*balance, smooth)
    found: dict[str, list[str]] = {}
    parent: list[str] | None = None
    for name, module in modules.items():
        classes = [one.__name__ for one in type(module).__mro__]
        for pattern in wanted:
            if not matches(pattern, name, classes):
                continue
            common = name.split(".") if parent is None else _common(name.split("."), parent)
            if len(found) == len(set(wanted)) and common != parent:
                yield found[smooth][0], tuple(one for p in balance for one in found[p])
                found, common = {}, name.split(".")
            found.setdefault(pattern, []).append(name)
            parent = common
    if len(found) == len(set(wanted)):
        yield found[smooth][0], tuple(one for p in balance for one in found[p])


def _common(a: Sequence[str], b: Sequence[str]) -> list[str]:
    same = []
    for x, y in zip(a, b, strict=False):
        if x != y:
            break
        same.append(x)
    return same


def _targets(modules: Mapping[str, nn.Module], recipe: Recipe, ignore: Sequence[str]) -> dict[str, Group]:
    """Every module that is rounded, and how."""
    found: dict[str, Group] = {}
    for name, module in modules.items():
        classes = [one.__name__ for one in type(module).__mro__]
        if any(matches(pattern, name, classes) for pattern in ignore):
            continue
        group = next((g for g in recipe.groups if any(matches(p, name, classes) for p in g.targets)), None)
        if group is not None:
            found[name] = group
    return found


def _restoring(own: Any) -> Any:
    def hook(module: nn.Module, _args: Any, _output: Any) -> None:
        use_weight(module, own)

    return hook
