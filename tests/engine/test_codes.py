"""Nothing is decided by a sentence: with all of them replaced, runs, resumes, answers and exit codes are the same."""

from __future__ import annotations

import logging
import math
import sqlite3
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import pytest

from engine.analysis.compare import compare
from engine.analysis.model import analyse
from engine.messages import Code, Message, message, words
from engine.messages.message import SENTENCES
from engine.run import runner
from engine.run.notable import NOTABLE_GROWTH
from engine.session.library import log_path
from engine.session.logfile import FORMAT, OneLine
from engine.session.reader import SessionReader
from engine.session.records import Status
from engine.session.requests import send_command
from engine.session.writer import SessionWriter
from engine.statistics.totals import SiteTotals
from maxact_tui.cli.commands import effects, steering
from maxact_tui.cli.headless import follow
from maxact_tui.cli.plain import Narrator
from maxact_tui.errors import UserError
from maxact_tui.watching.looking import Look
from maxact_tui.watching.snapshot import Wish
from tests.engine.running import (
    EVERY_BATCH,
    assert_equal_totals,
    limit_pages,
    new_session,
    read_totals,
    stop_after_batches,
    tiny_job,
    write_corpus,
)
from tests.screen import sessions
from tests.waiting import PATIENCE_SECONDS, until

BY_RULE = ("run", "command", "split", "sites", "convergence")
"""Kinds of events that do not depend on when a tick is due."""


@dataclass(frozen=True, slots=True)
class Life:
    """What a run was, without a sentence."""

    exits: list[int]
    states: list[tuple[str, str | None]]
    events: list[tuple[str, str]]
    answers: list[tuple[str, str, str | None]]
    totals: list[SiteTotals | None]
    path: Path


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus") / "short.jsonl")


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path, corpus: Path) -> Life:
    """Told in the sentences that users read."""
    with pytest.MonkeyPatch.context() as patched:
        return live(tmp_path_factory.mktemp("usual") / "run.maxact", tiny_model_folder, corpus, patched)


def say_otherwise(patched: pytest.MonkeyPatch, say: Callable[[str], str]) -> None:
    """Make another sentence of every code."""
    for code, one in list(SENTENCES.items()):
        said = say(code)
        patched.setitem(SENTENCES, code, replace(one, words=lambda said=said, **_: said))


