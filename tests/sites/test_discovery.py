"""Discovery: fast, strict about what it cannot serve, and the same plan in every guise of a model."""

from __future__ import annotations

import pytest
import torch
import transformers

from engine.sites.check import self_check
from engine.sites.discovery import find_sites
from engine.sites.errors import SiteError
from engine.sites.site import GEMM_COMPONENTS, PAPER_COMPONENTS, POST_NORM_COMPONENTS, HookPlan
from tests.sites.capture import planned, run_hooked
from tests.sites.families import FAMILIES, build, tokens
from tests.sites.oddities import LingLike, LingLikeConfig, QuantLinear

DEEP = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 80, "num_attention_heads": 4}


@pytest.mark.parametrize(
    "config",
    [
        transformers.LlamaConfig(**DEEP, num_key_value_heads=2, vocab_size=100),
        transformers.Qwen3MoeConfig(
            **DEEP, num_key_value_heads=2, moe_intermediate_size=16, num_experts=8, vocab_size=100
        ),
    ],
    ids=["dense", "moe"],
)
def test_every_one_of_eighty_blocks_has_the_same_sites(config: transformers.PreTrainedConfig) -> None:
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config)
    plan = find_sites(model, "all")
    assert plan.layers == 80
    components = {layer: [site.component for site in plan.sites if site.layer == layer] for layer in range(80)}
    assert all(found == components[0] for found in components.values())
    assert len(components[0]) >= 8


def test_an_encoder_decoder_is_named_and_refused() -> None:
    config = transformers.T5Config(d_model=16, d_ff=16, num_layers=1, num_heads=2, d_kv=8, vocab_size=64)
    with torch.device("meta"):
        model = transformers.T5ForConditionalGeneration(config)
    with pytest.raises(SiteError, match=r"t5 is an encoder-decoder model; give a decoder-only language model"):
        find_sites(model)


def test_a_model_without_decoder_blocks_is_refused_with_the_next_step() -> None:
    config = transformers.BertConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, vocab_size=64
    )
    with torch.device("meta"):
        model = transformers.BertForMaskedLM(config)
    with pytest.raises(SiteError) as refusal:
        find_sites(model)
    assert str(refusal.value).startswith("no decoder layers found in bert (BertForMaskedLM); give a decoder-only")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("name", ["llama", "gpt2", "qwen3_5", "gemma3"])
def test_the_bare_backbone_shows_the_same_sites_as_the_model_with_a_head(name: str) -> None:
    model, plan = planned(name)
    bare = find_sites(model.get_submodule(plan.text_model), "all")
    assert bare.text_model == ""
    assert [site.name for site in bare.sites] == [site.name for site in plan.sites]


@pytest.mark.parametrize("name", ["gemma2", "qwen3_5_moe", "deepseek_v3", "opt_350m"])
def test_the_sets_divide_the_components(name: str) -> None:
    model, _ = planned(name)
    sets = {chosen: {s.name: s for s in find_sites(model, chosen).sites} for chosen in ("paper", "gemm", "all")}
    assert {s.component for s in sets["paper"].values()} <= set(PAPER_COMPONENTS + POST_NORM_COMPONENTS)
    assert {s.component for s in sets["gemm"].values()} <= set(GEMM_COMPONENTS)
    assert sets["all"] == {**sets["paper"], **sets["gemm"]}


@pytest.mark.parametrize("name", FAMILIES)
def test_a_plan_survives_the_session_file(name: str) -> None:
    _, plan = planned(name)
    assert HookPlan.from_json(plan.to_json()) == plan


@pytest.mark.parametrize("name", ["gemma3", "qwen2_5_vl", "qwen3_vl", "llama4"])
def test_vision_blocks_are_planned_on_demand_and_known_to_be_silent_on_text(name: str) -> None:
    model, plan = planned(name)
    assert not any(site.kind == "vision" for site in plan.sites)
    with_vision = find_sites(model, "paper", vision=True)
    found = {site.name: site for site in with_vision.sites if site.kind == "vision"}
    assert {"vision_layer_0_attn_output", "vision_layer_0_mlp_output", "vision_layer_0_hidden"} <= found.keys()
    assert all("vis" in site.module for site in found.values())
    checked = self_check(model, with_vision)
    assert not any(site.kind == "vision" for site in checked.sites)
    silent = {gap.component for gap in checked.missing if "not called on text" in gap.reason}
    assert {"attn_output", "mlp_output", "hidden"} <= silent


def test_quantised_linears_are_covered_and_named() -> None:
    model = build("llama")
    reference = self_check(model, find_sites(model, "all"))
    for block in model.model.layers:
        for parent, name in ((block.mlp, "gate_proj"), (block.mlp, "down_proj"), (block.self_attn, "q_proj")):
            setattr(parent, name, QuantLinear(getattr(parent, name)))
    plan = self_check(model, find_sites(model, "all"))
    assert [site.name for site in plan.sites] == [site.name for site in reference.sites]
    assert plan.parameters_covered == plan.parameters_total == reference.parameters_total
    assert any("9 QuantLinear" in note for note in plan.notes)
    seen = run_hooked(model, plan, tokens(1, 5))
    assert seen.tensors["layer_2_mlp_gate"].shape == (1, 5, 64)
    assert seen.problems == []


def test_a_remote_code_mixture_is_understood_without_a_row_in_the_table() -> None:
    torch.manual_seed(3)
    model = LingLike(LingLikeConfig()).eval()
    plan = self_check(model, find_sites(model, "all"))
    assert plan.layers == 2 and plan.text_model == "model"
    assert any("multi-token prediction, not measured: 1" in note for note in plan.notes)
    by_name = {site.name: site for site in plan.sites}
    assert by_name["layer_0_router_logits"].element == 2
    assert by_name["layer_0_router_logits"].note == ""
    assert by_name["layer_1_mlp_output"].element == 0 and by_name["layer_1_hidden"].element == 0
    assert by_name["layer_1_mlp_gate"].module == "model.layers.1.mlp.shared_experts.gate_proj"
    closed = [gap for gap in plan.missing if gap.component == "expert_down_input"]
    assert [gap.layers for gap in closed] == [(0, 1)] and "separate modules" in closed[0].reason
    assert plan.residual == "pre"
    experts = sum(p.numel() for b in model.model.layers[:2] for p in b.mlp.experts.parameters())
    assert plan.parameters_total - plan.parameters_covered == experts


def test_linears_thought_to_share_an_input_are_split_when_they_do_not() -> None:
    model = build("llama")
    mlp = model.model.layers[1].mlp

    def forward(x: torch.Tensor) -> torch.Tensor:
        return mlp.down_proj(mlp.act_fn(mlp.gate_proj(x)) * mlp.up_proj(2 * x))

    mlp.forward = forward
    plan = self_check(model, find_sites(model, "gemm"))
    extra = {site.name: site for site in plan.sites if site.component == "other_input"}
    assert list(extra) == ["layer_1_other_input_mlp_up_proj"]
    assert plan.parameters_covered == plan.parameters_total
    seen = run_hooked(model, plan, tokens(1, 4)).tensors
    assert torch.equal(seen["layer_1_other_input_mlp_up_proj"], 2 * seen["layer_1_mlp_input"])
