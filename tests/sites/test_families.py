"""Every family: the expected sites are found, hold the right values, and know nothing of padding."""

from __future__ import annotations

import pytest
import torch

from engine.sites.experts import EXPERT_COMPONENTS
from engine.sites.site import GEMM_COMPONENTS, HookPlan
from tests.sites.capture import assert_same, expert_rows, planned, run_hooked, run_wrapped
from tests.sites.families import FAMILIES, need_router_logits, tokens

LETTERS = {
    "attn_output": "a",
    "mlp_gate": "g",
    "router_logits": "r",
    "mlp_output": "m",
    "attn_post_norm": "A",
    "mlp_post_norm": "M",
}
WIDTH = 32
EXPERTS = 4
# transformers' own hidden states: these families collect something else than block outputs.
OTHER_HIDDEN_STATES = {"gemma3n_text", "mamba", "mamba2", "opt_350m", "longcat_flash"}

every_family = pytest.mark.parametrize("name", FAMILIES)


def _letters(plan: HookPlan, layer: int) -> str:
    return "".join(sorted(LETTERS[s.component] for s in plan.sites if s.layer == layer and s.component in LETTERS))


@every_family
def test_every_expected_site_is_found_and_nothing_else(name: str) -> None:
    family, (_, plan) = FAMILIES[name], planned(name)
    words = ["".join(sorted(word)) for word in family.words(plan.layers)]
    assert [_letters(plan, layer) for layer in range(plan.layers)] == words
    assert plan.hidden_size == WIDTH
    names = {site.name for site in plan.sites}
    assert len(names) == len(plan.sites)
    assert {f"layer_{layer}_hidden" for layer in range(plan.layers)} | {"embedding", "lm_head_input"} <= names
    assert ("final_norm" in names) == family.final_norm
    for layer, word in enumerate(words):
        mixes = "a" in word
        assert (f"layer_{layer}_attn_input" in names) == mixes
        assert (f"layer_{layer}_o_proj_input" in names) == mixes
        assert (f"layer_{layer}_router_input" in names) == ("r" in word)
        if "m" in word and "r" not in word:
            assert {f"layer_{layer}_mlp_input", f"layer_{layer}_down_proj_input"} <= names
        if "r" in word and family.switchable:
            assert {f"layer_{layer}_expert_input", f"layer_{layer}_expert_down_input"} <= names


@every_family
def test_every_gap_has_its_reason(name: str) -> None:
    family, (_, plan) = FAMILIES[name], planned(name)
    words = family.words(plan.layers)
    gaps = {(gap.component, layer) for gap in plan.missing for layer in gap.layers or (None,)}
    for layer, word in enumerate(words):
        for component, letter in (("attn_output", "a"), ("mlp_output", "m")):
            assert ((component, layer) in gaps) == (letter not in word)
        assert (("mlp_gate", layer) in gaps) == ("m" in word and "g" not in word)
        assert (("expert_down_input", layer) in gaps) == ("r" in word and not family.switchable)
        assert (("other_input", layer) in gaps) == (plan.family == "mamba" or (plan.family == "jamba" and layer != 1))
    assert all(gap.reason and "\n" not in gap.reason for gap in plan.missing)
    if family.switchable is False:
        assert any("cannot be looked into" in note for note in plan.notes)


@every_family
def test_every_site_fires_once_with_one_row_per_token(name: str) -> None:
    need_router_logits(name)
    family, (model, plan) = FAMILIES[name], planned(name)
    seen = run_hooked(model, plan, tokens(2, 8))
    assert seen.problems == []
    for site in plan.sites:
        visits = seen.visits[site.name]
        assert visits == 1 or f"called {visits} times" in site.note, site
        x = seen.tensors[site.name]
        if site.name in seen.token_index:
            assert x.shape[:-1] == seen.token_index[site.name].shape == (2 * 8 * 2,)
        else:
            assert x.numel() // x.shape[-1] == 16
            assert x.shape[:2] == (2, 8) or site.layout == "ND"
        if site.component in ("hidden", "attn_output", "mlp_output", "attn_post_norm", "mlp_post_norm", "final_norm"):
            assert x.shape[-1] == WIDTH
        if site.component == "router_logits":
            assert x.shape == (16, EXPERTS + (2 if name == "longcat_flash" else 0))
    if "g" in "".join(family.words(plan.layers)):
        widths = {seen.tensors[s.name].shape[-1] for s in plan.sites if s.component == "mlp_gate"}
        assert family.gate_width in widths and widths <= {family.gate_width, 64}


@every_family
def test_values_equal_an_independent_capture(name: str) -> None:
    model, plan = planned(name)
    ids = tokens(2, 7)
    seen = run_hooked(model, plan, ids).tensors
    wrapped = run_wrapped(model, plan, ids)
    assert wrapped.keys() == {s.name for s in plan.sites if s.component not in EXPERT_COMPONENTS}
    for site, expected in wrapped.items():
        assert_same(seen[site], expected, site)


