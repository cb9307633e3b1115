"""What the self-check proves to be smoothed without harm: tried with plain torch on every family."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from engine.report.mappings import mappings
from engine.sites.check import self_check
from engine.sites.discovery import find_sites
from engine.sites.site import KNOWN_OFFSETS, HookPlan, Smoothing
from engine.sites.trials import is_same
from tests.sites.families import build, tokens
from tests.sites.oddities import PackedLinear
from tests.sites.smoothable import SMOOTHABLE, smooth, smoothable

# Conv1D; norms that are the residual; experts that read every norm; 1 + weight in a class llm-compressor knows not.
NOTHING_TO_SMOOTH = {"gpt2", "opt_350m", "jetmoe", "nemotron"}


# What is smoothed, by the last name of the module (None: not asked), and why the rest is not.
EXPECTED: dict[str, tuple[set[str] | None, list[str]]] = {
    "llama": ({"input_layernorm", "post_attention_layernorm", "up_proj"}, []),
    "qwen3_moe": ({"input_layernorm"}, ["post_attention_layernorm is read by a router or by experts"]),
    "cohere": ({"input_layernorm", "up_proj"}, []),  # one norm for both branches
    "olmo2": ({"up_proj"}, []),  # its norms stand behind the branches
    "gpt2": (set(), ["ln_1 is read by Conv1D", "ln_2 is read by Conv1D"]),
    "opt_350m": (set(), ["self_attn_layer_norm is read by more", "final_layer_norm is read in another block"]),
    "qwen3_5_text": ({"input_layernorm", "post_attention_layernorm", "up_proj"}, ["has 8 weights for the 32"]),
    "kimi_linear": (None, ["o_norm has 8 weights for the 32"]),
    "olmo_hybrid": (None, ["o_norm has 8 weights for the 32"]),
    "dbrx": ({"norm_1"}, ["norm_2 is read by more than linears"]),
    "jetmoe": (set(), ["input_layernorm is read by more", "post_attention_layernorm is read by more"]),
    "llama4_text": (None, ["post_attention_layernorm is read by Llama4Router"]),
    "bitnet": ({"input_layernorm", "post_attention_layernorm", "ffn_sub_norm", "attn_sub_norm"}, ["up_proj"]),
    "axk2": (None, ["q_a_layernorm"]),
    "zamba": (None, ["shares its weight"]),
}


def logits(model: nn.Module) -> torch.Tensor:
    with torch.inference_mode():
        return model(input_ids=tokens(2, 12), use_cache=False).logits


def smooths(plan: HookPlan) -> set[str]:
    return {one.smooth.rpartition(".")[2] for one in plan.smoothings or ()}


def test_every_expectation_is_of_a_model_that_is_tried() -> None:
    assert set(EXPECTED) <= set(SMOOTHABLE)


@pytest.mark.parametrize("name", SMOOTHABLE)
def test_smoothing_every_exported_pair_leaves_the_logits_as_they_were(name: str) -> None:
    model, plan = smoothable(name)
    expected, reasons = EXPECTED.get(name, (None, []))
    if expected is not None:
        assert smooths(plan) == expected
    assert all(any(reason in line for line in plan.unsmoothed) for reason in reasons), plan.unsmoothed
    found, why = mappings(plan)
    before = logits(model)
    smoothed = smooth(model, plan, found)
    after = logits(model)
    assert float((after - before).abs().max() / before.abs().max()) < 1e-5
    assert bool(smoothed) == (name not in NOTHING_TO_SMOOTH)
    assert smoothed or why
    assert all("\n" not in line for line in why)


def test_a_pair_that_leaves_out_a_reader_would_be_noticed() -> None:
    """The test above can fail: with q_proj forgotten the logits change by far more than its bound."""
    model, plan = smoothable("llama")
    assert plan.smoothings is not None
    first = next(one for one in plan.smoothings if one.smooth.endswith("input_layernorm"))
    short = replace(first, balance=first.balance[1:])
    plan = replace(plan, smoothings=(short,))
    before = logits(model)
    assert smooth(model, plan, mappings(plan)[0]) == [short]
    assert float((logits(model) - before).abs().max() / before.abs().max()) > 1e-2


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_the_proof_holds_in_every_dtype_and_beside_massive_activations(dtype: torch.dtype) -> None:
    model = build("llama")
    with torch.no_grad():
        model.model.layers[0].mlp.down_proj.weight[5] *= 4000
    model = model.to(dtype)
    plan = self_check(model, find_sites(model, "gemm"))
    assert plan.smoothings is not None and plan.unsmoothed == ()
    assert len(plan.smoothings) == 3 * 3
    assert {one.law for one in plan.smoothings} == {"linear"}


class _Peeking(nn.Module):
    """An MLP that adds a little of what it is given to what it gives, as no linear does."""

    def __init__(self, mlp: nn.Module) -> None:
        super().__init__()
        self.gate_proj, self.up_proj, self.down_proj = mlp.gate_proj, mlp.up_proj, mlp.down_proj

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inner = torch.nn.functional.silu(self.gate_proj(x)) * self.up_proj(x)
        return self.down_proj(inner) + 0.01 * x


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_a_reader_that_is_no_module_is_noticed(dtype: torch.dtype) -> None:
    model = build("llama").to(dtype)
    model.model.layers[1].mlp = _Peeking(model.model.layers[1].mlp)
    plan = self_check(model, find_sites(model, "gemm"))
    norms = [one.layer for one in plan.smoothings or () if one.smooth.endswith("post_attention_layernorm")]
    assert norms == [0, 2]
    assert [one.layer for one in plan.smoothings or () if one.smooth.endswith("up_proj")] == [0, 1, 2]
    found, why = mappings(plan)
    assert any(r"\.(0|2)\.post_attention_layernorm$" in one.smooth for one in found)
    assert any("post_attention_layernorm is read by more than linears" in line for line in why)


def test_norms_of_one_plus_weight_are_smoothed_as_such_where_the_tool_knows_them() -> None:
    _, gemma = smoothable("gemma2")
    assert {one.module for one in gemma.smoothings or () if one.law == "offset"} == {"Gemma2RMSNorm"} <= KNOWN_OFFSETS
    assert len(mappings(gemma)[0]) == 3
    _, nemotron = smoothable("nemotron")
    assert {one.law for one in nemotron.smoothings or ()} == {"offset"}
    found, why = mappings(nemotron)
    assert found == [] and all("does not know NemotronLayerNorm1P" in line for line in why) and len(why) == 2


def test_numbers_that_are_none_prove_nothing_and_a_massive_element_hides_no_other() -> None:
    nothing = torch.full((2, 4, 8), float("nan"))
    assert not is_same(nothing, nothing)
    x = torch.linspace(-1, 1, 64).reshape(2, 4, 8)
    partly = x.clone()
    partly[0, 1, 2] = float("inf")
    assert is_same(partly, partly) and not is_same(x, partly)
    massive = x.clone()
    massive[..., 3] = 1e4
    moved = massive.clone()
    moved[..., 0] += 1e-3
    assert is_same(massive, massive) and not is_same(moved, massive)


def test_nothing_is_tried_where_no_input_is_measured_and_a_plan_comes_back_from_json() -> None:
    model, plan = smoothable("llama")
    paper = self_check(model, find_sites(model, "paper"))
    assert paper.smoothings is None and mappings(paper)[1]
    assert HookPlan.from_json(plan.to_json()) == plan
    old = plan.to_json()
    del old["smoothings"], old["unsmoothed"]
    old["sites"] = [{**site, "norm": "model.layers.0.input_layernorm"} for site in old["sites"]]
    again = HookPlan.from_json(old)
    assert again.smoothings is None and again.sites == plan.sites
    found, why = mappings(again)
    assert found == [] and "measure again" in why[0]


def test_a_mapping_left_out_by_what_was_measured_is_named() -> None:
    one = Smoothing(0, "m.layers.0.norm", ("m.layers.0.q",), "linear", "RMSNorm")
    plan = HookPlan((), (), "x", 1, 8, "m", smoothings=(one,))
    assert len(mappings(plan)[0]) == 1
    found, why = mappings(plan, {"m.layers.0.norm"})
    assert found == [] and why == ["m.layers.N.norm has a channel that is always 0, whose weight would leave float16"]


def test_packed_weights_are_no_reader() -> None:
    model = build("llama")
    mlp = model.model.layers[0].mlp
    mlp.up_proj = PackedLinear(mlp.up_proj)
    plan = self_check(model, find_sites(model, "gemm"))
    assert [one.layer for one in plan.smoothings or () if "self_attn" not in one.balance[0]] == [1, 1, 2, 2]
    assert any("is read by" in line and "post_attention_layernorm" in line for line in plan.unsmoothed)
