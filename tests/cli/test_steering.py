"""Runs are paused, continued, stopped and removed from the command line."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engine.process import start_engine
from engine.session.library import boot_identity, log_path
from engine.session.reader import SessionReader
from engine.session.records import Status
from engine.session.requests import send_command
from engine.session.schema import SessionError
from engine.session.writer import SessionWriter
from maxact_tui.cli.commands import steering
from maxact_tui.errors import UserError
from tests.cli.running import assert_one_line_error, maxact
from tests.engine.running import new_session, tiny_job, write_corpus
from tests.engine.test_run import MANY
from tests.waiting import PATIENCE_SECONDS, until


def wait_for(path: Path, phase: str) -> None:
    with SessionReader(path) as reader:
        until(lambda: reader.status().phase == phase, reader.status)


@pytest.mark.slow
def test_a_run_is_paused_continued_stopped_and_removed(tmp_path: Path, tiny_model_folder: Path) -> None:
    corpus = write_corpus(tmp_path / "long.jsonl", samples=MANY)
    job = tiny_job(tiny_model_folder, corpus, batch_tokens=32, checkpoint_seconds=1.0)
    path = new_session(tmp_path / "river.maxact", job)
    start_engine(path)
    wait_for(path, "running")

    paused = maxact("pause", home=tmp_path)
    assert (paused.returncode, paused.stdout) == (0, "river: paused; go on with: maxact-tui resume river\n")
    wait_for(path, "paused")
    assert " paused " in maxact("sessions", home=tmp_path).stdout
    assert_one_line_error(maxact("sessions", "rm", "river", "--yes", home=tmp_path), "engine runs", "maxact-tui stop")

    going_on = subprocess.Popen(
        [sys.executable, "-P", "-m", "maxact_tui", "resume", str(path), "--headless"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    wait_for(path, "running")
    stopped = maxact("stop", "river", home=tmp_path)
    assert stopped.returncode == 0, stopped.stderr
    assert stopped.stdout.startswith("river: stopped after ")
    assert "maxact-tui resume river" in stopped.stdout
    summary, said = going_on.communicate(timeout=PATIENCE_SECONDS)
    assert going_on.returncode == 1
    assert "PARTIAL" in summary
    error = said.splitlines()[-1]
    assert error.startswith("maxact-tui: stopped from elsewhere after ")
    assert f"of {MANY:,} samples; continue with: maxact-tui resume" in error

    assert_one_line_error(maxact("stop", "river", home=tmp_path), "no engine runs", "maxact-tui resume river")
    assert_one_line_error(maxact("pause", home=tmp_path), "no run is going on", code=2)
    with SessionReader(path) as reader:
        told = [event.text for event in reader.events() if event.kind in ("run", "command")]
    assert told[0].startswith(f"started: {MANY:,} samples")
    assert told[1:4] == ["pause: paused", "resume: running", "stop: stopping"]
    assert told[4].startswith("stopped after ")

    assert_one_line_error(maxact("sessions", "rm", "river", home=tmp_path), "--yes", code=2)
    removed = maxact("sessions", "rm", "river", "--yes", home=tmp_path)
    assert (removed.returncode, removed.stdout) == (0, f"removed {path}\n")
    assert not [file for file in tmp_path.iterdir() if file.name.startswith("river")]
    assert not log_path(path).exists()


def test_what_is_no_session_is_not_removed(tmp_path: Path) -> None:
    precious = tmp_path / "thesis.txt"
    precious.write_text("years of work")
    assert_one_line_error(maxact("sessions", "rm", precious, "--yes", home=tmp_path), "not a session")
    assert precious.read_text() == "years of work"


@pytest.mark.parametrize("command", ["stop", "pause", "resume"])
def test_without_a_run_there_is_nothing_to_steer(tmp_path: Path, command: str) -> None:
    assert_one_line_error(maxact(command, home=tmp_path), "no run", code=2)


def test_the_examples_of_the_program_are_not_those_of_its_commands() -> None:
    result = maxact("pause", "--help", home=Path())
    assert "Qwen" not in result.stdout
    assert "newest run" in " ".join(result.stdout.split())


def has_checkpoint(path: Path) -> bool:
    try:
        with SessionReader(path) as reader:
            return reader.checkpoint_number() > 0
    except SessionError:  # it is just being made
        return False


def test_a_killed_engine_is_named_with_the_way_on(tmp_path: Path, tiny_model_folder: Path) -> None:
    corpus = write_corpus(tmp_path / "long.jsonl", samples=MANY)
    path = tmp_path / "river.maxact"
    command = [sys.executable, "-P", "-m", "maxact_tui", str(tiny_model_folder), "--corpus", str(corpus)]
    follower = subprocess.Popen(
        [*command, "--batch-tokens", "32", "--session", str(path), "--headless"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    until(lambda: has_checkpoint(path))
    with SessionReader(path) as reader:
        os.kill(reader.status().pid, signal.SIGKILL)
    _, said = follower.communicate(timeout=PATIENCE_SECONDS)
    error = said.splitlines()[-1]
    assert follower.returncode == 1
    assert error == (
        "maxact-tui: the engine was ended by signal 9 (SIGKILL) (out of memory?), dmesg may tell"
        f" (log: {log_path(path)}); continue with: maxact-tui resume {path} (session: {path})"
    )
    assert log_path(path).stat().st_mode & 0o777 == 0o600


def test_texts_are_added_to_a_run_that_has_just_started(tmp_path: Path, tiny_model_folder: Path) -> None:
    first, more = write_corpus(tmp_path / "first.jsonl", samples=6), write_corpus(tmp_path / "more.jsonl", samples=9)
    path = new_session(tmp_path / "river.maxact", tiny_job(tiny_model_folder, first))
    start_engine(path)
    added = maxact("add", "river", more, home=tmp_path)
    assert (added.returncode, added.stdout) == (0, ""), added.stderr
    assert "river takes the texts up once its model is loaded" in added.stderr
    wait_for(path, "finished")
    with SessionReader(path) as reader:
        assert len(reader.samples_done()) == 15
        assert [command.state for command in reader.commands()] == ["done"]


def test_texts_are_added_to_a_paused_run_which_stays_paused_until_it_is_told_to_go_on(
    tmp_path: Path, tiny_model_folder: Path
) -> None:
    first, more = write_corpus(tmp_path / "first.jsonl", samples=6), write_corpus(tmp_path / "more.jsonl", samples=9)
    path = new_session(tmp_path / "river.maxact", tiny_job(tiny_model_folder, first))
    start_engine(path)
    send_command(path, "pause")
    wait_for(path, "paused")
    added = maxact("add", "river", more, "--headless", home=tmp_path)
    assert (added.returncode, added.stdout) == (0, ""), added.stderr
    assert added.stderr == "river takes the texts up and stays paused; go on with: maxact-tui resume river\n"
    with SessionReader(path) as reader:
        until(lambda: reader.commands()[-1].state == "done", reader.commands)
    wait_for(path, "paused")
    resumed = maxact("resume", "river", "--headless", home=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert "15 samples" in resumed.stdout.splitlines()[0]


@pytest.mark.parametrize("name", ["stop", "pause"])
def test_an_engine_that_shows_no_sign_of_life_is_not_said_to_be_busy(
    tmp_path: Path, tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The process of this test stands for a halted engine: alive, and silent for long."""
    path = new_session(tmp_path / "river.maxact", tiny_job(tiny_model_folder, tmp_path / "none.jsonl"))
    writer, now = SessionWriter.open(path), time.time()
    silent = Status(phase="paused", pid=os.getpid(), host=socket.gethostname(), boot=boot_identity(), started=now)
    writer.set_status(silent.changed(heartbeat=now - 90))
    monkeypatch.setattr(steering, "ANSWER_SECONDS", 0.3)
    ask = getattr(steering, name)
    silence = rf"but its engine, process {os.getpid()}, has shown no sign of life for [1-9]\d+ s"
    with pytest.raises(UserError, match=silence):
        ask(path)
    writer.set_status(silent.changed(heartbeat=time.time() + PATIENCE_SECONDS))
    with pytest.raises(UserError, match="but its present batch takes long; the request stands"):
        ask(path)
    writer.close()


def test_texts_for_a_run_that_ended_before_it_measured_anything_wait_for_its_resume(
    tmp_path: Path, tiny_model_folder: Path
) -> None:
    corpus = write_corpus(tmp_path / "short.jsonl")
    path = new_session(tmp_path / "river.maxact", tiny_job(tiny_model_folder, tmp_path / "none.jsonl"))
    start_engine(path)
    wait_for(path, "failed")
    result = maxact("add", "river", corpus, home=tmp_path)
    assert_one_line_error(result, "river ended before it measured anything; first: maxact-tui resume river")


def test_a_full_disk_behind_stdout_is_one_line(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(
            [sys.executable, "-P", "-m", "maxact_tui", "published"],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert (result.returncode, result.stderr.count("\n")) == (1, 1)
    assert "no space left" in result.stderr
