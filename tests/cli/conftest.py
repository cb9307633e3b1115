"""A finished session that the command line made, and commands that run in the process of the tests."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.running import main_here, maxact
from tests.engine.running import write_corpus

Here = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path) -> Path:
    """A finished session made by the command line and its engine; read only, `finished` is a copy."""
    home = tmp_path_factory.mktemp("made")
    path = home / "tiny.maxact"
    corpus = write_corpus(home / "short.jsonl")
    result = maxact(tiny_model_folder, "--corpus", corpus, "--session", path, "--headless", home=home)
    assert result.returncode == 0, result.stderr
    return path


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the sessions of a file's tests."""
    return tmp_path_factory.mktemp("sessions")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus") / "short.jsonl")


@pytest.fixture(scope="module")
def finished(home: Path, made: Path) -> Path:
    """A finished session of this file's tests alone."""
    return Path(shutil.copy(made, home))


@pytest.fixture
def here(capfd: pytest.CaptureFixture[str]) -> Here:
    """Runs a command in this process: `here("show", path, home=home)`."""

    def run(*arguments: object, home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
        return main_here(*arguments, home=home, captured=capfd, **environment)

    return run
