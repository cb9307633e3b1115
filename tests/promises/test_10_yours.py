"""Promise 10: what you measure stays yours: files for their owner only, no secrets, always stoppable."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from engine.process import allow
from engine.session.library import log_path
from engine.session.reader import SessionReader
from engine.session.rights import Rights
from tests.cli.running import main_here, maxact
from tests.engine.running import new_session, tiny_job, write_corpus
from tests.waiting import until

SECRET = "hf_thisIsTheSecretOfTheUser"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path) -> Path:
    """A folder with everything that a run leaves, made with a careless umask and a token in the environment."""
    folder = tmp_path_factory.mktemp("mine")
    before = os.umask(0o000)
    try:
        result = maxact(
            tiny_model_folder, "--corpus", write_corpus(folder / "texts.jsonl"), "--session", folder / "mine.maxact",
            "--headless", home=folder, HF_TOKEN=SECRET, MAXACT_CACHE=str(folder / "cache"),
        )  # fmt: skip
    finally:
        os.umask(before)
    assert result.returncode == 0, result.stderr
    return folder


def test_nobody_else_can_read_what_a_run_leaves(folder: Path) -> None:
    session = folder / "mine.maxact"
    for path in (session, log_path(session)):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_nobody_else_can_read_or_write_what_was_allowed(
    tmp_path: Path, tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAXACT_STATE", str(tmp_path / "state"))
    session = new_session(tmp_path / "one.maxact", tiny_job(tiny_model_folder, write_corpus(tmp_path / "c.jsonl")))
    before = os.umask(0o000)
    try:
        allow(session, Rights(trust_remote_code=True))
    finally:
        os.umask(before)
    made = [path for path in (tmp_path / "state").rglob("*") if path.is_file()]
    assert made
    for path in made:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert not stat.S_IMODE(path.parent.stat().st_mode) & 0o022


def test_no_secret_is_in_anything_that_is_left(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            assert SECRET.encode() not in path.read_bytes(), path


def test_exports_name_neither_folders_nor_secrets(
    folder: Path, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    formats = "json,markdown,csv,model-card,summary"
    result = main_here(
        "export", folder / "mine.maxact", "--format", formats, "-o", tmp_path, home=folder, captured=capfd
    )
    assert result.returncode == 0, result.stderr
    for path in tmp_path.iterdir():
        content = path.read_bytes()
        assert SECRET.encode() not in content
        assert str(folder).encode() not in content


def test_a_run_stops_when_it_is_asked_to_while_its_model_loads(tmp_path: Path, tiny_model_folder: Path) -> None:
    from engine.process import start_engine

    session = new_session(
        tmp_path / "one.maxact", tiny_job(tiny_model_folder, write_corpus(tmp_path / "c.jsonl", 4000))
    )
    start_engine(session)
    result = maxact("stop", session, home=tmp_path)
    assert result.returncode == 0, result.stderr

    def phase() -> str:
        with SessionReader(session) as reader:
            return reader.status().phase

    until(lambda: phase() == "stopped", phase)
