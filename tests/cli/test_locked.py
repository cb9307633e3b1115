"""While another process writes the session file, commands say what they wait for, and do it once it is free."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.effect.request import read_request
from engine.messages import as_written, words
from engine.session import patience
from engine.session.reader import SessionReader
from engine.session.records import Command
from engine.session.schema import BusyError
from maxact_tui.cli import awaiting
from maxact_tui.cli.commands import effects, opening, running, steering
from maxact_tui.errors import UserError
from tests.engine.running import write_corpus
from tests.screen import sessions
from tests.screen.sessions import SessionScript
from tests.session.locking import WAYS, held
from tests.waiting import PATIENCE_SECONDS, until

LOCKED = words(patience.LOCKED)

Way = tuple[str, str]


@pytest.fixture(params=WAYS, ids="-".join)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Way:
    """The journal sessions are made with, and the transaction that holds them."""
    monkeypatch.setenv("MAXACT_JOURNAL", request.param[0])
    return request.param


@pytest.fixture
def run(tmp_path: Path, way: Way, monkeypatch: pytest.MonkeyPatch) -> SessionScript:
    """A run whose engine is the process of this test: alive, and answering as the test likes."""
    monkeypatch.setattr(awaiting, "QUIET_SECONDS", 0.0)
    return sessions.running(tmp_path / "river.maxact", layers=4, massive=2, hostile=False)


class Told:
    """What was written to stderr so far."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys, self.text, self.out = capsys, "", ""

    def wait_for(self, text: str) -> None:
        def is_told() -> bool:
            found = self._capsys.readouterr()
            self.text, self.out = self.text + found.err, self.out + found.out
            return text in self.text

        until(is_told, lambda: self.text)


def answered(script: SessionScript, state: str, text: str) -> Command:
    """Answer the oldest request that nobody has answered."""
    until(lambda: bool(script.writer.new_commands()))
    found = script.writer.new_commands()
    script.writer.answer(found[0], state, as_written(text))
    return found[0]


def in_thread(act: Callable[[], object]) -> tuple[threading.Thread, list[object]]:
    """Run a command; what it gives or raises is in the list at its end."""
    ended: list[object] = []

    def work() -> None:
        try:
            ended.append(act())
        except (UserError, BusyError) as error:
            ended.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    return thread, ended


def test_pause_says_what_it_waits_for_and_is_answered(
    run: SessionScript, way: Way, capsys: pytest.CaptureFixture[str]
) -> None:
    told = Told(capsys)
    with held(run.path, way[1]):
        thread, ended = in_thread(lambda: steering.pause(run.path))
        told.wait_for(f"{run.path}: {LOCKED}\n")
        assert ended == []
    told.wait_for("waiting for the batch in hand")
    assert answered(run, "done", "paused").name == "pause"
    thread.join(PATIENCE_SECONDS)
    assert ended == [0]
    assert told.text.count(LOCKED) == 1
    assert "paused; go on with" in capsys.readouterr().out


def test_stop_waits_for_the_file_and_then_for_the_engine(
    run: SessionScript, way: Way, capsys: pytest.CaptureFixture[str]
) -> None:
    told = Told(capsys)
    with held(run.path, way[1]):
        thread, ended = in_thread(lambda: steering.stop(run.path))
        told.wait_for(LOCKED)
    assert answered(run, "done", "stopping").name == "stop"
    told.wait_for("waiting for the engine to end")
    run.writer.set_status(run.status.changed(phase="stopped"))
    thread.join(PATIENCE_SECONDS)
    assert ended == [0]


def test_an_effect_says_where_it_stands(run: SessionScript, way: Way, capsys: pytest.CaptureFixture[str]) -> None:
    told = Told(capsys)
    with held(run.path, way[1]):
        request = read_request({"schemes": ["int8"]})
        thread, ended = in_thread(lambda: effects.effect(run.path, request, as_json=True))
        told.wait_for(LOCKED)
    told.wait_for("waiting for the batch in hand")
    assert answered(run, "refused", "no held-out samples").name == "effect"
    thread.join(PATIENCE_SECONDS)
    assert [str(one) for one in ended] == ["no held-out samples"]


def test_texts_are_added_once_the_file_is_free(
    run: SessionScript, way: Way, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told, corpus = Told(capsys), str(write_corpus(tmp_path / "more.jsonl", samples=3))
    with held(run.path, way[1]):
        thread, ended = in_thread(
            lambda: running.add(run.path, corpus, None, headless=True, as_json=False, debug=False)
        )
        told.wait_for(LOCKED)
    thread.join(PATIENCE_SECONDS)
    assert ended == [0]
    with SessionReader(run.path) as reader:
        assert [(one.name, one.arguments["corpus"]) for one in reader.commands()] == [("add", corpus)]


def test_what_cannot_be_asked_in_time_is_one_line(
    run: SessionScript, way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    def impatient(path: Path) -> patience.Patience:
        return patience.Patience(0.0)

    monkeypatch.setattr(steering, "patience_of", impatient)
    with (
        held(run.path, way[1]),
        pytest.raises(BusyError, match="was being written for 0 s without a pause; try again"),
    ):
        steering.pause(run.path)
    assert run.writer.new_commands() == []


def test_a_session_that_is_being_written_is_opened_and_left_with_patience(
    run: SessionScript, way: Way, capsys: pytest.CaptureFixture[str]
) -> None:
    told = Told(capsys)
    with held(run.path, way[1]) as hold:
        opening._refuse_unreadable(run.path)
        assert hold.is_held
        thread, ended = in_thread(lambda: opening.say_goodbye(run.path))
        if way == WAYS[-1]:  # the only one that keeps readers out
            told.wait_for(LOCKED)
            assert ended == []
    told.wait_for("still running in the background")
    thread.join(PATIENCE_SECONDS)
