"""What a recipe says, and what nothing was done about: a line each, for whoever reads its numbers.

- `untested`        patterns without a module, and modules that a deployment would quantise and that stay as they are
- `fused_experts`   modules that hold the weights of several experts at once
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from torch import nn

from corpus.wording import counted
from engine.effect.errors import EffectError
from engine.effect.recipe import Recipe, matches

_LISTED: Final = 4
# What llm-compressor calls the linears that it makes of fused experts.
_EXPERT_PARTS: Final = ("gate_proj", "up_proj", "down_proj")


def untested(
    every: Mapping[str, nn.Module], modules: Mapping[str, nn.Module], recipe: Recipe, exclude: Sequence[str]
) -> tuple[str, ...]:
    """What a reader must know of a recipe on a model.

    Args:
        every: all modules of the model, by path.
        modules: those of the text model, which alone are touched.
        recipe: the recipe.
        exclude: further patterns to be left alone.

    Raises:
        EffectError: one of these further patterns means no module of the model.
    """
    experts = fused_experts(modules)
    names = {name: _classes(module) for name, module in every.items()}
    # The first of them stands for all: a pattern that means experts gives no number, or any.
    names |= {f"{path}.{number}.{part}": ("Linear",) for path in experts for number in (0, 1) for part in _EXPERT_PARTS}
    for pattern in exclude:
        if not _means(pattern, names):
            raise EffectError(f"--exclude {pattern} is no module of this model; maxact-tui plan names them")
    lines = [
        f"{what} {_listed(lacking)} mean{'s' if len(lacking) == 1 else ''} no module of this model"
        for what, patterns in (
            ("ignore:", recipe.ignore),
            ("targets:", [one for group in recipe.groups for one in group.targets]),
        )
        if (lacking := [one for one in dict.fromkeys(patterns) if not _means(one, names)])
    ]
    ignore = (*recipe.ignore, *exclude)
    beside = [
        name
        for name, module in every.items()
        if name not in modules and isinstance(module, nn.Linear) and _is_quantised(name, names[name], recipe, ignore)
    ]
    if beside:
        lines.append(f"not tested: {_listed(beside)}, which it quantises, too, and which stays as it is here")
    closed = [
        path
        for path in experts
        if any(_is_quantised(f"{path}.0.{part}", ("Linear",), recipe, ignore) for part in _EXPERT_PARTS)
    ]
    if closed:
        which = f"the experts of {counted(len(closed), 'block')} ({_listed(closed, 1)})"
        lines.append(f"not tested: {which}, which llm-compressor quantises once it has made linear modules of them")
    return tuple(lines)


def fused_experts(modules: Mapping[str, nn.Module]) -> tuple[str, ...]:
    """Paths of modules that keep the matrices of several experts in parameters of their own."""
    return tuple(
        name
        for name, module in modules.items()
        if "expert" in name.lower()
        and not isinstance(module, nn.Linear)
        and any(one.ndim >= 2 and one.is_floating_point() for one in module.parameters(recurse=False))
    )


def _is_quantised(name: str, classes: Iterable[str], recipe: Recipe, ignore: Iterable[str]) -> bool:
    known = tuple(classes)
    is_target = any(matches(one, name, known) for group in recipe.groups for one in group.targets)
    return is_target and not any(matches(one, name, known) for one in ignore)


def _means(pattern: str, names: Mapping[str, Iterable[str]]) -> bool:
    return any(matches(pattern, name, tuple(classes)) for name, classes in names.items())


def _classes(module: nn.Module) -> tuple[str, ...]:
    return tuple(one.__name__ for one in type(module).__mro__)


def _listed(names: Sequence[str], most: int = _LISTED) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
