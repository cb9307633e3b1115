"""The recipe for llm-compressor: read by a YAML parser, of the documented structure, and safe to apply."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
import yaml
from jsonschema import Draft202012Validator
from transformers import AutoModelForCausalLM

from engine.report.errors import ReportError
from engine.report.export import render
from engine.report.recipe import LOSS_DB, input_losses, smoothings
from engine.session.reader import SessionReader
from tests.report.test_scales import run  # noqa: F401  (a fixture)
from tests.sites.capture import planned
from tests.values import some

NAMES = {"type": "array", "items": {"type": "string"}}
# SmoothQuantModifier and QuantizationModifier as llm-compressor 0.14 documents them.
SCHEMA = {
    "type": "object", "additionalProperties": False, "required": ["default_stage"],
    "properties": {"default_stage": {
        "type": "object", "additionalProperties": False, "required": ["default_modifiers"],
        "properties": {"default_modifiers": {
            "type": "object", "additionalProperties": False, "required": ["QuantizationModifier"],
            "properties": {
                "SmoothQuantModifier": {
                    "type": "object", "additionalProperties": False, "required": ["mappings"],
                    "properties": {
                        "smoothing_strength": {"type": "number", "minimum": 0, "maximum": 1},
                        "mappings": {"type": "array", "items": {
                            "type": "array", "prefixItems": [{**NAMES, "minItems": 1}, {"type": "string"}],
                            "minItems": 2, "maxItems": 2,
                        }},
                    },
                },
                "QuantizationModifier": {
                    "type": "object", "additionalProperties": False, "required": ["config_groups", "ignore"],
                    "properties": {
                        "ignore": NAMES,
                        "config_groups": {"type": "object", "additionalProperties": {
                            "type": "object", "additionalProperties": False,
                            "properties": {"targets": NAMES, "weights": {"type": "object"},
                                           "input_activations": {"type": "object"}},
                        }},
                    },
                },
            },
        }},
    }},
}  # fmt: skip


@pytest.fixture(scope="module")
def recipe(run: Path) -> dict:  # noqa: F811
    with SessionReader(run) as reader:
        (document,) = render(reader, "llm-compressor")
    assert document.name == "run.recipe.yaml"
    found = yaml.safe_load(document.content)
    Draft202012Validator(SCHEMA).validate(found)
    return found["default_stage"]["default_modifiers"]


def matching(model: torch.nn.Module, pattern: str) -> dict[str, torch.nn.Module]:
    """Modules that a name of the recipe means: a regular expression from the beginning, or the name itself."""
    wanted = pattern.removeprefix("re:") if pattern.startswith("re:") else re.escape(pattern) + "$"
    return {name: module for name, module in model.named_modules() if re.match(wanted, name)}


def test_smoothing_by_its_mappings_leaves_the_model_what_it_was(recipe: dict, tiny_model_folder: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_model_folder).double()
    ids = torch.arange(40).reshape(2, 20) % model.config.vocab_size
    with torch.inference_mode():
        before = model(input_ids=ids).logits
        smoothed: set[tuple[str, str]] = set()
        for balance, smooth in recipe["SmoothQuantModifier"]["mappings"]:
            for name, module in matching(model, smooth).items():
                block = some(re.match(r"model\.layers\.\d+\.", name)).group()
                scale = torch.linspace(0.5, 3, module.weight.shape[0], dtype=torch.float64)
                module.weight.div_(scale if module.weight.ndim == 1 else scale[:, None])
                readers = {n: m for p in balance for n, m in matching(model, p).items() if n.startswith(block)}
                assert len(readers) == len(balance) and not smoothed & {(name, n) for n in readers}
                smoothed |= {(name, n) for n in readers}
                for reader in readers.values():
                    reader.weight.mul_(scale)
        after = model(input_ids=ids).logits
    assert len(smoothed) == model.config.num_hidden_layers * (3 + 2 + 1)
    torch.testing.assert_close(after, before, rtol=1e-9, atol=1e-9)


def test_exactly_the_modules_that_lose_more_than_the_stated_bound_are_left_alone(
    recipe: dict,
    run: Path,  # noqa: F811
    tiny_model_folder: Path,
) -> None:
    with SessionReader(run) as reader:
        losses = input_losses(reader)
        text = render(reader, "llm-compressor")[0].content.decode()
    assert f"below {LOSS_DB:g} dB" in text
    expected = [name for loss in losses if loss.tensor_db < LOSS_DB for name in loss.modules]
    assert recipe["QuantizationModifier"]["ignore"] == ["lm_head", *expected]
    model = AutoModelForCausalLM.from_pretrained(tiny_model_folder)
    linears = {n for n, m in model.named_modules() if isinstance(m, torch.nn.Linear)} - {"lm_head"}
    assert sorted(name for loss in losses for name in loss.modules) == sorted(linears)


def test_the_loss_is_that_of_the_inputs_themselves(run: Path, tiny_model_folder: Path) -> None:  # noqa: F811
    model = AutoModelForCausalLM.from_pretrained(tiny_model_folder)
    seen: list[torch.Tensor] = []
    module = model.get_submodule("model.layers.1.mlp.down_proj")
    module.register_forward_pre_hook(lambda _, args: seen.append(args[0].double().flatten(0, -2)))
    with SessionReader(run) as reader, torch.inference_mode():
        (loss,) = [one for one in input_losses(reader) if one.site == "layer_1_down_proj_input"]
        for number, _, _ in reader.sample_labels():
            model(input_ids=torch.from_numpy(some(reader.sample(number)).token_ids).long()[None])
    x = torch.cat(seen)

    def sqnr(scale: torch.Tensor) -> float:
        error = (x / scale).round().clamp(-127, 127) * scale - x
        return float(10 * torch.log10((x * x).sum() / (error * error).sum()))

    assert loss.tensor_db == pytest.approx(sqnr(x.abs().max() / 127), abs=0.1)
    assert loss.token_db == pytest.approx(sqnr(x.abs().amax(1, keepdim=True) / 127), abs=1.0)


@pytest.mark.parametrize(
    ("family", "smooths"),
    [
        ("llama", {"input_layernorm", "post_attention_layernorm", "up_proj"}),
        ("qwen3_moe", {"input_layernorm"}),  # the other norm feeds the fused experts, too
        ("cohere", {"input_layernorm", "up_proj"}),  # one norm for both branches
        ("gpt_neox", set()),  # untrained, its two norms give the same: which is read is not known
        ("olmo2", {"up_proj"}),  # its norms stand behind the branches
        ("gpt2", {"ln_1", "ln_2"}),
        ("opt_350m", set()),  # a norm's output is the residual stream
    ],
)
def test_a_family_is_smoothed_where_that_is_safe(family: str, smooths: set[str]) -> None:
    _, plan = planned(family)
    found, left_out = smoothings(plan)
    assert {one.smooth.removesuffix("$").rpartition(".")[2] for one in found} == smooths
    assert bool(left_out) == (family in ("qwen3_moe", "opt_350m"))


def test_a_session_without_inputs_says_how_to_get_them(session_files: dict[str, Path]) -> None:
    with SessionReader(session_files["bfloat16"]) as reader, pytest.raises(ReportError, match="--sites gemm"):
        render(reader, "llm-compressor")
