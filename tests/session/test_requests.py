"""Requests to the engine: sent with patience, in order, and followed by one logic."""

from __future__ import annotations

import threading
from functools import partial
from pathlib import Path

import pytest

from engine.messages import Code, Message, as_written, message
from engine.session.outbox import Outbox
from engine.session.patience import LOCKED, GivenUpError, Patience
from engine.session.reader import SessionReader
from engine.session.records import Command, Status
from engine.session.requests import Request, follow, send_command, standing_of
from engine.session.schema import BusyError, SessionError
from engine.session.writer import SessionWriter
from tests.screen import sessions
from tests.session.locking import WAYS, held
from tests.waiting import PATIENCE_SECONDS

Way = tuple[str, str]


@pytest.fixture(params=WAYS, ids="-".join)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Way:
    """The journal sessions are made with, and the transaction that holds them."""
    journal, kind = request.param
    monkeypatch.setenv("MAXACT_JOURNAL", journal)
    return journal, kind


@pytest.fixture
def session(tmp_path: Path, way: Way) -> Path:
    script = sessions.SessionScript(tmp_path / "run.maxact", layers=2, massive=None).load()
    script.writer.close()
    return script.path


def commands(path: Path) -> list[str]:
    with SessionReader(path) as reader:
        return [command.name for command in reader.commands()]


def test_a_request_waits_for_whoever_writes_says_so_and_arrives(session: Path, way: Way) -> None:
    with held(session, way[1]) as hold:
        told: list[Message] = []

        def tell(what: Message) -> None:
            told.append(what)
            if len(told) == 3:
                hold.release()

        assert send_command(session, "pause", patience=Patience(PATIENCE_SECONDS, tell)) == 1
    assert told == [LOCKED] * len(told)
    assert commands(session) == ["pause"]


def test_what_cannot_be_written_in_time_is_one_clear_line_and_never_arrives(session: Path, way: Way) -> None:
    with held(session, way[1]), pytest.raises(BusyError) as caught:
        send_command(session, "pause", patience=Patience(0.0))
    said = str(caught.value)
    assert said == f"{session} was being written for 0 s without a pause; try again"
    assert commands(session) == []


def test_what_is_given_up_is_not_sent(session: Path, way: Way) -> None:
    with held(session, way[1]), pytest.raises(GivenUpError):
        send_command(session, "pause", patience=Patience(PATIENCE_SECONDS, is_given_up=lambda: True))
    assert commands(session) == []


VERSION_1 = Path(__file__).parent / "data" / "version-1.maxact"


def test_a_file_of_an_older_version_is_brought_up_to_date_with_the_same_patience(session: Path, way: Way) -> None:
    session.write_bytes(VERSION_1.read_bytes())
    with held(session, way[1]) as hold:
        patience = Patience(PATIENCE_SECONDS, lambda text: hold.release())
        assert send_command(session, "pause", patience=patience) == 1
    with SessionReader(session) as reader:
        assert reader.service() is None
        assert reader.results() == []


def test_the_outbox_never_lets_its_user_wait_and_keeps_the_order(session: Path, way: Way) -> None:
    moved: list[str] = []
    is_locked = threading.Event()

    def note(request: Request) -> None:
        moved.append(f"{request.name} {request.sending.stage} {request.number}")
        if request.sending.stage == "locked":
            is_locked.set()

    outbox = Outbox(note, PATIENCE_SECONDS)
    with held(session, way[1]) as hold:
        names = ["pause", "resume", "stop"]
        for name in names:
            outbox.post(Request(name), partial(send_command, session, name, None))
        assert is_locked.wait(PATIENCE_SECONDS)
        assert hold.is_held
        assert [request.name for request in outbox.unsent] == names
        assert [request.name for request in outbox.settle(0.0)] == names
    assert outbox.settle(PATIENCE_SECONDS) == ()
    assert commands(session) == names
    assert moved[0] == "pause locked 0"
    assert moved[1] == "pause sending 1"


def test_an_outbox_that_gives_up_says_of_each_request_that_it_was_not_sent(session: Path, way: Way) -> None:
    outbox = Outbox(lambda request: None, PATIENCE_SECONDS)
    with held(session, way[1]):
        asked = [
            outbox.post(Request(name), lambda patience: send_command(session, "x", patience=patience)) for name in "ab"
        ]
        outbox.give_up()
        assert outbox.settle(PATIENCE_SECONDS) == ()
        assert {request.sending.stage for request in asked} == {"unsent"}
        assert {request.sending.text for request in asked} == {"not sent: it was given up"}
    assert commands(session) == []


