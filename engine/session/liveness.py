"""Whether the engine of a session is alive, and why it ended, judged from its status alone.

- `is_gone`       whether an engine that should beat has stopped
- `is_running`    whether a process of this machine is alive, and is the one meant
- `why_it_ended`  in the engine's own words, or that it had no time for any
"""

from __future__ import annotations

import socket
import time

from engine.session.library import boot_identity
from engine.session.records import ENDED, Status

SILENCE_SECONDS = 15.0
START_GRACE_SECONDS = 60.0
# A status records its process a moment after the process started; clocks of the two readings differ a little.
_START_TOLERANCE_SECONDS = 30.0


def is_gone(status: Status, created: float, now: float | None = None) -> bool:
    """Whether the engine should be beating and is not.

    On this machine the process itself is asked; of another machine's engine only the heartbeat is known.

    Args:
        status: as stored.
        created: when the session file was made, Unix seconds.
        now: Unix seconds; the present by default.
    """
    now = time.time() if now is None else now
    if status.phase in ENDED:
        return False
    if status.pid == 0:
        return now - max(created, status.started) > START_GRACE_SECONDS
    if status.host == socket.gethostname():
        return status.boot != boot_identity() or not is_running(status.pid, status.started)
    return now - status.heartbeat > SILENCE_SECONDS


def is_running(pid: int, started: float) -> bool:
    """Whether process `pid` is alive and is the one that started about `started` (Unix seconds).

    A zombie counts as dead, and a recycled pid is told by its start time.
    """
    import psutil  # not needed, and so not waited for, where a session has ended

    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        return not started or process.create_time() < started + _START_TOLERANCE_SECONDS
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


def why_it_ended(status: Status) -> str:
    """The reason an ended engine gave; one that was killed could give none, and its last status is no reason."""
    if status.phase != "gone":
        return status.detail or "it gave no reason; the last lines of its log may"
    step = f" while {status.detail}" if status.detail and not status.samples_total else ""
    return f"the engine is gone{step} and gave no reason (killed? out of memory?)"
