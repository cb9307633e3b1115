"""Rows that were changed behind the writer's back, with checksums again as if it had written them so.

- `stamped`  do something to a file by SQL, and give the rows of some tables their checksums
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from engine.session.layout import CHECKED_VERSION, CHECKSUM, columns
from engine.session.tables import checksum


@contextmanager
def stamped(session: Path, *tables: str) -> Iterator[sqlite3.Connection]:
    """A connection that is committed when the block ends; all rows of these tables then have their checksums."""
    with closing(sqlite3.connect(session)) as db:
        yield db
        (version,) = db.execute("PRAGMA user_version").fetchone()
        for table in tables if version >= CHECKED_VERSION else ():
            names = tuple(columns(table, version))
            key = " AND ".join(f"{name} IS ?" for name in names)
            for row in db.execute(f"SELECT {', '.join(names)} FROM {table}").fetchall():
                db.execute(f"UPDATE {table} SET {CHECKSUM} = ? WHERE {key}", (checksum(table, row), *row))
        db.commit()
