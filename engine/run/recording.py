"""What a run tells its session file: status, ticks, checkpoints, events.

- `RunRecorder`  keeps the status and decides when something is due
"""

from __future__ import annotations

import logging
import resource
import sqlite3
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.base.duty import Duty
from engine.loading.progress import LoadProgress
from engine.messages import Code, Message, message, words
from engine.run.storage import MovedError, disk_trouble, free_name
from engine.session.lastword import ending_line
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
RATE_WEIGHT = 0.3  # of the newest batch in the moving average of tokens per second
Further = Mapping[str, Mapping[str, NDArray[Any]]]
Collected = tuple[Sequence[SiteTotals | None], Mapping[int, ExpertTotals | None], Further]
_log = logging.getLogger(__name__)


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
        self._pending: Future[Message | None] | None = None
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
        before = self.status
        self.status = before.changed(
            message=message(progress.phase), done=progress.done, total=progress.total or 0, unit=progress.unit
        )
        if before.message != self.status.message or self.tick_due():
            with self.ticks.turn():
                self.tick(None)

    def damage(self, done: int, total: int) -> None:
        """Show how many blocks were computed again to measure the damage by quantisers; a total of 0 ends it."""
        if not self._is_unsaved:
            step, unit = (message(Code.MEASURING_DAMAGE), "blocks") if total else (None, "")
            self.status = self.status.changed(message=step, done=done, total=total, unit=unit)
        if done < 2 or self.tick_due():
            with self.ticks.turn():
                self.tick(None)

    def begin(self, *, batches: int, samples: int, tokens: int) -> None:
        """The preparation is over: say how much there is to do."""
        self.status = self.status.changed(
            phase="running",
            message=None,
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

    @property
    def _is_unsaved(self) -> bool:
        """Whether the status says that the last checkpoint was not written."""
        return self.status.message is not None and self.status.message.code == Code.NOT_SAVED

    def set_phase(self, phase: Phase, step: Message | None = None) -> None:
        """Change the phase and write it at once."""
        self.status = self.status.changed(phase=phase, message=step)
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
        if problem is not None:
            self.status = self.status.changed(message=message(Code.NOT_SAVED, why=problem))
        elif self._is_unsaved:
            self.status = self.status.changed(message=None)
        return problem is None

    def _write_checkpoint(
        self,
        status: Status,
        collect: Callable[[], Collected],
        samples: NDArray[np.int64],
    ) -> Message | None:
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
        return None

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
                copy.set_status(self.status.changed(phase="stopped", message=message(Code.MOVED, name=path.name)))
        except (sqlite3.Error, OSError, SessionError) as error:
            _log.exception("not saved beside")
            raise MovedError(path, None, error) from error
        raise MovedError(path, beside)

    def note(self, **values: Any) -> None:
        """Keep JSON values among the session's meta entries; a full disk is logged, as with a tick."""
        try:
            self._writer.set_meta(**values)
        except sqlite3.OperationalError as error:
            _log.warning("%s not written: %s", ", ".join(values), error)

    def event(self, kind: str, what: Message, site: int | None = None) -> None:
        """Record something that mattered."""
        _log.info("%s: %s", kind, words(what))
        try:
            self._writer.add_event(kind, what, self.status.tokens_done, site)
        except sqlite3.OperationalError as error:
            _log.warning("event not written: %s", error)

    def end(self, phase: Phase, how: Message | None = None) -> bool:
        """The last status of this engine, and the last event; says whether the file has the status.

        Args:
            phase: `finished`, `stopped` or `failed`.
            how: it ended, and why; where the file cannot be written, a failure is read from the log.
        """
        self._writer.wait_for_others(END_PATIENCE_SECONDS)
        now = time.time()
        if phase == "failed":
            _log.info("%s", ending_line(how or message(Code.NO_REASON)))
            self.event("run", message(Code.FAILED, why=how))
        else:
            self.event("run", message(Code.ENDED, phase=phase, samples=self.status.samples_done))
        self.status = self.status.changed(phase=phase, message=how, ended=now, heartbeat=now, peak_bytes=_peak_bytes())
        try:
            self._writer.set_status(self.status)
        except sqlite3.OperationalError as error:
            _log.error("the last status (%s: %s) was not written: %s", phase, words(how), error)
            return False
        return True


def _peak_bytes() -> int:
    """Peak resident memory of this process; Linux counts KiB, macOS bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