@pytest.fixture(params=["each its own", "all the same"])
def other_words(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every sentence is its code in brackets, or all are one word."""
    say_otherwise(monkeypatch, (lambda code: f"<{code}>") if request.param == "each its own" else lambda _: "so")
    yield
    monkeypatch.undo()


def live(path: Path, model: Path, corpus: Path, patched: pytest.MonkeyPatch) -> Life:
    """A run that is stopped, then meets a full disk, then goes on to its end, while it is asked for this and that."""
    new_session(path, tiny_job(model, corpus, calibration=6, evaluation=600, **EVERY_BATCH))
    states: list[tuple[str, str | None]] = []
    exits: list[int] = []

    def run() -> None:
        exits.append(runner.run(path))
        with SessionReader(path) as reader:
            status = reader.status()
        states.append((status.phase, status.message.code if status.message else None))

    stop_after_batches(path, 3)
    run()
    with patched.context() as full:
        limit_pages(full, range(3, 1000))
        run()
    for name, arguments in (("dance", {}), ("probe", {"sample": 0}), ("probe", {"sample": 99}), ("cancel", {})):
        send_command(path, name, arguments)
    run()
    with SessionReader(path) as reader:
        events, commands = reader.events(), reader.commands()
    values = [float(one.message.data["value"]) for one in events if one.message.code == Code.MAXIMUM]
    assert all(new > old * NOTABLE_GROWTH for old, new in pairwise(values))
    told = [(one.kind, one.message.code) for one in events if one.kind in BY_RULE]
    answers = [(one.name, one.state, one.message.code if one.message else None) for one in commands]
    return Life(exits, states, told, answers, read_totals(path), path)


@pytest.mark.parametrize("other_words", ["all the same"], indirect=True)
def test_a_run_is_the_same_in_other_words(
    usual: Life, other_words: None, tmp_path: Path, tiny_model_folder: Path, corpus: Path
) -> None:
    with pytest.MonkeyPatch.context() as patched:
        other = live(tmp_path / "run.maxact", tiny_model_folder, corpus, patched)
    assert other.exits == usual.exits == [0, 1, 0]
    expected = [("stopped", Code.STOPPED), ("failed", Code.FAILED_STORAGE), ("finished", None)]
    assert other.states == usual.states == expected
    assert other.events == usual.events
    assert [code for kind, code in usual.events if kind in ("split", "convergence")] == list(
        dict.fromkeys(code for kind, code in usual.events if kind in ("split", "convergence"))
    ), "what was said before a stop is not said again"
    assert other.answers == usual.answers
    assert [(state, code) for _, state, code in usual.answers] == [
        ("done", Code.STOPPING),
        ("refused", Code.UNKNOWN_COMMAND),
        ("done", Code.DONE),
        ("refused", Code.REFUSED),
        ("refused", Code.NOT_CANCELLED),
    ]
    assert_equal_totals(other.totals, usual.totals)
    with SessionReader(usual.path) as one, SessionReader(other.path) as two:
        found = compare([analyse(one), analyse(two)], ["usual", "other"])
    assert {ratio for row in found.sites for ratio in row.ratios if not math.isnan(ratio)} == {1.0}


def failed(path: Path, how: Message, *, measured: bool = False) -> Path:
    """A session whose run has failed."""
    script = sessions.SessionScript(path, layers=3, samples=5).load()
    if measured:
        script.tick().checkpoint()
    writer = script.writer
    writer.set_status(script.status.changed(phase="failed", message=how, ended=script.status.started + 1))
    writer.close()
    return path


FULL = message(Code.NOT_SAVED, why=message(Code.DISK, error="disk is full", trouble="full"))


@pytest.mark.parametrize(
    ("how", "names_way"),
    [
        (message(Code.FAILED_STORAGE, why=FULL, resume="run.maxact"), True),
        (message(Code.FAILED_RESUME, differences=[message(Code.WEIGHTS_CHANGED)]), True),
        (message(Code.FAILED_MOVED, path="run.maxact", error=None, resume="run-saved.maxact"), True),
        (message(Code.FAILED_MOVED, path="run.maxact", error="no space", resume=None), False),
        (message(Code.FAILED_INPUT, kind="memory", reason="it does not fit", log=None), False),
        (message(Code.FAILED_RUN, reason="ValueError", log="run.log"), False),
    ],
)
def test_a_failed_run_names_one_way_on_in_any_words(
    other_words: None, tmp_path: Path, how: Message, names_way: bool
) -> None:
    path = failed(tmp_path / "run.maxact", how, measured=True)
    with pytest.raises(UserError) as caught:
        follow(path, as_json=False, debug=False, disposable=True, summary=False)
    assert caught.value.code == 1
    assert str(caught.value).startswith(words(how))
    assert ("; continue with: maxact-tui resume" in str(caught.value)) != names_way
    assert path.exists(), "what was measured is kept"


@pytest.mark.parametrize("log", [None, "run.log"])
def test_a_session_that_holds_nothing_is_removed_and_a_log_that_was_named_stays(
    other_words: None, tmp_path: Path, log: str | None
) -> None:
    path = failed(tmp_path / "run.maxact", message(Code.FAILED_INPUT, kind="internal", reason="?", log=log))
    log_path(path).write_text("what happened\n")
    with pytest.raises(UserError):
        follow(path, as_json=False, debug=False, disposable=True, summary=False)
    assert not path.exists()
    assert log_path(path).exists() == (log is not None)


def test_nothing_measured_is_started_again_and_not_continued(tmp_path: Path) -> None:
    path = failed(tmp_path / "run.maxact", message(Code.FAILED_STORAGE, why=FULL, resume="run.maxact"))
    with pytest.raises(UserError, match=r"free some space, then start again$"):
        follow(path, as_json=False, debug=False, disposable=True, summary=False)


@pytest.mark.parametrize("other_words", ["all the same"], indirect=True)
def test_of_a_full_disk_the_log_tells_in_any_words(
    other_words: None, tmp_path: Path, tiny_model_folder: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = new_session(tmp_path / "run.maxact", tiny_job(tiny_model_folder, corpus, **EVERY_BATCH))
    set_status = SessionWriter.set_status

    def refuse_the_last(self: SessionWriter, status: Status) -> None:
        if status.phase == "failed":
            raise sqlite3.OperationalError("database or disk is full")
        set_status(self, status)

    handler, log = logging.FileHandler(log_path(path)), logging.getLogger("engine")
    handler.setFormatter(OneLine(FORMAT))
    log.addHandler(handler)
    level = log.level
    log.setLevel(logging.INFO)
    try:
        with monkeypatch.context() as patched:
            patched.setattr(SessionWriter, "set_status", refuse_the_last)
            limit_pages(patched, range(3, 1000))
            assert runner.run(path) == 1
    finally:
        log.setLevel(level)
        log.removeHandler(handler)
        handler.close()
    with SessionReader(path) as reader:
        status = reader.status()
    assert status.phase == "running", "nobody could say in the file how it ended"
    writer = SessionWriter.open(path)
    writer.set_status(status.changed(boot="earlier"))
    writer.close()
    with SessionReader(path) as reader:
        status = reader.status()
    assert (status.phase, status.message and status.message.code) == ("failed", Code.FAILED_STORAGE)


@pytest.fixture
def script(tmp_path: Path) -> sessions.SessionScript:
    """A run whose engine is the process of this test."""
    return sessions.running(tmp_path / "river.maxact", layers=4, massive=2, hostile=False)


def answering(script: sessions.SessionScript, *answers: tuple[str, Message]) -> threading.Thread:
    """Answer the next request, step by step."""

    def answer() -> None:
        until(lambda: bool(script.writer.new_commands()))
        (command,) = script.writer.new_commands()
        for state, said in answers:
            script.writer.answer(command, state, said)

    thread = threading.Thread(target=answer)
    thread.start()
    return thread


def test_pause_ends_well_or_not_by_the_state_of_its_answer(
    other_words: None, script: sessions.SessionScript, capsys: pytest.CaptureFixture[str]
) -> None:
    thread = answering(script, ("done", message(Code.NOW_PAUSED)))
    assert steering.pause(script.path) == 0
    thread.join(PATIENCE_SECONDS)
    thread = answering(script, ("refused", message(Code.NOT_OURS)))
    with pytest.raises(UserError) as caught:
        steering.pause(script.path)
    thread.join(PATIENCE_SECONDS)
    assert caught.value.code == 1
    assert words(message(Code.NOT_OURS)) in str(caught.value)


def test_an_effect_waits_while_it_is_queued_and_ends_with_its_answer(
    other_words: None, script: sessions.SessionScript
) -> None:
    from engine.effect.request import read_request

    refusal = message(Code.REFUSED, reason="no held-out samples")
    thread = answering(
        script, ("working", message(Code.QUEUED)), ("working", message(Code.COMPARING)), ("refused", refusal)
    )
    with pytest.raises(UserError) as caught:
        effects.effect(script.path, read_request({"schemes": ["int8"]}), as_json=True)
    thread.join(PATIENCE_SECONDS)
    assert (caught.value.code, str(caught.value)) == (1, words(refusal))


def test_a_follower_tells_every_event_and_answer_once_in_any_words(
    other_words: None, script: sessions.SessionScript
) -> None:
    number = send_command(script.path, "pause")
    (command,) = script.writer.new_commands()
    assert command.number == number
    script.writer.answer(command, "done", message(Code.NOW_PAUSED))
    narrator, look = Narrator(), Look(script.path)
    before = look.again(Wish(None, model=False))
    assert before is not None
    first = list(narrator.lines(before))
    assert f"pause: {words(message(Code.NOW_PAUSED))}" in first
    assert list(narrator.lines(before)) == []
    for _ in range(2):
        script.writer.add_event("memory", message(Code.BUDGET_HALVED, budget=64))
    script.writer.set_status(script.status.changed(phase="loading", message=message(Code.LOADING_WEIGHTS)))
    after = look.again(Wish(None, model=False))
    look.close()
    assert after is not None
    told = list(narrator.lines(after))
    assert len(told) == 3, "both events, though they say the same, and the step"
    assert all(words(message(Code.BUDGET_HALVED, budget=64)) in line for line in told[:2])
    assert told[-1] == f"loading: {words(message(Code.LOADING_WEIGHTS))}"