def test_a_fault_of_ours_in_sending_is_told_and_the_next_request_is_sent(tmp_path: Path) -> None:
    def fail(patience: Patience) -> int:
        raise TypeError("a mistake")

    outbox = Outbox(lambda request: None)
    first, second = outbox.post(Request("first"), fail), outbox.post(Request("second"), lambda patience: 7)
    assert outbox.settle(PATIENCE_SECONDS) == ()
    assert first.sending.text == "not sent, by a fault of this program: TypeError('a mistake')"
    assert (first.sending.has_failed, second.number, second.sending.has_failed) == (True, 7, False)


RUNNING = Status(phase="running", pid=1)
SILENT = Status(phase="running", pid=1, heartbeat=5.0)  # of 1970
LOADING = Status(phase="loading", message=message(Code.LOADING_WEIGHTS), done=3, total=12, unit="tensors")
FINISHED = Status(phase="finished")
FAILED = Status(phase="failed", message=as_written("no weights"), ended=9.0)
GONE = Status(phase="gone", message=message(Code.LOADING_WEIGHTS))


@pytest.mark.parametrize(
    ("state", "text", "status", "service", "stage", "words"),
    [
        ("new", "", None, None, "sending", "asking the engine"),
        ("new", "", RUNNING, None, "batch", "waiting for the batch in hand"),
        ("new", "", SILENT, None, "batch", "waiting for the batch in hand; the engine shows no sign of life"),
        ("new", "", RUNNING.changed(phase="paused"), None, "turn", "waiting for its turn"),
        ("new", "", LOADING, None, "loading", "the engine loads the model: loading weights, 3 of 12 tensors"),
        ("new", "", FINISHED, LOADING, "loading", "the engine loads the model: loading weights, 3 of 12 tensors"),
        ("new", "", FINISHED, RUNNING, "turn", "waiting for its turn"),
        ("new", "", FINISHED, None, "ended", "the engine has ended: it was done before it could answer"),
        ("new", "", FINISHED, GONE, "ended", "the engine is gone while loading weights and gave no reason"),
        ("working", "work.queued", RUNNING, None, "batch", "waiting for the batch in hand"),
        ("working", "plain model", RUNNING, None, "working", "the engine is at it: plain model, 2 of 9"),
        ("working", "plain model", GONE, None, "ended", "the engine is gone while loading weights"),
        ("working", "plain model", FINISHED, GONE, "ended", "the engine is gone while loading weights"),
        ("done", "done", FINISHED, None, "done", "done"),
        ("refused", "no such site", RUNNING, None, "refused", "no such site"),
        ("refused", "too late", FINISHED, FAILED, "refused", "no weights"),
    ],
)  # fmt: skip
def test_where_a_request_stands(
    state: str, text: str, status: Status | None, service: Status | None, stage: str, words: str
) -> None:
    said = message(Code.QUEUED) if text == "work.queued" else as_written(text)
    answer = (said.to_json() if text else {}) | ({"done": 2, "total": 9} if state == "working" else {})
    found = standing_of(Command(5, 1.0, "effect", {}, state, answer), status, service)
    assert found.stage == stage
    assert found.words().startswith(words)
    assert found.is_over == (stage in ("done", "refused", "ended"))
    assert found.has_failed == (stage in ("refused", "ended"))


def test_following_says_that_the_file_is_held_and_then_what_the_engine_answers(session: Path, way: Way) -> None:
    number = send_command(session, "pause")
    with SessionReader(session, 0.05) as reader:
        steps = follow(reader, number, PATIENCE_SECONDS)
        assert next(steps).stage == "batch"
        with held(session, way[1]):
            # Only an exclusive hold of a rollback journal keeps readers out.
            assert next(steps).stage == ("locked" if way == ("delete", "EXCLUSIVE") else "batch")
        writer = SessionWriter.open(session)
        writer.answer(writer.new_commands()[0], "done", message(Code.NOW_PAUSED))
        writer.close()
        assert [(one.stage, one.text) for one in steps][-1] == ("done", "paused")


def test_following_ends_in_time_and_where_the_command_is_gone(session: Path) -> None:
    number = send_command(session, "pause")
    with SessionReader(session) as reader:
        assert [one.stage for one in follow(reader, number, -1.0)] == ["late"]
        with pytest.raises(SessionError, match="was replaced"):
            next(follow(reader, number + 1))
