"""The loop: batch, forward, tick, checkpoint, command.

- `run`  run the job of a session file to its end; returns the process exit code
"""

from __future__ import annotations

import gc
import logging
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from corpus.samples import CorpusError
from engine.base.job import Addition, Job
from engine.base.memory import is_out_of_memory, split_batches
from engine.base.stored import build
from engine.loading.errors import LoadError, classify, first_line, is_panic
from engine.loading.load import LoadedModel
from engine.loading.progress import LoadProgress
from engine.messages import Code, Message, message
from engine.preparation.prepare import Prepared, extend, prepare
from engine.run.choosing import choice_message, choose_sites
from engine.run.commands import RunDesk, StopRequested, refuse_the_rest, signals_as_stop
from engine.run.ending import LoadGuard
from engine.run.failing import INPUT_ERRORS, why_not
from engine.run.heartbeat import Heartbeat
from engine.run.measuring import Measurement
from engine.run.recording import RunRecorder
from engine.run.restoring import (
    ADDITIONS,
    check_resumable,
    record_split,
    recorded_split,
    write_inputs,
)
from engine.run.storage import MovedError, StorageError
from engine.run.works import WORKS
from engine.session.costs import CHOICE
from engine.session.library import log_path
from engine.session.reader import SessionReader
from engine.session.rights import Rights, asked_rights, require
from engine.session.writer import SessionWriter, TakenOverError
from engine.sites.errors import SiteError
from engine.statistics.backends import BackendError
from engine.work.queue import WorkQueue
from engine.work.work import WorkContext

_log = logging.getLogger(__name__)


def run(
    path: Path,
    rights: Rights | None = None,
    *,
    is_locked: bool = False,
    loaded: LoadedModel | None = None,
    own_process: bool = False,
) -> int:
    """Run the job of a session file, from its last checkpoint if it has one.

    Args:
        path: the session file.
        rights: what the user has allowed; what the job asks for beyond it fails. None allows what the job asks for,
            for a caller who wrote the job himself.
        is_locked: the caller holds the session's `EngineLock` as long as this runs.
        loaded: the model, if the caller has it already; None loads what the job names.
        own_process: this process is there for the run alone, and may be ended with a load that does not end.

    Returns:
        0 when the run finished or was stopped, 1 when it failed; the reason is in the session's status.
    """
    writer = SessionWriter.open(path, live=True)
    writer.claim()
    try:
        with SessionReader(path) as reader:
            job = reader.meta().job
            recorder = RunRecorder(writer, job.checkpoint_seconds, is_locked=is_locked)
            with Heartbeat(writer.beat):
                code = _run_safely(path, job, rights, reader, writer, recorder, loaded, own_process=own_process)
        refuse_the_rest(writer, message(Code.RUN_HAD_ENDED))
    except TakenOverError:
        _log.exception("another engine works on the session now")
        code = 1
    writer.close(final=True)
    return code


def _run_safely(
    path: Path,
    job: Job,
    rights: Rights | None,
    reader: SessionReader,
    writer: SessionWriter,
    recorder: RunRecorder,
    loaded: LoadedModel | None,
    *,
    own_process: bool,
) -> int:
    """Leave the session in an ended phase whatever happens."""
    desk = RunDesk(writer, recorder)
    try:
        require(job, asked_rights(job) if rights is None else rights, path)
        with signals_as_stop(desk):
            guard = LoadGuard(desk, lambda: _leave_loading(path, writer, recorder)) if own_process else nullcontext()
            with guard:
                prepared = _prepare(job, reader, recorder, desk, loaded)
            if job.sites == "auto":
                prepared, job = _choose_sites(prepared, job, recorder, desk)
            _Loop(job, prepared, reader, writer, recorder, desk).run()
        return 0 if recorder.end("finished") else 1
    except StopRequested:
        return 0 if recorder.end("stopped", message(Code.STOPPED, resume=str(path))) else 1
    except TakenOverError:
        raise
    except MovedError as error:
        _log.exception("the session file was moved")
        recorder.end("failed", error.why)
    except StorageError as error:
        _log.exception("what was measured could not be saved")
        recorder.end("failed", message(Code.FAILED_STORAGE, why=error.why, resume=str(path)))
    except INPUT_ERRORS as error:
        _log.exception("the run ended early")
        recorder.end("failed", why_not(error, log_path(path)))
    except BaseException as error:  # noqa: BLE001  # the last boundary (a panic of Rust is no Exception)
        _log.exception("the run failed")
        recorder.end("failed", message(Code.FAILED_RUN, reason=first_line(error), log=str(log_path(path))))
    return 1


