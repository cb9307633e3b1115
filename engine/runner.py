"""The loop: batch, forward, tick, checkpoint, command.

- `run`  run the job of a session file to its end; returns the process exit code
"""

from __future__ import annotations

import gc
import logging
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from corpus.batching import Batch, collate
from corpus.samples import CorpusError
from engine.commands import CommandDesk, StopRequested, signals_as_stop
from engine.heartbeat import Heartbeat
from engine.hooks import attach
from engine.job import Job
from engine.loading.errors import LoadError, classify, first_line
from engine.loading.progress import LoadProgress
from engine.memory import is_out_of_memory, split_batches
from engine.notable import NotableWatch
from engine.preparation import Prepared, prepare
from engine.recording import RunRecorder
from engine.restoring import ResumeError, restore, write_inputs
from engine.session.library import log_path
from engine.session.reader import SessionReader
from engine.session.writer import SessionWriter
from engine.sites.errors import SiteError
from engine.statistics.expert_meter import ExpertMeter
from engine.statistics.meter import Meter

_log = logging.getLogger(__name__)


def run(path: Path) -> int:
    """Run the job of a session file, from its last checkpoint if it has one.

    Returns:
        0 when the run finished or was stopped, 1 when it failed; the reason is in the session's status.
    """
    with SessionReader(path) as reader:
        job = reader.meta().job
    writer = SessionWriter.open(path)
    recorder = RunRecorder(writer, job.checkpoint_seconds)
    with Heartbeat(writer):
        code = _run_safely(path, job, writer, recorder)
    writer.close(final=True)
    return code


def _run_safely(path: Path, job: Job, writer: SessionWriter, recorder: RunRecorder) -> int:
    """Leave the session in an ended phase whatever happens."""
    desk = CommandDesk(writer, recorder)
    try:
        with signals_as_stop(desk):
            prepared = _prepare(job, recorder, desk)
            _Loop(path, job, prepared, writer, recorder, desk).run()
        recorder.end("finished")
        return 0
    except StopRequested:
        recorder.end("stopped", f"stopped; continue with: maxact-tui resume {path}")
        return 0
    except (LoadError, SiteError, CorpusError, ResumeError) as error:
        _log.exception("the run could not start")
        recorder.end("failed", str(error))
    except Exception as error:  # noqa: BLE001  # the last boundary: the cause must reach the session file
        _log.exception("the run failed")
        recorder.end("failed", f"the run failed: {first_line(error)}; what was measured is saved; see {log_path(path)}")
    return 1


def _prepare(job: Job, recorder: RunRecorder, desk: CommandDesk) -> Prepared:
    """Prepare the run; every error that is not one of the rooms' own becomes a classified `LoadError`."""
    try:
        return prepare(job, _reporting(recorder, desk))
    except (LoadError, SiteError, CorpusError, StopRequested):
        raise
    except Exception as error:
        raise classify(error, job.model) from error


def _reporting(recorder: RunRecorder, desk: CommandDesk) -> Callable[[LoadProgress], None]:
    def report(progress: LoadProgress) -> None:
        if desk.stop_wished:
            raise StopRequested
        recorder.loading(progress)

    return report


