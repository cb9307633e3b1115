"""Starting engines where the session cannot be written."""

from __future__ import annotations

import os
import resource
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from engine import process
from engine.process import start_engine, start_service
from engine.run import runner
from engine.session.reader import SessionReader
from engine.session.requests import send_command
from engine.session.schema import SessionError
from engine.session.writer import SessionWriter
from maxact_tui.watching.asking import ask, go_on
from tests.engine.running import new_session, tiny_job, write_corpus
from tests.waiting import PROGRAM_SECONDS

FULL = "database or disk is full"
# What is written of a file beyond this fails, as on a disk without room.
LIMIT_BYTES = 1024


@pytest.fixture
def stopped(tmp_path: Path, tiny_model_folder: Path) -> Path:
    """A run that was stopped before its first batch."""
    path = new_session(tmp_path / "run.maxact", tiny_job(tiny_model_folder, write_corpus(tmp_path / "short.jsonl")))
    writer = SessionWriter.open(path)
    with SessionReader(path) as reader:
        writer.set_status(reader.status().changed(phase="stopped", pid=1, started=1.0))
    writer.close(final=True)
    return path


@pytest.mark.parametrize(
    ("start", "method"),
    [
        (start_engine, "refuse_unanswered"),
        (start_engine, "set_status"),
        (go_on, "set_status"),
        (start_service, "refuse_unanswered"),
        (start_service, "set_service"),
        (lambda path: ask(path, "effect"), "set_service"),
    ],
)
def test_on_a_full_disk_no_engine_is_started_and_the_session_says_why(
    stopped: Path, monkeypatch: pytest.MonkeyPatch, start: Callable[[Path], object], method: str
) -> None:
    def full(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError(FULL)

    def spawn(*_: object) -> None:
        raise AssertionError("an engine was started")

    monkeypatch.setattr(SessionWriter, method, full)
    monkeypatch.setattr(process, "_spawn", spawn)
    with pytest.raises(SessionError, match=f"^cannot write {stopped}: {FULL}$"):
        start(stopped)


def test_an_engine_that_was_started_is_not_denied_because_its_number_could_not_be_written(
    stopped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Spawned:
        pid = os.getpid()

    def full(*_: object) -> bool:
        raise sqlite3.OperationalError(FULL)

    monkeypatch.setattr(SessionWriter, "replace_status", full)
    monkeypatch.setattr(process, "_spawn", lambda *_: Spawned)
    assert start_engine(stopped) == os.getpid()


@pytest.mark.parametrize("command", ["resume --headless", "resume --anyway --headless", "effect --samples 1"])
def test_commands_say_it_in_one_line(stopped: Path, command: str) -> None:
    before = stopped.read_bytes()
    name, *options = command.split()
    result = subprocess.run(
        [sys.executable, "-P", "-m", "maxact_tui", name, str(stopped), *options],
        capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=PROGRAM_SECONDS,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT_BYTES, LIMIT_BYTES)),
    )  # fmt: skip
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (1, "", 1), result.stderr
    assert result.stderr.startswith("maxact-tui: ")
    assert f"cannot write {stopped}" in result.stderr
    assert stopped.read_bytes() == before


def test_what_an_engine_cannot_refuse_at_its_end_does_not_make_it_fail(
    tmp_path: Path, tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = new_session(tmp_path / "run.maxact", tiny_job(tiny_model_folder, write_corpus(tmp_path / "short.jsonl")))
    send_command(path, "dance")

    def full(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError(FULL)

    monkeypatch.setattr(SessionWriter, "refuse_unanswered", full)
    assert runner.run(path) == 0
    with SessionReader(path) as reader:
        assert reader.status().phase == "finished"