def _prepare(
    job: Job, reader: SessionReader, recorder: RunRecorder, desk: RunDesk, loaded: LoadedModel | None
) -> Prepared:
    """Prepare the run; every error that is not one of the rooms' own becomes a classified `LoadError`."""
    additions = [build(Addition, one) for one in reader.meta().raw.get(ADDITIONS, [])]
    try:
        return prepare(job, _reporting(recorder, desk), additions, loaded=loaded)
    except (LoadError, SiteError, CorpusError, BackendError, StopRequested, TakenOverError):
        raise
    except BaseException as error:
        if not isinstance(error, Exception) and not is_panic(error):
            raise
        raise classify(error, job.model) from error


def _leave_loading(path: Path, writer: SessionWriter, recorder: RunRecorder) -> None:
    recorder.end("stopped", message(Code.STOPPED_LOADING, resume=str(path)))
    refuse_the_rest(writer, message(Code.RUN_HAD_ENDED))
    writer.close(final=True)


def _choose_sites(prepared: Prepared, job: Job, recorder: RunRecorder, desk: RunDesk) -> tuple[Prepared, Job]:
    """Settle what `auto` is, and write it into the file, so that a resumed run never decides again."""
    _reporting(recorder, desk)(LoadProgress(Code.TIMING))
    prepared, choice = choose_sites(prepared, job)
    job = replace(job, sites=choice.sites)
    recorder.note(**{"job": job.to_json(), CHOICE: choice.to_json()})
    recorder.event("sites", choice_message(choice))
    return prepared, job


def _reporting(recorder: RunRecorder, desk: RunDesk) -> Callable[[LoadProgress], None]:
    def report(progress: LoadProgress) -> None:
        if recorder.tick_due():
            desk.look_for_stop()
        if desk.stop_wished:
            raise StopRequested
        recorder.loading(progress)

    return report


