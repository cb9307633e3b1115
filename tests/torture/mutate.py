"""Sessions as a stranger might make them: rows with other values and the right checksums, read in every way.

- `run`     mutate so many sessions, each in a fresh copy
- `COMMANDS` what is then called with each
- `READERS` the ways of reading: the list, the summary, every export, comparing, merging, texts, a monitor
"""

from __future__ import annotations

import json
import random
import shutil
import signal
import sqlite3
import struct
import subprocess
import traceback
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

from engine.analysis.compare import compare
from engine.analysis.model import analyse
from engine.analysis.stability import read_stability
from engine.effect.results import read_effects
from engine.merging import MergeError, merge_sessions
from engine.quantization.populations import read_session_board
from engine.report.errors import ReportError
from engine.report.export import FORMATS, render
from engine.session.layout import SCHEMA_VERSION, columns
from engine.session.reader import SessionReader
from engine.session.schema import SessionError
from maxact_tui.pages.effects import effect_lines, effect_status
from maxact_tui.terminal.palette import choose_look
from maxact_tui.watching.looking import Look
from maxact_tui.watching.probes import KIND as PROBE
from maxact_tui.watching.probes import read_probe, read_tokens
from maxact_tui.watching.snapshot import Wish
from tests.session.stamping import stamped
from tests.torture import flips
from tests.torture.judging import UntoldError, require_told
from tests.torture.making import asked_session
from tests.torture.starting import is_fresh, starter
from tests.torture.tally import Tally

LIMIT_SECONDS = 120  # of processor time, so that other programs do not count
TABLES = ("meta", "status", "live", "totals", "arrays", "sample_maxima", "checkpoints", "samples", "vocabulary",
          "batches", "events", "commands", "results", "arrays", "arrays", "results")  # fmt: skip
_VALUES: tuple[Any, ...] = (
    -1, 0, 2**31, 2**62, 1e308, 5e-324, "", "x", b"", b"\xff", "[]", "{}", "null", "1e999", "[" * 5_000,
    "9" * 5_000, None
)  # fmt: skip
_BITS: tuple[bytes, ...] = (
    bytes(8), b"\xff" * 8, struct.pack("<q", -1), struct.pack("<q", 2**62), struct.pack("<q", -(2**63)),
    struct.pack("<ii", 2**31 - 1, -(2**31)), struct.pack("<d", float("inf")), struct.pack("<d", float("nan")),
    struct.pack("<d", -1e308), struct.pack("<ff", float("nan"), float("-inf")), struct.pack("<ff", 3e38, -3e38),
)  # fmt: skip
_INNER: tuple[Any, ...] = (
    -1, 0, 10**9, 10**18, 1e308, "", "\x1b[2J", [], {}, None, True, [[]], {"a": 1}, float("nan"), float("inf"), 10**400,
    "\ud800",
)  # fmt: skip


class _Endless(BaseException):
    """A reader does not come to an end."""


def _complete(session: Path) -> None:
    flips.shown(session)


def _merge(session: Path) -> None:
    target = session.with_name("merged.maxact")
    merge_sessions([session], target)
    target.unlink()


def _export(session: Path, formats: Sequence[str]) -> None:
    """What can be exported in one form and not in another is tried in all of them."""
    refused: list[SessionError | ReportError] = []
    with SessionReader(session) as reader:
        for kind in formats:
            try:
                render(reader, kind)
            except (SessionError, ReportError) as error:
                refused.append(error)
    if refused:
        raise refused[0]


def _export_some(session: Path) -> None:
    _export(session, tuple(FORMATS)[::2])


def _export_others(session: Path) -> None:
    _export(session, tuple(FORMATS)[1::2])


def _compare(session: Path) -> None:
    """With itself, and with the session as it was."""
    with SessionReader(session) as changed, SessionReader(session.parent.parent / session.name) as whole:
        found = [(analyse(reader), read_stability(reader)) for reader in (changed, whole)]
    for pair in (found, found[::-1]):
        compare([one for one, _ in pair], ["a", "b"], [one for _, one in pair])


def _texts(session: Path) -> None:
    """Samples and prompts with their values, as the screens read them."""
    with SessionReader(session) as reader:
        numbers = [result.number for result in reader.results(PROBE)]
        read_effects(reader), reader.commands(), reader.events(), reader.live(), reader.service(), reader.batches()
        read_session_board(reader)
        samples = [number for number, _, _ in reader.sample_labels()]
    for number in numbers:
        read_probe(session, number)
    for sample in samples:
        read_tokens(session, sample)


