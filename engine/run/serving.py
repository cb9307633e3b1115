"""The model of an ended run, loaded again to answer requests: prompts, samples, effects.

- `serve`  load, answer, and leave when nobody asked for anything for a while
"""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from contextlib import nullcontext
from functools import partial
from pathlib import Path

from corpus.samples import CorpusError
from engine.base.job import Addition
from engine.base.stored import build
from engine.loading.errors import LoadError, classify, first_line, is_panic
from engine.loading.progress import LoadProgress
from engine.messages import Code, Message, message
from engine.preparation.prepare import Prepared, prepare
from engine.process import IDLE_SECONDS
from engine.run.commands import POLL_SECONDS, CommandDesk, StopRequested, refuse_the_rest, signals_as_stop
from engine.run.ending import LoadGuard
from engine.run.failing import INPUT_ERRORS, why_not
from engine.run.heartbeat import Heartbeat
from engine.run.recording import TICK_SECONDS
from engine.run.restoring import ADDITIONS, check_resumable
from engine.run.works import WORKS
from engine.session.library import log_path
from engine.session.liveness import own_identity
from engine.session.reader import SessionReader
from engine.session.records import ENDED, Phase, Status
from engine.session.rights import Rights, asked_rights, require
from engine.session.writer import SessionWriter, TakenOverError
from engine.sites.errors import SiteError
from engine.work.queue import WorkQueue
from engine.work.work import WorkContext

_log = logging.getLogger(__name__)


def serve(
    path: Path,
    rights: Rights | None = None,
    *,
    is_locked: bool = False,
    idle_seconds: float = IDLE_SECONDS,
    own_process: bool = False,
) -> int:
    """Answer the requests about an ended run until there are none for `idle_seconds`, or its run goes on.

    Args:
        path: the session file.
        rights: what the user has allowed, as for `engine.run.runner.run`.
        is_locked: the caller holds the session's lock for a service as long as this runs.
        idle_seconds: it leaves when nobody has asked for so long.
        own_process: as for `engine.run.runner.run`.

    Returns:
        0 when it left in order, 1 when the model could not be loaded; the reason is in the service's status.
    """
    writer = SessionWriter.open(path, live=True)
    with SessionReader(path) as reader:
        other = None if is_locked else reader.service()
        if other is not None and other.phase not in ENDED and other.pid not in (0, os.getpid()):
            _log.info("process %d serves this session already", other.pid)
            return 0
        writer.claim("service")
        try:
            service = _Service(reader, writer, rights, is_locked=is_locked)
            with Heartbeat(writer.beat_service):
                code = service.run(idle_seconds, own_process=own_process)
            refuse_the_rest(writer, message(Code.SERVICE_HAD_ENDED))
        except TakenOverError:
            _log.exception("another engine serves the session now")
            code = 1
    writer.close(final=True)
    return code


class _Service:
    """One life of the serving engine; its status is kept apart from the run's, which stays as it ended."""

    def __init__(self, reader: SessionReader, writer: SessionWriter, rights: Rights | None, *, is_locked: bool) -> None:
        self._reader = reader
        self._writer = writer
        self._rights = rights
        now = time.time()
        self._status = Status(phase="loading", started=now, heartbeat=now, lock=int(is_locked), **own_identity())
        self._written = 0.0
        writer.set_service(self._status)
        self._desk = CommandDesk(writer, partial(writer.add_event, "command"))
        self._desk.stop_answer = message(Code.SERVICE_STOPPING)

    def run(self, idle_seconds: float, *, own_process: bool) -> int:
        """Load and answer; leaves an ended status whatever happens."""
        try:
            with signals_as_stop(self._desk):
                with LoadGuard(self._desk, self._leave_loading) if own_process else nullcontext():
                    prepared = self._prepare()
                self._answer_requests(prepared, idle_seconds)
            self._say("finished")
            return 0
        except StopRequested:
            self._say("stopped")
            return 0
        except TakenOverError:
            raise
        except INPUT_ERRORS as error:
            _log.exception("the model cannot be served")
            self._say("failed", why_not(error))
        except BaseException as error:  # noqa: BLE001  # the last boundary (a panic of Rust is no Exception)
            _log.exception("the service failed")
            log = str(log_path(self._writer.path))
            self._say("failed", message(Code.FAILED_SERVICE, reason=first_line(error), log=log))
        return 1

    def _prepare(self) -> Prepared:
        meta = self._reader.meta()
        require(meta.job, asked_rights(meta.job) if self._rights is None else self._rights, self._writer.path)
        additions = [build(Addition, one) for one in meta.raw.get(ADDITIONS, [])]
        try:
            prepared = prepare(meta.job, self._report, additions, measures=False)
        except (LoadError, SiteError, CorpusError, StopRequested, TakenOverError):
            raise
        except BaseException as error:
            if not isinstance(error, Exception) and not is_panic(error):
                raise
            raise classify(error, meta.job.model) from error
        for difference in check_resumable(self._reader, prepared, meta.job):
            self._writer.add_event("warning", message(Code.ANSWERS_ALTHOUGH, difference=difference))
        return prepared

    def _leave_loading(self) -> None:
        self._say("stopped")
        refuse_the_rest(self._writer, message(Code.SERVICE_HAD_ENDED))
        self._writer.close(final=True)

    def _report(self, progress: LoadProgress) -> None:
        step = message(progress.phase)
        if time.monotonic() - self._written >= TICK_SECONDS or step != self._status.message:
            self._desk.look_for_stop()
            self._status = self._status.changed(done=progress.done, total=progress.total or 0, unit=progress.unit)
            self._say("loading", step)
        if self._desk.stop_wished:
            raise StopRequested

    def _answer_requests(self, prepared: Prepared, idle_seconds: float) -> None:
        job = self._reader.meta().job
        context = WorkContext(prepared, job, self._reader, self._writer)
        works = WorkQueue(WORKS, lambda: context, self._writer, partial(self._writer.add_event, "command"))
        self._desk.works = works
        self._status = self._status.changed(done=0, total=0, unit="")
        self._say("running", message(Code.READY))
        last = time.monotonic()
        while time.monotonic() - last < idle_seconds and self._reader.status().phase in ENDED:
            if self._desk.answer_new() or works:
                last = time.monotonic()
            if self._desk.stop_wished:
                works.close(message(Code.ENGINE_STOPPED))
                raise StopRequested
            if works:
                works.step()
            else:
                time.sleep(POLL_SECONDS)
        works.close(message(Code.RUN_GOES_ON))

    def _say(self, phase: Phase, said: Message | None = None) -> None:
        now = time.time()
        self._written = time.monotonic()
        self._status = self._status.changed(
            phase=phase, message=said, heartbeat=now, ended=now if phase in ENDED else 0.0
        )
        try:
            self._writer.set_service(self._status)
        except sqlite3.OperationalError as error:
            _log.warning("the service's status was not written: %s", error)
