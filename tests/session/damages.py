"""What can happen to a session file: each damage, done to one file.

- `EVERYTHING`  damages by name
- `BEGINNING`   the names of those after which not even a list can describe the session
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

PAGE = 4096
Damage = Callable[[Path], None]


def pages(first: int) -> Damage:
    """Random bytes over every page from this one on, as a bad disk leaves them."""

    def damage(session: Path) -> None:
        size = session.stat().st_size
        with session.open("r+b") as file:
            file.seek(PAGE * first)
            file.write(random.Random(0).randbytes(size - PAGE * first))

    return damage


def statement(sql: str) -> Damage:
    """What one SQL statement does to the tables."""

    def damage(session: Path) -> None:
        with closing(sqlite3.connect(session)) as db:
            db.execute(sql)
            db.commit()

    return damage


def cut_off(session: Path) -> None:
    """Only the first pages are there, as after a copy that broke off."""
    session.write_bytes(session.read_bytes()[: PAGE + 904])


BEGINNING: dict[str, Damage] = {
    "pages from 2": pages(2),
    "pages from 10": pages(10),
    "cut off": cut_off,
    "no status": statement("DELETE FROM status"),
    "a status of another kind": statement("UPDATE status SET value = json_set(value, '$.samples_done', 'many')"),
    "no meta": statement("DELETE FROM meta"),
    "no moment of creation": statement("DELETE FROM meta WHERE name = 'created'"),
    "an empty job": statement("UPDATE meta SET value = '{}' WHERE name = 'job'"),
    "a job cut short": statement("UPDATE meta SET value = '[' WHERE name = 'job'"),
    "a job that is a list": statement("UPDATE meta SET value = '[]' WHERE name = 'job'"),
    "a job that is no text": statement("UPDATE meta SET value = CAST(x'ff00' AS TEXT) WHERE name = 'job'"),
    "a layer beyond all": statement("UPDATE meta SET value = replace(value, '\"layer\": 0', '\"layer\": 1000000000')"),
    "no table of samples": statement("DROP TABLE samples"),
    "a plan without sites": statement("UPDATE meta SET value = '{\"sites\": [{}]}' WHERE name = 'plan'"),
}
NUMBERS: dict[str, Damage] = {
    "pages from 20": pages(20),
    "no arrays": statement("DELETE FROM arrays"),
    "arrays cut short": statement("UPDATE arrays SET data = substr(data, 1, 10)"),
    "arrays of no kind": statement("UPDATE arrays SET dtype = '\"?!\"'"),
    "arrays of another shape": statement("UPDATE arrays SET shape = '[1, 2, 3]'"),
    "maxima of elements beyond the corpus": statement("DELETE FROM samples WHERE sample > 2"),
    "widths beyond all": statement("UPDATE totals SET width = 1000000000"),
    "totals of no dtype": statement("UPDATE totals SET dtype = 'bfloat1Y'"),
    "no samples": statement("DELETE FROM samples"),
    "maxima cut short": statement("UPDATE sample_maxima SET data = substr(data, 1, 10)"),
    "a vocabulary of numbers": statement("UPDATE vocabulary SET piece = 7"),
}
EVERYTHING = BEGINNING | NUMBERS
