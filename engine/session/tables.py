"""Rows of a session file with their checksums: every row is written and read here.

- `Tables`    the tables of an open file: select, verify, put, insert, change
- `checksum`  of a row

A checksum is a CRC-32: it finds every single changed bit and every run of up to 32 changed bits (Peterson and Brown
1961). It guards against disks and memory, not against people, who can compute one.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from engine.base.stored import UnsoundError
from engine.session.layout import CHECKED_VERSION, CHECKSUM, SEPARATE, columns, kinds

Row = tuple[Any, ...]
CHANGED: Final = "a row is not what was written: its checksum differs"
OF_ANOTHER_KIND: Final = "a value is of another kind than its column"
_MARKS: Final[Mapping[type, bytes]] = {bytes: b"b%d:", str: b"s%d:", int: b"i%d:", float: b"f%d:", type(None): b"n%d:"}


def checksum(table: str, row: Sequence[object]) -> int:
    """The CRC-32 of a row's values as SQLite gives them back, each behind its kind and length, and of the table."""
    found = zlib.crc32(table.encode())
    for value in row:
        kind = type(value)
        if kind is bytes:
            raw: Any = value
        elif kind is str:
            raw = value.encode("utf-8", "surrogatepass")  # type: ignore[attr-defined]
        else:
            raw = repr(value).encode()  # the shortest text that reads back as this number
        found = zlib.crc32(raw, zlib.crc32(_MARKS[kind] % len(raw), found))
    return found


class Tables:
    """The tables of one open session file; files of before version 3 have no checksums, and none is looked for.

    Args:
        connection: to a file whose tables are those of its version.

    Attributes:
        connection: to the file, for what is no row.
        version: of the file.
        is_checked: whether its rows have checksums.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        self.is_checked = self.version >= CHECKED_VERSION

    def has(self, table: str) -> bool:
        """Whether files of this version have such a table."""
        return bool(columns(table, self.version))

    def select(self, table: str, rest: str = "", given: Sequence[object] = ()) -> Iterator[Row]:
        """Whole rows, in the order of the columns, each checked before it is given.

        Args:
            table: its name; a file without it gives no rows.
            rest: the query behind the table's name: `WHERE`, `ORDER BY`.
            given: values of the question marks in it.

        Raises:
            UnsoundError: a row is not what was written, or holds what its columns do not.
        """
        names = columns(table, self.version)
        if not names:
            return
        wanted, asked = kinds(table, self.version), [*names, *([CHECKSUM] if self.is_checked else [])]
        for row in self.connection.execute(f"SELECT {', '.join(asked)} FROM {table} {rest}", given):
            values = row[: len(wanted)]
            if self.is_checked and checksum(table, values) != row[-1]:
                raise UnsoundError(CHANGED)
            if any(type(value) not in allowed for value, allowed in zip(values, wanted, strict=True)):
                raise UnsoundError(OF_ANOTHER_KIND)
            yield values

    def verify(self, table: str) -> None:
        """Read every row; raises as `select` does."""
        for _ in self.select(table):
            pass

    def one(self, table: str, rest: str = "", given: Sequence[object] = ()) -> Row | None:
        """The first of the rows that `select` gives; None if there is none."""
        return next(self.select(table, rest, given), None)

    def put(self, table: str, rows: Iterable[Sequence[object]], separate: bytes | None = None) -> None:
        """Store whole rows, in the order of the columns; each replaces the one of the same key.

        Args:
            table: its name.
            rows: the rows.
            separate: what is kept beside the only row without being part of it (`layout.SEPARATE`).
        """
        wanted = [kind for kind, *_ in kinds(table, self.version)]
        names = [*columns(table, self.version)]
        names += [SEPARATE[table]] if separate is not None else []
        names += [CHECKSUM] if self.is_checked else []
        marks = ", ".join("?" * len(names))
        statement = f"INSERT OR REPLACE INTO {table} ({', '.join(names)}) VALUES ({marks})"
        self.connection.executemany(statement, (self._stored(table, wanted, row, separate) for row in rows))

    def insert(self, table: str, *values: object) -> int:
        """Store a new row under the next number, which is given back; the values are those of the other columns."""
        (number,) = self.connection.execute(
            f"SELECT max(coalesce((SELECT max(id) FROM {table}), 0),"
            " coalesce((SELECT seq FROM sqlite_sequence WHERE name = ?), 0)) + 1",
            (table,),
        ).fetchone()
        self.put(table, [(number, *values)])
        return int(number)

    def change(self, table: str, rest: str, given: Sequence[object], **changes: object) -> None:
        """Change some columns of the rows that `select` gives."""
        names = tuple(columns(table, self.version))
        rows = [dict(zip(names, row, strict=True)) | changes for row in self.select(table, rest, given)]
        self.put(table, [tuple(row.values()) for row in rows])

    def _stored(self, table: str, kinds: Sequence[type], row: Sequence[object], separate: bytes | None) -> list[object]:
        """The row as SQLite will give it back, with what goes beside it."""
        values: list[object] = [
            value if value is None or type(value) is kind else kind(value)
            for kind, value in zip(kinds, row, strict=True)
        ]
        more: list[object] = [] if separate is None else [separate]
        return [*values, *more, checksum(table, values)] if self.is_checked else [*values, *more]
