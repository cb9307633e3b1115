"""Starting the engine as its own, detached process, and what it said before it died.

- `start_engine`    run `python -P -m engine SESSION`, out of reach of the terminal
- `start_service`   the same for an engine that answers requests about an ended run
- `starting_status`  what is recorded of an engine before its first word
- `describe_death`  the last lines of an engine's log
- `IDLE_SECONDS`    how long an engine that only answers stays when nobody asks
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from engine.session.library import boot_identity, log_path
from engine.session.patience import Patience
from engine.session.records import Status
from engine.session.schema import SessionError
from engine.session.writer import SessionWriter
from engine.session.writing import write

IDLE_SECONDS = 600.0
TOO_LATE = "the engine it was meant for has ended"


def start_engine(session: Path, patience: Patience | None = None) -> int:
    """Start the engine for a session file; closing the terminal or the screen does not touch it.

    Its stdin is closed and its output goes to the log beside the session, because native libraries write to file
    descriptors and would tear the screen. The session's status says `starting`, with the process id, so that a
    death before the engine's first word is seen as well.

    Args:
        session: the session file.
        patience: with another process that writes into it.

    Returns:
        The process id.

    Raises:
        OSError: the interpreter or the log cannot be opened.
        SessionError: the session cannot be written; no engine was started.
    """
    patience, starting = patience or Patience(), starting_status()

    def announce(writer: SessionWriter) -> None:
        writer.refuse_unanswered(TOO_LATE, kept=("add",))
        writer.set_status(starting)

    write(session, announce, patience)
    process = _spawn(session)
    named = starting.changed(pid=process.pid)
    with suppress(SessionError):  # the engine runs already, and its first word tells the same
        write(session, lambda writer: writer.replace_status(starting, named), patience)
    return process.pid


def start_service(session: Path, patience: Patience | None = None) -> int:
    """Start an engine that loads the model of an ended run and answers requests about it (`engine.serving`).

    Args:
        session: the session file.
        patience: with another process that writes into it.

    Returns:
        The process id.

    Raises:
        OSError: the interpreter or the log cannot be opened.
        SessionError: the session cannot be written; no engine was started.
    """

    def announce(writer: SessionWriter) -> None:
        writer.refuse_unanswered(TOO_LATE)
        writer.set_service(starting_status())

    write(session, announce, patience or Patience())
    return _spawn(session, "--serve").pid


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


def describe_death(session: Path, lines: int = 5) -> list[str]:
    """The last non-empty lines of the engine's log; empty if there is none."""
    try:
        text = log_path(session).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return [line.rstrip() for line in text.splitlines() if line.strip()][-lines:]