class _Loop:
    """Batches through the model. What was measured since the last drain can be taken back whole, never half of it."""

    def __init__(
        self, path: Path, job: Job, prepared: Prepared, writer: SessionWriter, recorder: RunRecorder, desk: CommandDesk
    ) -> None:
        self._prepared = prepared
        self._recorder = recorder
        self._desk = desk
        self._watch = NotableWatch(prepared.plan)
        self._lengths = prepared.tokenized.lengths
        self._budget = prepared.batches.token_budget
        self._undrained: list[tuple[int, ...]] = []
        self._unsaved: list[int] = []
        self._meter = Meter(
            sites=len(prepared.plan.sites),
            samples=len(prepared.corpus.samples),
            detail=job.detail,
            backend=job.backend,
            census=[site.counts_for_m for site in prepared.plan.sites],
            problem=self._report_problem,
        )
        self._experts = ExpertMeter()
        with SessionReader(path) as reader:
            done = restore(reader, prepared, job, self._meter, self._experts)
            if done:
                recorder.continue_from(reader.checkpoint_status())
        write_inputs(writer, prepared, job, first_time=not done)
        left = (tuple(number for number in batch if number not in done) for batch in prepared.batches.batches)
        self._todo = deque(batch for batch in left if batch)
        recorder.begin(
            batches=recorder.status.batches_done + len(self._todo),
            samples=int((self._lengths > 0).sum()),
            tokens=int(self._lengths.sum()),
        )

    def run(self) -> None:
        """Every batch that is left, then a last checkpoint; also when asked to stop between two batches.

        A batch that fails for another reason than memory is not saved: it is half counted.
        """
        plan, model = self._prepared.plan, self._prepared.loaded.model
        try:
            with (
                torch.inference_mode(),
                attach(model, plan, self._meter.record, self._report_problem, self._experts.record),
            ):
                while self._todo:
                    self._desk.obey()
                    self._run_batch(self._todo.popleft())
                    if self._recorder.tick_due():
                        self._tick()
                    if self._recorder.checkpoint_due():
                        self._checkpoint()
        except StopRequested:
            self._save_all()
            raise
        self._save_all()

    def _run_batch(self, numbers: tuple[int, ...]) -> None:
        started = time.monotonic()
        batch = collate(self._prepared.tokenized, numbers)
        try:
            self._forward(batch)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            error.__traceback__ = None  # its frames hold the activations that did not fit
            self._make_room(numbers)
            return
        self._undrained.append(numbers)
        tokens = int(batch.lengths.sum())
        self._recorder.count(
            samples=len(numbers),
            tokens=tokens,
            padded=batch.input_ids.size - tokens,
            seconds=time.monotonic() - started,
        )

    def _forward(self, batch: Batch) -> None:
        device = self._prepared.device
        places = np.arange(batch.input_ids.shape[1])[None, :] < batch.lengths[:, None]
        row, position = np.nonzero(places)
        index = np.flatnonzero(places) if batch.padded else None
        self._meter.begin_batch(index, batch.samples[row], position)
        self._experts.begin_batch(index, batch.samples[row], position)
        mask = torch.from_numpy(places.astype(np.int64)).to(device) if batch.padded else None
        self._prepared.text_model(
            input_ids=torch.from_numpy(batch.input_ids).to(device), attention_mask=mask, use_cache=False
        )
        self._meter.end_batch()

    def _make_room(self, numbers: tuple[int, ...]) -> None:
        """After running out of memory: take back what was not drained, halve the budget, and go on."""
        self._meter.discard()
        self._experts.discard()
        again, self._undrained = self._undrained, []
        self._recorder.take_back(
            batches=len(again),
            samples=sum(len(batch) for batch in again),
            tokens=int(sum(self._lengths[number] for batch in again for number in batch)),
        )
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if len(numbers) == 1:
            tokens = self._lengths[numbers[0]]
            self._recorder.event("memory", f"sample {numbers[0]} skipped: its {tokens:,} tokens do not fit in memory")
            left = [*again, *self._todo]
        else:
            self._budget = max(self._budget // 2, 1)
            self._recorder.event("memory", f"out of memory; token budget halved to {self._budget:,}")
            left = split_batches([*again, numbers, *self._todo], self._lengths, self._budget)
        self._todo = deque(left)
        self._recorder.replan(len(left))

    def _tick(self) -> None:
        live = self._meter.live()
        self._recorder.tick(live)
        for notable in self._watch.look(live):
            self._recorder.event(notable.kind, notable.text, notable.site)

    def _checkpoint(self) -> None:
        self._settle_checkpoint()
        self._meter.drain()
        self._experts.drain()
        self._unsaved += [number for batch in self._undrained for number in batch]
        self._undrained = []
        totals = [self._meter.totals(site) for site in range(len(self._prepared.plan.sites))]
        experts = {layer: self._experts.totals(layer) for layer in self._experts.layers}
        self._recorder.begin_checkpoint(totals, self._unsaved, experts)

    def _settle_checkpoint(self) -> None:
        """Wait for the checkpoint under way; the arrays it writes may change again afterwards."""
        if self._recorder.finish_checkpoint():
            self._unsaved = []

    def _save_all(self) -> None:
        self._tick()
        self._checkpoint()
        self._settle_checkpoint()

    def _report_problem(self, site: int, text: str) -> None:
        self._recorder.event("warning", f"{self._prepared.plan.sites[site].name}: {text}", site)
