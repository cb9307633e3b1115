"""A model as a recipe leaves it: smoothed, weights and inputs rounded, for the length of a `with` block.

- `Deployment`  the modules of a recipe, its calibration, and the block itself
- `rounded`     numbers after rounding and back

Nothing of the model is changed for good: a linear gets its changed weight when it is called, and its own back. What is
smoothed is smoothed as llm-compressor does it (`engine.effect.smoothed`), so that a mapping that does harm shows it.
Integers are those of compressed-tensors, whose scale is max|x| / 127.5, but for its level -128: there the last bit of a
quotient decides whether the largest negative number becomes -128 or -127, here it is always -127. NVFP4's scale of the
tensor is each linear's own here; there q, k and v share one, and so do gate and up.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn

from corpus.batching import Batch
from engine.base.private import own_parameter, use_parameter
from engine.effect.calibration import places_of
from engine.effect.errors import EffectError
from engine.effect.recipe import Grid, Group, Recipe, matches
from engine.effect.rounding import group_peaks, token_peaks
from engine.effect.smoothed import Peaks, Smoother
from engine.effect.untested import untested
from engine.formats import FORMATS
from engine.schemes import NVFP4
from engine.sites.placement import is_offloaded
from engine.statistics.quantisers import Calibration, quantise, round_under

_PARTS = ("weight", "bias")


class Deployment:
    """One recipe on one model.

    Calibration goes in rounds: as long as `needs_samples`, run samples within `attached`, then call `prepare`. Static
    scales are taken of the smoothed model, in a round of their own.

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
        every = dict(model.named_modules())
        modules = {name: module for name, module in every.items() if not prefix or name.startswith(f"{prefix}.")}
        self._modules = modules
        self._recipe = recipe
        self._targets = _targets(modules, recipe, (*recipe.ignore, *exclude))
        self._untested = untested(every, modules, recipe, exclude)
        self.count = len(self._targets)
        if not self.count:
            why = "".join(f"; {one}" for one in self._untested)
            raise EffectError(f"{recipe.name} leaves nothing of this model to be quantised{why}")
        for name in self._targets:
            if not isinstance(modules[name], nn.Linear) or is_offloaded(modules[name]):
                raise EffectError(f"{recipe.name}: {name} is no plain linear module in memory; choose another model")
        self._smoother = Smoother(modules, recipe)
        self._smooths = bool(self._smoother)
        self._static = [n for n, g in self._targets.items() if g.inputs is not None and not g.inputs.dynamic]
        self._peaks: dict[str, Peaks] = {}

    @property
    def needs_samples(self) -> bool:
        """Whether it still needs calibration samples, for smoothing or for static scales."""
        return self._smooths or (bool(self._static) and not self._peaks)

    @property
    def rounds(self) -> str:
        """What is rounded: `weights`, `inputs`, or `weights and inputs`."""
        groups = self._targets.values()
        parts = (
            ("weights", any(one.weights is not None for one in groups)),
            ("inputs", any(one.inputs is not None for one in groups)),
        )
        return " and ".join(name for name, is_so in parts if is_so)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know of it, one line each: what the recipe says and nothing was done about."""
        return (*self._recipe.notes, *self._smoother.notes, *self._untested)

    @contextmanager
    def attached(self, batch: Batch) -> Iterator[None]:
        """Within this block a batch of calibration samples is taken in; padding is not."""
        valid = torch.from_numpy(places_of(batch).reshape(-1))
        with ExitStack() as stack:
            if self._smooths:
                stack.enter_context(self._smoother.watched(valid))
            else:
                stack.enter_context(self._changed(self._smoother.linears, {}))
                for name in self._static:
                    hook = self._modules[name].register_forward_pre_hook(self._taking(name, valid))
                    stack.callback(hook.remove)
            yield

    def prepare(self) -> None:
        """Use what was taken in.

        Raises:
            EffectError: a module that needs a static scale saw none of the calibration samples, or the channels of a
                smoothed module are not those that are read.
        """
        if self._smooths:
            self._smooths = False
            self._smoother.prepare()
            return
        for name in self._static:
            if name not in self._peaks:
                raise EffectError(f"{self._recipe.name}: {name} saw none of the calibration samples")

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within this block the model is as the recipe leaves it."""
        with self._changed(self._targets.keys() | self._smoother.linears, self._targets):
            yield

    @contextmanager
    def _changed(self, names: set[str], groups: Mapping[str, Group]) -> Iterator[None]:
        """Within this block these linears are smoothed, and rounded as their groups say."""
        with ExitStack() as stack:
            stack.enter_context(self._smoother.applied())
            for name in names:
                module = self._modules[name]
                before, after = self._changing(name, groups.get(name)), _restoring(module)
                stack.callback(module.register_forward_pre_hook(before).remove)
                stack.callback(module.register_forward_hook(after, always_call=True).remove)
            yield

    def _taking(self, name: str, valid: torch.Tensor) -> Any:
        def hook(_module: nn.Module, args: tuple[Any, ...]) -> None:
            found = Peaks.of(args[0], valid, self._peaks.get(name))
            if found is not None:
                self._peaks[name] = found

        return hook

    def _changing(self, name: str, group: Group | None) -> Any:
        grids = (None, None) if group is None else (group.weights, group.inputs)
        peak = None
        if grids[1] is not None and not grids[1].dynamic:
            peak = self._peaks[name].magnitude

        def hook(module: nn.Module, args: tuple[Any, ...]) -> Any:
            weight = self._smoother.weight(name)
            if grids[0] is not None:
                weight = rounded(weight.detach().float(), grids[0], None).to(weight.dtype)
            use_parameter(module, "weight", weight)
            if own_parameter(module, "bias") is not None:
                use_parameter(module, "bias", self._smoother.bias(name))
            if grids[1] is None:
                return None
            return (rounded(args[0].float(), grids[1], peak).to(args[0].dtype), *args[1:])

        return hook


def rounded(x: torch.Tensor, grid: Grid, peak: torch.Tensor | None) -> torch.Tensor:
    """Numbers after rounding and back.

    Args:
        x: float32 [..., D]; a weight is [outputs, inputs], whose channel is a row.
        grid: how.
        peak: float32 [D], the largest |x| of each channel at calibration; None to take it from x.
    """
    if grid.strategy == "tensor_group":
        rows = x.reshape(-1, x.shape[-1])
        largest = (rows.abs().amax(0) if peak is None else peak).detach().cpu().numpy()
        return quantise(rows, NVFP4, Calibration.of(largest, None, x.device, (NVFP4,)))[0].reshape(x.shape)
    if grid.strategy in ("token", "channel"):
        threshold = token_peaks(x)
    elif grid.strategy == "group":
        threshold = group_peaks(x, grid.group)
    else:
        threshold = (x.abs() if peak is None else peak).amax()
    if grid.is_float:
        return round_under(x, threshold, FORMATS["e4m3"])
    levels = 2 ** (grid.bits - 1)
    scale = threshold / (levels - 0.5)
    return (x / scale.where(scale > 0, torch.inf)).round().clamp(1 - levels, levels - 1) * scale


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


def _restoring(module: nn.Module) -> Any:
    own = {part: own_parameter(module, part) for part in _PARTS}

    def hook(module: nn.Module, _args: Any, _output: Any) -> None:
        for part, value in own.items():
            if value is not None:
                use_parameter(module, part, value)

    return hook
