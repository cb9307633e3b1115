"""Starting the engine as its own, detached process, and what it said before it died.

- `start_engine`    run `python -P -m engine SESSION`, out of reach of the terminal
- `start_service`   the same for an engine that answers requests about an ended run
- `allow`, `allow_as`  give the engines of a session rights on this machine
- `end_by_force`    end an engine that loads and does not obey
- `describe_death`  the last lines of an engine's log
- `IDLE_SECONDS`    how long an engine that only answers stays when nobody asks
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from engine.base.job import Job
from engine.messages import Code, message
from engine.session.children import adopt
from engine.session.consent import is_noted
from engine.session.engine_lock import EngineLock, Role
from engine.session.lastword import is_ending_line
from engine.session.library import boot_identity
from engine.session.liveness import is_running, own_identity
from engine.session.logfile import open_log, read_end
from engine.session.patience import Patience
from engine.session.reader import SessionMeta, SessionReader
from engine.session.records import Status
from engine.session.rights import Rights, remember, remembered, require
from engine.session.schema import SessionError
from engine.session.writer import SessionWriter
from engine.session.writing import write

IDLE_SECONDS = 600.0
FORCE_SECONDS = 10.0
END_POLL_SECONDS = 0.1
TOO_LATE = message(Code.TOO_LATE)
# Folders that may be given relative to where the user is.
_FOLDER_VARIABLES = frozenset(
    {"PYTHONPATH", "MAXACT_CACHE", "MAXACT_STATE", "MAXACT_SESSIONS", "HF_HOME", "HF_HUB_CACHE", "TORCH_HOME",
     "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "NUMBA_CACHE_DIR", "TRITON_CACHE_DIR"}
)  # fmt: skip


def start_engine(session: Path, patience: Patience | None = None) -> int:
    """Start the engine for a session file; closing the terminal or the screen does not touch it.

    Its stdin is closed and its output goes to the log beside the session, because native libraries write to file
    descriptors and would tear the screen. The session's status says `starting`, with the process id, so that a
    death before the engine's first word is seen as well. The session's lock is taken here and handed over, so that
    of many starts at once one begins.

    Args:
        session: the session file.
        patience: with another process that writes into it.

    Returns:
        The process id.

    Raises:
        OSError: the interpreter cannot be started.
        LockedError: another engine works on the session.
        RightsError: its job asks for a right that it was not given on this machine.
        SessionError: session or log cannot be written; no engine was started.
    """
    patience = patience or Patience()
    job, given, name = _allowed(session, patience)
    with _handing_over(session, "run") as lock:
        starting = _starting_status(lock, job)

        def announce(writer: SessionWriter) -> None:
            refuse_foreign(writer, name)
            writer.set_status(starting)

        write(session, announce, patience)
        process = _spawn(session, lock, given)
        named = starting.changed(pid=process.pid)
        with suppress(SessionError):  # the engine runs already, and its first word tells the same
            write(session, lambda writer: writer.replace_status(starting, named), patience)
    return process.pid


def start_service(session: Path, patience: Patience | None = None) -> int:
    """Start an engine that loads the model of an ended run and answers requests about it (`engine.run.serving`).

    Arguments, return value and errors are those of `start_engine`.
    """
    patience = patience or Patience()
    job, given, _ = _allowed(session, patience)
    with _handing_over(session, "service") as lock:

        def announce(writer: SessionWriter) -> None:
            writer.refuse_unanswered(TOO_LATE)
            writer.set_service(_starting_status(lock, job))

        write(session, announce, patience)
        return _spawn(session, lock, given, "--serve").pid


def refuse_foreign(writer: SessionWriter, session_id: str) -> None:
    """Refuse what waits in a session, but texts to add that this user has asked for on this machine."""
    writer.refuse_unanswered(TOO_LATE, kept=("add",))
    for command in writer.new_commands():
        if not is_noted(session_id, command.at, command.name, command.arguments):
            writer.answer(command, "refused", message(Code.FOREIGN))


def allow(session: Path, rights: Rights) -> None:
    """Let the engines of a session do this on this machine, from now on.

    Raises:
        SessionError: the session cannot be read, or the state folder cannot be written.
    """
    if rights != Rights():
        with SessionReader(session) as reader:
            meta = reader.meta()
        remember(meta.session_id, meta.job, rights | remembered(meta.session_id, meta.job))


def allow_as(session: Path, other: Path) -> None:
    """Let the engines of a session do what those of another session of the same model may.

    Raises:
        SessionError: as `allow`.
    """
    with SessionReader(other) as reader:
        meta = reader.meta()
    allow(session, remembered(meta.session_id, meta.job))


def _allowed(session: Path, patience: Patience) -> tuple[Job, Rights, str]:
    """The job of a session, what it may do on this machine, and the session's name of its own.

    Raises:
        RightsError: it asks for more.
    """

    def look(wait_seconds: float) -> SessionMeta:
        with SessionReader(session, wait_seconds) as reader:
            return reader.meta()

    meta = patience.wait_for(look)
    rights = remembered(meta.session_id, meta.job)
    require(meta.job, rights, session)
    return meta.job, rights, meta.session_id


@contextmanager
def _handing_over(session: Path, role: Role) -> Iterator[EngineLock]:
    """The session's lock; it is let go of where no engine was started that has it now."""
    lock = EngineLock.take(session, role)
    try:
        yield lock
    except BaseException:
        lock.release()
        raise
    lock.hand_over()


