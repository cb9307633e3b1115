"""Starting the engine as its own, detached process, and what it said before it died.

- `start_engine`    run `python -P -m engine SESSION`, out of reach of the terminal
- `start_service`   the same for an engine that answers requests about an ended run
- `starting_status`  what is recorded of an engine before its first word
- `why_it_ended`    in the engine's own words, or that it had no time for any
- `describe_death`  the last lines of an engine's log
- `IDLE_SECONDS`    how long an engine that only answers stays when nobody asks
"""

from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from engine.session.library import boot_identity, log_path
from engine.session.records import Status
from engine.session.schema import SessionError
from engine.session.writer import SessionWriter

IDLE_SECONDS = 600.0
TOO_LATE = "the engine it was meant for has ended"


def start_engine(session: Path) -> int:
    """Start the engine for a session file; closing the terminal or the screen does not touch it.

    Its stdin is closed and its output goes to the log beside the session, because native libraries write to file
    descriptors and would tear the screen. The session's status says `starting`, with the process id, so that a
    death before the engine's first word is seen as well.

    Returns:
        The process id.

    Raises:
        OSError: the interpreter or the log cannot be opened.
        SessionError: the session cannot be written; no engine was started.
    """
    with _writing(session) as writer:
        writer.refuse_unanswered(TOO_LATE, kept=("add",))
        starting = starting_status()
        writer.set_status(starting)
        process = _spawn(session)
        with suppress(sqlite3.OperationalError):  # the engine runs already, and its first word tells the same
            writer.replace_status(starting, starting.changed(pid=process.pid))
    return process.pid


def start_service(session: Path) -> int:
    """Start an engine that loads the model of an ended run and answers requests about it (`engine.serving`).

    Returns:
        The process id.

    Raises:
        OSError: the interpreter or the log cannot be opened.
        SessionError: the session cannot be written; no engine was started.
    """
    with _writing(session) as writer:
        writer.refuse_unanswered(TOO_LATE)
        writer.set_service(starting_status())
        return _spawn(session, "--serve").pid


@contextmanager
def _writing(session: Path) -> Iterator[SessionWriter]:
    """A writer of the session, which is closed at the end; a full disk becomes a `SessionError`."""
    writer = SessionWriter.open(session)
    try:
        yield writer
    except sqlite3.Error as error:
        raise SessionError(f"cannot write {session}: {error}") from error
    finally:
        writer.close()


def starting_status() -> Status:
    """What an engine is before its first word."""
    return Status(phase="starting", host=socket.gethostname(), boot=boot_identity(), started=time.time())


def _spawn(session: Path, *options: str) -> subprocess.Popen[bytes]:
    with os.fdopen(os.open(log_path(session), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as log:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "engine", *options, str(session.absolute())],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            close_fds=True,
            cwd=session.absolute().parent,
        )


def why_it_ended(status: Status) -> str:
    """The reason an ended engine gave; one that was killed could give none, and its last status is no reason."""
    if status.phase != "gone":
        return status.detail or "it gave no reason; the last lines of its log may"
    step = f" while {status.detail}" if status.detail and not status.samples_total else ""
    return f"the engine is gone{step} and gave no reason (killed? out of memory?)"


def describe_death(session: Path, lines: int = 5) -> list[str]:
    """The last non-empty lines of the engine's log; empty if there is none."""
    try:
        text = log_path(session).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return [line.rstrip() for line in text.splitlines() if line.strip()][-lines:]
