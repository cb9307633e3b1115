"""llm-compressor itself, on what is exported: smoothing leaves every family's logits as they were.

It asks for older versions of transformers than this project runs, so it is no extra: `make test-recipes` puts it into
an environment of its own beside the project's packages, and runs these tests there.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from engine.effect.deployed import Deployment
from engine.effect.recipe import read_recipe
from engine.report.export import render
from engine.report.losses import DEPLOYMENTS
from engine.report.mappings import mappings
from engine.run import runner
from engine.session.reader import SessionReader
from tests.effect.deploying import calibrated
from tests.engine.running import new_session, tiny_job, write_corpus
from tests.models import tiny_tokenizer
from tests.private import name_model
from tests.sites.families import tokens
from tests.sites.smoothable import SMOOTHABLE, smoothable

os.environ.setdefault("LLM_COMPRESSOR_LOG_DISABLED", "true")
pytest.importorskip("llmcompressor", reason="llm-compressor is not installed; `make test-recipes` does that")
# Its own code for Llama 4 asks the text model's config for the config around it, before any recipe is read.
CANNOT_BE_LOADED = {"llama4_text"}


def oneshot(model: torch.nn.Module, modifiers: dict[str, Any], ids: torch.Tensor, folder: Path) -> None:
    """Apply modifiers with one calibration sample a row."""
    from datasets import Dataset
    from llmcompressor import oneshot as apply
    from llmcompressor.modifiers.quantization import QuantizationModifier
    from llmcompressor.modifiers.transform.smoothquant import SmoothQuantModifier

    kinds = {"SmoothQuantModifier": SmoothQuantModifier, "QuantizationModifier": QuantizationModifier}
    model.config.save_pretrained(folder)
    name_model(model, folder)
    data = Dataset.from_dict({"input_ids": ids.tolist(), "attention_mask": torch.ones_like(ids).tolist()})
    apply(
        model=model, processor=tiny_tokenizer(), recipe=[kinds[name](**one) for name, one in modifiers.items()],
        dataset=data, num_calibration_samples=len(ids), max_seq_length=ids.shape[1], pipeline="basic",
        moe_calibrate_all_experts=False,
    )  # fmt: skip


def logits(model: torch.nn.Module, ids: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=ids, use_cache=False).logits.float()


@pytest.mark.parametrize("name", SMOOTHABLE)
def test_its_smoothing_leaves_the_logits_as_they_were(name: str, tmp_path: Path) -> None:
    if name in CANNOT_BE_LOADED:
        pytest.skip("llm-compressor cannot take this model at all")
    model, plan = smoothable(name)
    found, _ = mappings(plan)
    if not found:
        return
    before = logits(model, tokens(2, 12))
    fields = {"smoothing_strength": 0.5, "mappings": [[list(one.balance), one.smooth] for one in found]}
    oneshot(model, {"SmoothQuantModifier": fields}, tokens(6, 24, seed=9), tmp_path)
    after = logits(model, tokens(2, 12))
    assert float((after - before).abs().max() / before.abs().max()) < 1e-5


@pytest.mark.parametrize("scheme", DEPLOYMENTS)
def test_it_takes_every_recipe_and_effect_computes_what_it_does(
    scheme: str, tiny_model_folder: Path, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM

    job = tiny_job(tiny_model_folder, write_corpus(tmp_path / "c.jsonl", 9), sites="gemm", quant="full")
    session = new_session(tmp_path / "run.maxact", job)
    assert runner.run(session) == 0
    with SessionReader(session) as reader:
        text = render(reader, "llm-compressor", scheme)[0].content.decode()
    ids, held = tokens(6, 24, seed=9), tokens(2, 12)
    model = AutoModelForCausalLM.from_pretrained(tiny_model_folder, dtype=torch.float32)
    before = logits(model, held)
    mine = Deployment(model, read_recipe(text, "r.yaml"), (), "model")
    calibrated(mine, model, ids)
    with mine.applied():
        expected = logits(model, held)
    torch.testing.assert_close(logits(model, held), before, rtol=0, atol=0)
    modifiers = yaml.safe_load(text)["default_stage"]["default_modifiers"]
    if scheme in ("int8", "fp8", "nvfp4"):
        # Its usual observer of static scales is a moving average; here it takes the maximum, as `effect` does.
        modifiers["QuantizationModifier"]["input_observer"] = "static_minmax"
    oneshot(model, modifiers, ids, tmp_path / "config")
    found = logits(model, held)
    mine_changed, changed = (float((one - before).norm()) for one in (expected, found))
    assert changed > 0 and mine_changed == pytest.approx(changed, rel=0.2)
    if scheme.startswith("fp8"):  # elsewhere the last bit of a scale decides where the largest values fall
        assert float((found - expected).norm()) < 0.15 * changed


def test_effect_shows_the_damage_of_a_mapping_that_forgets_a_reader(tiny_model_folder: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    text = """
SmoothQuantModifier: {smoothing_strength: 0.5, mappings: [[["re:.*q_proj$", "re:.*k_proj$"], "re:.*input_layernorm$"]]}
QuantizationModifier: {scheme: FP8_DYNAMIC, targets: ["Linear"], ignore: ["lm_head"]}
"""
    ids, held = tokens(6, 24, seed=9), tokens(2, 12)
    model = AutoModelForCausalLM.from_pretrained(tiny_model_folder, dtype=torch.float32)
    with torch.no_grad():
        for one in model.modules():
            if type(one).__name__.endswith("RMSNorm"):
                one.weight.add_(0.5 * torch.randn(one.weight.shape))
    before = logits(model, held)
    found = {}
    for name in ("whole", "forgetful"):
        recipe = text.replace('"re:.*k_proj$"', '"re:.*k_proj$", "re:.*v_proj$"') if name == "whole" else text
        with calibrated(Deployment(model, read_recipe(recipe, "r"), (), "model"), model, ids).applied():
            found[name] = logits(model, held)
    oneshot(model, yaml.safe_load(text), ids, tmp_path)
    after = logits(model, held)
    harm, right = (float((found[name] - before).norm()) for name in ("forgetful", "whole"))
    assert harm > 2 * right and float((found["forgetful"] - after).norm()) < 0.1 * harm
