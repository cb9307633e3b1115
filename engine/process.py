"""Starting the engine as its own, detached process, and telling whether a process is alive.

- `start_engine`    run `python -P -m engine SESSION`, out of reach of the terminal
- `is_running`      whether the process a status names is alive on this machine
- `describe_death`  the last lines of an engine's log
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil

from engine.session.library import log_path

# A status records its process a moment after the process started; clocks of the two readings differ a little.
_START_TOLERANCE_SECONDS = 30.0


def start_engine(session: Path) -> int:
    """Start the engine for a session file; closing the terminal or the screen does not touch it.

    Its stdin is closed and its output goes to the log beside the session, because native libraries write to file
    descriptors and would tear the screen.

    Returns:
        The process id.

    Raises:
        OSError: the interpreter or the log cannot be opened.
    """
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
    return process.pid


def is_running(pid: int, started: float) -> bool:
    """Whether process `pid` is alive and is the one that started about `started` (Unix seconds).

    A zombie counts as dead, and a recycled pid is told by its start time.
    """
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        return not started or process.create_time() < started + _START_TOLERANCE_SECONDS
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


def describe_death(session: Path, lines: int = 5) -> list[str]:
    """The last non-empty lines of the engine's log; empty if there is none."""
    try:
        text = log_path(session).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return [line.rstrip() for line in text.splitlines() if line.strip()][-lines:]
