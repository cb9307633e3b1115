"""The recipe for llm-compressor: read by a YAML parser, of the documented structure, and safe to apply."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from jsonschema import Draft202012Validator
from transformers import AutoModelForCausalLM

from engine.quantization.distribution import Distribution
from engine.quantization.ranking import DAMAGE_LIMIT
from engine.quantization.schemes import evaluate
from engine.report.errors import ReportError
from engine.report.export import render
from engine.report.losses import DEPLOYMENTS, InputLoss, input_losses, loss_of
from engine.report.recipe import find_deployment, judge
from engine.run import runner
from engine.schemes import Scheme
from engine.session.reader import SessionReader
from engine.sites.site import Site
from tests.engine.running import new_session, tiny_job, write_corpus
from tests.models import TINY_LLAMA, tiny_folder
from tests.report.test_scales import run  # noqa: F401  (a fixture)
from tests.values import some

MIXTURE = {
    **TINY_LLAMA, "num_hidden_layers": 2, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16,
    "shared_expert_intermediate_size": 16, "head_dim": 8,
}  # fmt: skip
NAMES = {"type": "array", "items": {"type": "string"}}
# SmoothQuantModifier and QuantizationModifier as llm-compressor 0.14 documents them.
SMOOTH = {
    "type": "object", "additionalProperties": False, "required": ["mappings"],
    "properties": {
        "smoothing_strength": {"type": "number", "minimum": 0, "maximum": 1},
        "mappings": {"type": "array", "items": {
            "type": "array", "prefixItems": [{**NAMES, "minItems": 1}, {"type": "string"}],
            "minItems": 2, "maxItems": 2,
        }},
    },
}  # fmt: skip
QUANTIZE = {
    "type": "object", "additionalProperties": False, "required": ["ignore"],
    "oneOf": [{"required": ["config_groups"]}, {"required": ["scheme", "targets"]}],
    "properties": {
        "ignore": NAMES, "targets": NAMES, "scheme": {"enum": ["W8A8", "FP8", "FP8_DYNAMIC", "NVFP4"]},
        "config_groups": {"type": "object", "additionalProperties": {
            "type": "object", "additionalProperties": False,
            "properties": {"targets": NAMES, "weights": {"type": "object"}, "input_activations": {"type": "object"}},
        }},
    },
}  # fmt: skip
MODIFIERS = {"SmoothQuantModifier": SMOOTH, "QuantizationModifier": QUANTIZE}
SCHEMA = {
    "type": "object", "additionalProperties": False, "required": ["default_stage"],
    "properties": {"default_stage": {
        "type": "object", "additionalProperties": False, "required": ["default_modifiers"],
        "properties": {"default_modifiers": {
            "type": "object", "additionalProperties": False, "required": ["QuantizationModifier"],
            "properties": MODIFIERS,
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


def test_smoothing_is_ordered_for_int8_only_and_the_usual_recipe_has_a_scale_per_token(
    recipe: dict,
    run: Path,  # noqa: F811
) -> None:
    assert recipe["QuantizationModifier"]["scheme"] == "W8A8"
    with SessionReader(run) as reader:
        found = {name: yaml.safe_load(render(reader, "llm-compressor", name)[0].content) for name in DEPLOYMENTS}
    for name, one in found.items():
        Draft202012Validator(SCHEMA).validate(one)
        modifiers = one["default_stage"]["default_modifiers"]
        assert ("SmoothQuantModifier" in modifiers) == name.startswith("int8")
    static = found["int8"]["default_stage"]["default_modifiers"]["QuantizationModifier"]["config_groups"]["group_0"]
    assert static["input_activations"] == {
        "num_bits": 8, "type": "int", "symmetric": True, "strategy": "tensor", "dynamic": False,
    }  # fmt: skip


@pytest.mark.parametrize("scheme", DEPLOYMENTS)
def test_exactly_the_modules_that_lose_more_than_the_stated_bound_are_left_alone(
    scheme: str,
    run: Path,  # noqa: F811
    tiny_model_folder: Path,
) -> None:
    with SessionReader(run) as reader:
        found = judge(reader, find_deployment(scheme))
        text = render(reader, "llm-compressor", scheme)[0].content.decode()
    assert f"mean |error| is above {found.deployment.bound:.0%}" in text
    expected = [name for loss in found.losses if loss_of(loss) > 1 for name in loss.modules]
    ignored = yaml.safe_load(text)["default_stage"]["default_modifiers"]["QuantizationModifier"]["ignore"]
    assert ignored == ["lm_head", *expected]
    model = AutoModelForCausalLM.from_pretrained(tiny_model_folder)
    linears = {n for n, m in model.named_modules() if isinstance(m, torch.nn.Linear)} - {"lm_head"}
    assert sorted(name for loss in found.losses for name in loss.modules) == sorted(linears)
    ranks = [loss_of(loss) for loss in found.losses if not math.isnan(loss_of(loss))]
    assert ranks == sorted(ranks, reverse=True)


def inputs_of(name: str, run: Path, folder: Path) -> tuple[torch.Tensor, torch.Tensor]:  # noqa: F811
    """(every row that reached a linear module in the session's samples, its weight), float64."""
    model = AutoModelForCausalLM.from_pretrained(folder)
    seen: list[torch.Tensor] = []
    module = model.get_submodule(name)
    module.register_forward_pre_hook(lambda _, args: seen.append(args[0].double().flatten(0, -2)))
    with SessionReader(run) as reader, torch.inference_mode():
        for number, _, _ in reader.sample_labels():
            model(input_ids=torch.from_numpy(some(reader.sample(number)).token_ids).long()[None])
    return torch.cat(seen), module.weight.detach().double()


def relative(x: torch.Tensor, scale: torch.Tensor) -> float:
    """Mean |error| over mean |x| of INT8 with these scales."""
    error = (x / scale).round().clamp(-127, 127) * scale - x
    return float(error.abs().sum() / x.abs().sum())


def test_the_losses_are_those_of_the_inputs_themselves(run: Path, tiny_model_folder: Path) -> None:  # noqa: F811
    x, _ = inputs_of("model.layers.1.mlp.down_proj", run, tiny_model_folder)
    found = {}
    with SessionReader(run) as reader:
        for name in ("int8", "int8-token"):
            losses = input_losses(reader, DEPLOYMENTS[name])
            (found[name],) = [one for one in losses if one.site.name == "layer_1_down_proj_input"]
    assert found["int8"].rel_mae == pytest.approx(relative(x, x.abs().max() / 127), rel=0.05)
    assert found["int8-token"].rel_mae == pytest.approx(relative(x, x.abs().amax(1, keepdim=True) / 127), rel=0.3)
    assert not found["int8-token"].is_exact and found["int8"].judged == "as it is"


def test_a_smoothed_input_is_judged_after_its_smoothing(tmp_path: Path, tiny_model_folder: Path) -> None:
    """By errors summed in the pass per token, by maxima for one scale; both against the smoothed inputs themselves."""
    job = tiny_job(tiny_model_folder, write_corpus(tmp_path / "c.jsonl", 9), sites="gemm", quant="full", calibration=4)
    path = new_session(tmp_path / "full.maxact", job)
    assert runner.run(path) == 0
    name = "model.layers.1.mlp.down_proj"
    x, weight = inputs_of(name, path, tiny_model_folder)
    smooth = (x.abs().amax(0) / weight.abs().amax(0)).sqrt()
    z = x / smooth
    for scheme, scale in (("int8", z.abs().max() / 127), ("int8-token", z.abs().amax(1, keepdim=True) / 127)):
        with SessionReader(path) as reader:
            found = judge(reader, find_deployment(scheme))
        (loss,) = [one for one in found.losses if name in one.modules]
        assert loss.judged == "smoothed" and loss.is_exact == (scheme == "int8-token")
        error = ((z / scale).round().clamp(-127, 127) * scale - z) * smooth
        truth = float(error.abs().sum() / x.abs().sum())
        assert loss.rel_mae == pytest.approx(truth, rel=0.35)
        assert sum(one.judged == "smoothed" for one in found.losses) == 3 * 3  # o_proj reads no norm


def test_where_nothing_says_what_smoothing_does_the_recipe_says_so(run: Path) -> None:  # noqa: F811
    with SessionReader(run) as reader:
        text, nvfp4 = (render(reader, "llm-compressor", name)[0].content.decode() for name in ("int8-token", "nvfp4"))
    assert "0 inputs judged after the smoothing" in text and "--quant full judges smoothed inputs" in text
    assert "12 inputs not judged, and quantised: run again with --quant full." in nvfp4


@pytest.mark.parametrize("name", ["Qwen3MoeConfig", "Qwen2MoeConfig"])
def test_a_recipe_of_a_mixture_leaves_routers_alone_and_says_if_nothing_is_left(name: str, tmp_path: Path) -> None:
    """llm-compressor's own recipes name `mlp.gate` and `shared_expert_gate`, whatever class they are."""
    import transformers

    from engine.effect.recipe import matches

    folder = tiny_folder(tmp_path / "model", getattr(transformers, name)(**MIXTURE))
    path = new_session(tmp_path / "a.maxact", tiny_job(folder, write_corpus(tmp_path / "c.jsonl", 6), sites="gemm"))
    assert runner.run(path) == 0
    with SessionReader(path) as reader:
        found = judge(reader, find_deployment("int8-token"))
        text = render(reader, "llm-compressor")[0].content.decode()
        config = render(reader, "modelopt", "fp8")[0].content.decode()
    ignore = yaml.safe_load(text)["default_stage"]["default_modifiers"]["QuantizationModifier"]["ignore"]
    model = AutoModelForCausalLM.from_pretrained(folder)
    gates = [n for n, _ in model.named_modules() if n.endswith(("mlp.gate", "shared_expert_gate"))]
    assert len(gates) == (2 if name == "Qwen3MoeConfig" else 4)
    for gate in gates:
        assert any(matches(pattern, gate) for pattern in ignore) and f"{gate}.*" in config
    assert not {name for loss in found.losses for name in loss.modules} & set(gates)
    whole, nothing = (
        replace(found, losses=tuple(replace(one, damage=damage) for one in found.losses)) for damage in (0.0, 1.0)
    )
    assert whole.warnings == ()
    assert nothing.warnings == ("every input is left alone, so that this recipe quantises nothing that was measured",)


def test_damage_is_no_estimate(run: Path) -> None:  # noqa: F811
    with SessionReader(run) as reader:
        found = judge(reader, find_deployment("int8-token"))
        text = render(reader, "llm-compressor")[0].content.decode()
    assert not any(one.is_exact for one in found.losses)
    assert ("estimated from maxima" in text) == any(math.isnan(one.damage) for one in found.losses)


def test_an_outlier_does_not_mask_what_it_does_to_all_others() -> None:
    """One element of 3,584 beside 200,000 of 0.5, which all become 0: SQNR reads 24 dB, the loss 1."""
    x = torch.tensor([3584.0, 0.5], dtype=torch.bfloat16).view(torch.int16).numpy()
    histogram = np.zeros(65_536, np.int64)
    histogram[x[0]], histogram[x[1]] = 1, 200_000
    error = evaluate(Distribution("bfloat16", histogram), Scheme())
    assert error.sqnr_db == pytest.approx(24.2, abs=0.1)
    one = InputLoss(Site("s", 0, "mlp_input", "m"), ("m",), error.rel_mae, error.sqnr_db)
    assert loss_of(one) == pytest.approx(10 * 100_000 / 103_584)
    assert loss_of(replace(one, damage=0.1)) == pytest.approx(0.1 / DAMAGE_LIMIT)


def test_the_config_for_modelopt_is_its_preset_with_the_modules_left_alone(run: Path) -> None:  # noqa: F811
    from engine.report.modelopt import SCHEMES

    for scheme in SCHEMES:
        with SessionReader(run) as reader:
            (document,) = render(reader, "modelopt", scheme)
            found = judge(reader, find_deployment(scheme))
        assert document.name == f"run.{scheme}.modelopt.yaml"
        config = yaml.safe_load(document.content)
        assert set(config) == {"quant_cfg", "algorithm"} and config["algorithm"] == "max"
        entries = config["quant_cfg"]
        assert all(
            {"quantizer_name"} < set(one) <= {"quantizer_name", "parent_class", "cfg", "enable"} for one in entries
        )
        assert entries[0] == {"quantizer_name": "*", "enable": False}
        assert [one["quantizer_name"] for one in entries if "cfg" in one] == ["*weight_quantizer", "*input_quantizer"]
        alone = {one["quantizer_name"].removesuffix(".*") for one in entries if "enable" in one}
        assert {name for loss in found.alone for name in loss.modules} <= alone
    assert entries[2]["cfg"]["block_sizes"] == {-1: None} and entries[2]["cfg"]["type"] == "dynamic"


@pytest.mark.parametrize(
    ("name", "scheme", "words"),
    [
        ("llm-compressor", "fp8-dynamik", "did you mean fp8-dynamic"),
        ("modelopt", "int8", "no recipe for 'int8'"),
        ("html", "fp8", "html is for no scheme"),
    ],
)
def test_a_scheme_that_a_format_does_not_have_is_refused(
    name: str,
    scheme: str,
    words: str,
    run: Path,  # noqa: F811
) -> None:
    with SessionReader(run) as reader, pytest.raises(ReportError, match=words) as caught:
        render(reader, name, scheme)
    assert caught.value.code == 2


def test_a_session_without_inputs_says_how_to_get_them(session_files: dict[str, Path]) -> None:
    for name in ("llm-compressor", "modelopt"):
        with SessionReader(session_files["bfloat16"]) as reader, pytest.raises(ReportError, match="--sites gemm"):
            render(reader, name)
