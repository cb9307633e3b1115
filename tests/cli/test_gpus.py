"""What is known of GPUs without torch, and what is refused for it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from engine.base.job import Job
from engine.statistics import backends
from maxact_tui.cli import arguments
from maxact_tui.cli.gpus import most_gpus
from maxact_tui.errors import UserError

NVIDIA_CARD = {"sys/bus/pci/devices/0000:01:00.0/vendor": "0x10de\n"}
OTHER_CARD = {"sys/bus/pci/devices/0000:00:01.0/vendor": "0x1af4\n"}
TWO_GPUS = dict.fromkeys(("dev/nvidia0", "dev/nvidia1", "dev/nvidiactl", "dev/nvidia-uvm"), "")


@pytest.mark.parametrize(
    ("files", "visible", "most"),
    [
        (OTHER_CARD, None, 0),
        (NVIDIA_CARD, None, None),
        (NVIDIA_CARD | TWO_GPUS, None, 2),
        (TWO_GPUS, "1", 1),
        (TWO_GPUS, "", 0),
        (TWO_GPUS, "-1", 0),
        (TWO_GPUS, "0,-1,1", 1),
        (TWO_GPUS, "0,1,2,3", 2),
        (TWO_GPUS, "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6", 1),
        ({"proc/driver/nvidia/gpus/0000:01:00.0/information": ""}, None, 1),
        (TWO_GPUS | {"proc/driver/nvidia/capabilities/gpu0/mig/gi3/access": ""}, None, None),
        ({}, "MIG-1,MIG-2", 0),
        ({"dev/dxg": ""}, None, None),
        ({"dev/kfd": ""}, None, None),
        ({"dev/nvhost-gpu": ""}, None, None),
        (NVIDIA_CARD, "", 0),
    ],
)
def test_the_most_gpus_there_can_be_are_counted_and_what_is_not_known_is_not_guessed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], visible: str | None, most: int | None
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    for name, text in ({"proc/self/stat": ""} | files).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert most_gpus(tmp_path) == most


def test_on_another_system_nothing_is_known(tmp_path: Path) -> None:
    assert most_gpus(tmp_path) is None


@pytest.mark.parametrize(
    ("most", "device", "backend", "words"),
    [
        (0, "cuda:99", "auto", "cuda:99 is not available: no GPU is visible"),
        (0, "cuda", "auto", "no GPU is visible"),
        (0, "balanced", "auto", "no GPU is visible"),
        (0, "auto", "triton", "the triton backend is for cuda, and no GPU is visible"),
        (None, "cpu", "triton", "the triton backend is for cuda, and --device is cpu"),
        (None, "cuda:1", "numba", "the numba backend is for cpu, and --device is cuda:1"),
        (1, "cuda:1", "auto", "cuda:1 is not there; use cuda:0, or --device auto"),
        (2, "cuda:99", "auto", "cuda:99 is not there; use cuda:0 to cuda:1, or --device auto"),
        (0, "auto", "numba", ""),
        (0, "cpu", "torch", ""),
        (2, "cuda:1", "triton", ""),
        (2, "balanced", "triton", ""),
        (None, "cuda:99", "triton", ""),
        (None, "auto", "triton", ""),
    ],
)
def test_a_device_that_cannot_be_there_is_refused_and_a_backend_that_cannot_work_on_it(
    tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch, most: int | None, device: str, backend: str, words: str
) -> None:
    monkeypatch.setattr(arguments, "most_gpus", lambda: most)
    job = replace(Job(model=str(tiny_model_folder)), device=device, backend=backend)
    if not words:
        arguments.check_job(job)
        return
    with pytest.raises(UserError, match=words) as refused:
        arguments.check_job(job)
    assert refused.value.code == 2


def test_the_kinds_of_the_backends_are_those_of_the_engine() -> None:
    assert arguments.BACKEND_KINDS == backends._DEVICE_OF
