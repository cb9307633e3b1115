"""What a run tells its session file: status, ticks, checkpoints, events.

- `RunRecorder`  keeps the status and decides when something is due
- `StorageError` what was measured could not be saved
- `MovedError`   the session file was moved, removed or replaced while it was written
- `disk_trouble` why a file cannot be written, and what to do about it
"""

from __future__ import annotations

import logging
import os
import resource
import sqlite3
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.base.duty import Duty
from engine.base.wording import counted
from engine.loading.progress import LoadProgress
from engine.session.liveness import own_identity
from engine.session.records import Phase, Status
from engine.session.schema import SessionError
from engine.session.writer import SessionWriter
from engine.statistics.experts import ExpertTotals
from engine.statistics.totals import SiteTotals

TICK_SECONDS = 0.25
TICK_SHARE = 0.004
LONGEST_TICK_SECONDS = 1.0
CHECKPOINT_SHARE = 0.02
LONGEST_INTERVAL_SECONDS = 15.0
END_PATIENCE_SECONDS = 60.0  # how long the last words wait for others to let go of the file
NOT_WRITTEN = "checkpoint not written"
DAMAGE_STEP = "measuring the damage by quantisers"
RATE_WEIGHT = 0.3  # of the newest batch in the moving average of tokens per second
Further = Mapping[str, Mapping[str, NDArray[Any]]]
Collected = tuple[Sequence[SiteTotals | None], Mapping[int, ExpertTotals | None], Further]
_log = logging.getLogger(__name__)


class StorageError(Exception):
    """What was measured could not be saved; one line with the next step."""


class MovedError(Exception):
    """The session file has not the name any more that it had; the message says where its content is.

    Attributes:
        beside: the file that holds it; None where it could not be saved.
    """

    def __init__(self, message: str, beside: Path | None = None) -> None:
        super().__init__(message)
        self.beside = beside


def disk_trouble(error: sqlite3.Error) -> str:
    """What keeps a session from being written, with the next step."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    steps = {
        sqlite3.SQLITE_FULL: "free some space",
        sqlite3.SQLITE_IOERR: "its disk fails: see to it, or copy the session to another one",
        sqlite3.SQLITE_READONLY: "make it and its folder writable again",
        sqlite3.SQLITE_CANTOPEN: "make its folder writable again",
        sqlite3.SQLITE_BUSY: "another process holds it: close what reads it",
    }
    return f"{error}; {steps.get(code, 'see to its disk')}"


def free_name(path: Path) -> Path:
    """A name beside a session's that nothing has."""
    number = 1
    while True:
        found = path.with_name(f"{path.stem}-saved{f'-{number}' if number > 1 else ''}{path.suffix}")
        if not os.path.lexists(found):
            return found
        number += 1


