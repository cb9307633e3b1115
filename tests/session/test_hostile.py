"""A stranger's session runs nothing, hangs nothing and needs bounded memory when it is opened."""

from __future__ import annotations

import json
import math
import sqlite3
import tracemalloc
import zlib
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import DTypeLike

from engine.analysis.model import analyse
from engine.base.stored import UnsoundError
from engine.messages import Code, message
from engine.process import TOO_LATE
from engine.session.codec import encode
from engine.session.costs import Trial
from engine.session.layout import SCHEMA_VERSION, columns
from engine.session.listing import list_sessions
from engine.session.reader import SessionReader
from engine.session.requests import send_command
from engine.session.schema import DamagedError
from engine.session.tables import Tables
from engine.session.writer import SessionWriter
from engine.statistics.fields import LIVE_FIELDS
from engine.statistics.totals import PATTERNS, TOP_DTYPE
from maxact_tui.pages.effects import effect_status
from maxact_tui.watching.looking import Look
from maxact_tui.watching.snapshot import Wish
from tests.screen.sessions import finished
from tests.session.stamping import stamped
from tests.values import some

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


TABLES = ("meta", "status", "live", "totals", "arrays", "sample_maxima", "checkpoints", "samples", "vocabulary",
          "batches", "events")  # fmt: skip


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


BOMB = object()  # stands for `bomb()`, which is dear, until it is needed


@cache
def bomb() -> bytes:
    """256 MiB of zeros, deflated a thousandfold."""
    return zlib.compress(bytes(256 * MIB), 9)


