"""Promise 4: a changed byte is refused, or changes nothing that is shown."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from engine.session.layout import CHECKSUM, SCHEMA_VERSION, columns
from engine.session.reader import SessionReader
from engine.session.schema import SessionError
from engine.session.tables import checksum
from tests.screen.probed import probed
from tests.torture import flips
from tests.torture.tally import Tally

TABLES = (
    "meta", "status", "live", "totals", "arrays", "sample_maxima", "checkpoints", "samples", "vocabulary", "batches",
    "events", "results",
)  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished session with every kind of row."""
    path = tmp_path_factory.mktemp("whole") / "run.maxact"
    probed(path)
    return path


@pytest.fixture(scope="module")
def said(whole: Path) -> str:
    return flips.shown(whole)


@pytest.mark.parametrize("table", TABLES)
def test_a_bit_of_any_column_is_noticed(whole: Path, said: str, table: str, tmp_path: Path) -> None:
    places = random.Random(table)
    session = tmp_path / whole.name
    names = [*columns(table, SCHEMA_VERSION), *(("data",) if table == "sample_maxima" else ()), CHECKSUM]
    for name in names:
        session.write_bytes(whole.read_bytes())
        with closing(sqlite3.connect(session)) as db:
            db.text_factory = bytes
            db.execute("PRAGMA ignore_check_constraints = ON")
            rows = db.execute(f"SELECT {name}, {', '.join(names)} FROM {table}").fetchall()
            value, *row = places.choice(rows)
            changed, kind = _flipped(value, places), db.execute(f"SELECT typeof({name}) FROM {table}").fetchone()[0]
            cast = "CAST(? AS TEXT)" if kind == b"text" else "?"
            given = [bytes(v) if isinstance(v, bytes) else v for v in row]
            key = " AND ".join(f"CAST({one} AS BLOB) IS CAST(? AS BLOB)" for one in names)
            db.execute(f"UPDATE OR REPLACE {table} SET {name} = {cast} WHERE {key}", (changed, *given))
            db.commit()
        try:
            found = flips.shown(session)
        except SessionError as error:
            assert str(error).isprintable()
        else:
            assert found.replace(str(tmp_path), str(whole.parent)) == said, f"{table}.{name} changed unseen"


def test_bits_anywhere_in_the_file_are_noticed(whole: Path) -> None:
    tally = sum((flips.flip_once(whole, 15, number) for number in range(12)), start=Tally())
    assert tally.rounds == 12
    assert tally.is_clean


def test_a_checksum_is_of_values_kinds_and_table() -> None:
    row = (1, "a", b"a", 1.0, None)
    found = {checksum("meta", row), checksum("status", row), checksum("meta", (1, b"a", "a", 1.0, None))}
    found |= {checksum("meta", (1.0, "a", b"a", 1, None)), checksum("meta", (1, "ab", b"", 1.0, None))}
    assert len(found) == 5


def test_sessions_of_before_checksums_open_and_say_so() -> None:
    with SessionReader(Path("tests/session/data/version-1.maxact")) as reader:
        assert not reader.is_checked
        assert flips.shown(Path("tests/session/data/version-1.maxact"))


def _flipped(value: object, places: random.Random) -> object:
    if isinstance(value, int):
        return value ^ (1 << places.randrange(12))
    if isinstance(value, float):
        return value * 2 + 1
    if value is None:
        return 1
    raw = bytearray(value if isinstance(value, bytes) else str(value).encode())
    if not raw:
        return b"x"
    raw[places.randrange(len(raw))] ^= 1 << places.randrange(8)
    return bytes(raw)
