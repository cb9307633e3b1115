"""Scales of a real run: read back by torch and safetensors, equal to what reached every linear module."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM

from engine.report import torch_file
from engine.report.errors import ReportError
from engine.report.export import export_session, render
from engine.run import runner
from engine.session.reader import SessionReader
from tests.engine.running import new_session, tiny_job, write_corpus
from tests.values import some


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path) -> Path:
    """A finished run over the GEMM inputs of the tiny Llama."""
    folder = tmp_path_factory.mktemp("scales")
    job = tiny_job(tiny_model_folder, write_corpus(folder / "c.jsonl", 9), sites="gemm")
    path = new_session(folder / "run.maxact", job)
    assert runner.run(path) == 0
    return path


@pytest.fixture(scope="module")
def expected(run: Path, tiny_model_folder: Path) -> dict[str, torch.Tensor]:
    """Per-channel max|x| of the input of every linear module of the blocks, sample by sample, by plain hooks."""
    model = AutoModelForCausalLM.from_pretrained(tiny_model_folder)
    found: dict[str, torch.Tensor] = {}

    def hook(name: str):
        def keep(module: object, args: tuple[torch.Tensor, ...]) -> None:
            here = args[0].abs().flatten(0, -2).amax(0)
            found[name] = torch.maximum(found[name], here) if name in found else here

        return keep

    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear) and name != "lm_head":
            module.register_forward_pre_hook(hook(name))
    with SessionReader(run) as reader, torch.inference_mode():
        for number, _, _ in reader.sample_labels():
            model(input_ids=torch.from_numpy(some(reader.sample(number)).token_ids).long()[None])
    return found


def test_torch_reads_the_act_scales_of_every_linear_module(run: Path, expected: dict[str, torch.Tensor]) -> None:
    with SessionReader(run) as reader:
        (document,) = render(reader, "act-scales")
    scales = torch.load(io.BytesIO(document.content), weights_only=True)
    assert set(scales) == set(expected) and len(scales) == 3 * 7
    for name, channels in expected.items():
        assert scales[name].dtype == torch.float32 and scales[name].shape == channels.shape
        torch.testing.assert_close(scales[name], channels, rtol=1e-4, atol=1e-6)


def test_safetensors_reads_the_amax_of_every_linear_module(
    run: Path, expected: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    with SessionReader(run) as reader:
        (path,) = export_session(reader, "amax", tmp_path)
    with safe_open(path, "pt") as file:
        assert set(file.keys()) == {f"{name}.input_amax" for name in expected}
        assert file.metadata()["format"] == "maxact-tui/amax" and file.metadata()["partial"] == "false"
        for name, channels in expected.items():
            torch.testing.assert_close(file.get_tensor(f"{name}.input_amax"), channels.max(), rtol=1e-4, atol=1e-6)


def test_smoothquant_finds_every_scale_it_asks_for(run: Path, tiny_model_folder: Path) -> None:
    """By its own rule: torch.load, then the first linear behind each norm, by the module's name."""
    with SessionReader(run) as reader:
        scales = torch.load(io.BytesIO(render(reader, "act-scales")[0].content), weights_only=True)
    model = AutoModelForCausalLM.from_pretrained(tiny_model_folder).double()
    ids = torch.arange(30).reshape(2, 15) % model.config.vocab_size
    with torch.inference_mode():
        before = model(input_ids=ids).logits
        blocks = {n: m for n, m in model.named_modules() if type(m).__name__.endswith("DecoderLayer")}
        for name, block in blocks.items():
            attention, mlp = block.self_attn, block.mlp
            for norm, linears, first in (
                (block.input_layernorm, (attention.q_proj, attention.k_proj, attention.v_proj), "self_attn.q_proj"),
                (block.post_attention_layernorm, (mlp.gate_proj, mlp.up_proj), "mlp.gate_proj"),
            ):
                weights = torch.stack([linear.weight.abs().amax(0) for linear in linears]).amax(0)
                scale = (scales[f"{name}.{first}"].double() / weights).sqrt().clamp(min=1e-5)
                norm.weight.div_(scale)
                for linear in linears:
                    linear.weight.mul_(scale)
        after = model(input_ids=ids).logits
    assert len(blocks) == model.config.num_hidden_layers
    torch.testing.assert_close(after, before, rtol=1e-9, atol=1e-9)


def test_amax_has_the_names_of_the_checkpoint(run: Path, tiny_model_folder: Path, tmp_path: Path) -> None:
    with SessionReader(run) as reader:
        (path,) = export_session(reader, "amax", tmp_path)
    with safe_open(path, "pt") as file, safe_open(tiny_model_folder / "model.safetensors", "pt") as checkpoint:
        weights = {f"{name.removesuffix('.input_amax')}.weight" for name in file.keys()}  # noqa: SIM118
        assert weights and weights <= set(checkpoint.keys())


@pytest.mark.parametrize("name", ["act-scales", "amax"])
def test_a_session_without_inputs_says_how_to_get_them(name: str, session_files: dict[str, Path]) -> None:
    with SessionReader(session_files["bfloat16"]) as reader, pytest.raises(ReportError, match="--sites gemm"):
        render(reader, name)


def test_a_torch_that_does_not_start_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(ReportError, match="export amax instead") as caught:
        torch_file.as_torch_file({})
    assert "\n" not in str(caught.value)