class RunRecorder:
    """The run's side of the session file. All times are wall clock, all rates monotonic clock."""

    def __init__(self, writer: SessionWriter, checkpoint_seconds: float, *, is_locked: bool = False) -> None:
        now = time.time()
        self._writer = writer
        self._checkpoint_seconds = checkpoint_seconds
        self.ticks = Duty(TICK_SHARE, least=TICK_SECONDS, most=LONGEST_TICK_SECONDS)
        self._last_checkpoint = time.monotonic()
        self._checkpoint_cost = 0.0
        self.thread_seconds = 0.0
        """Processor time of the checkpoints' thread."""
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._pending: Future[str] | None = None
        self._is_lost = False  # whether the file has lost its name
        self.status = Status(
            phase="loading",
            started=now,
            heartbeat=now,
            lock=int(is_locked),
            **own_identity(),
        )
        writer.set_status(self.status)

    def loading(self, progress: LoadProgress) -> None:
        """Show a step of the preparation; steps within a phase are written at the tick rate only."""
        changed_phase = progress.phase != self.status.detail
        self.status = self.status.changed(
            detail=progress.phase, done=progress.done, total=progress.total or 0, unit=progress.unit
        )
        if changed_phase or self.tick_due():
            with self.ticks.turn():
                self.tick(None)

    def damage(self, done: int, total: int) -> None:
        """Show how many blocks were computed again to measure the damage by quantisers; a total of 0 ends it."""
        if not self.status.detail.startswith(NOT_WRITTEN):
            detail, unit = (DAMAGE_STEP, "blocks") if total else ("", "")
            self.status = self.status.changed(detail=detail, done=done, total=total, unit=unit)
        if done < 2 or self.tick_due():
            with self.ticks.turn():
                self.tick(None)

    def begin(self, *, batches: int, samples: int, tokens: int) -> None:
        """The preparation is over: say how much there is to do."""
        self.status = self.status.changed(
            phase="running",
            detail="",
            done=0,
            total=0,
            unit="",
            batches_total=batches,
            samples_total=samples,
            tokens_total=tokens,
        )
        self.tick(None)

    def count(self, *, samples: int, tokens: int, padded: int, seconds: float, batches: int = 1) -> None:
        """Add a finished batch to the counters and to the moving rate."""
        old, rate = self.status, tokens / max(seconds, 1e-9)
        smoothed = rate if not old.tokens_per_second else old.tokens_per_second * (1 - RATE_WEIGHT) + rate * RATE_WEIGHT
        self.status = old.changed(
            batches_done=old.batches_done + batches,
            samples_done=old.samples_done + samples,
            tokens_done=old.tokens_done + tokens,
            padded_tokens=old.padded_tokens + padded,
            running_seconds=old.running_seconds + seconds,
            tokens_per_second=smoothed,
            peak_bytes=_peak_bytes(),
        )

    def take_back(self, *, batches: int, samples: int, tokens: int) -> None:
        """Uncount batches whose numbers were discarded; they will be run again."""
        old = self.status
        self.status = old.changed(
            batches_done=old.batches_done - batches,
            samples_done=old.samples_done - samples,
            tokens_done=old.tokens_done - tokens,
        )

    def replan(self, batches_left: int) -> None:
        """The batches still to run have been cut anew."""
        self.status = self.status.changed(batches_total=self.status.batches_done + batches_left)

    def grow(self, *, batches_left: int, samples: int, tokens: int) -> None:
        """There is more to do, of which nothing has begun: a run that is paused stays so."""
        self.replan(batches_left)
        self.status = self.status.changed(samples_total=samples, tokens_total=tokens)
        self.tick(None)

    def continue_from(self, checkpoint: Status | None) -> None:
        """Take over the counters of the last checkpoint."""
        if checkpoint is not None:
            self.status = self.status.changed(
                batches_done=checkpoint.batches_done,
                samples_done=checkpoint.samples_done,
                tokens_done=checkpoint.tokens_done,
                padded_tokens=checkpoint.padded_tokens,
                running_seconds=checkpoint.running_seconds,
            )

    def set_phase(self, phase: Phase, detail: str = "") -> None:
        """Change the phase and write it at once."""
        self.status = self.status.changed(phase=phase, detail=detail)
        self.tick(None)

    def tick_due(self) -> bool:
        """Whether the scalars should be written again: four times a second, less often where that is dear."""
        return self.ticks.is_due()

    def tick(self, live: NDArray[np.float64] | None) -> None:
        """Write status and scalars; a full disk is logged, not fatal: the last checkpoint is safe."""
        self.status = self.status.changed(heartbeat=time.time())
        self._is_lost = not self._writer.has_its_name()
        try:
            self._writer.tick(self.status, live)
        except sqlite3.OperationalError as error:
            _log.warning("tick not written: %s", error)

    def checkpoint_due(self) -> bool:
        """Whether it is time for the arrays: as often as asked for, on slow disks less often, but within seconds.

        Zero seconds means after every batch, whatever it costs.
        """
        if not self._checkpoint_seconds:
            return True
        if self._is_lost:
            return self._pending is None or self._pending.done()
        gentle = min(self._checkpoint_cost / CHECKPOINT_SHARE, LONGEST_INTERVAL_SECONDS)
        interval = max(self._checkpoint_seconds, gentle)
        free = self._pending is None or self._pending.done()
        return free and time.monotonic() - self._last_checkpoint >= interval

    def begin_checkpoint(self, collect: Callable[[], Collected], samples: Sequence[int]) -> None:
        """Start collecting and writing the arrays and the cursor in a thread: the model does not wait for it.

        Args:
            collect: called in that thread; gives the totals of all sites and of the experts, and further arrays by
                owner. Nothing else may change them before `finish_checkpoint`, where its errors come out.
            samples: numbers of the samples that are in them and not in the file yet.
        """
        self._last_checkpoint = time.monotonic()
        status = self.status.changed(heartbeat=time.time())
        numbers = np.array(samples, np.int64)
        self._pending = self._worker.submit(self._write_checkpoint, status, collect, numbers)
        if not self._checkpoint_seconds:
            wait([self._pending])

    def finish_checkpoint(self) -> bool:
        """Wait for the checkpoint that was begun, if one was; says whether one has come into the file.

        A failure (disk full) leaves the last good checkpoint in the file, shows on the screen, and the run goes on.
        """
        pending, self._pending = self._pending, None
        if pending is None:
            return False
        problem = pending.result()
        if problem:
            self.status = self.status.changed(detail=f"{NOT_WRITTEN}: {problem}")
        elif self.status.detail.startswith(NOT_WRITTEN):
            self.status = self.status.changed(detail="")
        return not problem

    def _write_checkpoint(
        self,
        status: Status,
        collect: Callable[[], Collected],
        samples: NDArray[np.int64],
    ) -> str:
        started, worked = time.monotonic(), time.thread_time()
        totals, experts, further = collect()
        try:
            self._writer.checkpoint(status, totals, samples, experts, further)
        except sqlite3.OperationalError as error:
            if self._writer.has_its_name():
                _log.warning("checkpoint not written: %s", error)
                return disk_trouble(error)
        if not self._writer.has_its_name():
            self._save_beside(status, totals, samples, experts, further)
        self._checkpoint_cost = time.monotonic() - started
        self.thread_seconds += time.thread_time() - worked
        return ""

    def _save_beside(
        self,
        status: Status,
        totals: Sequence[SiteTotals | None],
        samples: NDArray[np.int64],
        experts: Mapping[int, ExpertTotals | None],
        further: Further,
    ) -> None:
        """The session file was moved, removed or replaced: keep what was measured under a name of our own.

        Raises:
            MovedError: always; it names the file.
        """
        path = self._writer.path
        beside = free_name(path)
        try:
            with closing(self._writer.copy(beside)) as copy:
                if not set(samples.tolist()) <= set(copy.samples_done()):
                    copy.checkpoint(status, totals, samples, experts, further)
                copy.set_status(self.status.changed(phase="stopped", detail=f"{path.name} was moved while it ran"))
        except (sqlite3.Error, OSError, SessionError) as error:
            _log.exception("not saved beside")
            raise MovedError(f"{path} was moved or replaced while it ran, and could not be saved: {error}") from error
        raise MovedError(f"{path} was moved or replaced while it ran; what was measured is in {beside}", beside)

    def note(self, **values: Any) -> None:
        """Keep JSON values among the session's meta entries; a full disk is logged, as with a tick."""
        try:
            self._writer.set_meta(**values)
        except sqlite3.OperationalError as error:
            _log.warning("%s not written: %s", ", ".join(values), error)

    def event(self, kind: str, text: str, site: int | None = None) -> None:
        """Record something that mattered."""
        _log.info("%s: %s", kind, text)
        try:
            self._writer.add_event(kind, text, self.status.tokens_done, site)
        except sqlite3.OperationalError as error:
            _log.warning("event not written: %s", error)

    def end(self, phase: Phase, detail: str = "") -> bool:
        """The last status of this engine, and the last event; says whether the file has the status."""
        self._writer.wait_for_others(END_PATIENCE_SECONDS)
        now = time.time()
        reason = f": {detail}" if phase == "failed" else f" after {counted(self.status.samples_done, 'sample')}"
        self.event("run", phase + reason)
        self.status = self.status.changed(
            phase=phase, detail=detail, ended=now, heartbeat=now, peak_bytes=_peak_bytes()
        )
        try:
            self._writer.set_status(self.status)
        except sqlite3.OperationalError as error:
            _log.error("the last status (%s: %s) was not written: %s", phase, detail, error)
            return False
        return True


def _peak_bytes() -> int:
    """Peak resident memory of this process; Linux counts KiB, macOS bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
