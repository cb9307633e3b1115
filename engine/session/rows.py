"""What a session file says in rows: the run, the engine's status, samples, events, requests and results.

- `SessionRows`  read-only view of them; `SessionReader` adds the numbers
- `SessionMeta`  what does not change during a run
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from engine.base.job import Addition, Job
from engine.base.stored import UnsoundError, check, moment, parse
from engine.messages import as_written, read_message
from engine.session import schema, splits
from engine.session.codec import unpack_int32
from engine.session.costs import CHOICE, SPENT, SitesChoice, Spent
from engine.session.damage import reading, reads
from engine.session.engine_lock import Role, is_locked
from engine.session.lastword import logged_failure
from engine.session.layout import CODES_VERSION
from engine.session.liveness import is_gone
from engine.session.maxima import last_sample
from engine.session.records import ENDED, Command, Event, Result, SampleRecord, Status
from engine.session.soundness import why_not_whole
from engine.session.splits import SplitRecord
from engine.session.tables import Row, Tables
from engine.sites.site import HookPlan

_SIZE_OF_A_LOST_FILE: Final = 1 << 30
_NUMBER = int | float
_TEXT = str | None
# What is read of the descriptions that the engine writes as JSON; what else is in them is only shown.
_ENTRIES: Final[dict[str, dict[str, Any]]] = {
    "provenance": {
        **dict.fromkeys(("resolved", "revision", "commit", "dtype", "quantization", "weight_hash"), _TEXT),
        **dict.fromkeys(("tokenizer_hash", "attention"), _TEXT),
        **dict.fromkeys(("device_map", "versions"), dict[str, Any] | None),
    },
    "corpus": {"name": _TEXT, "hash": _TEXT, "problems": list[str], "cut": int, "empty": int, "samples": int},
    "tokenizer": {"hash": _TEXT, "policy": _TEXT, "max_length": int | None},
}


@dataclass(frozen=True, slots=True)
class _Scope:
    """Where an effect was asked for."""

    site: str | None = None
    component: str | None = None
    layers: tuple[int, ...] | None = None
    exclude: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class _Maximum:
    """The largest |x| of a text."""

    value: float


# Likewise of what was asked for beside the run, of the answers, and of what came out.
_REQUEST: Final[dict[str, Any]] = {"scope": _Scope | None, "sample": int | None, "text": _TEXT, "policy": _TEXT}
_ANSWER: Final[dict[str, Any]] = {
    "text": _TEXT,
    "code": str,
    "data": dict[str, Any],
    "done": int | None,
    "total": int | None,
    "result": int | None,
}
_PROBE: Final[dict[str, Any]] = {"policy": _TEXT, "sample": int | None, "tokens": int, "maximum": _Maximum | None}
_DATA: Final = {"probe": _PROBE}


@dataclass(frozen=True, slots=True)
class SessionMeta:
    """What does not change during a run. Parts the engine has not written yet are None or empty."""

    job: Job
    created: float
    plan: HookPlan | None
    provenance: dict[str, Any]
    corpus: dict[str, Any]
    raw: dict[str, Any]

    @property
    def session_id(self) -> str:
        """A random name of the session that copies and moves keep; empty for sessions of versions before 0.3."""
        found = self.raw.get("id")
        return found if isinstance(found, str) else ""


class SessionRows:
    """Reads what one session file says in rows.

    Args:
        path: the file.
        wait_seconds: for another process that holds the file, at opening and by any method.
        is_glance: of a file at rest it is not asked whether all of it is there, which takes as long as reading it.

    Raises:
        BusyError: another process held it all the time.
        SessionError: at opening and by any method, when the file cannot be read; `DamagedError` where it does not
            hold what was written into it.
    """

    def __init__(self, path: Path | str, wait_seconds: float = schema.WAIT_SECONDS, *, is_glance: bool = False) -> None:
        self.path = Path(path)
        self._db = schema.open_readonly(self.path, wait_seconds)
        try:
            with reading(self.path, "its database"):
                self._tables = Tables(self._db)
                if not is_glance and (why := why_not_whole(self.path, self._tables)):
                    raise UnsoundError(why)
        except BaseException:
            self._db.close()
            raise

    @property
    def is_checked(self) -> bool:
        """Whether its rows have checksums; files of before schema 3 have none, and a changed bit may go unnoticed."""
        return self._tables.is_checked

    def begin_reading(self) -> None:
        """Let SQLite take as many steps again as reading the whole file needs."""
        schema.limit_steps(self._db, self._file_bytes())

    def _file_bytes(self) -> int:
        try:
            return self.path.stat().st_size
        except OSError:  # removed or renamed since; the open file goes on to be read
            return _SIZE_OF_A_LOST_FILE

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @reads("its database")
    def data_version(self) -> int:
        """A number that changes whenever another connection has committed; cheap to ask often."""
        return int(self._db.execute("PRAGMA data_version").fetchone()[0])

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """What is read inside is of one and the same moment, whatever the engine commits meanwhile; may be nested."""
        if self._db.in_transaction:
            yield
            return
        self._transact("BEGIN")
        try:
            yield
        except BaseException:
            with suppress(sqlite3.Error):  # what was raised inside says more
                self._db.execute("ROLLBACK")
            raise
        self._transact("COMMIT")

    @reads("its database")
    def _transact(self, command: str) -> None:
        self._db.execute(command)

    @reads("what it says of its run")
    def meta(self) -> SessionMeta:
        """Job, hook plan, provenance and corpus description."""
        raw = {name: parse(value) for name, value in self._tables.select("meta")}
        for name in ("job", "created"):
            if name not in raw:
                raise UnsoundError(f"'{name}' is missing")
        for name, kinds in _ENTRIES.items():
            if name in raw:
                _check_entries(raw[name], kinds, name)
        if raw.get(splits.META):
            SplitRecord.from_json(raw[splits.META])
        for entry, record in ((CHOICE, SitesChoice), (SPENT, Spent)):
            if raw.get(entry):
                record.from_json(raw[entry])
        check(list[Addition], raw.get("additions", []), "additions")
        plan = HookPlan.from_json(raw["plan"]) if raw.get("plan") else None
        provenance, corpus = raw.get("provenance", {}), raw.get("corpus", {})
        return SessionMeta(Job.from_json(raw["job"]), moment(raw["created"]), plan, provenance, corpus, raw)

    @reads("its status")
    def status(self) -> Status:
        """The engine's status, with phase `gone` where it ought to beat and does not.

        One that could not write its last status (a full disk) has `failed`, for the reason its log gives.
        """
        _, value, heartbeat = _required(self._tables.one("status"), "there is none")
        status = Status.from_json(parse(value)).changed(heartbeat=moment(heartbeat))
        created = self._tables.one("meta", "WHERE name = 'created'")
        _, created = _required(created, "when it was made is missing")
        if not is_gone(status, moment(parse(created)), locked=self._is_locked(status)):
            return status
        failure = logged_failure(self.path, status.started)
        if failure is None:
            return status.changed(phase="gone")
        return status.changed(phase="failed", message=failure[0], ended=failure[1])

    @reads("the status of its service")
    def service(self) -> Status | None:
        """The engine that answers requests about an ended run, `gone` where it ought to beat and does not.

        None where there never was one.
        """
        row = self._tables.one("service")
        if row is None:
            return None
        status = Status.from_json(parse(row[1])).changed(heartbeat=moment(row[2]))
        locked = self._is_locked(status, "service")
        return status.changed(phase="gone") if is_gone(status, status.started, locked=locked) else status

    def _is_locked(self, status: Status, role: Role = "run") -> bool | None:
        """Whether an engine that should be at work holds its lock; not asked of one that has ended."""
        return None if status.phase in ENDED else is_locked(self.path, role)

    @reads("its last checkpoint")
    def checkpoint_number(self) -> int:
        """How many checkpoints were written; 0 before the first."""
        row = self._tables.one("checkpoints")
        return _whole(row[1]) if row else 0

    @reads("its last checkpoint")
    def checkpoint_status(self) -> Status | None:
        """The status at the last checkpoint: the cursor of a resume."""
        row = self._tables.one("checkpoints")
        return Status.from_json(parse(row[3])) if row else None

    @reads("its results")
    def results(self, kind: str | None = None) -> list[Result]:
        """What was asked of the loaded model beside the measuring, oldest first; of one kind, if given."""
        rows = self._tables.select("results", "ORDER BY id")
        sound = (_checked(row, int, _NUMBER, str, str, str, str) for row in rows)
        found = (Result(r[0], moment(r[1]), r[2], r[3], _fields(r[4]), _fields(r[5], _DATA.get(r[2]))) for r in sound)
        return [result for result in found if kind is None or result.kind == kind]

    @reads("its samples")
    def sample(self, number: int) -> SampleRecord | None:
        """One sample with its token ids."""
        row = self._tables.one("samples", "WHERE sample = ?", (number,))
        if row is None:
            return None
        found, category, language, origin, tokens, was_cut, packed = _checked(row, int, str, str, str, int, int, bytes)
        ids = unpack_int32(packed, tokens)
        return SampleRecord(found, category, language, origin, bool(was_cut), ids)

    @reads("its samples")
    def sample_labels(self) -> list[tuple[int, str, int]]:
        """(number, category, tokens) of every sample, by number."""
        rows = self._tables.select("samples", "ORDER BY sample")
        return [_checked((number, category, tokens), int, str, int) for number, category, _, _, tokens, *_ in rows]

    @reads("its vocabulary")
    def pieces(self, token_ids: Iterable[int]) -> list[bytes]:
        """The bytes each token contributes to the text; `b''` for ids that were never stored."""
        wanted = [int(i) for i in token_ids]
        known: dict[int, bytes] = {}
        unique = sorted(set(wanted))
        for start in range(0, len(unique), 500):
            part = unique[start : start + 500]
            marks = ",".join("?" * len(part))
            rows = self._tables.select("vocabulary", f"WHERE token_id IN ({marks})", part)
            known.update(_checked(row, int, bytes) for row in rows)
        if self.is_checked and len(known) < len(unique):
            self._tables.verify("vocabulary")  # it was never stored, or is stored under another number now
        return [known.get(i, b"") for i in wanted]

    @reads("its batch plan")
    def batches(self) -> list[NDArray[np.int32]]:
        """The batch plan: the sample numbers of each batch, in run order."""
        most = self._last_sample() + 1
        return [unpack_int32(samples, most) for _, samples in self._tables.select("batches", "ORDER BY batch")]

    @reads("its events")
    def events(self, after: int = 0) -> list[Event]:
        """Events with a number above `after`, oldest first."""
        rows = self._tables.select("events", "WHERE id > ? ORDER BY id", (after,))
        if self._tables.version < CODES_VERSION:
            sound = (_checked(row, int, _NUMBER, int, str, str, int | None) for row in rows)
            return [
                Event(number, at, tokens, kind, as_written(text), site)
                for number, at, tokens, kind, text, site in sound
            ]
        coded = (_checked(row, int, _NUMBER, int, str, str, str, int | None) for row in rows)
        return [
            Event(number, at, tokens, kind, read_message({"code": code, "data": parse(data)}), site)
            for number, at, tokens, kind, code, data, site in coded
        ]

    @reads("its requests")
    def commands(self, after: int = 0) -> list[Command]:
        """Commands with a number above `after`, oldest first, with the engine's answers."""
        rows = self._tables.select("commands", "WHERE id > ? ORDER BY id", (after,))
        sound = (_checked(row, int, _NUMBER, str, str, str, str) for row in rows)
        return [
            Command(r[0], moment(r[1]), r[2], _fields(r[3], _REQUEST), r[4], _checked_answer(_fields(r[5], _ANSWER)))
            for r in sound
        ]

    def _last_sample(self) -> int:
        """The largest number of a sample, -1 without any."""
        return last_sample(self._tables)