Change = tuple[str, str, tuple[Any, ...]]  # of a table: what is set where, and the values of its question marks
BOMBS: dict[str, Change] = {
    "zeros behind a small shape": (
        "arrays",
        "data = ?, encoding = 'dense' WHERE name = 'extremes'",
        (BOMB,),
    ),
    "a large dense shape": (
        "arrays",
        "data = ?, shape = ?, encoding = 'dense' WHERE name = 'extremes'",
        (BOMB, json.dumps([32 * MIB])),
    ),
    "a large sparse shape": ("arrays", "shape = '[100000000000]', encoding = 'sparse' WHERE name = 'histogram'", ()),
    "a wide site": ("totals", "width = 2000000000", ()),
    "a site of negative width": ("totals", "width = -5", ()),
    "samples beyond all": ("samples", "sample = sample + 2000000000", ()),
    "tokens behind a short sample": ("samples", "token_ids = ?", (BOMB,)),
    "done samples beyond all": (
        "sample_maxima",
        "samples = ?",
        (zlib.compress(np.array([2_000_000_000], "<i4").tobytes()),),
    ),
    "a batch of everything": ("batches", "samples = ?", (BOMB,)),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_what_would_grow_beyond_its_place_is_refused_before_it_does(session: Path, kind: str) -> None:
    table, change, given = BOMBS[kind]
    with stamped(session, table) as db:
        db.execute(f"UPDATE {table} SET {change}", tuple(bomb() if one is BOMB else one for one in given))
    tracemalloc.start()
    try:
        with pytest.raises(DamagedError), SessionReader(session) as reader:
            analyse(reader), reader.batches(), [reader.sample(number) for number in range(5)]
        assert tracemalloc.get_traced_memory()[1] < 64 * MIB
    finally:
        tracemalloc.stop()


def impossible(name: str, values: object, dtype: DTypeLike = "<f8") -> Change:
    """An array of the first site with these values, packed and summed as the engine packs them."""
    found = encode(np.array(values, dtype))
    given = (found.dtype, found.shape, found.encoding, found.data, name)
    return "arrays", "dtype = ?, shape = ?, encoding = ?, data = ? WHERE owner = '0' AND name = ?", given


def negative(name: str, size: int) -> Change:
    return impossible(name, np.r_[-1, np.ones(size - 1)], "<i8")


def largest(value: float) -> Change:
    return impossible("top", np.array([(value, 0, 0, 0)], TOP_DTYPE), TOP_DTYPE)


IMPOSSIBLE: dict[str, Change] = {
    "an extreme that is no number": impossible("extremes", [np.nan, -1.0]),
    "an extreme beyond every dtype": impossible("extremes", [1e300, -1.0]),
    "an extreme below every dtype": impossible("extremes", [5e-324, -5e-324]),
    "only one extreme": impossible("extremes", [np.inf, -1.0]),
    "fewer than no tokens": impossible("tokens", -1, "<i8"),
    "counts below nothing": negative("histogram", PATTERNS),
    "counts beyond their sum": impossible("nonfinite", [2**62, 2**62, 2**62], "<i8"),
    "a place beyond all": impossible("nonfinite_address", [2**62, 0, 0], "<i8"),
    "sums that are no numbers": impossible("power_sums", [np.nan] * 5),
    "squares below nothing": impossible("power_sums", [0.0, -1.0, 0.0, 1.0, 1.0]),
    "sums about no number": impossible("power_sums", [1.0] * 5),
    "a pivot beyond all": impossible("pivot", np.inf),
    "an endless median": impossible("peak_median", np.inf),
    "a median below nothing": impossible("peak_median", -1.0),
    "a ratio that is no number": impossible("sun_ratio", [np.nan, 1.0, 1.0, 0.0, 0.0]),
    "a ratio of an endless sample": impossible("sun_ratio", [2.0, 1.0, 1.0, np.inf, 0.0]),
    "an endless mean of ratios": impossible("ratio_sums", [1.0, np.inf, 1.0]),
    "a largest element that is no number": largest(np.nan),
    "a largest element beyond every dtype": largest(1e300),
}


@pytest.mark.parametrize("kind", IMPOSSIBLE)
def test_numbers_that_no_run_can_have_measured_are_refused(session: Path, kind: str) -> None:
    table, change, given = IMPOSSIBLE[kind]
    with stamped(session, table) as db:
        assert db.execute(f"UPDATE {table} SET {change}", given).rowcount == 1
    with pytest.raises(DamagedError) as caught, SessionReader(session) as reader:
        analyse(reader)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("value", [-1.0, np.inf])
def test_maxima_of_samples_that_no_magnitude_can_be_are_refused(session: Path, value: float) -> None:
    with stamped(session, "sample_maxima") as db:
        data, sites = db.execute("SELECT data, sites FROM sample_maxima").fetchone()
        block = np.frombuffer(data, "<f4").reshape(sites, -1).copy()
        block[2, 1] = value
        sums = np.array([zlib.crc32(row.tobytes()) for row in block], "<u4").tobytes()
        db.execute("UPDATE sample_maxima SET data = ?, sums = ?", (block.tobytes(), sums))
    with pytest.raises(DamagedError, match="not those of numbers"):
        SessionReader(session)


LIVE = {"max": 1e300, "rms": -1.0, "tokens": -1.0, "sample": np.inf, "position": 1e300, "bad_channel": -2.0}


@pytest.mark.parametrize("field", LIVE)
def test_newest_numbers_that_no_run_writes_are_refused(session: Path, field: str) -> None:
    with SessionReader(session) as reader:
        table = some(reader.live()).data.copy()
    table[1, LIVE_FIELDS.index(field)] = LIVE[field]
    with stamped(session, "live") as db:
        db.execute("UPDATE live SET data = ?", (table.tobytes(),))
    with SessionReader(session) as reader, pytest.raises(DamagedError, match=f"'{field}' is not what a run writes"):
        reader.live()


def test_a_site_that_saw_nothing_has_no_place_in_the_newest_numbers(session: Path) -> None:
    """A merged session has rows that are unknown in every field."""
    with SessionReader(session) as reader:
        table = np.full_like(some(reader.live()).data, np.nan)
    with stamped(session, "live") as db:
        db.execute("UPDATE live SET data = ?", (table.tobytes(),))
    with SessionReader(session) as reader:
        found = some(reader.live())
    assert (found.column("sample") == -1).all() and (found.bad_addresses == -1).all()
    look = Look(session)
    try:
        assert some(look.again(Wish())).problem == ""
    finally:
        look.close()


AMOUNTS: dict[str, object] = {
    "running_seconds": math.nan, "tokens_per_second": math.inf, "tokens_done": -1, "peak_bytes": 2**62, "total": -5
}  # fmt: skip


@pytest.mark.parametrize("field", AMOUNTS)
def test_a_status_of_impossible_amounts_is_refused(session: Path, field: str) -> None:
    with stamped(session, "status") as db:
        (value,) = db.execute("SELECT value FROM status").fetchone()
        db.execute("UPDATE status SET value = ?", (json.dumps({**json.loads(value), field: AMOUNTS[field]}),))
    with SessionReader(session) as reader, pytest.raises(DamagedError, match=f"'{field}' is not what a run writes"):
        reader.status()


COSTS: dict[str, tuple[str, object]] = {
    "seconds that are none": ("cost", {"statistics": {}}),
    "endless seconds": ("cost", {"model": math.inf}),
    "no costs": ("cost", [1]),
    "a choice of nothing": ("sites_choice", {"trial": None}),
    "a trial cut short": ("sites_choice", {"sites": "paper", "trial": {"sites": 3}}),
    "a trial of negative time": (
        "sites_choice",
        {"sites": "paper", "trial": asdict(Trial(1, 1, -1.0, 1.0, 1))},
    ),
}


@pytest.mark.parametrize("kind", COSTS)
def test_costs_that_no_run_writes_are_refused(session: Path, kind: str) -> None:
    name, value = COSTS[kind]
    writer = SessionWriter.open(session)
    writer.set_meta(**{name: value})
    writer.close(final=True)
    with SessionReader(session) as reader, pytest.raises(DamagedError, match="what it says of its run"):
        analyse(reader)


@pytest.mark.parametrize("number", ["9" * 5_000, "9" * 400])
def test_numbers_of_thousands_of_digits_are_refused(session: Path, number: str) -> None:
    with stamped(session, "meta") as db:
        db.execute("UPDATE meta SET value = json_set(value, '$.checkpoint_seconds', 12345) WHERE name = 'job'")
        db.execute("UPDATE meta SET value = replace(value, '12345', ?) WHERE name = 'job'", (number,))
    with SessionReader(session) as reader, pytest.raises(DamagedError):
        reader.meta()


def test_an_effect_that_no_run_writes_is_damage_on_the_screen_too(session: Path) -> None:
    writer = SessionWriter.open(session)
    writer.add_result("effect", "t", {}, {"samples": "many"})
    writer.close(final=True)
    look = Look(session)
    try:
        found = some(look.again(Wish()))
    finally:
        look.close()
    assert "its effects cannot be read" in found.problem and not found.is_bug


def test_an_effect_that_was_asked_for_at_two_places_is_shown_without_one(session: Path) -> None:
    send_command(session, "effect", {"scope": {"site": "a", "component": "b"}})
    look = Look(session)
    try:
        text, _ = effect_status(some(look.again(Wish())))
    finally:
        look.close()
    assert text.startswith("effect: ")


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
    assert (theirs.state, theirs.message) == ("refused", message(Code.FOREIGN))
    assert ours.state == "new"
    assert (pause.state, pause.message) == ("refused", TOO_LATE)


@pytest.mark.parametrize("table", TABLES)
def test_a_value_of_another_kind_than_its_column_is_refused(session: Path, table: str) -> None:
    tried = 0
    for name, kind in columns(table, SCHEMA_VERSION).items():
        for value in {"BLOB": ("x", 1), "TEXT": (b"x",), "INTEGER": ("x", b"x", 1.5), "REAL": ("x", b"x")}[kind]:
            with stamped(session, table) as db:
                old = db.execute(f"SELECT {name} FROM {table} LIMIT 1").fetchone()[0]
                try:
                    db.execute(f"UPDATE {table} SET {name} = ? WHERE {name} IS ?", (value, old))
                except sqlite3.IntegrityError:  # a row's number, which SQLite itself looks after
                    continue
            with closing(sqlite3.connect(session)) as db, pytest.raises(UnsoundError, match="another kind"):
                Tables(db).verify(table)
            with stamped(session, table) as db:
                db.execute(f"UPDATE {table} SET {name} = ? WHERE {name} IS ?", (old, value))
            tried += 1
    assert tried > 0


def test_maxima_of_no_number_of_sites_are_damage(session: Path) -> None:
    with stamped(session, "sample_maxima") as db:
        db.execute("UPDATE sample_maxima SET sites = 'x' WHERE id = 1")
    with pytest.raises(DamagedError, match="another kind"):
        SessionReader(session)


def _told(session: Path, error: Exception) -> Exception:
    from engine.session.damage import reading

    with pytest.raises(DamagedError) as caught, reading(session, "its database"):
        raise error
    return caught.value
