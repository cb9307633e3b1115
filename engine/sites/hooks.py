"""Attach to a model's sites for the length of a `with` block.

- `attach`      hook every site of a plan; each tensor goes to `record` and is not kept
- `Attachment`  what is attached: visits of each site in the latest forward
- `Record`, `Problem`  the two callbacks
- `select`       the measured tensor of a hook's raw value
- `first_tensor` a module's input among its arguments

Nothing here waits for a device: no value is read, only shapes and dtypes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import nn

from engine.messages import Code, Message, message
from engine.sites.experts import EXPERT_COMPONENTS, DeliverRows, tap_experts
from engine.sites.site import HookPlan, Site

Problem = Callable[[int, Message], None]


class Record(Protocol):
    """Takes the tensor of one site. It must not keep a reference: families change tensors in place afterwards."""

    def __call__(self, site_number: int, x: torch.Tensor, token_index: torch.Tensor | None = None, /) -> None:
        """Measure `x`.

        Args:
            site_number: the site's index in the plan.
            x: floating, [B, T, D] or [R, D]; R = B * T, or the rows of the experts with `token_index`.
            token_index: int64 [R], for rows that experts received: the row of the flattened [B * T] batch that each
                row of `x` comes from. None where `x` has one row per token.
        """


@dataclass(slots=True)
class Attachment:
    """What is attached.

    Attributes:
        visits: how often each site fired in the latest forward of the text model.
        problems: (site number, code) already reported.
    """

    visits: list[int]
    problems: set[tuple[int, str]] = field(default_factory=set)


def select(site: Site, value: Any) -> torch.Tensor | Message:
    """The measured tensor of a raw hook value, or why there is none.

    Args:
        site: names the tuple element, the plane and the columns.
        value: a module's output, or the tensor that was its input.

    Returns:
        A view of the tensor in the value, or what was found instead.
    """
    x = _element(value, site.element)
    if not isinstance(x, torch.Tensor):
        return message(Code.NO_TENSOR, found=None if x is None else type(x).__name__)
    if x.is_meta:
        return message(Code.NO_DATA)
    if x.is_complex():
        return message(Code.COMPLEX, dtype=str(x.dtype))
    if not x.is_floating_point():
        return message(Code.NOT_FLOATING, dtype=str(x.dtype))
    if x.numel() == 0:
        return message(Code.GAVE_EMPTY)
    if site.layout == "PBTD":
        x = x[0]
    return x if site.columns is None else x[..., slice(*site.columns)]


def _element(value: Any, element: int | None) -> Any:
    """One element of a tuple or mapping: the named one, else the first tensor; other values as they are."""
    if isinstance(value, Mapping):
        value = tuple(value.values())
    if not isinstance(value, (tuple, list)):
        return value
    if element is not None:
        return value[element] if element < len(value) else None
    return next((part for part in value if isinstance(part, torch.Tensor)), None)


@contextmanager
def attach(
    model: nn.Module, plan: HookPlan, record: Record, problem: Problem, expert_rows: DeliverRows | None = None
) -> Iterator[Attachment]:
    """Hook every site of `plan` for the length of the `with` block; hooks are always removed.

    Args:
        model: the model the plan was made for.
        plan: its sites; their index is the site number.
        record: called with each site's tensor during the forward, on the tensor's own device.
        problem: called once per site and code when a site gives no measurable tensor; the rest runs on.
        expert_rows: called as (number of the layer's first expert site, `ExpertRows`) once per layer with expert
            sites and forward; for `engine.statistics.expert_meter`.

    Yields:
        The attachment, whose `visits` count the latest forward.
    """
    attachment = Attachment([0] * len(plan.sites))

    def deliver(number: int, value: Any, token_index: torch.Tensor | None = None) -> None:
        attachment.visits[number] += 1
        x = select(plan.sites[number], value)
        if isinstance(x, torch.Tensor):
            if token_index is None:
                record(number, x)
            else:
                record(number, x, token_index)
        elif (number, x.code) not in attachment.problems:
            attachment.problems.add((number, x.code))
            problem(number, x)

    def start(_module: nn.Module, _args: Any) -> None:
        attachment.visits[:] = [0] * len(plan.sites)

    with ExitStack() as stack:
        text_model = model.get_submodule(plan.text_model)
        stack.callback(text_model.register_forward_pre_hook(start).remove)
        for number, site in enumerate(plan.sites):
            if site.component not in EXPERT_COMPONENTS:
                stack.callback(_hook(model.get_submodule(site.module), site, number, deliver).remove)
        stack.enter_context(tap_experts(model, plan, deliver, expert_rows))
        yield attachment


def _hook(module: nn.Module, site: Site, number: int, deliver: Callable[..., None]) -> Any:
    """Register one hook that returns nothing, so that it never replaces what it sees."""
    if site.capture == "input":

        def before(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            deliver(number, first_tensor(args, kwargs))

        return module.register_forward_pre_hook(before, with_kwargs=True)

    def after(_module: nn.Module, _args: Any, output: Any) -> None:
        deliver(number, output)

    return module.register_forward_hook(after)


def first_tensor(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A module's input: the first positional tensor, else `hidden_states`, else the first tensor by keyword."""
    for value in args:
        if isinstance(value, torch.Tensor):
            return value
    named = kwargs.get("hidden_states")
    if isinstance(named, torch.Tensor):
        return named
    return next((value for value in kwargs.values() if isinstance(value, torch.Tensor)), None)
