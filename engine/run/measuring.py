"""One batch at a time through the hooked model, and what was measured on its way into the file.

- `Measurement`  enter, forward, tick, checkpoint, take back, grow
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial

import numpy as np
import torch

from corpus.batching import collate
from engine.base.computing import computing
from engine.base.duty import Duty
from engine.base.job import Job
from engine.effect.calibration import stored_site
from engine.effect.replay import choose_stretches, replay
from engine.messages import Code, Message, message
from engine.preparation.forward import run_forward
from engine.preparation.prepare import Prepared
from engine.preparation.splitting import REST
from engine.run.notable import Notable, NotableWatch
from engine.run.parts import Arrays, Parts
from engine.run.recording import LONGEST_INTERVAL_SECONDS, TICK_SECONDS, Collected, RunRecorder
from engine.run.stopwatch import Stopwatch
from engine.run.storage import StorageError
from engine.session.costs import SPENT, Spent
from engine.session.reader import SessionReader
from engine.session.splits import SplitRecord
from engine.sites.experts import ExpertRows
from engine.sites.hooks import Problem, attach
from engine.sites.site import HookPlan
from engine.statistics.expert_meter import ExpertMeter
from engine.statistics.local_errors import replayed
from engine.statistics.meter import Meter
from engine.statistics.totals import SiteTotals

Batches = list[tuple[int, ...]]
_log = logging.getLogger(__name__)
SQUARING_SHARE = 0.003  # of the time, for sums of squares in live numbers


class Measurement:
    """The meters of a run. What was measured since the last checkpoint can be taken back whole, never half of it."""

    def __init__(
        self, prepared: Prepared, job: Job, recorder: RunRecorder, split: SplitRecord | None, reader: SessionReader
    ) -> None:
        self.prepared = prepared
        self._split, self._reader = split, reader
        self._job = job
        self._recorder = recorder
        self._watch = NotableWatch(prepared.plan)
        self._undrained: Batches = []
        self._unsaved: list[int] = []
        self._drained: list[int] = []  # numbers of the samples in the totals, in run order
        self._parts = Parts(split, prepared, job, self._report_problem)
        self._meter = self._new_meter(len(prepared.corpus.samples))
        self._experts = ExpertMeter()
        self._squaring = Duty(SQUARING_SHARE, least=TICK_SECONDS, most=LONGEST_INTERVAL_SECONDS)
        self._setting_aside = Duty(1.0, least=0.0, most=0.0)
        self._stopwatch = Stopwatch(prepared.device)
        self._damage_seconds = 0.0
        self._earlier = Spent()  # by the engines before this one
        self._hooks = ExitStack()

    def load(self, reader: SessionReader) -> None:
        """Continue from the last checkpoint of a session."""
        self._drained = reader.samples_done().tolist()
        self._earlier = Spent.from_json(reader.meta().raw.get(SPENT) or {})
        every, live = reader.all_totals(), reader.live()
        back = partial(self._watch.look_back, self._drained, every, self.prepared.tokenized.lengths)
        self._watch.recall(reader.events(), None if live is None else live.data, back)
        for site, totals in enumerate(every):
            if totals is not None:
                self._meter.load(site, totals)
        for layer, found in reader.expert_totals().items():
            self._experts.load(layer, found)
        self._parts.load(reader)

    def arrange(self, batches: Batches) -> Batches:
        """The same samples in the order of the run's parts, no batch mixing any."""
        return self._parts.arrange(batches)

    def enter(self, numbers: tuple[int, ...] | None) -> None:
        """Say which batch comes next, None at the end; closes the part of the run that has ended before it, if so."""
        part = REST if numbers is None else self._parts.part_of(numbers)
        if part > self._parts.closed:
            self.checkpoint()
            self._settle()
            if self._parts.ends_evaluation(part):
                self._compute_again()
            self._parts.close(part, [self._meter.totals(site) for site in range(len(self.prepared.plan.sites))])

    def _compute_again(self) -> None:
        """Measure what quantisers at each site do to the stream behind its block, on a few evaluation samples."""
        assert self._split is not None
        started, job = time.monotonic(), self._job
        stretches = choose_stretches(self.prepared.tokenized, self._split.evaluation, job.seed)
        schemes = replayed(job.quant, job.schemes)
        with self.set_aside():
            numbers = partial(stored_site, self._reader)
            found = replay(self.prepared, numbers, schemes, stretches, self._report_problem, self._recorder.damage)
        self._recorder.damage(0, 0)
        self._parts.keep_local(found)
        tokens, seconds = sum(one.size for one in stretches), time.monotonic() - started
        self._damage_seconds += seconds
        if found:
            said = message(Code.DAMAGE_MEASURED, sites=len(found), tokens=int(tokens), seconds=seconds)
            self._recorder.event("run", said)

    def grow(self, prepared: Prepared) -> None:
        """Take over a larger corpus that begins with the present one."""
        self._settle()
        self.checkpoint()
        self._settle()
        more = len(prepared.corpus.samples) - len(self.prepared.corpus.samples)
        held = [self._meter.totals(site) for site in range(len(prepared.plan.sites))]
        self.prepared = prepared
        self._meter = self._new_meter(len(prepared.corpus.samples))
        for site, totals in enumerate(held):
            if totals is not None:
                self._meter.load(site, with_room(totals, more))

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Within this block the model's tensors reach the meters."""
        with computing(self.prepared.loaded.model), self._hooks:
            self._attach()
            yield

    @contextmanager
    def set_aside(self) -> Iterator[None]:
        """Within this block, inside `attached`, the model is free for other work: none of our hooks is on it."""
        self._hooks.close()
        try:
            yield
        finally:
            self._attach()

    def run_batch(self, numbers: tuple[int, ...]) -> None:
        """Measure one batch and count it; an exception leaves it half measured until `take_back`."""
        started = time.monotonic()
        batch = collate(self.prepared.tokenized, numbers)
        self._parts.begin_batch(numbers)
        with self._stopwatch.batch():
            run_forward(self.prepared, batch, (self._meter, self._experts))
            self._meter.end_batch()
        self._undrained.append(numbers)
        tokens = int(batch.lengths.sum())
        self._recorder.count(
            samples=len(numbers),
            tokens=tokens,
            padded=batch.input_ids.size - tokens,
            seconds=time.monotonic() - started,
        )

    def take_back(self) -> Batches:
        """Forget what was measured since the last checkpoint and the batch in hand; says what must be run again."""
        self._meter.discard()
        self._experts.discard()
        self._parts.discard()
        again, self._undrained = self._undrained, []
        lengths = self.prepared.tokenized.lengths
        self._recorder.take_back(
            batches=len(again),
            samples=sum(len(batch) for batch in again),
            tokens=int(sum(lengths[number] for batch in again for number in batch)),
        )
        return again

    def tick(self, *, exact: bool = False) -> None:
        """Write the newest scalars, and what is notable in them.

        Args:
            exact: also work the root mean squares out anew, which is otherwise done only now and then.
        """
        self._meter.wait()  # what the device still has to do is the model's time, not the tick's
        if exact or self._squaring.is_due():
            with self._squaring.turn():
                self._meter.live()
        with self._recorder.ticks.turn():
            live = self._meter.live(rms=False)
            self._recorder.tick(live)
            self._tell(self._watch.look(live))

    def checkpoint(self) -> None:
        """Begin a checkpoint of everything measured so far."""
        self._settle()
        self._meter.wait()
        with self._setting_aside.turn():
            self._meter.set_aside()
            self._experts.set_aside()
            further = self._parts.drain()
        fresh = [number for batch in self._undrained for number in batch]
        self._unsaved += fresh
        self._drained += fresh
        self._undrained = []
        self._recorder.begin_checkpoint(partial(self._collect, self._drained.copy(), further), self._unsaved)

    def _collect(self, done: list[int], further: Arrays) -> Collected:
        """In the checkpoint's thread: add up what was set aside, and say what is notable in it."""
        self._meter.absorb()
        self._experts.absorb()
        totals = [self._meter.totals(site) for site in range(len(self.prepared.plan.sites))]
        # An event after this would wait for the checkpoint's transaction.
        self._tell(self._watch.look_back(done, totals, self.prepared.tokenized.lengths))
        return totals, {layer: self._experts.totals(layer) for layer in self._experts.saved_layers}, further

    def save_all(self) -> None:
        """Tick, checkpoint, and wait for it.

        Raises:
            StorageError: the checkpoint is not in the file; the last good one is.
        """
        self._settle()
        self.tick(exact=True)
        self._recorder.note(**{SPENT: self.spent.to_json()})
        self.checkpoint()
        self._settle()
        self._log_cost()
        if self._unsaved or self._parts.has_unsaved:
            raise StorageError(self._recorder.status.message)

    @property
    def spent(self) -> Spent:
        """Seconds of the whole run so far, those of earlier engines included."""
        bookkeeping = self._recorder.ticks.spent + self._squaring.spent + self._setting_aside.spent
        here = replace(self._stopwatch.spent(), bookkeeping=bookkeeping, damage=self._damage_seconds)
        return self._earlier.plus(here)

    def _log_cost(self) -> None:
        recorder, seconds = self._recorder, max(self._recorder.status.running_seconds, 1e-9)
        ticks, aside = recorder.ticks.spent + self._squaring.spent, self._setting_aside.spent
        _log.info(
            "besides the batches' %.2f s: ticks %.3f s, checkpoints %.3f s (%.2f %%); their thread %.2f s",
            seconds, ticks, aside, 100 * (ticks + aside) / seconds, recorder.thread_seconds,
        )  # fmt: skip

    def _attach(self) -> None:
        model, plan = self.prepared.loaded.model, self.prepared.plan
        self._hooks.enter_context(attach(model, plan, self._record, self._report_problem, self._record_experts))

    def _tell(self, found: Sequence[Notable]) -> None:
        for notable in found:
            self._recorder.event(notable.kind, notable.message, notable.site)

    def _settle(self) -> None:
        """Wait for the checkpoint under way; the arrays it writes may change again afterwards."""
        if self._recorder.finish_checkpoint():
            self._unsaved = []
            self._parts.saved()

    def _new_meter(self, samples: int) -> Meter:
        sites = self.prepared.plan.sites
        meter = Meter(
            sites=len(sites),
            samples=samples,
            detail=self._job.detail,
            backend=self._job.backend,
            census=[site.counts_for_m for site in sites],
            problem=self._report_problem,
        )
        meter.also = self._parts.update
        return meter

    def _record(self, site: int, x: torch.Tensor, token_index: torch.Tensor | None = None, /) -> None:
        self._stopwatch.around(x.device, partial(self._meter.record, site, x, token_index))

    def _record_experts(self, layer: int, rows: ExpertRows) -> None:
        self._stopwatch.around(rows.tokens.device, partial(self._experts.record, layer, rows))

    @property
    def _report_problem(self) -> Problem:
        return partial(record_problem, self._recorder, self.prepared.plan)


def record_problem(recorder: RunRecorder, plan: HookPlan, site: int, problem: Message) -> None:
    """Record what could not be measured at a site; -1 where it is no single site's."""
    if site < 0:
        recorder.event("warning", problem)
    else:
        recorder.event("warning", message(Code.AT_SITE, site=plan.sites[site].name, problem=problem), site)


def with_room(totals: SiteTotals, samples: int) -> SiteTotals:
    """The same totals in a corpus that has `samples` more samples, not seen yet."""
    unseen = np.full(samples, np.nan, np.float32)
    return replace(totals, sample_max=np.concatenate([totals.sample_max, unseen]))
