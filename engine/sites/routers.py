"""Which element of a router's output holds the raw logits.

- `declared_element`  what transformers itself declares for a router class
- `RouterTrace`       what one router received and gave
- `watch_routers`     record a trace of every router while a `with` block is open
- `judge_router`      trace -> the element that equals input times weight, or a label
- `router_weight`     the [E, D] weight and bias behind the logits, to recompute them
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from engine.base.private import recorders_of
from engine.sites.hooks import first_tensor
from engine.sites.modules import is_linear
from engine.sites.placement import weights_of
from engine.sites.site import HookPlan


def declared_element(router: nn.Module | None, owners: Iterable[nn.Module]) -> int | None:
    """The tuple index that the model class declares for `router`'s logits, None where it declares none.

    transformers keeps, for each model class, which element of which class is recorded as `router_logits`. The
    registry is private, so a version without it is no error: the self-check then finds the element.
    """
    if router is None:
        return None
    for owner in owners:
        for recorder in recorders_of(owner):
            target = getattr(recorder, "target_class", None)
            if isinstance(target, type) and isinstance(router, target):
                return int(recorder.index)
    return None


@dataclass(slots=True)
class RouterTrace:
    """What one router received and gave in one forward.

    Attributes:
        module: the hooked module.
        inputs: its input, None if it was not called.
        outputs: floating tensors it gave, flattened to rows, by tuple index (None for a bare tensor).
        shapes: their shapes as given.
    """

    module: nn.Module
    inputs: torch.Tensor | None = None
    outputs: dict[int | None, torch.Tensor] = field(default_factory=dict)
    shapes: dict[int | None, tuple[int, ...]] = field(default_factory=dict)


@contextmanager
def watch_routers(model: nn.Module, plan: HookPlan) -> Iterator[dict[int, RouterTrace]]:
    """Record what every router of the plan receives and gives in the next forward, by site number."""
    traces: dict[int, RouterTrace] = {}
    with ExitStack() as stack:
        for number, site in enumerate(plan.sites):
            if site.component == "router_logits":
                module = model.get_submodule(site.module)
                traces[number] = RouterTrace(module)
                hook = _noting(traces[number])
                stack.callback(module.register_forward_hook(hook, with_kwargs=True).remove)
        yield traces


def _noting(trace: RouterTrace) -> Any:
    def hook(_module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        x = first_tensor(args, kwargs)
        if not isinstance(x, torch.Tensor):
            return
        trace.inputs = x.detach().reshape(-1, x.shape[-1]).to("cpu", torch.float32)
        parts = enumerate(output) if isinstance(output, (tuple, list)) else [(None, output)]
        for index, part in parts:
            if isinstance(part, torch.Tensor) and part.is_floating_point():
                trace.shapes[index] = tuple(part.shape)
                trace.outputs[index] = part.detach().reshape(-1, part.shape[-1]).to("cpu", torch.float32)

    return hook


def judge_router(trace: RouterTrace, element: int | None) -> tuple[int | None, str]:
    """Find the raw logits among what a router gave: the element that equals its input times its weight.

    Args:
        trace: one forward of the router.
        element: the element thought to hold them.

    Returns:
        The element that holds the logits, and "" if it does; else the best candidate and a label saying what it is.
    """
    if trace.inputs is None or not trace.outputs:
        return element, ""
    if None in trace.outputs:
        element = None
    expected = _expected_logits(trace)
    candidates = [element, *(index for index in trace.outputs if index != element)]
    if expected is not None:
        for index in candidates:
            x = trace.outputs.get(index)
            if x is not None and x.shape == expected.shape and _close(x, expected):
                return index, ""
    chosen = element if element in trace.outputs else next(iter(trace.outputs))
    if not bool(trace.outputs[chosen].isfinite().all()):
        return chosen, "NaN or infinity in the self-check: not told whether these are raw logits"
    sums = trace.outputs[chosen].sum(dim=-1)
    if bool(((sums - 1).abs() < 0.02).all()):
        return chosen, "probabilities after a softmax, not raw logits"
    return chosen, "not the product of the router's input and weight: other than raw logits"


def _expected_logits(trace: RouterTrace) -> torch.Tensor | None:
    """Input times weight, plus bias, in float32 on the CPU; None if the router has no such weight."""
    if trace.inputs is None:
        return None
    with weights_of(trace.module):
        pair = router_weight(trace.module)
        if pair is None or pair[0].shape[1] != trace.inputs.shape[1]:
            return None
        weight, bias = (None if part is None else part.detach().to("cpu", torch.float32) for part in pair)
        return nn.functional.linear(trace.inputs, weight, bias)


def _close(x: torch.Tensor, expected: torch.Tensor) -> bool:
    """Within the rounding of a product in bfloat16, the coarsest dtype routers run in."""
    return bool((x - expected).abs().max() <= 0.02 * expected.abs().max() + 1e-6)


def router_weight(router: nn.Module) -> tuple[torch.Tensor, torch.Tensor | None] | None:
    """(weight [E, D], bias [E] or None) of a router or of the one linear inside it; None if there is no such pair."""
    holders = [router, *(module for module in router.modules() if module is not router and is_linear(module))]
    for holder in holders:
        weight = getattr(holder, "weight", None)
        if isinstance(weight, torch.Tensor) and weight.ndim == 2:
            bias = getattr(holder, "bias", None)
            return weight, bias if isinstance(bias, torch.Tensor) else None
    return None
