"""Put changed tensors in the place of a model's own at some sites, for the length of a `with` block.

- `replaced`  the hooks; always removed
- `Change`    tensor in, tensor out

A changed tensor is a new one: where an input is the residual stream itself (post-norm families), the stream stays as
it was and only the matrix products read the changed values.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn

from engine.effect.errors import EffectError
from engine.sites.experts import EXPERT_COMPONENTS, tap_experts
from engine.sites.hooks import first_tensor, select
from engine.sites.site import HookPlan, Site

Change = Callable[[int, torch.Tensor], torch.Tensor]


@contextmanager
def replaced(
    model: nn.Module, plan: HookPlan, sites: Sequence[int], change: Change, skip: Collection[str] = ()
) -> Iterator[None]:
    """Within this block every tensor of these sites is replaced by what `change` makes of it.

    Args:
        model: the model the plan was made for.
        plan: its sites.
        sites: numbers of the sites to change.
        change: called with a site's number and its tensor, [B, T, D] or [rows, D]; returns a new one of the same
            shape and dtype. An input that several linears read is changed once for all of them.
        skip: linears that read a site's input as it was.

    Raises:
        EffectError: during the forward, where a site gives no tensor.
    """
    shared = _Shared(plan, change)
    taken: set[tuple[str, str]] = set()
    with ExitStack() as stack:
        for number in sites:
            site = plan.sites[number]
            if site.component in EXPERT_COMPONENTS:
                continue
            for path in dict.fromkeys((site.module, *(site.readers if site.capture == "input" else ()))):
                if (path, site.capture) not in taken and not (site.capture == "input" and path in skip):
                    taken.add((path, site.capture))
                    stack.callback(_hook(model.get_submodule(path), site, number, shared).remove)
        experts = {number for number in sites if plan.sites[number].component in EXPERT_COMPONENTS}
        if experts:
            stack.enter_context(tap_experts(model, plan, _ignore, replace=_expert_change(experts, change)))
        try:
            yield
        finally:
            shared.forget()


class _Shared:
    """Remembers the latest changed input, because the linears that share it are called one after the other."""

    def __init__(self, plan: HookPlan, change: Change) -> None:
        self._plan = plan
        self._change = change
        self._latest: tuple[int, torch.Tensor, torch.Tensor] | None = None

    def change(self, number: int, whole: torch.Tensor) -> torch.Tensor:
        """The tensor with the site's part of it changed."""
        site = self._plan.sites[number]
        part = select(site, whole)
        if isinstance(part, str):
            raise EffectError(f"{site.name} {part}; choose another site")
        return _whole(site, whole, self._change(number, part))

    def input(self, number: int, whole: torch.Tensor) -> torch.Tensor:
        """The changed input of a site; the same one for the same tensor."""
        latest = self._latest
        if latest is not None and latest[0] == number and latest[1] is whole:
            return latest[2]
        changed = self.change(number, whole)
        self._latest = (number, whole, changed)
        return changed

    def forget(self) -> None:
        """Hold no tensor any more."""
        self._latest = None


def _ignore(_number: int, _value: Any, _token_index: torch.Tensor | None = None) -> None:
    """Experts' rows are changed, not measured."""


def _expert_change(chosen: set[int], change: Change) -> Callable[[int, torch.Tensor], torch.Tensor]:
    def apply(number: int, x: torch.Tensor) -> torch.Tensor:
        return change(number, x) if number in chosen else x

    return apply


def _hook(module: nn.Module, site: Site, number: int, shared: _Shared) -> Any:
    if site.capture == "input":

        def before(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            whole = first_tensor(args, kwargs)
            changed = shared.input(number, _element(site, whole))
            return _exchanged(args, whole, changed), {k: changed if v is whole else v for k, v in kwargs.items()}

        return module.register_forward_pre_hook(before, with_kwargs=True)

    def after(_module: nn.Module, _args: Any, output: Any) -> Any:
        whole = _element(site, output)
        return _with(output, whole, shared.change(number, whole))

    return module.register_forward_hook(after)


def _element(site: Site, value: Any) -> torch.Tensor:
    """The whole tensor of a raw value that the site's is part of.

    Raises:
        EffectError: there is none.
    """
    parts = tuple(value.values()) if isinstance(value, Mapping) else value
    if not isinstance(parts, (tuple, list)):
        found = parts
    elif site.element is not None:
        found = parts[site.element] if site.element < len(parts) else None
    else:
        found = next((part for part in parts if isinstance(part, torch.Tensor)), None)
    if not isinstance(found, torch.Tensor):
        raise EffectError(f"{site.name} gave no tensor; choose another site")
    return found


def _whole(site: Site, element: torch.Tensor, changed: torch.Tensor) -> torch.Tensor:
    """The tensor of the model with the site's part of it changed."""
    if site.layout != "PBTD" and site.columns is None:
        return changed
    copy = element.clone()
    part = copy[0] if site.layout == "PBTD" else copy
    if site.columns is not None:
        part = part[..., slice(*site.columns)]
    part.copy_(changed)
    return copy


def _with(value: Any, element: torch.Tensor, changed: torch.Tensor) -> Any:
    """A module's output with one tensor exchanged, of the same type."""
    if value is element:
        return changed
    if isinstance(value, Mapping):
        return type(value)(**{name: changed if part is element else part for name, part in value.items()})
    parts = _exchanged(tuple(value), element, changed)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*parts)
    return type(value)(parts)


def _exchanged(parts: tuple[Any, ...], element: torch.Tensor, changed: torch.Tensor) -> tuple[Any, ...]:
    return tuple(changed if part is element else part for part in parts)
