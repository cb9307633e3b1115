"""Scales of a real run: read back by torch and safetensors, equal to what reached every linear module."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM

from engine import runner
from engine.report import torch_file
from engine.report.errors import ReportError
from engine.report.export import export_session, render
from engine.session.reader import SessionReader
from tests.engine.running import new_session, tiny_job, write_corpus


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
            model(input_ids=torch.from_numpy(reader.sample(number).token_ids).long()[None])
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


@pytest.mark.parametrize("name", ["act-scales", "amax"])
def test_a_session_without_inputs_says_how_to_get_them(name: str, session_files: dict[str, Path]) -> None:
    with SessionReader(session_files["bfloat16"]) as reader, pytest.raises(ReportError, match="--sites gemm"):
        render(reader, name)


def test_a_torch_that_does_not_start_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(ReportError, match="export amax instead") as caught:
        torch_file.as_torch_file({})
    assert "\n" not in str(caught.value)