class _Loop:
    """Runs the batches that are left, obeys commands between them, makes room when memory runs out."""

    def __init__(
        self,
        job: Job,
        prepared: Prepared,
        reader: SessionReader,
        writer: SessionWriter,
        recorder: RunRecorder,
        desk: RunDesk,
    ) -> None:
        self._job = job
        self._writer = writer
        self._recorder = recorder
        self._desk = desk
        self._reader = reader
        self._works = WorkQueue(WORKS, self._work_context, writer, partial(recorder.event, "command"))
        self._desk.handlers["add"] = self._add_samples
        self._desk.works = self._works
        self._desk.before_rest = self._save_for_a_rest
        self._budget = prepared.batches.token_budget
        done = {int(number) for number in reader.samples_done()}
        split = recorded_split(reader) if done else prepared.split.record
        self._measurement = Measurement(prepared, job, recorder, split, reader)
        batches: list[tuple[int, ...]] = list(prepared.batches.batches)
        if done:
            for difference in check_resumable(reader, prepared, job):
                recorder.event("warning", message(Code.RESUMED_ALTHOUGH, difference=difference))
            self._measurement.load(reader)
            recorder.continue_from(reader.checkpoint_status())
            # The plan of the first part, not today's: what a batch computes may depend on who is in it.
            batches = [tuple(int(number) for number in batch) for batch in reader.batches()]
        write_inputs(writer, prepared, job, batches, new_samples=0 if not done else None)
        if not done:
            record_split(writer, prepared.split.record)
            if prepared.split.note and not any(event.kind == "split" for event in reader.events()):
                recorder.event("split", prepared.split.note)
        left = [tuple(number for number in batch if number not in done) for batch in batches]
        self._todo = deque(self._measurement.arrange(left))
        self._announce()
        recorder.event("run", self._beginning(len(done)))
        if done:
            self._measurement.tick()  # what was on the screen may be of batches that were lost

    def run(self) -> None:
        """Every batch that is left, then a last checkpoint; also when asked to stop between two batches.

        A batch that fails for another reason than memory is not saved: it is half measured.
        """
        try:
            with self._measurement.attached():
                self._desk.obey(self._work)
                while self._todo or self._works:
                    if self._todo:
                        self._run_next()
                    self._desk.obey(self._work)
                self._measurement.enter(None)
        except StopRequested:
            self._works.close(message(Code.ENGINE_STOPPED))
            self._measurement.save_all()
            raise
        self._measurement.save_all()

    def _run_next(self) -> None:
        """The next batch, and a tick or checkpoint where one is due."""
        self._measurement.enter(self._todo[0])
        self._run_batch(self._todo.popleft())
        if not self._todo:
            self._measurement.enter(None)
        if self._recorder.tick_due():
            self._measurement.tick()
        if self._recorder.checkpoint_due() or (self._works and not self._todo):
            self._measurement.checkpoint()

    def _save_for_a_rest(self) -> None:
        self._measurement.tick(exact=True)
        self._measurement.checkpoint()

    def _work(self) -> None:
        """A step of what was asked for beside the measuring."""
        if self._works:
            with self._measurement.set_aside():
                self._works.step()

    def _work_context(self) -> WorkContext:
        return WorkContext(self._measurement.prepared, self._job, self._reader, self._writer)

    def _beginning(self, done: int) -> Message:
        """What the run begins with, as an event."""
        status = self._recorder.status
        if done:
            return message(Code.RESUMED, done=done, samples=status.samples_total)
        samples, tokens = status.samples_total, status.tokens_total
        return message(Code.STARTED, samples=samples, tokens=tokens, batches=status.batches_total)

    def _announce(self) -> None:
        samples, tokens = self._amount()
        batches = self._recorder.status.batches_done + len(self._todo)
        self._recorder.begin(batches=batches, samples=samples, tokens=tokens)

    def _amount(self) -> tuple[int, int]:
        """Samples and tokens of the whole run."""
        lengths = self._measurement.prepared.tokenized.lengths
        return int((lengths > 0).sum()), int(lengths.sum())

    def _run_batch(self, numbers: tuple[int, ...]) -> None:
        try:
            self._measurement.run_batch(numbers)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            error.__traceback__ = None  # its frames hold the activations that did not fit
            self._make_room(numbers)

    def _make_room(self, numbers: tuple[int, ...]) -> None:
        """After running out of memory: take back what was not drained, halve the budget, and go on."""
        again = self._measurement.take_back()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        lengths = self._measurement.prepared.tokenized.lengths
        if len(numbers) == 1:
            tokens = int(lengths[numbers[0]])
            self._recorder.event("memory", message(Code.SAMPLE_SKIPPED, sample=int(numbers[0]), tokens=tokens))
            left = [*again, *self._todo]
        else:
            self._budget = max(self._budget // 2, 1)
            self._recorder.event("memory", message(Code.BUDGET_HALVED, budget=self._budget))
            left = split_batches([*again, numbers, *self._todo], lengths, self._budget)
        self._todo = deque(left)
        self._recorder.replan(len(left))

    def _add_samples(self, arguments: Mapping[str, Any]) -> Message:
        """Answer the command `add`: more texts into this run.

        Raises:
            CorpusError: they cannot be read.
        """
        addition = Addition(corpus=str(arguments["corpus"]), samples=arguments.get("samples"))
        before = self._measurement.prepared
        first = len(before.corpus.samples)
        prepared, batches = extend(before, self._job, addition, self._budget)
        self._measurement.grow(prepared)
        every = [*before.batches.batches, *batches]
        write_inputs(self._writer, prepared, self._job, every, new_samples=first, addition=addition)
        self._todo.extend(batches)
        samples, tokens = self._amount()
        self._recorder.grow(batches_left=len(self._todo), samples=samples, tokens=tokens)
        return message(Code.ADDED, samples=len(prepared.corpus.samples) - first, corpus=addition.corpus)
