"""Hooks: bound to their block, invisible to the model, and honest about what they cannot measure."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import torch

from engine.messages import words
from engine.sites.check import self_check
from engine.sites.discovery import find_sites
from engine.sites.hooks import attach
from engine.sites.site import Site
from tests.private import hooks_of
from tests.sites.capture import planned, run_hooked
from tests.sites.families import build, tokens
from tests.sites.oddities import telling_llama


def _ignore(*_: Any) -> None:
    return None


def _hooks(model: torch.nn.Module) -> int:
    return sum(hooks_of(m) for m in model.modules())


def test_hooks_are_gone_after_the_block() -> None:
    model, plan = planned("qwen3_moe")
    before = _hooks(model), model.get_experts_implementation()
    with attach(model, plan, _ignore, _ignore):
        assert _hooks(model) > before[0] + len(plan.sites) / 2
    assert (_hooks(model), model.get_experts_implementation()) == before


def test_hooks_are_gone_after_a_failure_inside_the_forward() -> None:
    model, plan = planned("qwen3_moe")
    before = _hooks(model), model.get_experts_implementation()

    def fail(*_: Any) -> None:
        raise MemoryError("the statistics ran out of memory")

    with pytest.raises(MemoryError), attach(model, plan, fail, _ignore):
        model.get_submodule(plan.text_model)(input_ids=tokens(1, 4), use_cache=False)
    assert (_hooks(model), model.get_experts_implementation()) == before


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma3n_text", "falcon", "qwen3_next"])
def test_hooks_leave_the_output_bit_for_bit(name: str) -> None:
    model, plan = planned(name)
    dense = replace(plan, sites=tuple(s for s in plan.sites if not s.component.startswith("expert")))
    ids = tokens(2, 6)
    with torch.inference_mode():
        plain = model.get_submodule(plan.text_model)(input_ids=ids, attention_mask=None, use_cache=False)[0]
    assert torch.equal(run_hooked(model, dense, ids).output, plain)


def test_a_forward_starts_the_visits_anew() -> None:
    model, plan = planned("llama")
    text_model = model.get_submodule(plan.text_model)
    with torch.inference_mode(), attach(model, plan, _ignore, _ignore) as attachment:
        for _ in range(3):
            text_model(input_ids=tokens(1, 4), use_cache=False)
            assert attachment.visits == [1] * len(plan.sites)


def test_an_input_given_by_keyword_is_seen() -> None:
    model, plan = planned("llama")
    site = Site("layer_1_attn_input", 1, "attn_input", "model.layers.1.self_attn", capture="input")
    seen = run_hooked(model, replace(plan, sites=(*plan.sites, site)), tokens(1, 4)).tensors
    assert torch.equal(seen["layer_1_attn_input"], seen["layer_1_attn_input"])
    assert torch.equal(seen[site.name], run_hooked(model, plan, tokens(1, 4)).tensors["layer_1_attn_input"])


UNMEASURABLE = {
    "nothing": (None, "nothing"),
    "text": ("loss", "str"),
    "empty_dict": ({}, "nothing"),
    "tuple_without_tensor": (("a", 3), "nothing"),
    "integers": (torch.ones(2, 4, 3, dtype=torch.int64), "torch.int64"),
    "empty": (torch.ones(2, 0, 3), "empty"),
    "complex": (torch.ones(2, 4, 3, dtype=torch.complex64), "complex"),
    "meta": (torch.ones(2, 4, 3, device="meta"), "meta"),
}


@pytest.mark.parametrize("what", UNMEASURABLE)
def test_what_cannot_be_measured_is_said_once_and_the_rest_runs_on(what: str) -> None:
    answer, word = UNMEASURABLE[what]
    model = telling_llama(answer)
    plan = find_sites(model, "paper")
    odd = Site("layer_1_mlp_output_teller", 1, "mlp_output", "model.layers.1.teller")
    plan = replace(plan, sites=(*plan.sites, odd))
    problems: list[tuple[int, str]] = []
    fired: Counter[int] = Counter()
    text_model = model.get_submodule(plan.text_model)
    with (
        torch.inference_mode(),
        attach(
            model, plan, lambda n, *_: fired.update([n]), lambda n, what: problems.append((n, words(what)))
        ) as attachment,
    ):
        for _ in range(2):
            text_model(input_ids=tokens(2, 4), use_cache=False)
    assert [number for number, _ in problems] == [len(plan.sites) - 1]
    assert word in problems[0][1]
    assert fired == Counter(dict.fromkeys(range(len(plan.sites) - 1), 2))
    assert attachment.visits == [1] * len(plan.sites)


@pytest.mark.parametrize("what", UNMEASURABLE)
def test_the_self_check_takes_such_a_site_out_of_the_plan_and_says_why(what: str) -> None:
    answer, word = UNMEASURABLE[what]
    model = telling_llama(answer)
    plan = find_sites(model, "paper")
    odd = Site("layer_1_mlp_output_teller", 1, "mlp_output", "model.layers.1.teller")
    checked = self_check(model, replace(plan, sites=(*plan.sites, odd)))
    assert {site.name for site in checked.sites} == {site.name for site in plan.sites}
    (gap,) = checked.missing
    assert gap.layers == (1,) and word in gap.reason


def test_a_block_used_twice_is_counted_as_visits_and_labelled() -> None:
    model = build("llama")
    model.model.layers[2] = model.model.layers[0]
    plan = self_check(model, find_sites(model, "all"))
    shared = [site for site in plan.sites if site.layer == 0]
    assert shared and all("called 2 times in a forward" in site.note for site in shared)
    assert not any(site.layer == 2 for site in plan.sites)
    assert {gap.component for gap in plan.missing if gap.layers == (2,)} == {site.component for site in shared}
    assert all("layer_0_" in gap.reason for gap in plan.missing)
    seen: Counter[int] = Counter()
    with torch.inference_mode(), attach(model, plan, lambda n, *_: seen.update([n]), _ignore) as attachment:
        model.model(input_ids=tokens(1, 4), use_cache=False)
    names = {plan.sites[number].name: count for number, count in seen.items()}
    assert names["layer_0_hidden"] == 2 and names["layer_1_hidden"] == 1
    assert attachment.visits == [seen[number] for number in range(len(plan.sites))]


def test_a_module_that_is_never_called_leaves_the_plan() -> None:
    model = build("llama")
    model.model.layers[1].vestige = torch.nn.Linear(32, 32)
    plan = self_check(model, find_sites(model, "gemm"))
    assert "layer_1_other_input_vestige" not in {site.name for site in plan.sites}
    (gap,) = plan.missing
    assert gap.layers == (1,) and "not called" in gap.reason
    assert plan.parameters_total - plan.parameters_covered == 32 * 32
