"""Replaced tensors: what the model goes on with, in families that pass tensors in different ways."""

from __future__ import annotations

import copy

import pytest
import torch

from engine.effect.errors import EffectError
from engine.effect.head import CHUNK_ELEMENTS, LanguageHead
from engine.effect.replacing import replaced
from engine.sites.site import QUANTISED_COMPONENTS, HookPlan
from tests.private import hooks_of
from tests.sites.capture import planned, run_hooked
from tests.sites.families import tokens

# Tuples, planes, fused columns, post-norms on the raw stream, in-place sums, experts, shared routers, other mixers.
OUTPUTS = ["llama", "falcon", "gptj", "gemma3n_text", "phi3", "olmo2", "llama4_text", "mamba", "falcon_h1"]
INPUT_FAMILIES = ["llama", "gpt2", "olmo2", "qwen2_moe", "qwen3_moe", "gpt_oss", "falcon_40b", "deepseek_v3", "mamba2"]
HEADS = [
    "qwen2_5_vl",
    "gemma2",
    "granite",
    "cohere",
    "falcon",
    "opt_350m",
    "mamba",
    "llama4",
    "mpt",
    "gemma3n_text",
    "qwen3_moe",
]


def hidden(model: torch.nn.Module, plan: HookPlan, ids: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return model.get_submodule(plan.text_model)(input_ids=ids, use_cache=False)[0]


def hooks(model: torch.nn.Module) -> int:
    return sum(hooks_of(m) + ("forward" in m.__dict__) for m in model.modules())


@pytest.mark.parametrize("name", OUTPUTS)
def test_the_model_goes_on_with_a_changed_output(name: str) -> None:
    """The next thing that is measured after a hidden state of zeros is what that block makes of zeros."""
    model, plan = planned(name)
    ids = tokens(2, 7)
    number = next(n for n, site in enumerate(plan.sites) if site.component == "hidden" and site.layer == 0)
    before, seen = hooks(model), run_hooked(model, plan, ids)

    def zero(_site: int, x: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(x)

    with replaced(model, plan, [number], zero):
        found = run_hooked(model, plan, ids)  # its hooks come after ours and see what ours gave
    assert hooks(model) == before
    assert not found.tensors["layer_0_hidden"].any()
    assert seen.tensors["layer_0_hidden"].any()
    assert found.output is not None
    assert seen.output is not None
    assert (found.output - seen.output).abs().max() > 1e-3
    assert torch.equal(run_hooked(model, plan, ids).output, seen.output)


@pytest.mark.parametrize("name", INPUT_FAMILIES)
def test_halving_every_input_of_a_product_is_halving_its_weights(name: str) -> None:
    model, plan = planned(name)
    ids = tokens(2, 7)
    sites = [
        n for n, site in enumerate(plan.sites) if site.component in QUANTISED_COMPONENTS and site.layer is not None
    ]
    halved = copy.deepcopy(model)
    skipped = _halve_weights(halved, plan, sites)
    chosen = [number for number in sites if number not in skipped]
    assert len(chosen) > len(sites) / 2
    with torch.inference_mode(), replaced(model, plan, chosen, lambda _site, x: x * 0.5):
        found = hidden(model, plan, ids)
    expected = hidden(halved, plan, ids)
    torch.testing.assert_close(found, expected, rtol=2e-4, atol=2e-4 * float(expected.abs().max()))
    assert (hidden(model, plan, ids) - expected).abs().max() > 1e-3


def _halve_weights(model: torch.nn.Module, plan: HookPlan, sites: list[int]) -> set[int]:
    """Halve what multiplies these inputs; the numbers of sites whose weights are not simply a linear's or experts'."""
    skipped = set()
    with torch.no_grad():
        for number in sites:
            site = plan.sites[number]
            module = model.get_submodule(site.module)
            if site.component == "expert_input":
                (module.gate_up_proj if module.has_gate else module.up_proj).mul_(0.5)
            elif site.component == "expert_down_input":
                module.down_proj.mul_(0.5)
            elif site.readers and (site.module in site.readers or site.component != "router_input"):
                for path in site.readers:
                    model.get_submodule(path).weight.mul_(0.5)
            elif site.component == "router_input" and not site.readers and getattr(module, "weight", None) is not None:
                module.weight.mul_(0.5)
            else:
                skipped.add(number)
    return skipped


def test_an_input_that_three_products_read_is_changed_once() -> None:
    model, plan = planned("llama")
    number = next(n for n, site in enumerate(plan.sites) if site.component == "attn_input")
    assert len(plan.sites[number].readers) == 3
    calls = []

    def count(site: int, x: torch.Tensor) -> torch.Tensor:
        calls.append(site)
        return x.clone()

    ids = tokens(2, 7)
    with torch.inference_mode(), replaced(model, plan, [number], count):
        found = hidden(model, plan, ids)
    assert calls == [number]
    assert torch.equal(found, hidden(model, plan, ids))


def test_hooks_are_gone_after_an_error() -> None:
    model, plan = planned("llama")
    before = hooks(model)

    def fail(_site: int, _x: torch.Tensor) -> torch.Tensor:
        raise EffectError("no")

    with pytest.raises(EffectError), replaced(model, plan, [1, 2, 3], fail):
        hidden(model, plan, tokens(1, 4))
    assert hooks(model) == before


@pytest.mark.parametrize("name", HEADS)
def test_logits_in_pieces_are_the_models_own(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, plan = planned(name)
    text_model = model.get_submodule(plan.text_model)
    ids = tokens(2, 7)
    before = hooks(model)
    head = LanguageHead(model, text_model, torch.device("cpu"))
    with torch.inference_mode():
        expected = model(input_ids=ids, use_cache=False).logits.flatten(0, 1)
        rows = head.hidden(ids, None).flatten(0, 1)
        monkeypatch.setattr("engine.effect.head.CHUNK_ELEMENTS", 5 * head.vocabulary)
        parts = [head.logits(rows[part]) for part in head.chunks(len(rows))]
    assert [len(part) for part in parts] == [5, 5, 4]
    torch.testing.assert_close(torch.cat(parts), expected, rtol=1e-5, atol=1e-5)
    assert hooks(model) == before


def test_a_large_vocabulary_is_taken_a_few_rows_at_a_time() -> None:
    model, plan = planned("llama")
    head = LanguageHead(model, model.get_submodule(plan.text_model), torch.device("cpu"))
    head.vocabulary = 152_064
    assert max(part.stop - part.start for part in head.chunks(16_384)) * head.vocabulary <= CHUNK_ELEMENTS


def test_a_model_without_a_head_is_refused() -> None:
    model, plan = planned("llama")
    bare = model.get_submodule(plan.text_model)
    with pytest.raises(EffectError, match="no language-model head"):
        LanguageHead(bare, bare, torch.device("cpu"))
