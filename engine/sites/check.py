"""One forward of eight tokens that turns a plan found by structure into one that is known to hold.

- `self_check`  model, plan -> the plan with labels, exact elements and layouts, and without dead sites
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from engine.base.computing import computing
from engine.messages import Message, words
from engine.sites.backbone import Backbone, find_backbone
from engine.sites.coverage import InputPrints, recount, watch_inputs
from engine.sites.errors import SiteError
from engine.sites.exceptions import rule_for
from engine.sites.hooks import attach, first_tensor
from engine.sites.layout import row_layout
from engine.sites.placement import input_device, placement_notes
from engine.sites.residual import BlockTrace, residual_of, trace_blocks
from engine.sites.routers import RouterTrace, judge_router, watch_routers
from engine.sites.site import GEMM_COMPONENTS, HookPlan, MissingSite, Residual, Site, Smoothing
from engine.sites.smoothing import prove_smoothings
from engine.sites.trials import Watched, watch_calls

SAMPLES, LENGTH = 2, 4
TOKENS = SAMPLES * LENGTH
_NOT_CALLED = "its module is not called on text"


@dataclass(slots=True)
class _Seen:
    """What one forward showed. Copies of eight tokens, because families change tensors in place afterwards.

    `tensors` is in the order in which the sites fired; `called` says how many linear modules had been called by then.
    """

    tensors: dict[int, torch.Tensor] = field(default_factory=dict)
    problems: dict[int, Message] = field(default_factory=dict)
    raw_tuple: dict[int, int] = field(default_factory=dict)
    block_input: Any = None
    visits: list[int] = field(default_factory=list)
    traces: list[BlockTrace] = field(default_factory=list)
    routers: dict[int, RouterTrace] = field(default_factory=dict)
    inputs: InputPrints = field(default_factory=InputPrints)
    called: dict[int, int] = field(default_factory=dict)
    calls: Watched | None = None

    def record(self, site_number: int, x: torch.Tensor, token_index: torch.Tensor | None = None) -> None:
        """Keep a copy of the first tensor of a site."""
        if site_number not in self.tensors:
            self.tensors[site_number] = x.detach().clone()
            self.called[site_number] = len(self.inputs.prints)

    def problem(self, site_number: int, problem: Message) -> None:
        """Keep the first thing that was wrong with a site."""
        self.problems.setdefault(site_number, problem)


def self_check(model: nn.Module, plan: HookPlan) -> HookPlan:
    """Run eight tokens through the text model and keep what holds.

    Args:
        model: the model with its weights, on any device or offloaded.
        plan: what `find_sites` found on it.

    Returns:
        The plan with the residual kind, exact tuple elements and row layouts, notes on sites that need one, dead
        sites moved to `missing` with the reason, parameters covered recounted from real inputs, and, if it measures
        inputs of matrix products, the pairs that may be smoothed.

    Raises:
        SiteError: the text model cannot run on token ids alone, or no site gave a tensor.
    """
    backbone = find_backbone(model)
    seen = _look(model, plan, backbone)
    kept: list[Site] = []
    gaps: dict[tuple[str, str], list[int]] = {}
    for number, site in enumerate(plan.sites):
        checked = _check_site(site, number, seen)
        if isinstance(checked, Site):
            kept.append(checked)
        else:
            gaps.setdefault((site.component, checked), []).extend(() if site.layer is None else (site.layer,))
    if not kept:
        raise SiteError(f"no site of {plan.family} gave a tensor; please report this model")
    rule = rule_for(backbone.config, getattr(model, "config", None))
    prints = {s.name: seen.tensors[n] for n, s in enumerate(plan.sites) if n in seen.tensors}
    extra, covered = recount(backbone, rule, plan, kept, prints, seen.inputs, (SAMPLES, LENGTH))
    residual, notes = _residual(seen.traces)
    pairs, alone = _smoothings(model, plan, backbone, seen)
    sites = _in_order([*kept, *extra], plan)
    return replace(
        plan,
        sites=sites,
        order=_execution_order(sites, plan, seen),
        missing=(*plan.missing, *(MissingSite(tuple(layers), name, why) for (name, why), layers in gaps.items())),
        residual=residual,
        parameters_covered=covered,
        notes=(*plan.notes, *notes, *placement_notes(model)),
        smoothings=pairs,
        unsmoothed=alone,
    )


def _smoothings(
    model: nn.Module, plan: HookPlan, backbone: Backbone, seen: _Seen
) -> tuple[tuple[Smoothing, ...] | None, tuple[str, ...]]:
    """What may be smoothed, and why other norms may not; nothing is tried where no GEMM input is measured."""
    if seen.calls is None:
        return None, ()
    others = [
        seen.tensors[number]
        for number, site in enumerate(plan.sites)
        if site.component in ("router_input", "expert_input") and number in seen.tensors
    ]
    return prove_smoothings(model, backbone, seen.calls, seen.inputs, others)


def _look(model: nn.Module, plan: HookPlan, backbone: Backbone) -> _Seen:
    """Run the forward with everything attached that the checks need."""
    seen = _Seen()
    rule = rule_for(backbone.config, getattr(model, "config", None))
    with ExitStack() as stack:
        attachment = stack.enter_context(attach(model, plan, seen.record, seen.problem))
        seen.traces = stack.enter_context(trace_blocks(backbone, rule))
        seen.routers = stack.enter_context(watch_routers(model, plan))
        seen.inputs = stack.enter_context(watch_inputs(backbone))
        if any(site.capture == "input" and site.component in GEMM_COMPONENTS for site in plan.sites):
            seen.calls = stack.enter_context(watch_calls(backbone))
        for number, site in enumerate(plan.sites):
            if site.capture == "output":
                module = model.get_submodule(site.module)
                stack.callback(module.register_forward_hook(_noting_tuples(seen, number)).remove)
        first = backbone.blocks[0][1]
        stack.callback(first.register_forward_pre_hook(_noting_input(seen), with_kwargs=True).remove)
        _forward(backbone, input_device(model, backbone.embedding), plan.family)
        seen.visits = list(attachment.visits)
    return seen


def _forward(backbone: Backbone, device: torch.device, family: str) -> None:
    vocabulary = int(getattr(backbone.config, "vocab_size", 0) or 2 * TOKENS + 8)
    # Neighbouring ids in the middle of the vocabulary are ordinary words, not padding or image placeholders.
    ids = torch.arange(vocabulary // 2, vocabulary // 2 + TOKENS, device=device).reshape(SAMPLES, LENGTH)
    try:
        with computing(backbone.text_model):
            backbone.text_model(input_ids=ids, attention_mask=None, use_cache=False)
    except torch.OutOfMemoryError:
        raise
    except (TypeError, ValueError, RuntimeError, KeyError, IndexError, AttributeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SiteError(f"{family} does not run on token ids alone ({reason}); try another model class") from error


def _noting_tuples(seen: _Seen, number: int) -> Any:
    def hook(_module: nn.Module, _args: Any, output: Any) -> None:
        if isinstance(output, (tuple, list)):
            tensors = [index for index, part in enumerate(output) if isinstance(part, torch.Tensor)]
            seen.raw_tuple.setdefault(number, tensors[0] if tensors else 0)

    return hook


def _noting_input(seen: _Seen) -> Any:
    def hook(_module: nn.Module, args: Any, kwargs: Any) -> None:
        x = first_tensor(args, kwargs)
        seen.block_input = x.detach().clone() if isinstance(x, torch.Tensor) else None

    return hook


def _check_site(site: Site, number: int, seen: _Seen) -> Site | str:
    """The site as it really is, or why it cannot be measured."""
    notes = [site.note]
    shape = tuple(seen.tensors[number].shape) if number in seen.tensors else None
    if number in seen.routers:
        # Before the verdict on its problems: another element than the first may hold the logits.
        site, label, shape = _check_router(site, seen.routers[number], shape)
        notes.append(label)
    elif site.capture == "output":
        element = seen.raw_tuple.get(number)
        site = replace(site, element=element if element is None or site.element is None else site.element)
    if shape is None:
        return f"its module {words(seen.problems[number])}" if number in seen.problems else _NOT_CALLED
    layout = row_layout(shape, (SAMPLES, LENGTH))
    if layout is None and site.layout != "expert":
        return f"its shape {shape} does not hold one row per token"
    if layout is not None and site.layout in ("BTD", "ND"):
        site = replace(site, layout=layout)
    if site.component == "embedding":
        notes.append(_embedding_note(seen.tensors[number], seen.block_input))
    if seen.visits[number] > 1:
        notes.append(f"called {seen.visits[number]} times in a forward, and every call counts")
    return replace(site, note="; ".join(note for note in notes if note))


def _check_router(
    site: Site, trace: RouterTrace, shape: tuple[int, ...] | None
) -> tuple[Site, str, tuple[int, ...] | None]:
    """The router's site with the element that holds raw logits, a label if none does, and that element's shape."""
    element, label = judge_router(trace, site.element)
    if element in trace.outputs:
        shape = trace.shapes[element]
    return replace(site, element=element), label, shape


def _embedding_note(embedding: torch.Tensor, block_input: Any) -> str:
    """How the first block's input differs from the embedding, "" if it does not."""
    if not isinstance(block_input, torch.Tensor):
        return ""
    x = block_input[0] if block_input.ndim == 4 else block_input
    x, e = x.to("cpu", torch.float64), embedding.to("cpu", torch.float64)
    if x.shape != e.shape:
        return "block 0 reads a projection of it"
    if torch.equal(x, e):
        return ""
    finite = (x.isfinite() & e.isfinite()).all(dim=-1)
    x, e = x[finite], e[finite]
    if not x.numel():
        return ""  # nothing can be compared
    if torch.equal(x, e):
        return ""
    factor = float((x * e).sum() / (e * e).sum().clamp_min(1e-300))
    rounding = 16 * torch.finfo(embedding.dtype).eps
    if bool(((x - factor * e).abs() <= rounding * x.abs()).all()):
        return f"block 0 reads {factor:.4g} x this"
    return "block 0 reads this with positions added or a norm applied"