@pytest.mark.parametrize("name", sorted(FAMILIES.keys() - OTHER_HIDDEN_STATES))
def test_hidden_equals_what_transformers_calls_hidden_states(name: str) -> None:
    model, plan = planned(name)
    ids = tokens(2, 7)
    seen = run_hooked(model, plan, ids).tensors
    with torch.inference_mode():
        out = model.get_submodule(plan.text_model)(
            input_ids=ids, attention_mask=None, use_cache=False, output_hidden_states=True
        )
    # Its last entry is after the final norm, so the last block's output appears in none of them.
    for layer in range(plan.layers - 1):
        assert_same(seen[f"layer_{layer}_hidden"], out.hidden_states[layer + 1], f"layer {layer}")
    for site in ("final_norm", "lm_head_input"):
        assert_same(seen[site], out.last_hidden_state, site)


@every_family
def test_router_logits_are_input_times_weight(name: str) -> None:
    need_router_logits(name)
    model, plan = planned(name)
    seen = run_hooked(model, plan, tokens(2, 7)).tensors
    for site in plan.sites:
        if site.component != "router_logits":
            continue
        router = model.get_submodule(site.module)
        holder = next(m for m in router.modules() if getattr(m, "weight", None) is not None)
        x = seen[f"layer_{site.layer}_router_input"].reshape(-1, WIDTH)
        with torch.inference_mode():
            expected = torch.nn.functional.linear(x, holder.weight, getattr(holder, "bias", None))
        assert_same(seen[site.name], expected, site.name)


@pytest.mark.parametrize("name", [name for name, family in FAMILIES.items() if family.switchable])
def test_expert_rows_equal_a_product_for_each_row(name: str) -> None:
    model, plan = planned(name)
    seen = run_hooked(model, plan, tokens(2, 7))
    assert seen.experts
    for path, rows in seen.experts.items():
        layer = next(site.layer for site in plan.sites if site.module == path)
        gates, inners = expert_rows(model.get_submodule(path), rows)
        assert_same(seen.tensors[f"layer_{layer}_expert_down_input"], inners, path)
        torch.testing.assert_close(seen.tensors[f"layer_{layer}_expert_input"], rows.tokens, rtol=0, atol=0)
        if gates is not None:
            assert_same(seen.tensors[f"layer_{layer}_expert_gate"], gates, path)
        assert torch.equal(rows.expert_index, rows.expert_index.sort().values)


@pytest.mark.parametrize("name", [name for name, family in FAMILIES.items() if family.switchable])
def test_looking_into_experts_does_not_change_the_model(name: str) -> None:
    model, plan = planned(name)
    ids = tokens(2, 7)
    before = model.get_experts_implementation()
    seen = run_hooked(model, plan, ids)
    assert model.get_experts_implementation() == before
    with torch.inference_mode():
        plain = model.get_submodule(plan.text_model)(input_ids=ids, attention_mask=None, use_cache=False)[0]
    assert_same(seen.output, plain)


@every_family
def test_right_padding_is_invisible(name: str) -> None:
    model, plan = planned(name)
    lengths = (9, 6)
    ids = tokens(2, 9)
    mask = (torch.arange(9)[None, :] < torch.tensor(lengths)[:, None]).long()
    padded = run_hooked(model, plan, torch.where(mask.bool(), ids, 0), mask)
    for sample, length in enumerate(lengths):
        alone = run_hooked(model, plan, ids[sample : sample + 1, :length])
        for site in plan.sites:
            x, expected = padded.tensors[site.name], alone.tensors[site.name]
            if site.name in padded.token_index:
                token = padded.token_index[site.name] - 9 * sample
                x = x[(token >= 0) & (token < length)]
            else:
                x = x.reshape(2, 9, -1)[sample, :length]
            expected = expected.reshape(-1, expected.shape[-1])
            scale = float(expected.abs().max())
            torch.testing.assert_close(x, expected, rtol=0, atol=2e-5 * scale, msg=lambda m, s=site: f"{s.name}: {m}")


@every_family
def test_the_self_check_names_the_residual_and_the_embedding(name: str) -> None:
    need_router_logits(name)
    family, (_, plan) = FAMILIES[name], planned(name)
    assert plan.residual == family.residual
    (embedding,) = (site for site in plan.sites if site.component == "embedding")
    assert (embedding.note == "") == family.embedding_is_input
    assert not any(site.note for site in plan.sites if site.component == "router_logits")


@every_family
def test_gemm_inputs_cover_all_weights_but_those_named(name: str) -> None:
    family, (model, plan) = FAMILIES[name], planned(name)
    text_model = model.get_submodule(plan.text_model)
    matrices, unseen = 0, 0
    for path, module in text_model.named_modules():
        # Look-ups and convolutions are no matrix products; RecurrentGemma's gates are block-diagonal.
        if isinstance(module, (torch.nn.Embedding, torch.nn.Conv1d)) or path.endswith("rg_lru"):
            continue
        own = {key: p.numel() for key, p in module.named_parameters(recurse=False) if p.ndim >= 2}
        size = sum(size for key, size in own.items() if key not in ("A_log", "D") and "bias" not in key)
        matrices += size
        uncalled = path.endswith("dt_proj") and plan.family in ("mamba", "jamba")
        closed = ".experts" in path and family.switchable is False
        unseen += size if uncalled or closed else 0
    assert plan.parameters_total == matrices
    assert plan.parameters_total - plan.parameters_covered == unseen
    assert any(site.component in GEMM_COMPONENTS for site in plan.sites)
