"""Starting the engine as its own, detached process, and what it said before it died.

- `start_engine`    run `python -P -m engine SESSION`, out of reach of the terminal
- `describe_death`  the last lines of an engine's log
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path

from engine.session.library import boot_identity, log_path
from engine.session.records import Status
from engine.session.writer import SessionWriter


def start_engine(session: Path) -> int:
    """Start the engine for a session file; closing the terminal or the screen does not touch it.

    Its stdin is closed and its output goes to the log beside the session, because native libraries write to file
    descriptors and would tear the screen. The session's status says `starting`, with the process id, so that a
    death before the engine's first word is seen as well.

    Returns:
        The process id.

    Raises:
        OSError: the interpreter or the log cannot be opened.
        SessionError: the session cannot be written.
    """
    writer = SessionWriter.open(session)
    writer.refuse_unanswered("the engine it was meant for has ended")
    starting = Status(phase="starting", host=socket.gethostname(), boot=boot_identity(), started=time.time())
    writer.set_status(starting)
    with log_path(session).open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "engine", str(session.absolute())],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            close_fds=True,
            cwd=session.absolute().parent,
        )
    writer.replace_status(starting, starting.changed(pid=process.pid))
    writer.close()
    return process.pid


def describe_death(session: Path, lines: int = 5) -> list[str]:
    """The last non-empty lines of the engine's log; empty if there is none."""
    try:
        text = log_path(session).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return [line.rstrip() for line in text.splitlines() if line.strip()][-lines:]
