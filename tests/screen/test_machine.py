"""The line of the machine: the engine's own process for real, GPUs through a fake of NVML's own functions."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from engine.session.library import boot_identity
from engine.session.reader import SessionMeta, SessionReader
from engine.session.records import Status
from maxact_tui.pages.header import status_lines, usage_words
from maxact_tui.terminal.palette import choose_look
from maxact_tui.watching.machine import Machine, Usage, cuda_numbers
from maxact_tui.watching.snapshot import Snapshot
from tests.screen import sessions
from tests.waiting import until

LOOK = choose_look("256")


def status_of(engine: int, **changes: object) -> Status:
    return Status(phase="running", pid=engine, host=socket.gethostname(), boot=boot_identity()).changed(**changes)


@pytest.fixture
def busy() -> Iterator[subprocess.Popen[bytes]]:
    """A process that computes all the time and holds 64 MiB."""
    code = "held = bytearray(b'x' * (64 << 20))\nwhile True: sum(range(1000))"
    process = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "CUDA_VISIBLE_DEVICES": "3,1"})
    try:
        until(lambda: psutil.Process(process.pid).memory_info().rss > 64 << 20)
        yield process
    finally:
        process.kill()
        process.wait()


def cpu_seconds(process: subprocess.Popen[bytes]) -> float:
    times = psutil.Process(process.pid).cpu_times()
    return times.user + times.system


def meta_on(path: Path, *places: str) -> SessionMeta:
    script = sessions.SessionScript(path)
    script.writer.set_meta(provenance={"device_map": {f"model.layers.{i}": place for i, place in enumerate(places)}})
    with SessionReader(path) as reader:
        return reader.meta()


def test_without_a_gpu_it_is_the_process_that_is_told(busy: subprocess.Popen[bytes]) -> None:
    now = [0.0]
    machine, status = Machine(lambda: now[0]), status_of(busy.pid)
    started = time.monotonic()
    machine.usage(status, None)
    used = cpu_seconds(busy)
    until(lambda: cpu_seconds(busy) > used + 0.5)
    now[0] = 1.0
    usage = machine.usage(status, None)
    assert usage is not None
    assert usage.name == "cpu"
    # It has had half a second of a core or more, in no more than the time that has passed; the clock counts hundredths.
    assert usage.percent >= 100 * 0.45 / (time.monotonic() - started) - 1
    assert usage.percent <= 110
    assert usage.used_bytes > 64 << 20
    assert machine.usage(status, None) is usage  # at most one sample a second
    busy.kill()
    busy.wait()
    now[0] = 2.0
    assert machine.usage(status, None) is None


@pytest.mark.parametrize("changes", [{"host": "elsewhere"}, {"boot": "earlier"}, {"phase": "finished"}, {"pid": 0}])
def test_nothing_is_told_of_an_engine_that_is_not_here(changes: dict[str, object]) -> None:
    now = [0.0]
    machine = Machine(lambda: now[0])
    for now[0] in (0.0, 1.0):
        assert machine.usage(status_of(os.getpid(), **changes), None) is None


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> Any:
    """NVML's functions, for a machine with four GPUs; number n is n times as warm."""
    fake: Any = types.ModuleType("pynvml")
    fake.NVMLError = type("NVMLError", (Exception,), {})
    fake.NVML_TEMPERATURE_GPU = 0
    fake.nvmlInit = lambda: None
    fake.nvmlDeviceGetHandleByIndex = lambda number: number
    fake.nvmlDeviceGetHandleByUUID = lambda name: {"GPU-b": 2}[name]
    fake.nvmlDeviceGetMemoryInfo = lambda h: types.SimpleNamespace(used=(10 + h) << 30, total=80 << 30)
    fake.nvmlDeviceGetUtilizationRates = lambda h: types.SimpleNamespace(gpu=20 * h)
    fake.nvmlDeviceGetTemperature = lambda h, sensor: 40 + h
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    return fake


def sampled(status: Status, meta: SessionMeta) -> Usage | None:
    now = [0.0]
    machine = Machine(lambda: now[0])
    machine.usage(status, meta)
    now[0] = 1.0
    return machine.usage(status, meta)


def test_gpus_are_those_the_engine_sees(busy: subprocess.Popen[bytes], nvml: Any, tmp_path: Path) -> None:
    status = status_of(busy.pid)
    one = sampled(status, meta_on(tmp_path / "a.maxact", "cuda:0"))
    assert one == Usage("gpu 0", 60, 13 << 30, 80 << 30, 43)  # CUDA_VISIBLE_DEVICES=3,1: its first is number 3
    assert usage_words(one, LOOK) == "gpu 0  60 %  13.0 GiB of 80.0 GiB  43 °C"
    assert usage_words(one, choose_look("256", units="decimal")).startswith("gpu 0  60 %  14.0 GB of 85.9 GB")
    both = sampled(status, meta_on(tmp_path / "b.maxact", "cuda:0", "cuda:1"))
    assert both == Usage("gpu 0-1", 40, 24 << 30, 160 << 30, 43)


def test_a_gpu_that_cannot_be_asked_leaves_the_process(
    busy: subprocess.Popen[bytes], nvml: Any, tmp_path: Path
) -> None:
    def fail() -> None:
        raise nvml.NVMLError("driver not loaded")

    nvml.nvmlInit = fail
    usage = sampled(status_of(busy.pid), meta_on(tmp_path / "a.maxact", "cuda:0"))
    assert usage is not None
    assert usage.name == "cpu"


def test_devices_are_read_from_where_the_model_lies(tmp_path: Path) -> None:
    assert cuda_numbers(meta_on(tmp_path / "a.maxact", "cpu")) == ()
    assert cuda_numbers(meta_on(tmp_path / "b.maxact", "1", "cuda:0", "cpu")) == (0, 1)
    assert cuda_numbers(None) == ()


def test_the_header_has_the_machine_where_there_is_room_and_says_read_only() -> None:
    snapshot = Snapshot(Path("a.maxact"), status=status_of(1), usage=Usage("cpu", 187, 1100 << 20), read_only=True)
    wide = status_lines(snapshot, LOOK, 120)[0].text
    assert "cpu 187 %  1.1 GiB" in wide
    assert "READ-ONLY" in wide
    assert "187" not in status_lines(snapshot, LOOK, 36)[0].text
