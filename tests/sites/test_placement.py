"""The same numbers wherever the weights are, on whichever side the padding is, and by whichever attention."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import accelerate
import pytest
import torch

from engine.base.private import attention_of
from engine.sites.check import self_check
from engine.sites.discovery import find_sites
from engine.sites.placement import input_device, is_offloaded
from tests.sites.capture import assert_same, planned, run_hooked
from tests.sites.families import build, tokens

PLACED = ("llama", "gpt2", "qwen3_moe", "gpt_oss", "deepseek_v3", "gemma3_text", "qwen3_5_text", "jamba")


@pytest.mark.parametrize("name", PLACED)
@pytest.mark.parametrize("where", ["memory", "disk"])
def test_offloaded_weights_change_nothing(name: str, where: str, tmp_path: Path) -> None:
    plain, plan = planned(name)
    model = build(name)
    if where == "memory":
        accelerate.cpu_offload(model, execution_device=torch.device("cpu"))
    else:
        accelerate.disk_offload(model, str(tmp_path), execution_device=torch.device("cpu"))
    assert is_offloaded(model)
    found = find_sites(model, "all")
    assert input_device(model, found.sites[0].module) == torch.device("cpu")
    checked = self_check(model, found)
    assert checked.sites == plan.sites
    assert (checked.residual, checked.parameters_covered) == (plan.residual, plan.parameters_covered)
    assert any("100% of the weights are offloaded" in note for note in checked.notes)
    ids = tokens(2, 6)
    expected, seen = run_hooked(plain, plan, ids), run_hooked(model, checked, ids)
    assert seen.tensors.keys() == expected.tensors.keys()
    for site, x in expected.tensors.items():
        assert_same(seen.tensors[site], x, site)


@pytest.mark.parametrize("name", ["llama", "qwen3_moe"])
def test_a_device_map_that_mixes_memory_and_disk_changes_nothing(name: str, tmp_path: Path) -> None:
    plain, plan = planned(name)
    model = build(name)
    places: dict[str, Any] = {"model.embed_tokens": "cpu", "model.rotary_emb": "cpu", "model.norm": "cpu"}
    places |= {"lm_head": "cpu", "model.layers.0": "cpu", "model.layers.1": "disk", "model.layers.2": "disk"}
    model = accelerate.dispatch_model(
        model, device_map=places, main_device="cpu", offload_dir=str(tmp_path), force_hooks=True
    )
    checked = self_check(model, find_sites(model, "all"))
    assert checked.sites == plan.sites
    assert any("of the weights are offloaded" in note for note in checked.notes)
    ids = tokens(2, 6)
    expected, seen = run_hooked(plain, plan, ids), run_hooked(model, checked, ids)
    assert seen.tensors.keys() == expected.tensors.keys()
    for site, x in expected.tensors.items():
        assert_same(seen.tensors[site], x, site)


def _rows(seen: Any, site: str, sample: int, columns: slice, length: int) -> torch.Tensor:
    x = seen.tensors[site]
    if site in seen.token_index:
        token = seen.token_index[site] - sample * length
        first, last, _ = columns.indices(length)
        return x[(token >= first) & (token < last)]
    return x.reshape(2, length, -1)[sample, columns]


@pytest.mark.parametrize("name", ["llama", "gpt2", "falcon", "gemma3_text", "qwen3_moe", "gpt_oss", "deepseek_v3"])
def test_left_padding_gives_the_numbers_of_right_padding(name: str) -> None:
    model, plan = planned(name)
    lengths, longest = (8, 5), 8
    ids = tokens(2, longest)
    right, left = torch.zeros_like(ids), torch.zeros_like(ids)
    masks = {"right": torch.zeros_like(ids), "left": torch.zeros_like(ids)}
    for sample, length in enumerate(lengths):
        right[sample, :length] = left[sample, longest - length :] = ids[sample, :length]
        masks["right"][sample, :length] = masks["left"][sample, longest - length :] = 1
    positions = (masks["left"].cumsum(dim=1) - 1).clamp(min=0)
    seen_right = run_hooked(model, plan, right, masks["right"])
    seen_left = run_hooked(model, plan, left, masks["left"], position_ids=positions)
    for site in plan.sites:
        for sample, length in enumerate(lengths):
            a = _rows(seen_right, site.name, sample, slice(0, length), longest)
            b = _rows(seen_left, site.name, sample, slice(longest - length, longest), longest)
            scale = float(a.abs().max())
            torch.testing.assert_close(b, a, rtol=0, atol=2e-5 * scale, msg=lambda m, s=site: f"{s.name}: {m}")


@pytest.mark.parametrize("name", ["llama", "gemma3_text", "olmo2", "deepseek_v3", "qwen3_5_text", "stablelm"])
def test_attention_backends_give_the_same_numbers(name: str) -> None:
    _, plan = planned(name)
    ids, mask = tokens(2, 7), torch.tensor([[1] * 7, [1] * 5 + [0] * 2])
    seen = {}
    for backend in ("eager", "sdpa"):
        model = build(name)
        model.set_attn_implementation(backend)
        assert attention_of(model.get_submodule(plan.text_model).config) == backend
        seen[backend] = run_hooked(model, plan, ids, mask)
    for site in plan.sites:
        for sample, length in enumerate((7, 5)):
            a = _rows(seen["eager"], site.name, sample, slice(0, length), 7)
            b = _rows(seen["sdpa"], site.name, sample, slice(0, length), 7)
            torch.testing.assert_close(b, a, rtol=0, atol=2e-5 * float(a.abs().max()))


@pytest.mark.parametrize("name", ["llama", "gemma2", "qwen3_moe", "gpt_oss", "granite", "bloom", "phi", "mamba"])
def test_the_self_check_holds_in_bfloat16(name: str) -> None:
    _, plan = planned(name)
    model = build(name).to(torch.bfloat16)
    assert self_check(model, find_sites(model, "all")) == plan
