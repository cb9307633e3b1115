"""Look inside fused experts: a registered experts implementation that hands over every row with its token.

transformers keeps the experts of a block in 3-D parameters, so no module hook sees their gate or the input of
their down projection. It does let an implementation be registered, and this one computes what the stock grouped
one computes while handing its intermediate rows to a tap.

- `tap_experts`     deliver the expert sites of a plan for the length of a `with` block
- `ExpertRows`      the rows of one MoE layer in one forward
- `DeliverRows`     the callback that takes them
- `ReplaceRows`     a callback that changes them
- `EXPERT_COMPONENTS`  the components that are delivered here and by no module hook
- `IMPLEMENTATION`  the name under which the implementation is registered
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn

from engine.base.private import apply_gate, grouped_linear, is_expert_parallel
from engine.sites.site import HookPlan

IMPLEMENTATION = "maxact"
EXPERT_COMPONENTS = frozenset({"expert_input", "expert_gate", "expert_down_input"})


@dataclass(frozen=True, slots=True, eq=False)
class ExpertRows:
    """What the experts of one MoE layer saw in one forward; S = tokens x experts per token rows.

    Attributes:
        tokens: [N, D], the input of the experts, one row per token of the flattened batch.
        gate: [S, I] gate pre-activations, None for experts without a gate.
        token_index: int64 [S], the row of `tokens` behind each row.
        expert_index: int64 [S], ascending: the expert of each row.
        experts: E, how many experts the layer has.
    """

    tokens: torch.Tensor
    gate: torch.Tensor | None
    token_index: torch.Tensor
    expert_index: torch.Tensor
    experts: int


Deliver = Callable[[int, Any, torch.Tensor | None], None]
DeliverRows = Callable[[int, ExpertRows], None]
ReplaceRows = Callable[[int, torch.Tensor], torch.Tensor]


@dataclass(frozen=True, slots=True)
class _Tap:
    """Where the rows of one experts module go: site numbers by component."""

    numbers: dict[str, int]
    deliver: Deliver
    rows: DeliverRows | None
    replace: ReplaceRows | None

    def changed(self, component: str, rows: torch.Tensor) -> torch.Tensor:
        """The rows of a component as the experts go on with them."""
        if self.replace is None or component not in self.numbers:
            return rows
        return self.replace(self.numbers[component], rows)


_TAPS: WeakKeyDictionary[nn.Module, _Tap] = WeakKeyDictionary()


@contextmanager
def tap_experts(
    model: nn.Module,
    plan: HookPlan,
    deliver: Deliver,
    rows: DeliverRows | None = None,
    replace: ReplaceRows | None = None,
) -> Iterator[None]:
    """Deliver the plan's expert sites while the block is open, then put the model's own implementation back.

    Args:
        model: the model of the plan.
        plan: its sites of `EXPERT_COMPONENTS` are delivered; without any, nothing happens.
        deliver: called as (site number, rows, token index of each row, or None for one row per token).
        rows: called as (number of the layer's first expert site, `ExpertRows`) once per layer and forward.
        replace: called as (site number, rows) for the inputs of the experts' two products, which go on with what it
            returns; the gates are not replaced.
    """
    modules: dict[str, dict[str, int]] = {}
    for number, site in enumerate(plan.sites):
        if site.component in EXPERT_COMPONENTS:
            modules.setdefault(site.module, {})[site.component] = number
    if not modules:
        yield
        return
    _register()
    before = model.get_experts_implementation()
    taps = {model.get_submodule(path): _Tap(numbers, deliver, rows, replace) for path, numbers in modules.items()}
    _TAPS.update(taps)
    try:
        model.set_experts_implementation(IMPLEMENTATION)
        yield
    finally:
        model.set_experts_implementation(before)
        for module in taps:
            _TAPS.pop(module, None)


def _register() -> None:
    from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

    if IMPLEMENTATION not in ALL_EXPERTS_FUNCTIONS:
        ALL_EXPERTS_FUNCTIONS.register(IMPLEMENTATION, tapped_experts_forward)


def tapped_experts_forward(
    experts: Any, hidden_states: torch.Tensor, top_k_index: torch.Tensor, top_k_weights: torch.Tensor
) -> torch.Tensor:
    """The experts' forward, rows sorted by expert; same arithmetic as the stock `grouped_mm` implementation.

    Args:
        experts: the module whose fused parameters are used; untapped ones take the stock implementation.
        hidden_states: [N, D].
        top_k_index: int64 [N, k], the experts of each token.
        top_k_weights: [N, k].

    Returns:
        [N, D], the weighted sum over each token's experts.
    """
    from transformers.integrations.moe import grouped_mm_experts_forward

    tap = _TAPS.get(experts)
    if tap is None or is_expert_parallel(experts):
        stock: torch.Tensor = grouped_mm_experts_forward(experts, hidden_states, top_k_index, top_k_weights)
        return stock
    tokens, k = top_k_index.shape
    hidden_states = tap.changed("expert_input", hidden_states)
    expert_index, order = torch.sort(top_k_index.reshape(-1), stable=True)
    token_index = torch.div(order, k, rounding_mode="floor")
    first = _product(
        experts, "gate_up_proj" if experts.has_gate else "up_proj", hidden_states[token_index], expert_index
    )
    gate = _gate(experts, first)
    _hand_over(tap, ExpertRows(hidden_states, gate, token_index, expert_index, experts.num_experts))
    inner = apply_gate(experts, first) if experts.has_gate else experts.act_fn(first)
    if "expert_down_input" in tap.numbers:
        tap.deliver(tap.numbers["expert_down_input"], inner, token_index)
    inner = tap.changed("expert_down_input", inner)
    out = _product(experts, "down_proj", inner, expert_index)
    # transformers 5.17 knows no such experts and does not set this.
    if getattr(experts, "has_post_expert_norm", False):
        out = experts.post_expert_norm(out)
    out = out * top_k_weights.reshape(-1)[order].unsqueeze(-1)
    back = torch.empty_like(order)
    back[order] = torch.arange(order.numel(), device=order.device)
    return out[back].view(tokens, k, -1).sum(dim=1).to(hidden_states.dtype)


def _hand_over(tap: _Tap, rows: ExpertRows) -> None:
    """Deliver input and gate; the input once per token, for all its experts read the same row."""
    if "expert_input" in tap.numbers:
        tap.deliver(tap.numbers["expert_input"], rows.tokens, None)
    if "expert_gate" in tap.numbers and rows.gate is not None:
        tap.deliver(tap.numbers["expert_gate"], rows.gate, rows.token_index)
    if tap.rows is not None:
        tap.rows(min(tap.numbers.values()), rows)


def _gate(experts: Any, fused: torch.Tensor) -> torch.Tensor | None:
    """The gate's channels of a fused [S, 2 * I] product: its first half, or every other one."""
    if not experts.has_gate:
        return None
    return fused[..., : fused.shape[-1] // 2] if experts.is_concatenated else fused[..., ::2]


def _product(experts: Any, name: str, rows: torch.Tensor, expert_index: torch.Tensor) -> torch.Tensor:
    """[S, inputs] rows sorted by expert, times each expert's own matrix, plus its bias where it has one."""
    counts = torch.zeros(experts.num_experts, dtype=torch.int32, device=rows.device)
    counts.scatter_add_(0, expert_index, torch.ones_like(expert_index, dtype=torch.int32))
    bias = getattr(experts, f"{name}_bias")[expert_index] if experts.has_bias else None
    ends = torch.cumsum(counts, dim=0, dtype=torch.int32)
    return grouped_linear(rows, getattr(experts, name), ends, bias=bias, is_transposed=experts.is_transposed)
