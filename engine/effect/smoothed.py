"""SmoothQuant as a recipe orders it, done to a model for the length of a `with` block.

- `Smoother`         which modules are smoothed, by how much, and their weights afterwards
- `smoothing_sets`   which linears are balanced together with which module

What is smoothed is what the recipe names and nothing else: the module's own weight and bias are divided by s, channel
by channel, and the columns of the listed linears multiplied. A reader that the recipe forgets therefore reads x / s
with its old weight, here as in llm-compressor, and the predictions show it.

s = range(y)^a / (2 max|w|)^(1 - a), where y is what the smoothed module gives and range its max - min over the
calibration tokens; the range alone where all weights are 0 (llm-compressor 0.14, `SmoothQuantModifier`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import nn

from corpus.wording import counted
from engine.base.private import own_parameter, use_parameter
from engine.effect.errors import EffectError
from engine.effect.recipe import Recipe, matches
from engine.sites.placement import is_offloaded
from engine.sites.site import KNOWN_OFFSETS

_LEAST_SCALE: Final = 1e-5  # llm-compressor's MINIMUM_SMOOTHING_SCALE


@dataclass(frozen=True, slots=True, eq=False)
class Peaks:
    """The largest and smallest value of each channel over the calibration tokens, float32 [D]."""

    high: torch.Tensor
    low: torch.Tensor

    @property
    def magnitude(self) -> torch.Tensor:
        """The largest |x| of each channel."""
        return torch.maximum(self.high.abs(), self.low.abs())

    @classmethod
    def of(cls, x: torch.Tensor, valid: torch.Tensor, known: Peaks | None) -> Peaks | None:
        """Those of `x`, [..., D], over the rows that hold tokens, bool [rows], with those known before."""
        rows = x.detach().reshape(-1, x.shape[-1]).float()
        if len(rows) == len(valid):
            rows = rows[valid.to(rows.device)]
        if not len(rows):
            return known
        high, low = rows.amax(0), rows.amin(0)
        return cls(high, low) if known is None else cls(torch.maximum(high, known.high), torch.minimum(low, known.low))


@dataclass(slots=True)
class _Scales:
    """What a module's inputs are divided by before it, and its own outputs by it, float32; None for nothing."""

    inputs: torch.Tensor | None = None
    outputs: torch.Tensor | None = None


