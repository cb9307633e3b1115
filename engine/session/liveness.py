"""Whether the engine of a session is alive, and why it ended.

- `is_gone`          whether an engine that should be at work has ended without a word
- `is_running`       whether a process of this machine is alive, and is the one meant
- `own_identity`     what an engine records of itself, so that others can tell
- `why_it_ended`     in the engine's own words, or that it had no time for any

The lock that a living engine holds is asked first: it is right on any clock and in any container. Only where there is
none (older sessions, file systems without locks, other machines) process and heartbeat are judged.
"""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from typing import Any

from engine.messages import Code, Message, message
from engine.session.children import signal_of
from engine.session.library import boot_identity
from engine.session.records import ENDED, Status

SILENCE_SECONDS = 15.0
START_GRACE_SECONDS = 60.0
# A status records its process a moment after the process started; clocks of the two readings differ a little.
_START_TOLERANCE_SECONDS = 30.0


def is_gone(status: Status, created: float, now: float | None = None, *, locked: bool | None = None) -> bool:
    """Whether the engine should be at work and is not.

    Args:
        status: as stored.
        created: when the session file was made, Unix seconds.
        now: Unix seconds; the present by default.
        locked: whether somebody holds the session's lock; None where that is not known.
    """
    now = time.time() if now is None else now
    if status.phase in ENDED or locked:
        return False
    boot = boot_identity()
    if status.lock and locked is False and boot and status.boot == boot:
        return True
    if status.pid == 0:
        return now - max(created, status.started) > START_GRACE_SECONDS
    if status.host != socket.gethostname():
        return now - status.heartbeat > SILENCE_SECONDS
    if status.boot != boot:
        return True
    if status.namespace and status.namespace != _namespace():
        return now - status.heartbeat > SILENCE_SECONDS
    return not is_running(status.pid, status.started, status.start_ticks)


def is_running(pid: int, started: float, start_ticks: int = 0) -> bool:
    """Whether process `pid` is alive and is the one that was recorded; a zombie counts as dead.

    Args:
        pid: the process.
        started: about when it started, Unix seconds; only asked where the ticks are not known, for clocks are set.
        start_ticks: when it started, in clock ticks since boot; 0 if not known.
    """
    if start_ticks and (ticks := _start_ticks(pid)) is not None and ticks != start_ticks:
        return False
    import psutil  # not needed, and so not waited for, where a session has ended

    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        return bool(start_ticks) or not started or process.create_time() < started + _START_TOLERANCE_SECONDS
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


def why_it_ended(status: Status) -> Message:
    """The reason an ended engine gave; one that was killed could give none, and its last status is no reason."""
    if status.phase != "gone":
        return status.message or message(Code.NO_REASON)
    step = status.message if not status.samples_total else None
    return message(Code.GONE, signal=signal_of(status.pid), step=step)


def own_identity() -> dict[str, Any]:
    """Fields of a `Status` by which others tell whether this process is alive."""
    return {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "boot": boot_identity(),
        "start_ticks": _start_ticks(os.getpid()) or 0,
        "namespace": _namespace(),
    }


def _start_ticks(pid: int) -> int | None:
    """When a process started, in ticks since boot (proc_pid_stat(5), field 22); None where Linux does not say."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        return int(text.rpartition(")")[2].split()[19])  # the name, in brackets, may hold spaces
    except (OSError, ValueError, IndexError):
        return None


def _namespace() -> str:
    """The namespace that process ids belong to; empty where the system has none."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""