def _starting_status(lock: EngineLock, job: Job) -> Status:
    """What an engine is before its first word; names the model, whose path may be a stranger's."""
    host, boot = socket.gethostname(), boot_identity()
    step, is_held = message(Code.LOADING_MODEL, model=job.model), int(lock.is_held)
    return Status(phase="starting", message=step, host=host, boot=boot, started=time.time(), lock=is_held)


def _spawn(session: Path, lock: EngineLock, rights: Rights, *options: str) -> subprocess.Popen[bytes]:
    flags = [*options, *rights.flags(), f"--lock-descriptor={lock.descriptor}"]
    with os.fdopen(open_log(session), "ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "engine", *flags, str(session.absolute())],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=(lock.descriptor,),
            cwd="/",
            env=_environment(),
        )
    adopt(process)
    return process


def _environment() -> dict[str, str]:
    """This process's environment, for one that works in `/`.

    The session's folder may be a stranger's, and libraries read settings from the folder they work in (numba's name a
    cache of pickles).
    """
    environment = os.environ | {"PYTHONSAFEPATH": "1"}
    for name in _FOLDER_VARIABLES & environment.keys():
        parts = environment[name].split(os.pathsep)
        environment[name] = os.pathsep.join(str(Path(part).absolute()) for part in parts if part)
    return environment


def end_by_force(session: Path, status: Status, patience: Patience | None = None) -> bool:
    """End the run's engine that loads and answers to nothing: a library may hold the interpreter for hours.

    It is asked by SIGTERM first, and killed when it is there after `FORCE_SECONDS`; its session then says `stopped`.

    Args:
        session: the session file.
        status: its last one, which names the process.
        patience: with another process that writes into the file.

    Returns:
        Whether it has ended; False where it is no process of this machine, or not ours.

    Raises:
        SessionError: the session cannot be written.
    """
    own = own_identity()
    if not status.pid or any(getattr(status, name) != own[name] for name in ("host", "boot", "namespace")):
        return False
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            if is_running(status.pid, status.started, status.start_ticks):
                os.kill(status.pid, number)
        except ProcessLookupError:
            pass
        except PermissionError:
            return False
        end = time.monotonic() + FORCE_SECONDS
        while is_running(status.pid, status.started, status.start_ticks) and time.monotonic() < end:
            time.sleep(END_POLL_SECONDS)
    if is_running(status.pid, status.started, status.start_ticks):
        return False

    def tell(writer: SessionWriter) -> None:
        how = message(Code.STOPPED_LOADING, resume=str(session))
        writer.set_status(status.changed(phase="stopped", message=how, ended=time.time()))
        writer.refuse_unanswered(TOO_LATE)

    with SessionReader(session) as reader:
        has_said = reader.status().phase == "stopped"
    if not has_said:
        with EngineLock.take(session):
            write(session, tell, patience or Patience(), final=True)
    return True


def describe_death(session: Path, lines: int = 5) -> list[str]:
    """The last lines of the engine's log that are written for people; empty if there is none."""
    told = (line.rstrip() for line in read_end(session).splitlines() if line.strip() and not is_ending_line(line))
    return list(told)[-lines:]