def _screen(session: Path) -> None:
    """All that a monitor reads in the background, and the page that is made of results."""
    look, last = Look(session), None
    try:
        while (snapshot := look.again(Wish(model=True, board=True))) is not None:
            last = snapshot
            if last.is_bug:
                raise AssertionError(last.problem)
        if last is not None and not last.problem:
            effect_status(last), effect_lines(last, choose_look(None), 100)
    finally:
        look.close()


COMMANDS: tuple[tuple[str, ...], ...] = (
    ("show", "SESSION", "--fail-on", "nonfinite,massive,m>1e9"), ("show", "SESSION", "--json"), ("sessions",),
    ("export", "SESSION", "--format", "json", "--force", "-o", "HOME"),
    ("compare", "SESSION", "WHOLE", "--format", "markdown"), ("merge", "SESSION", "OTHER", "-o", "merged.maxact"),
    ("effect", "SESSION", "--list"), ("add", "SESSION", "TEXTS", "--headless", "--samples", "2"),
)  # fmt: skip
READERS: tuple[Callable[[Path], None], ...] = (
    _complete, _merge, _export_some, _export_others, _compare, _texts, _screen,
)  # fmt: skip


def run(rounds: int, seed: int, folder: Path) -> Tally:
    """Change one value of a finished session per round; round n of a seed is the same whenever it is run.

    Args:
        rounds: how many.
        seed: of the changes; printed, and with the round beside every failure.
        folder: for the session and its copies.
    """
    session = asked_session(folder)
    print(f"mutate: seed {seed}, {rounds} rounds", flush=True)
    starter().open_doors()
    return sum((_both(session, seed, number) for number in range(rounds)), Tally())


def _both(session: Path, seed: int, number: int) -> Tally:
    found = mutate_once(session, seed, number)
    told = command_once(session, f"mutate: seed {seed} round {number}", fresh=is_fresh(seed + number))
    return replace(found, hangs=found.hangs | told.hangs, tracebacks=found.tracebacks | told.tracebacks)


def mutate_once(session: Path, seed: int, number: int) -> Tally:
    """One round: one value of one row is another one, and every reader has read it."""
    folder = session.parent / "mutated"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    copy = Path(shutil.copy(session, folder))
    where = f"mutate: seed {seed} round {number}: {_mutate(copy, random.Random(f'{seed} {number}'))}"
    hangs = tracebacks = 0
    spared = (_export_some, _export_others)[number % 2]  # exports cost half of a round
    for read in READERS:
        if read is spared:
            continue
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


def command_once(session: Path, where: str, *, fresh: bool) -> Tally:
    """Each of `COMMANDS` over the file that `mutate_once` has left; one that starts an engine is the last."""
    copy, hangs, tracebacks = session.parent / "mutated" / session.name, 0, 0
    places = {"SESSION": copy, "WHOLE": session, "HOME": copy.parent,
              "OTHER": session.parent / "other.maxact", "TEXTS": session.parent / "other.jsonl"}  # fmt: skip
    for words in COMMANDS:
        named = [places.get(word, word) for word in words]
        started = starter().command(*named, home=copy.parent, fresh=fresh)
        try:
            require_told(started, LIMIT_SECONDS)
        except subprocess.TimeoutExpired:
            started.kill()
            print(f"{where}: {words[0]} does not end", flush=True)
            hangs = 1
        except UntoldError as error:
            print(f"{where}: {words[0]}: {error}", flush=True)
            tracebacks = 1
    starter().kill_engines(copy)
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
    """The value with one part of its JSON or of its numbers changed; where it has none, another value."""
    if isinstance(value, bytes):
        return _numbers(value, chance)
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


def _numbers(blob: bytes, chance: random.Random) -> bytes:
    """The blob with some of its numbers changed, packed again as it was."""
    try:
        raw, is_packed = bytearray(zlib.decompress(blob)), True
    except zlib.error:
        raw, is_packed = bytearray(blob), False
    bits = chance.choice(_BITS)[: chance.choice([4, 8, 8])]
    for _ in range(chance.choice([1, 1, 8])):
        place = chance.randrange(max(len(raw) // len(bits), 1)) * len(bits)
        raw[place : place + len(bits)] = bits[: len(raw) - place]
    return zlib.compress(raw) if is_packed else bytes(raw)


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
