"""Two independent ways to see the tensors of a model's sites: the product's hooks, and wrapped `forward` methods.

- `planned`      a family's model with its checked plan, built once
- `run_hooked`   what `attach` delivers, by site name
- `run_wrapped`  the same sites seen by replacing the modules' `forward`
- `assert_same`  two captures of a tensor, as near as float32 sums in another order are
- `expert_rows`  gates and down-projection inputs of experts, one row at a time, from the weights
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch

from engine.base.private import apply_gate
from engine.messages import Message, words
from engine.sites.check import self_check
from engine.sites.discovery import find_sites
from engine.sites.experts import EXPERT_COMPONENTS, ExpertRows
from engine.sites.hooks import attach
from engine.sites.site import HookPlan
from tests.sites.families import build


@dataclass
class Hooked:
    """One forward as the product saw it."""

    tensors: dict[str, torch.Tensor] = field(default_factory=dict)
    token_index: dict[str, torch.Tensor] = field(default_factory=dict)
    experts: dict[str, ExpertRows] = field(default_factory=dict)
    visits: dict[str, int] = field(default_factory=dict)
    problems: list[tuple[str, str]] = field(default_factory=list)
    output: torch.Tensor | None = None


def assert_same(found: torch.Tensor, expected: torch.Tensor, what: str = "") -> None:
    """Equal to 1e-5 of the largest |x|.

    Weights at another alignment, experts one by one instead of together, or rows of another batch are summed in other
    orders, each of which is within about 1e-6; a tensor of another place, row or layer is off by its whole size.
    """
    scale = float(expected.abs().max())
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * scale, msg=lambda text: f"{what}: {text}")


@cache
def planned(name: str) -> tuple[torch.nn.Module, HookPlan]:
    """The family's model and the plan of all its sites after the self-check."""
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)
    model = build(name)
    return model, self_check(model, find_sites(model, "all"))


def run_hooked(
    model: torch.nn.Module, plan: HookPlan, ids: torch.Tensor, mask: torch.Tensor | None = None, **inputs: Any
) -> Hooked:
    """One forward of the text model under `attach`; the first visit of each site is kept."""
    seen = Hooked()
    names = [site.name for site in plan.sites]

    def record(number: int, x: torch.Tensor, token_index: torch.Tensor | None = None, /) -> None:
        seen.tensors.setdefault(names[number], x.detach().clone())
        if token_index is not None:
            seen.token_index.setdefault(names[number], token_index.clone())

    def experts(number: int, rows: ExpertRows) -> None:
        seen.experts[plan.sites[number].module] = rows

    def problem(number: int, problem: Message) -> None:
        seen.problems.append((names[number], words(problem)))

    text_model = model.get_submodule(plan.text_model)
    with torch.inference_mode(), attach(model, plan, record, problem, experts) as attachment:
        out = text_model(input_ids=ids, attention_mask=mask, use_cache=False, **inputs)
        seen.visits = dict(zip(names, attachment.visits, strict=True))
    seen.output = out[0]
    return seen


def run_wrapped(model: torch.nn.Module, plan: HookPlan, ids: torch.Tensor) -> dict[str, torch.Tensor]:
    """The plan's sites outside the experts, seen by replacing `forward` on the modules; first visits."""
    inputs: dict[str, Any] = {}
    outputs: dict[str, Any] = {}
    modules = {site.module for site in plan.sites if site.component not in EXPERT_COMPONENTS}

    def wrap(path: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def forward(*args: Any, **kwargs: Any) -> Any:
            first = args[0] if args else kwargs["hidden_states"]
            inputs.setdefault(path, first.clone())
            out = original(*args, **kwargs)
            outputs.setdefault(path, _copied(out))
            return out

        return forward

    wrapped = [(model.get_submodule(path), path) for path in modules]
    for module, path in wrapped:
        module.forward = wrap(path, module.forward)
    try:
        with torch.inference_mode():
            model.get_submodule(plan.text_model)(input_ids=ids, attention_mask=None, use_cache=False)
    finally:
        for module, _ in wrapped:
            del module.forward
    found = {}
    for site in plan.sites:
        if site.component in EXPERT_COMPONENTS:
            continue
        x = inputs[site.module] if site.capture == "input" else outputs[site.module]
        if isinstance(x, tuple):
            assert site.element is not None, f"{site.name}: the output is a tuple, the plan names no element"
            x = x[site.element]
        if site.layout == "PBTD":
            x = x[0]
        if site.columns is not None:
            x = x[..., site.columns[0] : site.columns[1]]
        found[site.name] = x
    return found


def _copied(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_copied(part) for part in value)
    return value.clone() if isinstance(value, torch.Tensor) else value


def expert_rows(experts: Any, rows: ExpertRows) -> tuple[torch.Tensor | None, torch.Tensor]:
    """(gates or None, down-projection inputs) of every (token, expert) pair, each from its own matrix product."""
    gates, inners = [], []
    with torch.inference_mode():
        for token, expert in zip(rows.token_index.tolist(), rows.expert_index.tolist(), strict=True):
            name = "gate_up_proj" if experts.has_gate else "up_proj"
            weight = getattr(experts, name)[expert]
            x = rows.tokens[token]
            first = x @ weight if experts.is_transposed else weight @ x
            if experts.has_bias:
                first = first + getattr(experts, f"{name}_bias")[expert]
            if experts.has_gate:
                half = first.numel() // 2
                gates.append(first[:half] if experts.is_concatenated else first[::2])
                inners.append(apply_gate(experts, first))
            else:
                inners.append(experts.act_fn(first))
    return (torch.stack(gates) if gates else None), torch.stack(inners)
