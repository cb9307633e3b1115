"""Tables of the session file, version by version: the text that makes them, and whether a file has just these.

- `SCHEMA_VERSION`   of files that are made now
- `CODES_VERSION`    from this one on an event is a code with data, before it was a text
- `CHECKED_VERSION`  from this one on every row has a checksum
- `statements`       SQL that makes the tables of a version
- `MIGRATIONS`       SQL that brings an older file up to date
- `columns`          the columns of a table, with the types that SQLite keeps them in
- `differs`          in what the tables of a file are not those of its version
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from functools import cache
from typing import Final

SCHEMA_VERSION: Final = 3
CHECKED_VERSION: Final = 3
CODES_VERSION: Final = 3
CHECKSUM: Final = "checksum"

_FIRST: Final = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE status (id INTEGER PRIMARY KEY CHECK (id = 1), value TEXT NOT NULL, heartbeat REAL NOT NULL);
CREATE TABLE live (id INTEGER PRIMARY KEY CHECK (id = 1), tick INTEGER NOT NULL, sites INTEGER NOT NULL,
                   data BLOB NOT NULL);
CREATE TABLE totals (site INTEGER PRIMARY KEY, dtype TEXT NOT NULL, width INTEGER NOT NULL);
CREATE TABLE arrays (owner TEXT NOT NULL, name TEXT NOT NULL, dtype TEXT NOT NULL, shape TEXT NOT NULL,
                     encoding TEXT NOT NULL, data BLOB NOT NULL, UNIQUE (owner, name));
CREATE TABLE sample_maxima (id INTEGER PRIMARY KEY, samples BLOB NOT NULL, sites INTEGER NOT NULL, data BLOB NOT NULL);
CREATE TABLE checkpoints (id INTEGER PRIMARY KEY CHECK (id = 1), number INTEGER NOT NULL, at REAL NOT NULL,
                          status TEXT NOT NULL);
CREATE TABLE samples (sample INTEGER PRIMARY KEY, category TEXT NOT NULL, language TEXT NOT NULL,
                      origin TEXT NOT NULL, tokens INTEGER NOT NULL, was_cut INTEGER NOT NULL, token_ids BLOB NOT NULL);
CREATE TABLE vocabulary (token_id INTEGER PRIMARY KEY, piece BLOB NOT NULL);
CREATE TABLE batches (batch INTEGER PRIMARY KEY, samples BLOB NOT NULL);
CREATE TABLE events (id INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, tokens INTEGER NOT NULL,
                     kind TEXT NOT NULL, text TEXT NOT NULL, site INTEGER);
CREATE TABLE commands (id INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, name TEXT NOT NULL,
                       arguments TEXT NOT NULL, state TEXT NOT NULL, answer TEXT NOT NULL);
"""
# What each version added to the one before it; a file is brought up to date when it is next opened for writing.
MIGRATIONS: Final[Mapping[int, str]] = {
    2: """
CREATE TABLE IF NOT EXISTS results (id INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, kind TEXT NOT NULL,
                                    title TEXT NOT NULL, settings TEXT NOT NULL, data TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS service (id INTEGER PRIMARY KEY CHECK (id = 1), value TEXT NOT NULL,
                                    heartbeat REAL NOT NULL);
""",
}
NEWEST_UNCHECKED: Final = max(MIGRATIONS)
"""Older files are brought to this version and no further: nobody knows whether their rows are as they were written."""
_KINDS: Final[Mapping[str, type]] = {"INTEGER": int, "REAL": float, "TEXT": str, "BLOB": bytes}
_TABLE: Final = re.compile(r"(CREATE TABLE (?:IF NOT EXISTS )?\w+ \()")
# Read site by site, and never whole: checked by the checksums of its rows, which are kept beside it.
SEPARATE: Final[Mapping[str, str]] = {"sample_maxima": "data"}
# Sentences are made where they are shown: what happened is kept as a code and its data.
_EVENT_TEXT: Final = "kind TEXT NOT NULL, text TEXT NOT NULL"
_MAXIMA: Final = "sites INTEGER NOT NULL, data BLOB NOT NULL)"


@cache
def statements(version: int) -> str:
    """SQL that makes the tables of this version."""
    text = _FIRST + "".join(added for number, added in MIGRATIONS.items() if number <= version)
    if version < CHECKED_VERSION:
        return text
    text = text.replace(_EVENT_TEXT, "kind TEXT NOT NULL, code TEXT NOT NULL, data TEXT NOT NULL")
    text = text.replace(_MAXIMA, _MAXIMA.replace("data", "sums BLOB NOT NULL, data"))
    return _TABLE.sub(rf"\1{CHECKSUM} INTEGER NOT NULL, ", text)


@cache
def columns(table: str, version: int) -> Mapping[str, str]:
    """Columns of a table that a row's checksum is of, with their types; empty if the version has no such table."""
    left_out = (CHECKSUM, SEPARATE.get(table))
    with closing(_model(version)) as db:
        rows = db.execute("SELECT name, type FROM pragma_table_info(?)", (table,)).fetchall()
    return {str(name): str(kind) for name, kind in rows if name not in left_out}


@cache
def kinds(table: str, version: int) -> tuple[tuple[type, ...], ...]:
    """What each of `columns` may hold, as Python's types: SQLite itself keeps a text in a column of numbers."""
    with closing(_model(version)) as db:
        rows = db.execute('SELECT name, "notnull" OR pk FROM pragma_table_info(?)', (table,)).fetchall()
    never_null = {str(name) for name, is_needed in rows if is_needed}
    return tuple(
        (_KINDS[kind],) if name in never_null else (_KINDS[kind], type(None))
        for name, kind in columns(table, version).items()
    )


def differs(connection: sqlite3.Connection, version: int) -> str:
    """In what a file's tables are not those of its version; empty if they are. Nothing of them is run.

    Views and triggers are programs of whoever made the file: no session has any.
    """
    found = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master").fetchall()
    wanted = _objects(version)
    for kind, name, *_ in found:
        if kind in ("view", "trigger"):
            return f"it holds a {kind}, which no session does"
        if not isinstance(name, str):
            return "its tables are not those of a session"
    if set(found) == wanted:
        return ""
    missing = sorted(one[1] for one in wanted - set(found) if one[1] not in {name for _, name, *_ in found})
    return f"no such table: {missing[0]}" if missing else "its tables are not those of a session"


@cache
def _objects(version: int) -> frozenset[tuple[str, str, str, str | None]]:
    with closing(_model(version)) as db:
        return frozenset(db.execute("SELECT type, name, tbl_name, sql FROM sqlite_master").fetchall())


def _model(version: int) -> sqlite3.Connection:
    """An empty database in memory with the tables of a version."""
    db = sqlite3.connect(":memory:")
    db.executescript(statements(version))
    return db
