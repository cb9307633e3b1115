"""A load that hangs, aborts or panics ends, and its session says how."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from engine.messages import words
from engine.process import allow, end_by_force, start_engine
from engine.run import runner
from engine.run.commands import CommandDesk, signals_as_stop
from engine.run.ending import LoadGuard
from engine.session.lastword import logged_failure
from engine.session.library import log_path
from engine.session.liveness import is_running, why_it_ended
from engine.session.reader import SessionReader
from engine.session.records import ENDED, Status
from engine.session.requests import send_command
from engine.session.rights import Rights
from engine.session.writer import COMMANDS_AT_ONCE, SessionWriter
from maxact_tui.cli.headless import follow
from maxact_tui.errors import UserError
from tests.engine.running import new_session, tiny_job, write_corpus
from tests.session.stamping import stamped
from tests.waiting import until

LOOP = "{% for a in range(90000) %}{% for b in range(90000) %}{% endfor %}{% endfor %}"


@pytest.fixture
def session(tmp_path: Path, tiny_model_folder: Path) -> Path:
    return new_session(tmp_path / "run.maxact", tiny_job(tiny_model_folder, write_corpus(tmp_path / "c.jsonl")))


@pytest.fixture
def looping(tmp_path: Path, tiny_model_folder: Path) -> Path:
    """A session whose chat template never ends."""
    folder = Path(shutil.copytree(tiny_model_folder, tmp_path / "looping"))
    (folder / "chat_template.jinja").write_text(LOOP)
    corpus = write_corpus(tmp_path / "c.jsonl", samples=3)
    return new_session(tmp_path / "looping.maxact", tiny_job(folder, corpus, policy="chat"))


@pytest.fixture
def desk(session: Path) -> Iterator[CommandDesk]:
    writer = SessionWriter.open(session)
    yield CommandDesk(writer, lambda text: None)
    writer.close()


def status_of(session: Path) -> Status:
    with SessionReader(session) as reader:
        return reader.status()


class TestGuard:
    def end(self, desk: CommandDesk, wish: Callable[[], object]) -> list[str]:
        """What the guard does with a load that never looks, once somebody wishes its end."""
        done: list[str] = []
        with signals_as_stop(desk):
            guard = LoadGuard(
                desk, lambda: done.append("told"), seconds=0.0, leave=lambda code: done.append(f"left {code}")
            )
            with guard:
                wish()
                until(lambda: len(done) == 2)
        return done

    def test_a_signal(self, desk: CommandDesk) -> None:
        assert self.end(desk, lambda: os.kill(os.getpid(), signal.SIGTERM)) == ["told", "left 0"]

    def test_a_stop_in_the_file(self, desk: CommandDesk, session: Path) -> None:
        assert self.end(desk, lambda: send_command(session, "stop")) == ["told", "left 0"]

    def test_a_load_that_ends_is_left_alone(self, desk: CommandDesk) -> None:
        ended: list[str] = []
        with signals_as_stop(desk), LoadGuard(desk, lambda: ended.append("told"), leave=lambda _: ended.append("left")):
            os.kill(os.getpid(), signal.SIGTERM)
            until(lambda: desk.stop_wished)
        assert ended == []
        assert signal.set_wakeup_fd(-1) == -1


@pytest.mark.slow
def test_a_template_that_loops_ends_by_a_stop(looping: Path) -> None:
    pid = start_engine(looping)
    try:
        until(lambda: status_of(looping).detail == "tokenising")
        os.kill(pid, signal.SIGTERM)
        until(lambda: status_of(looping).phase in ENDED, lambda: status_of(looping))
    finally:  # or it would loop for ever
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    found = status_of(looping)
    assert (found.phase, found.detail) == (
        "stopped", f"stopped while it loaded; continue with: maxact-tui resume {looping}",
    )  # fmt: skip


def test_an_engine_that_obeys_nothing_is_ended_by_force(session: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deaf = subprocess.Popen(
        [sys.executable, "-c", "import signal, time; signal.signal(15, 1); print(flush=True); time.sleep(999)"],
        stdout=subprocess.PIPE,
    )
    assert deaf.stdout is not None
    deaf.stdout.readline()
    monkeypatch.setattr("engine.process.FORCE_SECONDS", 0.0)
    from engine.session import liveness

    own = liveness.own_identity()
    status = Status(phase="loading", started=time.time(), **{**own, "pid": deaf.pid, "start_ticks": 0})
    monkeypatch.setattr("engine.process.is_running", lambda pid, *_: deaf.poll() is None and is_running(pid, 0.0))
    writer = SessionWriter.open(session)
    writer.set_status(status)
    writer.close()
    end_by_force(session, status)
    assert deaf.wait() == -signal.SIGKILL
    assert end_by_force(session, status)
    assert status_of(session).phase == "stopped"
    assert not end_by_force(session, status.changed(host="another")), "a process elsewhere is nobody's to end"


class PanicException(BaseException):
    """As pyo3 raises it."""


def test_a_panic_of_rust_is_a_failure_in_one_line(session: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def panic(*_: object, **__: object) -> None:
        raise PanicException("index out of bounds: the len is 3 but the index is 7")

    monkeypatch.setattr(runner, "prepare", panic)
    assert runner.run(session) == 1
    found = status_of(session)
    assert found.phase == "failed"
    assert "PanicException: index out of bounds" in found.detail
    assert "\n" not in found.detail


def test_what_is_no_panic_is_not_taken_for_one(session: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def leave(*_: object, **__: object) -> None:
        raise SystemExit(3)

    monkeypatch.setattr(runner, "prepare", leave)
    assert runner.run(session) == 1
    assert status_of(session).phase == "failed", "whatever ends the engine, the session says so"


@pytest.mark.parametrize("number", [signal.SIGABRT, signal.SIGSEGV, signal.SIGKILL])
def test_an_engine_that_dies_while_it_loads_is_told_with_its_signal(
    tmp_path: Path, tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    monkeypatch.setenv("MAXACT_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    folder = Path(shutil.copytree(tiny_model_folder, tmp_path / "model"))
    config = json.loads((folder / "config.json").read_text())
    config |= {"auto_map": {"AutoConfig": "dying.DyingConfig"}, "model_type": "dying"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "dying.py").write_text(f"import os\nos.kill(os.getpid(), {int(number)})\nclass DyingConfig: pass\n")
    job = replace(tiny_job(folder, write_corpus(tmp_path / "c.jsonl")), trust_remote_code=True)
    session = new_session(tmp_path / "dying.maxact", job)
    allow(session, Rights(trust_remote_code=True))
    start_engine(session)
    with pytest.raises(UserError) as caught:
        follow(session, as_json=False, debug=False, disposable=False)
    told = f"the engine was ended by signal {int(number)} ({number.name})"
    assert caught.value.code == 1
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
    found = status_of(session)
    assert found.phase == ("gone" if number is signal.SIGKILL else "failed"), "the log says why, to every process"
    assert told in words(why_it_ended(found))


def test_an_earlier_crash_is_no_reason(session: Path) -> None:
    log = log_path(session)
    log.write_text("Fatal Python error: Aborted\n\nCurrent thread\n")
    assert logged_failure(session, time.time()) is not None
    assert logged_failure(session, time.time() + 3600) is None
    stamp = time.strftime("%Y-%m-%d %H:%M:%S")
    log.write_text(f"Fatal Python error: Aborted\n\n{stamp},000 INFO engine: run: started\n")
    assert logged_failure(session, time.time()) is None


def test_thousands_of_requests_do_not_keep_a_run_from_its_work(session: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with stamped(session, "commands") as db:
        db.executemany(
            "INSERT INTO commands (checksum, at, name, arguments, state, answer) VALUES (0, 0.0, ?, '{}', 'new', '{}')",
            [("nonsense",)] * 1000 + [("stop",)],
        )
    writer = SessionWriter.open(session)
    monkeypatch.setattr("engine.run.commands.TURN_SECONDS", 0.0)
    desk = CommandDesk(writer, lambda text: None)
    assert len(writer.new_commands()) == COMMANDS_AT_ONCE
    assert desk.answer_new() == 1, "a turn is over after its time"
    assert desk.stop_wished, "and a stop comes first"
    writer.close()
