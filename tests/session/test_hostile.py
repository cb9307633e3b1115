"""A stranger's session runs nothing, hangs nothing and needs bounded memory when it is opened."""

from __future__ import annotations

import json
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.analysis.model import analyse
from engine.process import TOO_LATE
from engine.session.consent import FOREIGN
from engine.session.listing import list_sessions
from engine.session.reader import SessionReader
from engine.session.requests import send_command
from engine.session.schema import DamagedError
from engine.session.writer import SessionWriter
from tests.screen.sessions import finished
from tests.session.stamping import stamped

ENDLESS = "(WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c)"
PROGRAMS = {
    "a view": [
        "ALTER TABLE meta RENAME TO m",
        f"CREATE VIEW meta AS SELECT name, value FROM m WHERE {ENDLESS} > 0",
    ],
    "a trigger": [f"CREATE TRIGGER t AFTER INSERT ON commands BEGIN UPDATE commands SET answer = {ENDLESS}; END"],
    "an index": [f"CREATE INDEX i ON status (id) WHERE {'id > 0'}"],
    "a generated column": [f"ALTER TABLE status ADD COLUMN more AS ({'id + 1'})"],
}
MIB = 1 << 20


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("whole") / "run.maxact"
    finished(path, layers=3, samples=5)
    return path.read_bytes()


@pytest.fixture
def session(whole: bytes, tmp_path: Path) -> Path:
    path = tmp_path / "run.maxact"
    path.write_bytes(whole)
    return path


@pytest.mark.timeout(120)  # what is run would never end
@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("use", [SessionReader, SessionWriter.open, lambda path: send_command(path, "stop")])
def test_programs_in_the_schema_are_refused_and_not_run(
    session: Path, program: str, use: Callable[[Path], object]
) -> None:
    with stamped(session) as db:
        for statement in PROGRAMS[program]:
            db.execute(statement)
    with pytest.raises(DamagedError, match="is damaged: its database cannot be read"):
        use(session)
    (info,) = list_sessions(session.parent)
    assert info.status.phase == "damaged"


@pytest.mark.timeout(120)
def test_pages_that_point_at_each_other_are_not_read_for_ever(session: Path) -> None:
    """A row counter that never ends stands for them: SQLite counts steps of both alike."""
    with SessionReader(session) as reader:
        reader.begin_reading()
        with pytest.raises(Exception, match="interrupted") as caught:
            reader._db.execute(f"SELECT {ENDLESS}").fetchone()
        assert "has no end" in str(_told(session, caught.value))


def bomb(size: int) -> bytes:
    """So many zeros, deflated a thousandfold."""
    return zlib.compress(bytes(size), 9)


BOMBS: dict[str, tuple[str, str, tuple[Any, ...]]] = {
    "zeros behind a small shape": (
        "arrays",
        "data = ?, encoding = 'dense' WHERE name = 'extremes'",
        (bomb(256 * MIB),),
    ),
    "a large dense shape": (
        "arrays",
        "data = ?, shape = ?, encoding = 'dense' WHERE name = 'extremes'",
        (bomb(256 * MIB), json.dumps([32 * MIB])),
    ),
    "a large sparse shape": ("arrays", "shape = '[100000000000]', encoding = 'sparse' WHERE name = 'histogram'", ()),
    "a wide site": ("totals", "width = 2000000000", ()),
    "a site of negative width": ("totals", "width = -5", ()),
    "samples beyond all": ("samples", "sample = sample + 2000000000", ()),
    "tokens behind a short sample": ("samples", "token_ids = ?", (bomb(256 * MIB),)),
    "done samples beyond all": (
        "sample_maxima",
        "samples = ?",
        (zlib.compress(np.array([2_000_000_000], "<i4").tobytes()),),
    ),
    "a batch of everything": ("batches", "samples = ?", (bomb(256 * MIB),)),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_what_would_grow_beyond_its_place_is_refused_before_it_does(session: Path, kind: str) -> None:
    table, change, given = BOMBS[kind]
    with stamped(session, table) as db:
        db.execute(f"UPDATE {table} SET {change}", given)
    tracemalloc.start()
    try:
        with pytest.raises(DamagedError), SessionReader(session) as reader:
            analyse(reader), reader.batches(), [reader.sample(number) for number in range(5)]
        assert tracemalloc.get_traced_memory()[1] < 64 * MIB
    finally:
        tracemalloc.stop()


def test_requests_that_came_with_a_file_are_not_obeyed_and_own_ones_are(
    session: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine import process

    monkeypatch.setenv("MAXACT_STATE", str(tmp_path / "theirs"))
    send_command(session, "add", {"corpus": "/etc/passwd"})
    monkeypatch.setenv("MAXACT_STATE", str(tmp_path / "ours"))
    send_command(session, "add", {"corpus": "mine.jsonl"})
    send_command(session, "pause")
    writer = SessionWriter.open(session)
    with SessionReader(session) as reader:
        process.refuse_foreign(writer, reader.meta().session_id)
    writer.close()
    with SessionReader(session) as reader:
        theirs, ours, pause = reader.commands()
    assert (theirs.state, theirs.answer["text"]) == ("refused", FOREIGN)
    assert ours.state == "new"
    assert (pause.state, pause.answer["text"]) == ("refused", TOO_LATE)


def _told(session: Path, error: Exception) -> Exception:
    from engine.session.damage import reading

    with pytest.raises(DamagedError) as caught, reading(session, "its database"):
        raise error
    return caught.value