class Smoother:
    """The smoothing of one recipe on one model.

    Args:
        modules: of the text model, by path.
        recipe: what is smoothed.

    Attributes:
        notes: mappings that do nothing, a line each.

    Raises:
        EffectError: a mapping that llm-compressor refuses, or one whose modules are not in memory.
    """

    def __init__(self, modules: Mapping[str, nn.Module], recipe: Recipe) -> None:
        self._modules = modules
        self._name, self._strength = recipe.name, recipe.strength
        found = [(pair, list(smoothing_sets(modules, *pair))) for pair in recipe.mappings]
        self.notes = [
            f"smoothing of {pair[1]} finds nothing, so nothing is smoothed by it" for pair, s in found if not s
        ]
        self._sets: dict[str, tuple[str, ...]] = {}
        for smooth, balance in (one for _, sets in found for one in sets):
            # It forgets the range of a module once that is smoothed, so that a second mapping of it does nothing.
            self._sets.setdefault(smooth, balance)
        self._peaks: dict[str, Peaks] = {}
        self._scales: dict[str, _Scales] = {}
        for smooth, balance in self._sets.items():
            self._check(smooth, balance)

    def __bool__(self) -> bool:
        return bool(self._sets)

    @property
    def linears(self) -> set[str]:
        """The linear modules whose weights it changes."""
        return {name for name in self._scales if isinstance(self._modules[name], nn.Linear)}

    @contextmanager
    def watched(self, valid: torch.Tensor) -> Iterator[None]:
        """Within this block the outputs of the modules to be smoothed are taken in; bool [rows], which are tokens."""
        with ExitStack() as stack:
            for name in self._sets:
                stack.callback(self._modules[name].register_forward_hook(self._taking(name, valid)).remove)
            yield

    def prepare(self) -> None:
        """Choose the smoothing, mapping by mapping, from what was taken in."""
        unseen = 0
        for smooth, balance in self._sets.items():
            peaks = self._peaks.get(smooth)
            if peaks is None:
                unseen += 1
                continue
            spread = peaks.high - peaks.low
            columns = torch.stack([self._wide(name).abs().amax(0) for name in balance]).amax(0) * 2
            if len(columns) != len(spread):
                raise EffectError(
                    f"{self._name}: {smooth} gives {len(spread)} channels, and {balance[0]} reads {len(columns)}"
                )
            scale = torch.where(columns > 0, spread**self._strength / columns ** (1 - self._strength), spread)
            scale = scale.clamp_min(_LEAST_SCALE)
            for name in balance:
                known = self._scales.setdefault(name, _Scales())
                known.inputs = scale if known.inputs is None else known.inputs * scale
            self._scales.setdefault(smooth, _Scales()).outputs = scale
        if unseen:
            self.notes.append(f"{counted(unseen, 'module')} saw no calibration sample and are not smoothed")

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within this block all but linear modules are smoothed; a linear asks for `weight` and `bias` when called."""
        with ExitStack() as stack:
            for name in self._scales.keys() - self.linears:
                module = self._modules[name]
                for part, value in (("weight", self.weight(name)), ("bias", self.bias(name))):
                    own = own_parameter(module, part)
                    if own is not None:
                        stack.callback(use_parameter, module, part, own)
                        use_parameter(module, part, value)
            yield

    def weight(self, name: str) -> torch.Tensor:
        """A module's weight after smoothing, in its own dtype."""
        weight: torch.Tensor = self._modules[name].weight
        return weight if name not in self._scales else self._wide(name).to(weight.dtype)

    def bias(self, name: str) -> torch.Tensor | None:
        """A module's bias after smoothing, in its own dtype; None without one."""
        bias, scales = getattr(self._modules[name], "bias", None), self._scales.get(name)
        if bias is None or scales is None or scales.outputs is None:
            return bias
        return (bias.detach().float() / scales.outputs).to(bias.dtype)

    def _wide(self, name: str) -> torch.Tensor:
        """The weight after smoothing, float32."""
        module, scales = self._modules[name], self._scales.get(name, _Scales())
        weight = module.weight.detach().float()
        if scales.inputs is not None:
            weight = weight * scales.inputs
        if scales.outputs is None:
            return weight
        if type(module).__name__ in KNOWN_OFFSETS:
            return (1 + weight) / scales.outputs - 1
        return weight / (scales.outputs if weight.ndim == 1 else scales.outputs[:, None])

    def _taking(self, name: str, valid: torch.Tensor) -> Any:
        def hook(_module: nn.Module, _args: Any, output: Any) -> None:
            given = output[0] if isinstance(output, tuple) else output
            found = Peaks.of(given, valid, self._peaks.get(name))
            if found is not None:
                self._peaks[name] = found

        return hook

    def _check(self, smooth: str, balance: Sequence[str]) -> None:
        """Refuse what cannot be smoothed here."""
        for name in balance:
            if not isinstance(self._modules[name], nn.Linear) or is_offloaded(self._modules[name]):
                raise EffectError(f"{self._name}: {name} is no plain linear module in memory; choose another model")
        module = self._modules[smooth]
        weight = getattr(module, "weight", None)
        if not isinstance(weight, torch.Tensor) or is_offloaded(module) or isinstance(module, nn.Embedding):
            raise EffectError(f"{self._name}: {smooth} has no weight in memory that could be smoothed")
        width = self._modules[balance[0]].weight.shape[-1]
        if len(weight) != width:
            raise EffectError(
                f"{self._name}: {smooth} has {len(weight)} weights for the {width} channels that {balance[0]} reads;"
                " llm-compressor cannot smooth it"
            )


def smoothing_sets(
    modules: Mapping[str, nn.Module], balance: Sequence[str], smooth: str
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """(module to smooth, linears to balance with it) for every place where the patterns meet.

    As compressed-tensors' `match_modules_set`: in the model's order, a set is full once every pattern has a module,
    and ends where the next module has another parent in common with it.

    Raises:
        EffectError: what is left at the end lacks a pattern, or two modules are smoothed at once.
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
                yield _whole(found, balance, smooth)
                found, common = {}, name.split(".")
            found.setdefault(pattern, []).append(name)
            parent = common
    if len(found) == len(set(wanted)):
        yield _whole(found, balance, smooth)
    elif found:
        lacking = ", ".join(pattern for pattern in dict.fromkeys(wanted) if pattern not in found)
        raise EffectError(f"the mapping of {smooth} finds no module for {lacking}; llm-compressor refuses it")


def _whole(found: Mapping[str, Sequence[str]], balance: Sequence[str], smooth: str) -> tuple[str, tuple[str, ...]]:
    if len(found[smooth]) > 1:
        raise EffectError(
            f"the mapping of {smooth} finds {', '.join(found[smooth][:2])} for one set of linears; llm-compressor"
            " refuses it"
        )
    return found[smooth][0], tuple(one for pattern in balance for one in found[pattern])


def _common(a: Sequence[str], b: Sequence[str]) -> list[str]:
    same = []
    for x, y in zip(a, b, strict=False):
        if x != y:
            break
        same.append(x)
    return same
