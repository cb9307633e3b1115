"""Sessions as a stranger might make them: rows with other values and the right checksums, read in every way.

- `run`     mutate so many sessions, each in a fresh copy
- `READERS` the ways of reading: the list, the summary, every export, comparing, merging
"""

from __future__ import annotations

import json
import random
import shutil
import signal
import sqlite3
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from engine.merging import MergeError, merge_sessions
from engine.report.errors import ReportError
from engine.report.export import FORMATS, render
from engine.session.layout import SCHEMA_VERSION, columns
from engine.session.reader import SessionReader
from engine.session.schema import SessionError
from tests.session.stamping import stamped
from tests.torture import flips
from tests.torture.tally import Tally

LIMIT_SECONDS = 120  # of processor time, so that other programs do not count
TABLES = ("meta", "status", "live", "totals", "arrays", "sample_maxima", "checkpoints", "samples", "vocabulary",
          "batches", "events", "commands", "results")  # fmt: skip
_VALUES: tuple[Any, ...] = (
    -1, 0, 2**31, 2**62, 1e308, 5e-324, "", "x", b"", b"\xff", "[]", "{}", "null", "1e999", "[" * 5_000, None
)  # fmt: skip
_INNER: tuple[Any, ...] = (-1, 0, 10**9, 10**18, 1e308, "", "\x1b[2J", [], {}, None, True, [[]], {"a": 1})


class _Endless(BaseException):
    """A reader does not come to an end."""


def _complete(session: Path) -> None:
    flips.shown(session)


def _merge(session: Path) -> None:
    target = session.with_name("merged.maxact")
    merge_sessions([session], target)
    target.unlink()


def _export(session: Path) -> None:
    """What can be exported in one form and not in another is tried in all of them."""
    refused: list[SessionError | ReportError] = []
    with SessionReader(session) as reader:
        for kind in FORMATS:
            try:
                render(reader, kind)
            except (SessionError, ReportError) as error:
                refused.append(error)
    if refused:
        raise refused[0]


READERS: tuple[Callable[[Path], None], ...] = (_complete, _merge, _export)


def run(rounds: int, seed: int, folder: Path) -> Tally:
    """Change one value of a finished session per round; round n of a seed is the same whenever it is run.

    Args:
        rounds: how many.
        seed: of the changes; printed, and with the round beside every failure.
        folder: for the session and its copies.
    """
    session = folder / "whole.maxact"
    if not session.exists():
        flips.finished_run(folder, session)
    print(f"mutate: seed {seed}, {rounds} rounds", flush=True)
    return sum((mutate_once(session, seed, number) for number in range(rounds)), Tally())


def mutate_once(session: Path, seed: int, number: int) -> Tally:
    """One round: one value of one row is another one, and every reader has read it."""
    folder = session.parent / "mutated"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    copy = Path(shutil.copy(session, folder))
    where = f"mutate: seed {seed} round {number}: {_mutate(copy, random.Random(f'{seed} {number}'))}"
    hangs = tracebacks = 0
    for read in READERS:
        try:
            with _limited():
                read(copy)
        except (SessionError, MergeError, ReportError) as error:
            if not str(error).isprintable():
                print(f"{where}: {read.__name__}: more than a line: {error!r}", flush=True)
                tracebacks = 1
        except _Endless:
            print(f"{where}: {read.__name__} does not end", flush=True)
            hangs = 1
        except Exception as error:  # noqa: BLE001  # what is looked for
            last = traceback.extract_tb(error.__traceback__)[-1]
            print(f"{where}: {read.__name__}: {error!r} at {last.filename}:{last.lineno}", flush=True)
            tracebacks = 1
    return Tally(rounds=1, hangs=hangs, tracebacks=tracebacks)


def _mutate(session: Path, chance: random.Random) -> str:
    """Change a value; gives back which, and into what."""
    table = chance.choice(TABLES)
    with stamped(session, table) as db:
        db.execute("PRAGMA ignore_check_constraints = ON")
        name = chance.choice(list(columns(table, SCHEMA_VERSION)))
        key = "rowid" if table != "meta" else "name"
        rows = db.execute(f"SELECT {key}, {name} FROM {table}").fetchall()
        if not rows:
            return f"{table} is empty"
        row, value = chance.choice(rows)
        changed = _inside(value, chance) if chance.random() < 0.7 else chance.choice(_VALUES)
        if changed is None:
            changed = 0
        with suppress(sqlite3.IntegrityError):  # no file can hold such a value there
            db.execute(f"UPDATE OR REPLACE {table} SET {name} = ? WHERE {key} = ?", (changed, row))
    return f"{table}.{name} of {row} became {str(changed)[:60]!r}"


def _inside(value: object, chance: random.Random) -> object:
    """The value with one part of its JSON changed; where it is none, another value."""
    try:
        data = json.loads(value) if isinstance(value, str) else None
    except ValueError:
        data = None
    if not isinstance(data, (dict, list)) or not data:
        return chance.choice(_VALUES)
    holder: Any = data
    while True:
        key = chance.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
        if not (isinstance(holder[key], (dict, list)) and holder[key] and chance.random() < 0.8):
            holder[key] = chance.choice(_INNER)
            return json.dumps(data)
        holder = holder[key]


@contextmanager
def _limited() -> Iterator[None]:
    def end(_number: int, _frame: FrameType | None) -> None:
        raise _Endless

    before = signal.signal(signal.SIGPROF, end)
    signal.setitimer(signal.ITIMER_PROF, LIMIT_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
