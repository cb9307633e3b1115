"""`SessionWriter`: what the engine writes, each call one transaction."""

from __future__ import annotations

import json
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.base.job import Job
from engine.base.stored import UnsoundError
from engine.messages import Message, words
from engine.session import schema
from engine.session.codec import encode, pack_int32, unpack_int32
from engine.session.damage import reading
from engine.session.engine_lock import Role
from engine.session.layout import CODES_VERSION
from engine.session.maxima import last_sample, put_block
from engine.session.records import REPLACES, Command, SampleRecord, Status
from engine.session.schema import EXPERTS, RESULTS, SessionError
from engine.session.tables import Tables
from engine.statistics.experts import ExpertTotals
from engine.statistics.totals import SiteTotals

# Kept apart from the totals: appended checkpoint by checkpoint instead of rewritten whole.
_APPENDED = frozenset({"sample_max"})
COMMANDS_AT_ONCE = 256


class TakenOverError(SessionError):
    """Another engine has begun to work on the session; this one must not write into it any more."""


def _inode_of(path: Path) -> tuple[int, int] | None:
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_dev, state.st_ino


class SessionWriter:
    """Writes one session file; safe to call from several threads of the engine.

    Every method is one transaction, so the file is whole after any kill. Errors of the disk surface as
    `sqlite3.OperationalError`; what was committed before stays.

    Raises:
        DamagedError: by any method, when the file does not hold what was written into it.
        TakenOverError: by any method after `claim`, when another engine has claimed the session since.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection
        self._tables = Tables(connection)
        self._inode = _inode_of(path)
        self._lock = threading.RLock()
        self._claim: tuple[str, str] | None = None

    @classmethod
    def create(cls, path: Path, job: Job, created: float | None = None) -> SessionWriter:
        """Make a new session file for `job`; the engine opens it later by its path.

        Raises:
            SessionError: the file exists already or cannot be written.
        """

        def begin(connection: sqlite3.Connection) -> None:
            writer = cls(path, connection)
            made = time.time() if created is None else created
            writer.set_meta(job=job.to_json(), created=made, id=secrets.token_hex(16))
            writer.set_status(Status(phase="starting"))

        return cls(path, schema.create(path, begin))

    @classmethod
    def open(cls, path: Path, *, live: bool = False, wait_seconds: float = schema.WAIT_SECONDS) -> SessionWriter:
        """Open an existing session file for writing; `live` by an engine, which others watch.

        Every call waits at most `wait_seconds` for another process that writes.

        Raises:
            BusyError: another process held it all the time.
            SessionError: not there, not a session, or not writable.
        """
        return cls(path, schema.open_writable(path, live=live, wait_seconds=wait_seconds))

    def claim(self, role: Role = "run") -> None:
        """Become the session's engine: from now on every transaction checks that no other one has claimed it since."""
        name, token = f"{role}_token", secrets.token_hex(16)
        self._claim = None
        self.set_meta(**{name: token})
        self._claim = (name, json.dumps(token))

    def wait_for_others(self, seconds: float) -> None:
        """How long from now on every call waits for somebody else who holds the file."""
        with self._lock:
            self._connection.execute(f"PRAGMA busy_timeout = {int(1000 * seconds)}")

    def set_meta(self, **values: Any) -> None:
        """Store JSON values under these names (`job`, `provenance`, `plan`, `corpus`, `tokenizer`, ...)."""
        rows = [(name, json.dumps(value)) for name, value in values.items()]
        with self._transaction():
            self._tables.put("meta", rows)

    def append_meta(self, name: str, value: Any) -> None:
        """Append a JSON value to the list stored under `name`."""
        with self._transaction():
            row = self._tables.one("meta", "WHERE name = ?", (name,))
            self.set_meta(**{name: [*(json.loads(row[1]) if row else []), value]})

    def set_status(self, status: Status) -> None:
        """Replace the status; its heartbeat is stored beside it so that `beat` can move it alone."""
        with self._transaction():
            self._tables.put("status", [(1, self._named(status), status.heartbeat)])

    def _named(self, status: Status) -> str:
        """A status as JSON, with the session's own name: pages of another session's log would bring another one."""
        row = self._tables.one("meta", "WHERE name = 'id'")
        return json.dumps(status.to_json() | ({} if row is None else {"session": json.loads(row[1])}))

    def replace_status(self, expected: Status, status: Status) -> bool:
        """Replace the status if it still is `expected`; says whether it was."""
        with self._transaction():
            stored = self._tables.one("status")
            if stored is None or stored[1] != self._named(expected):
                return False
            self.set_status(status)
            return True

    def beat(self, at: float) -> None:
        """Say that the engine is alive."""
        with self._transaction():
            self._tables.change("status", "", (), heartbeat=at)

    def add_samples(self, samples: Iterable[SampleRecord], vocabulary: Mapping[int, bytes]) -> None:
        """Store the tokenised corpus and the bytes each token id contributes to the text."""
        rows = (
            (s.number, s.category, s.language, s.origin, len(s.token_ids), s.was_cut, pack_int32(s.token_ids))
            for s in samples
        )
        with self._transaction():
            self._tables.put("samples", rows)
            self._tables.put("vocabulary", vocabulary.items())

    def set_batches(self, batches: Sequence[Sequence[int]]) -> None:
        """Store the batch plan: for each batch the sample numbers, in run order."""
        rows = ((number, pack_int32(np.asarray(batch))) for number, batch in enumerate(batches))
        with self._transaction() as db:
            db.execute("DELETE FROM batches")
            self._tables.put("batches", rows)

    def tick(self, status: Status, live: NDArray[np.float64] | None) -> None:
        """Store the status and, if given, the newest scalars, float64 [sites, len(LIVE_FIELDS)]."""
        with self._transaction() as db:
            self.set_status(status)
            if live is not None:
                (tick,) = db.execute("SELECT coalesce(max(tick), 0) + 1 FROM live").fetchone()
                self._tables.put("live", [(1, tick, len(live), np.ascontiguousarray(live, "<f8").tobytes())])

    def checkpoint(
        self,
        status: Status,
        totals: Sequence[SiteTotals | None],
        new_samples: NDArray[Any],
        experts: Mapping[int, ExpertTotals | None] | None = None,
        further: Mapping[str, Mapping[str, NDArray[Any]]] | None = None,
    ) -> None:
        """Store all totals with the cursor, atomically: a resumed run starts from exactly here.

        Args:
            status: the moment this checkpoint describes (its counters are the cursor); ticks go on meanwhile.
            totals: one per site of the plan, None for sites that have seen nothing.
            new_samples: numbers of the samples finished since the last checkpoint; what is stored here is the
                record of which samples are done.
            experts: per-expert totals by the number of their layer's first expert site.
            further: arrays of other owners by name; read back by `SessionReader.extra`.
        """
        rows = [
            (str(site), name, e.dtype, e.shape, e.encoding, e.data)
            for site, one in enumerate(totals)
            if one is not None
            for name, array in one.to_arrays().items()
            if name not in _APPENDED
            for e in (encode(array),)
        ]
        rows += [
            (f"{EXPERTS}{site}", name, e.dtype, e.shape, e.encoding, e.data)
            for site, one in (experts or {}).items()
            if one is not None
            for name, array in one.to_arrays().items()
            for e in (encode(array),)
        ]
        rows += [
            (owner, name, e.dtype, e.shape, e.encoding, e.data)
            for owner, arrays in (further or {}).items()
            for name, array in arrays.items()
            for e in (encode(array),)
        ]
        shapes = [(site, one.dtype, one.width) for site, one in enumerate(totals) if one is not None]
        with self._transaction() as db:
            self._tables.put("arrays", rows)
            self._tables.put("totals", shapes)
            self._append_sample_maxima(totals, np.asarray(new_samples, np.int64))
            (number,) = db.execute("SELECT coalesce(max(number), 0) + 1 FROM checkpoints").fetchone()
            self._tables.put("checkpoints", [(1, number, time.time(), self._named(status))])

    def add_event(self, kind: str, message: Message, tokens: int = 0, site: int | None = None) -> None:
        """Record something that mattered; one that counts sites replaces the one before it.

        A file of before schema 3 has a text in place of code and data: there it is the sentence.
        """
        is_coded = self._tables.version >= CODES_VERSION
        said = (message.code, json.dumps(message.data)) if is_coded else (words(message),)
        with self._transaction() as db:
            for old in REPLACES.get(kind, ()):
                db.execute("DELETE FROM events WHERE kind = ?", (old,))
            self._tables.insert("events", time.time(), tokens, kind, *said, site)

    def new_commands(self) -> list[Command]:
        """Commands no engine has answered yet, the oldest `COMMANDS_AT_ONCE`; a stop goes before all others."""
        with self._lock, reading(self.path, "its requests"):
            wanted = f"WHERE state = 'new' ORDER BY name != 'stop', id LIMIT {COMMANDS_AT_ONCE}"
            rows = list(self._tables.select("commands", wanted))
        return [Command(r[0], r[1], r[2], json.loads(r[3]), r[4], json.loads(r[5])) for r in rows]

    def answer(self, command: Command, state: str, message: Message | None = None, **amounts: int) -> None:
        """Answer a command.

        Args:
            command: the command.
            state: `working`, `done` or `refused`.
            message: what is said of it.
            amounts: `done` and `total` steps, or the number of a `result`.
        """
        answer = (message.to_json() if message is not None else {}) | amounts
        with self._transaction():
            self._tables.change("commands", "WHERE id = ?", (command.number,), state=state, answer=json.dumps(answer))

    def refuse_unanswered(self, why: Message, kept: Sequence[str] = ()) -> None:
        """Refuse every command that nobody has answered for good, but those named `kept`."""
        marks = ",".join("?" * len(kept))
        with self._transaction():
            waiting = f"WHERE state IN ('new', 'working') AND name NOT IN ({marks})"
            self._tables.change("commands", waiting, kept, state="refused", answer=json.dumps(why.to_json()))

    def add_result(
        self,
        kind: str,
        title: str,
        settings: Mapping[str, Any],
        data: Mapping[str, Any],
        arrays: Mapping[str, NDArray[Any]] | None = None,
    ) -> int:
        """Keep what work on the loaded model gave.

        Args:
            kind: `probe`, `effect`, ...
            title: one line that names it in a list.
            settings: what was asked for, JSON values.
            data: what came out, JSON values.
            arrays: what came out as arrays; read back by `SessionReader.result_arrays`.

        Returns:
            The result's number.
        """
        described = (kind, title, json.dumps(dict(settings)), json.dumps(dict(data)))
        with self._transaction():
            number = self._tables.insert("results", time.time(), *described)
            rows = [
                (f"{RESULTS}{number}", name, e.dtype, e.shape, e.encoding, e.data)
                for name, array in (arrays or {}).items()
                for e in (encode(array),)
            ]
            self._tables.put("arrays", rows)
        return number

    def set_service(self, status: Status) -> None:
        """Replace the status of the engine that answers requests about an ended run."""
        with self._transaction():
            self._tables.put("service", [(1, json.dumps(status.to_json()), status.heartbeat)])

    def beat_service(self, at: float) -> None:
        """Say that the engine that answers requests is alive."""
        with self._transaction():
            self._tables.change("service", "", (), heartbeat=at)

    def has_its_name(self) -> bool:
        """Whether the file that is written is the one that has the session's name."""
        return _inode_of(self.path) == self._inode

    def copy(self, path: Path) -> SessionWriter:
        """A new session file with all that was committed into this one, whatever has become of its name.

        Raises:
            SessionError: there is such a file, or it cannot be written.
        """
        with self._lock:
            return SessionWriter(path, schema.copy(self._connection, path))

    def samples_done(self) -> list[int]:
        """Numbers of the samples that are in the last checkpoint."""
        with self._lock:
            most = last_sample(self._tables) + 1
            blocks = [unpack_int32(row[1], most) for row in self._tables.select("sample_maxima", "ORDER BY id")]
        return [int(number) for block in blocks for number in block]

    def close(self, *, final: bool = False) -> None:
        """Close the file; `final` folds the write-ahead log in, so that the one file can be copied."""
        with self._lock:
            if final:
                # A screen that is reading right now keeps the log open; SQLite then folds it in at the last close.
                with suppress(sqlite3.OperationalError):
                    self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                    self._connection.execute("PRAGMA journal_mode = DELETE")
            self._connection.close()

    def _append_sample_maxima(self, totals: Sequence[SiteTotals | None], samples: NDArray[np.int64]) -> None:
        if samples.size == 0:
            return
        # What the session lacks of earlier samples is not measured of later ones: a block without sites says so.
        is_lacking = any(one is not None and not one.has("sample_max") for one in totals)
        sites = 0 if is_lacking else len(totals)
        block = np.full((sites, samples.size), np.nan, "<f4")
        for site, one in enumerate(totals[:sites]):
            if one is not None:
                block[site] = one.sample_max[samples]
        put_block(self._tables, samples, block)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            nested = self._connection.in_transaction
            if nested:
                yield self._connection
                return
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                self._check_claim()
                yield self._connection
                # With a rollback journal this waits for readers, and fails where one stays longer than the time-out.
                self._connection.execute("COMMIT")
            except BaseException as error:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                if isinstance(error, sqlite3.DatabaseError) and schema.is_damage(error):
                    raise schema.unreadable(self.path, "its database", error) from error
                if isinstance(error, UnsoundError):
                    raise schema.DamagedError(self.path, f"its database cannot be read ({error})") from error
                raise

    def _check_claim(self) -> None:
        if self._claim is None:
            return
        name, token = self._claim
        row = self._connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        if row is None or row[0] != token:
            raise TakenOverError(f"another engine has taken over {self.path}; this one ends")