def _required(row: Row | None, missing: str) -> Row:
    """The one row that every session has of this; `missing` says in words that there is none."""
    if row is None:
        raise UnsoundError(missing)
    return row


def _whole(value: object) -> int:
    """A count, as a number that is none less than nothing."""
    if not isinstance(value, int) or value < 0:
        raise UnsoundError("changed")
    return value


def _check_entries(entries: object, kinds: dict[str, Any], name: str) -> None:
    """Refuse a description whose parts are of other kinds than they are written in; each may be missing."""
    if not isinstance(entries, dict):
        raise UnsoundError("cut short or changed")
    for entry, kind in kinds.items():
        if entry in entries:
            check(kind, entries[entry], f"{name}.{entry}")


def _checked(row: tuple[Any, ...], *kinds: Any) -> Any:
    """The row, of which each value is of its kind: SQLite stores any value in any column."""
    if not all(map(isinstance, row, kinds)):
        raise UnsoundError("changed")
    return row


def _checked_answer(answer: dict[str, Any]) -> dict[str, Any]:
    if "code" in answer:
        read_message(answer)
    return answer


def _fields(text: str, kinds: dict[str, Any] | None = None) -> dict[str, Any]:
    found: dict[str, Any] = parse(text)
    _check_entries(found, kinds or {}, "changed")
    return found