def _residual(traces: Iterable[BlockTrace]) -> tuple[Residual, list[str]]:
    """The kind most blocks have, and notes on the others and on constants."""
    traces = list(traces)
    found = [residual_of(trace) for trace in traces]
    kinds = Counter(kind for kind, _ in found)
    known = Counter({kind: count for kind, count in kinds.items() if kind != "unknown"}) or kinds
    most = known.most_common(1)[0][0]
    notes = []
    bad = [index for index, trace in enumerate(traces) if not trace.is_finite]
    if bad:
        notes.append(f"NaN or infinity in {_blocks(bad)} of the self-check: what they add up was told from the rest")
    factors = sorted(factor for _, constants in found for factor in constants)
    if factors:
        middle = factors[len(factors) // 2]
        alike = factors[-1] - factors[0] < 0.1 * abs(middle)
        amount = f"{middle:.2g}" if alike else f"{factors[0]:.2g} to {factors[-1]:.2g}"
        notes.append(f"branches are added times {amount}")
    for kind in kinds:
        if kind != most:
            blocks = [index for index, (other, _) in enumerate(found) if other == kind]
            notes.append(f"residual is {kind} in {_blocks(blocks)}, {most} elsewhere")
    return most, notes


def _blocks(layers: list[int]) -> str:
    shown = ", ".join(str(layer) for layer in layers[:8])
    return f"block{'s' if len(layers) > 1 else ''} {shown}{' and more' if len(layers) > 8 else ''}"


def _in_order(sites: list[Site], plan: HookPlan) -> tuple[Site, ...]:
    """Sites in the plan's order; those found by the check come after the rest of their block."""
    last = {site.layer: number for number, site in enumerate(plan.sites)}
    place = {site.name: number for number, site in enumerate(plan.sites)}
    return tuple(sorted(sites, key=lambda site: place.get(site.name, last.get(site.layer, 0) + 0.5)))


def _execution_order(sites: tuple[Site, ...], plan: HookPlan, seen: _Seen) -> tuple[int, ...]:
    """Each site's place in the forward, by when its hook fired; empty where that is the order of the plan.

    A site that the check itself has found was not hooked: it stands where the linear module that reads it was called.
    """
    numbers = {site.name: number for number, site in enumerate(plan.sites)}
    fired = {number: place for place, number in enumerate(seen.tensors)}
    calls = {path: call for call, path in enumerate(seen.inputs.prints)}

    def moment(number: int) -> tuple[float, int]:
        site = sites[number]
        old = numbers.get(site.name)
        if old in fired:
            return seen.called[old], fired[old]
        return calls.get(site.module, len(calls)) + 0.5, number

    order = sorted(range(len(sites)), key=moment)
    if order == list(range(len(sites))):
        return ()
    places = [0] * len(sites)
    for place, number in enumerate(order):
        places[number] = place
    return tuple(places)
