"""`SessionReader`: what every screen, report and comparison reads; and how a screen asks for something.

- `SessionReader`  read-only view of one session file, live or finished
- `SessionMeta`    what does not change during a run
- `send_command`   put a request for the engine into the file
- `is_gone`        whether an engine that should beat has stopped
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.job import Job
from engine.session import schema
from engine.session.codec import EncodedArray, decode, unpack_int32
from engine.session.liveness import is_gone
from engine.session.maxima import SampleMaxima
from engine.session.records import LIVE_FIELDS, Command, Event, LiveTable, Result, SampleRecord, Status
from engine.sites.site import HookPlan
from engine.statistics.experts import ExpertTotals
from engine.statistics.totals import SiteTotals


@dataclass(frozen=True, slots=True)
class SessionMeta:
    """What does not change during a run. Parts the engine has not written yet are None or empty."""

    job: Job
    created: float
    plan: HookPlan | None
    provenance: dict[str, Any]
    corpus: dict[str, Any]
    raw: dict[str, Any]


class SessionReader:
    """Reads one session file; never writes, never blocks the engine for long.

    Raises:
        SessionError: at opening, when the file cannot be read.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._db = schema.open_readonly(self.path)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def __enter__(self) -> SessionReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def data_version(self) -> int:
        """A number that changes whenever another connection has committed; cheap to ask often."""
        return int(self._db.execute("PRAGMA data_version").fetchone()[0])

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """What is read inside is of one and the same moment, whatever the engine commits meanwhile; may be nested."""
        if self._db.in_transaction:
            yield
            return
        self._db.execute("BEGIN")
        try:
            yield
        finally:
            self._db.execute("COMMIT")

    def meta(self) -> SessionMeta:
        """Job, hook plan, provenance and corpus description."""
        raw = {name: json.loads(value) for name, value in self._db.execute("SELECT name, value FROM meta")}
        plan = HookPlan.from_json(raw["plan"]) if raw.get("plan") else None
        return SessionMeta(
            Job.from_json(raw["job"]), raw["created"], plan, raw.get("provenance", {}), raw.get("corpus", {}), raw
        )

    def status(self) -> Status:
        """The engine's status, with phase `gone` where it ought to beat and does not."""
        value, heartbeat = self._db.execute("SELECT value, heartbeat FROM status").fetchone()
        status = Status.from_json(json.loads(value)).changed(heartbeat=heartbeat)
        created = json.loads(self._db.execute("SELECT value FROM meta WHERE name = 'created'").fetchone()[0])
        return status.changed(phase="gone") if is_gone(status, created) else status

    def service(self) -> Status | None:
        """The engine that answers requests about an ended run, `gone` where it ought to beat and does not.

        None where there never was one.
        """
        row = self._rows_if_known("service", "SELECT value, heartbeat FROM service")
        if not row:
            return None
        status = Status.from_json(json.loads(row[0][0])).changed(heartbeat=row[0][1])
        return status.changed(phase="gone") if is_gone(status, status.started) else status

    def results(self, kind: str | None = None) -> list[Result]:
        """What was asked of the loaded model beside the measuring, oldest first; of one kind, if given."""
        rows = self._rows_if_known("results", "SELECT id, at, kind, title, settings, data FROM results ORDER BY id")
        found = (Result(r[0], r[1], r[2], r[3], json.loads(r[4]), json.loads(r[5])) for r in rows)
        return [result for result in found if kind is None or result.kind == kind]

    def result_arrays(self, number: int) -> dict[str, NDArray[Any]]:
        """The arrays of one result by name; empty if it has none."""
        return self.extra(f"{schema.RESULTS}{number}")

    def live(self) -> LiveTable | None:
        """The newest scalars of every site; None before the first tick."""
        row = self._db.execute("SELECT tick, sites, data FROM live").fetchone()
        if row is None:
            return None
        return LiveTable(row[0], np.frombuffer(row[2], "<f8").reshape(row[1], len(LIVE_FIELDS)))

    def checkpoint_number(self) -> int:
        """How many checkpoints were written; 0 before the first."""
        row = self._db.execute("SELECT number FROM checkpoints").fetchone()
        return int(row[0]) if row else 0

    def checkpoint_status(self) -> Status | None:
        """The status at the last checkpoint: the cursor of a resume."""
        row = self._db.execute("SELECT status FROM checkpoints").fetchone()
        return Status.from_json(json.loads(row[0])) if row else None

    def saved_magnitude(self) -> NDArray[np.float64]:
        """M_site of every site of the plan at the last checkpoint, float64 [sites], NaN where nothing was seen."""
        plan = self.meta().plan
        found = np.full(len(plan.sites) if plan else 0, np.nan)
        rows = self._db.execute(
            "SELECT site, a.dtype, shape, encoding, data FROM totals t JOIN arrays a "
            "ON a.owner = CAST(t.site AS TEXT) AND a.name = 'extremes'"
        )
        for site, *encoded in rows:
            magnitude = float(np.abs(decode(EncodedArray(*encoded))).max())
            found[site] = magnitude if np.isfinite(magnitude) else np.nan
        return found

    def totals(self, site: int) -> SiteTotals | None:
        """Everything kept of one site at the last checkpoint; None if it has seen nothing."""
        with self.snapshot():
            row = self._db.execute("SELECT dtype, width FROM totals WHERE site = ?", (site,)).fetchone()
            if row is None:
                return None
            arrays = self.extra(str(site))
            arrays["sample_max"] = SampleMaxima(self._db).rows(site, site + 1)[0]
        return SiteTotals.from_arrays(row[0], row[1], arrays)

    def all_totals(self) -> list[SiteTotals | None]:
        """`totals` of every site of the plan, in its order, as of one and the same checkpoint."""
        with self.snapshot():
            return list(self.iter_totals())

    def iter_totals(self, fields: Collection[str] | None = None) -> Iterator[SiteTotals | None]:
        """`totals` of one site of the plan after the other; inside `snapshot` they are of one checkpoint.

        Args:
            fields: the arrays to read, all if None; the others are those of a site that has seen nothing.
        """
        plan = self.meta().plan
        sites = len(plan.sites) if plan else 0
        shapes = {row[0]: (row[1], row[2]) for row in self._db.execute("SELECT site, dtype, width FROM totals")}
        for site, maxima in enumerate(self._rows_of_maxima(sites, fields)):
            if site not in shapes:
                yield None
                continue
            dtype, width = shapes[site]
            arrays = self.extra(str(site), fields)
            if maxima is not None:
                arrays["sample_max"] = maxima
            if fields is not None:
                arrays = (
                    SiteTotals.empty(dtype, width, len(arrays.get("sample_max", ())), census=False).to_arrays() | arrays
                )
            yield SiteTotals.from_arrays(dtype, width, arrays)

    def _rows_of_maxima(self, sites: int, fields: Collection[str] | None) -> Iterator[NDArray[np.float32] | None]:
        """The per-sample maxima of each site, if they are among the fields."""
        if fields is not None and "sample_max" not in fields:
            yield from [None] * sites
            return
        for _, rows in SampleMaxima(self._db).chunks(sites):
            yield from rows

    def extra(self, owner: str, names: Collection[str] | None = None) -> dict[str, NDArray[Any]]:
        """Further arrays stored under `owner`, those of these names if given; empty if there are none."""
        query = "SELECT name, dtype, shape, encoding, data FROM arrays WHERE owner = ?"
        if names is not None:
            query += f" AND name IN ({','.join('?' * len(names))})"
        rows = self._db.execute(query, (owner, *(names or ())))
        return {row[0]: decode(EncodedArray(*row[1:])) for row in rows}

    def array(self, owner: str, name: str) -> NDArray[Any] | None:
        """One of the arrays stored under `owner`, without decoding the others; None if there is none."""
        row = self._db.execute(
            "SELECT dtype, shape, encoding, data FROM arrays WHERE owner = ? AND name = ?", (owner, name)
        ).fetchone()
        return decode(EncodedArray(*row)) if row else None

    def expert_totals(self) -> dict[int, ExpertTotals]:
        """Per-expert totals of every MoE layer that was tapped, by the number of its first expert site."""
        owners = self._db.execute("SELECT DISTINCT owner FROM arrays WHERE owner LIKE ?", (f"{schema.EXPERTS}%",))
        numbers = sorted(int(owner.removeprefix(schema.EXPERTS)) for (owner,) in owners)
        return {number: ExpertTotals.from_arrays(self.extra(f"{schema.EXPERTS}{number}")) for number in numbers}

    def sample_maxima(self) -> NDArray[np.float32]:
        """Per-sample max|x|, float32 [sites, samples], NaN for samples not done or not seen by a site."""
        with self.snapshot():
            found = SampleMaxima(self._db)
            result = np.full((found.sites, found.samples), np.nan, np.float32)
            for first, rows in found.chunks(found.sites):
                result[first : first + len(rows)] = rows
        return result

    def samples_done(self) -> NDArray[np.int32]:
        """Numbers of the samples finished by the last checkpoint, in the order they were run, int32 [n]."""
        blocks = [unpack_int32(row[0]) for row in self._db.execute("SELECT samples FROM sample_maxima ORDER BY id")]
        return np.concatenate(blocks) if blocks else np.zeros(0, np.int32)

    def sample(self, number: int) -> SampleRecord | None:
        """One sample with its token ids."""
        row = self._db.execute(
            "SELECT sample, category, language, origin, was_cut, token_ids FROM samples WHERE sample = ?", (number,)
        ).fetchone()
        if row is None:
            return None
        was_cut, token_ids = bool(row[4]), unpack_int32(row[5])
        return SampleRecord(row[0], row[1], row[2], row[3], was_cut, token_ids)

    def sample_labels(self) -> list[tuple[int, str, int]]:
        """(number, category, tokens) of every sample, by number."""
        return self._db.execute("SELECT sample, category, tokens FROM samples ORDER BY sample").fetchall()

    def pieces(self, token_ids: Iterable[int]) -> list[bytes]:
        """The bytes each token contributes to the text; `b''` for ids that were never stored."""
        wanted = [int(i) for i in token_ids]
        known: dict[int, bytes] = {}
        unique = sorted(set(wanted))
        for start in range(0, len(unique), 500):
            part = unique[start : start + 500]
            marks = ",".join("?" * len(part))
            known.update(self._db.execute(f"SELECT token_id, piece FROM vocabulary WHERE token_id IN ({marks})", part))
        return [known.get(i, b"") for i in wanted]

    def batches(self) -> list[NDArray[np.int32]]:
        """The batch plan: the sample numbers of each batch, in run order."""
        return [unpack_int32(row[0]) for row in self._db.execute("SELECT samples FROM batches ORDER BY batch")]

    def events(self, after: int = 0) -> list[Event]:
        """Events with a number above `after`, oldest first."""
        rows = self._db.execute(
            "SELECT id, at, tokens, kind, text, site FROM events WHERE id > ? ORDER BY id", (after,)
        )
        return [Event(*row) for row in rows]

    def commands(self, after: int = 0) -> list[Command]:
        """Commands with a number above `after`, oldest first, with the engine's answers."""
        rows = self._db.execute(
            "SELECT id, at, name, arguments, state, answer FROM commands WHERE id > ? ORDER BY id", (after,)
        )
        return [Command(r[0], r[1], r[2], json.loads(r[3]), r[4], json.loads(r[5])) for r in rows]

    def _rows_if_known(self, table: str, query: str) -> list[Any]:
        """Rows of a table that files of version 1 do not have."""
        known = self._db.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone()
        return self._db.execute(query).fetchall() if known else []


def send_command(path: Path | str, name: str, arguments: dict[str, Any] | None = None) -> int:
    """Ask the engine of a session for something (`pause`, `resume`, `stop`, ...).

    Returns:
        The command's number; the answer appears under it.

    Raises:
        SessionError: the file cannot be written here.
    """
    db = schema.open_writable(Path(path))
    try:
        cursor = db.execute(
            "INSERT INTO commands (at, name, arguments, state, answer) VALUES (?, ?, ?, 'new', '{}')",
            (time.time(), name, json.dumps(arguments or {})),
        )
        return int(cursor.lastrowid or 0)
    except sqlite3.OperationalError as error:
        raise schema.SessionError(f"cannot send '{name}' to {path}: {error}") from error
    finally:
        db.close()
