"""What a watched model gives, on its way into a session file.

- `Keeper`  the meter, the ticks and the checkpoints of one watched model
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from corpus.pieces import token_pieces
from engine.api.errors import WatchError
from engine.api.following import Sequences
from engine.api.ledger import FIRST_SAMPLES, Ledger
from engine.api.looking import Looked, provenance_of
from engine.base.job import Job, SiteSet
from engine.messages import Code, Message, message
from engine.run.commands import refuse_the_rest
from engine.run.heartbeat import Heartbeat
from engine.run.measuring import record_problem, with_room
from engine.run.notable import NotableWatch
from engine.run.recording import Collected, RunRecorder
from engine.session.engine_lock import EngineLock
from engine.session.records import SampleRecord
from engine.session.schema import SessionError
from engine.session.writer import SessionWriter
from engine.sites.hooks import attach
from engine.statistics.meter import Meter

_log = logging.getLogger(__name__)
NOT_OURS = message(Code.NOT_OURS)


class Keeper:
    """Measures passes of a watched model and writes them.

    Args:
        looked: the model with its sites.
        path: the session file, which must not exist.
        tokenizer: shows tokens as text; None where there is none.
        sites: what the sites were chosen by.
        checkpoint_seconds: time between checkpoints at least.

    Raises:
        WatchError: the file exists, or cannot be written.
    """

    def __init__(self, looked: Looked, path: Path, tokenizer: Any, sites: SiteSet, checkpoint_seconds: float) -> None:
        self._looked, self._tokenizer, self._path = looked, tokenizer, path
        name = str(getattr(getattr(looked.model, "config", None), "name_or_path", "") or type(looked.model).__name__)
        job = Job(name, corpus="the watched program", sites=sites, quant="off", checkpoint_seconds=checkpoint_seconds)
        try:
            self._writer = SessionWriter.create(path, job)
            self._lock = EngineLock.take(path)
        except SessionError as error:
            raise WatchError(str(error)) from error
        self._writer.claim()
        self._recorder = RunRecorder(self._writer, checkpoint_seconds, is_locked=self._lock.is_held)
        self._writer.set_meta(
            plan=looked.plan.to_json(),
            provenance=provenance_of(looked.model, tokenizer, name).to_json(),
            corpus={"name": job.corpus, "problems": [], "cut": 0, "empty": 0},
            tokenizer={"policy": job.policy},
        )
        self._ledger, self._notable = Ledger(), NotableWatch(looked.plan)
        self._known: set[int] = set()
        self._size = FIRST_SAMPLES
        self._meter = self._new_meter()
        self._records: list[SampleRecord] = []  # not in the file yet
        self._fresh: list[int] = []  # samples since the last checkpoint
        self._unwritten: list[int] = []  # and those of checkpoints that are not in the file
        self._heartbeat = Heartbeat(self._writer.beat)
        self._heartbeat.__enter__()
        self._recorder.begin(batches=0, samples=0, tokens=0)
        self._recorder.event("run", message(Code.WATCHING))

    @contextmanager
    def measuring(self, found: Sequences, step: int) -> Iterator[None]:
        """Within this block one forward pass is measured; afterwards a tick or a checkpoint, where one is due."""
        started = time.monotonic()
        if (size := self._ledger.room_for(len(found.lengths))) > self._size:
            self._grow(size)
        before = self._ledger.count
        category = "training" if self._looked.text_model.training else "evaluation"
        sample, position = self._ledger.enter(found, category, f"step {step}")
        with _ours():
            self._meter.begin_batch(found.index, sample, position)
        try:
            with attach(self._looked.model, self._looked.plan, self._record, self.problem):
                yield
        except BaseException as error:
            self.problem(-1, message(Code.PASS_ENDED, error=type(error).__name__))
            raise
        finally:
            self._meter.end_batch()
            self._fresh += range(before, self._ledger.count)
        self._recorder.count(
            samples=self._ledger.count - before,
            tokens=sum(found.lengths),
            padded=0,
            seconds=time.monotonic() - started,
        )
        status = self._recorder.status
        self._recorder.status = status.changed(
            samples_total=status.samples_done, tokens_total=status.tokens_done, batches_total=status.batches_done
        )
        if self._recorder.tick_due():
            self._tick()
        if self._recorder.checkpoint_due():
            self._checkpoint()

    def problem(self, site: int, problem: Message) -> None:
        """Note what could not be measured."""
        record_problem(self._recorder, self._looked.plan, site, problem)

    def close(self, error: str) -> None:
        """Save everything and end the session; `error` names what ended it before its time, empty if nothing did."""
        try:
            self._tick()
            self._checkpoint()
            self._settle()
            if error:
                self._recorder.end("stopped", message(Code.WATCHED_FAILED, error=error))
            else:
                self._recorder.end("finished")
            refuse_the_rest(self._writer, NOT_OURS)
        finally:
            self._heartbeat.__exit__(None, None, None)
            self._writer.close(final=True)
            self._lock.release()

    def _record(self, site: int, x: torch.Tensor, token_index: torch.Tensor | None = None, /) -> None:
        with _ours():
            if torch.is_autocast_enabled(x.device.type):
                with torch.autocast(x.device.type, enabled=False):
                    self._meter.record(site, x, token_index)
            else:
                self._meter.record(site, x, token_index)

    def _tick(self) -> None:
        with _ours(), self._recorder.ticks.turn():
            self._meter.wait()
            live = self._meter.live()
            self._recorder.tick(live)
            for notable in self._notable.look(live):
                self._recorder.event(notable.kind, notable.message, notable.site)
            if self._writer.new_commands():
                refuse_the_rest(self._writer, NOT_OURS)

    def _checkpoint(self) -> None:
        self._settle()
        with _ours():
            self._meter.wait()
            self._meter.set_aside()
        self._unwritten += self._fresh
        self._fresh = []
        self._recorder.begin_checkpoint(partial(self._collect, self._ledger.take()), list(self._unwritten))

    def _collect(self, records: list[SampleRecord]) -> Collected:
        """In the checkpoint's thread: add up, and write the samples that the arrays name."""
        self._meter.absorb()
        totals = [self._meter.totals(site) for site in range(len(self._looked.plan.sites))]
        wanted = {int(number) for one in totals if one is not None for number in np.unique(one.top["sample"])}
        self._records += records
        kept = self._ledger.keep(self._records, wanted)
        ids = {int(token) for record in kept for token in np.unique(record.token_ids)} - self._known
        pieces = token_pieces(self._tokenizer, sorted(ids)) if self._tokenizer is not None and ids else {}
        self._writer.add_samples(kept, pieces)
        self._known |= ids
        self._records = []
        return totals, {}, {}

    def _settle(self) -> None:
        """Wait for the checkpoint under way; one that failed is tried again with the next."""
        try:
            if self._recorder.finish_checkpoint():
                self._unwritten = []
        except sqlite3.OperationalError as error:
            _log.warning("checkpoint not written: %s", error)

    def _grow(self, size: int) -> None:
        """Make room for more samples."""
        self._checkpoint()
        self._settle()
        held = [self._meter.totals(site) for site in range(len(self._looked.plan.sites))]
        more, self._size = size - self._size, size
        self._meter = self._new_meter()
        for site, totals in enumerate(held):
            if totals is not None:
                self._meter.load(site, with_room(totals, more))

    def _new_meter(self) -> Meter:
        sites = self._looked.plan.sites
        return Meter(
            sites=len(sites),
            samples=self._size,
            detail="standard",
            backend="auto",
            census=[site.counts_for_m for site in sites],
            problem=self.problem,
        )


@contextmanager
def _ours() -> Iterator[None]:
    """Within this block tensors are made as the meter needs them, whatever mode the watched loop is in."""
    with torch.inference_mode(False), torch.no_grad():
        yield
