"""Whatever is wrong with a file, reading it ends in one line that names the file, the damage and the next step."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from engine.analysis.model import analyse
from engine.base.job import Job
from engine.base.stored import UnsoundError
from engine.messages import as_written
from engine.session import schema
from engine.session.listing import list_sessions
from engine.session.reader import SessionReader
from engine.session.requests import send_command
from engine.session.schema import DamagedError, SessionError
from engine.session.writer import SessionWriter
from tests.screen.sessions import finished
from tests.session import damages
from tests.session.making import fill


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A finished session, as bytes."""
    path = tmp_path_factory.mktemp("whole") / "run.maxact"
    finished(path, layers=3, samples=5)
    return path.read_bytes()


@pytest.fixture
def session(whole: bytes, tmp_path: Path) -> Path:
    path = tmp_path / "run.maxact"
    path.write_bytes(whole)
    return path


@pytest.mark.parametrize("damage", damages.EVERYTHING)
def test_a_damage_is_one_line_with_the_next_step(session: Path, damage: str) -> None:
    damages.EVERYTHING[damage](session)
    with pytest.raises(DamagedError) as caught, SessionReader(session) as reader:
        reader.status(), analyse(reader)
    message = str(caught.value)
    assert message.startswith(f"{session} is damaged: ")
    assert message.endswith("; restore it from a copy, or remove it with: maxact-tui sessions rm")
    assert message.isprintable()
    assert caught.value.what in message


@pytest.mark.parametrize("raw", ["NoneType", "Expecting", "__init__", "Error -", "codec", "object", "argument"])
def test_no_damage_is_told_in_words_of_python(whole: bytes, session: Path, raw: str) -> None:
    for damage in damages.EVERYTHING.values():
        session.write_bytes(whole)
        damage(session)
        with pytest.raises(DamagedError) as caught, SessionReader(session) as reader:
            reader.status(), analyse(reader)
        assert raw not in str(caught.value)


@pytest.mark.parametrize(
    ("damage", "cause"),
    [
        ("no status", UnsoundError),
        ("no meta", UnsoundError),
        ("an empty job", UnsoundError),
        ("a job cut short", UnsoundError),
        ("a job that is no text", sqlite3.DatabaseError),
        ("pages from 20", UnsoundError),
        ("arrays cut short", UnsoundError),
    ],
)
def test_the_original_is_the_cause(session: Path, damage: str, cause: type[Exception]) -> None:
    damages.EVERYTHING[damage](session)
    with pytest.raises(DamagedError) as caught, SessionReader(session) as reader:
        reader.meta(), reader.status(), reader.all_totals()
    assert isinstance(caught.value.__cause__, cause)


READERS: list[Callable[[SessionReader], Any]] = [
    SessionReader.all_totals,
    SessionReader.batches,
    SessionReader.checkpoint_number,
    SessionReader.checkpoint_status,
    SessionReader.commands,
    SessionReader.events,
    SessionReader.expert_totals,
    SessionReader.live,
    SessionReader.meta,
    SessionReader.sample_labels,
    SessionReader.sample_maxima,
    SessionReader.samples_done,
    SessionReader.saved_magnitude,
    SessionReader.status,
    lambda reader: reader.totals(0),
    lambda reader: reader.sample(0),
    lambda reader: reader.pieces([0, 1]),
    lambda reader: reader.extra("0"),
    lambda reader: reader.array("0", "top"),
]


@pytest.mark.parametrize("table", ["meta", "status", "live", "totals", "arrays", "sample_maxima", "samples", "events"])
def test_no_reader_lets_a_missing_table_through(session: Path, table: str) -> None:
    with SessionReader(session) as reader:
        for read in READERS:
            read(reader)
        damages.statement(f"DROP TABLE {table}")(session)
        refused = 0
        for read in READERS:
            try:
                read(reader)
            except DamagedError as error:
                refused += 1
                assert "no such table" in str(error)
    assert refused


def test_a_snapshot_that_breaks_off_leaves_a_reader_that_reads_on(session: Path) -> None:
    with SessionReader(session) as reader:
        with pytest.raises(RuntimeError), reader.snapshot():
            reader.status()
            raise RuntimeError
        with reader.snapshot():
            assert reader.status().phase == "finished"


@pytest.mark.parametrize("code", ["SQLITE_BUSY", "SQLITE_IOERR", "SQLITE_CANTOPEN", "SQLITE_FULL"])
def test_what_a_file_is_not_to_blame_for_is_no_damage(code: str) -> None:
    error = sqlite3.OperationalError("in the way")
    error.sqlite_errorcode = getattr(sqlite3, code)
    said = schema.unreadable(Path("run.maxact"), "its status", error)
    assert not isinstance(said, DamagedError)
    assert "cannot read run.maxact: in the way" in str(said)


@pytest.mark.parametrize("damage", damages.BEGINNING)
def test_a_damaged_session_is_listed_among_the_others(session: Path, whole: bytes, damage: str) -> None:
    (session.parent / "good.maxact").write_bytes(whole)
    damages.BEGINNING[damage](session)
    by_name = {info.path.name: info for info in list_sessions(session.parent)}
    assert by_name["good.maxact"].status.phase == "finished"
    damaged = by_name["run.maxact"]
    assert (damaged.status.phase, damaged.model) == ("damaged", "")
    assert damaged.status.detail
    assert damaged.size_bytes >= session.stat().st_size


@pytest.mark.parametrize("damage", damages.NUMBERS)
def test_a_finished_session_with_damaged_numbers_stays_in_the_list(session: Path, damage: str) -> None:
    damages.NUMBERS[damage](session)
    (info,) = list_sessions(session.parent)
    assert info.status.phase == "finished"


@pytest.mark.timeout(120)  # a pipe that is waited for never ends
def test_a_pipe_is_not_waited_for(session: Path) -> None:
    pipe = session.with_name("pipe.maxact")
    os.mkfifo(pipe)
    assert [info.path for info in list_sessions(session.parent)] == [session]
    for use in (SessionReader, SessionWriter.open, lambda path: send_command(path, "stop")):
        with pytest.raises(SessionError, match=r"pipe\.maxact is a pipe or a device, not a session file"):
            use(pipe)


def test_a_session_that_is_just_being_made_is_not_taken_for_a_damaged_one(tmp_path: Path) -> None:
    seen: list[int] = []

    def look(_: sqlite3.Connection) -> None:
        seen.append(len(list_sessions(tmp_path)))

    with closing(schema.create(tmp_path / "new.maxact", look)):
        assert seen == [0]
    SessionWriter.create(tmp_path / "other.maxact", Job(model="tiny")).close()
    phases = {info.path.name: info.status.phase for info in list_sessions(tmp_path)}
    assert phases["other.maxact"] == "starting"


def test_writing_into_a_damaged_file_says_so(tmp_path: Path) -> None:
    path = tmp_path / "run.maxact"
    fill(path).close(final=True)
    writer = SessionWriter.open(path)
    writer.close()
    damages.pages(3)(path)
    with pytest.raises(DamagedError, match="its database cannot be read"):
        send_command(path, "stop")
    writer = SessionWriter.open(path)
    with pytest.raises(DamagedError, match="its database cannot be read"):
        writer.refuse_unanswered(as_written("too late"))
    writer.close()
