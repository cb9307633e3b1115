"""What an engine wrote into its log and could not write into its session: of a full disk only the log may tell.

- `logged_failure`  why it ended, and when

A library that aborts or reads foreign memory ends the process before it could write anything; what Python's fault
handler then writes is the last thing in the log.
"""

from __future__ import annotations

import re
import signal
import time
from pathlib import Path

from engine.session.children import name_of_signal
from engine.session.library import log_path
from engine.session.logfile import read_end

_CRASHED = re.compile(r"^Fatal Python error: ([^\n]+)$", re.MULTILINE)
_PANICKED = re.compile(r"^thread [^\n]* panicked at [^\n]*\n([^\n]+)$", re.MULTILINE)
_STAMP = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", re.MULTILINE)
# In faulthandler's words.
_SIGNALS = {
    "Aborted": signal.SIGABRT,
    "Segmentation fault": signal.SIGSEGV,
    "Bus error": signal.SIGBUS,
    "Floating-point exception": signal.SIGFPE,
    "Floating point exception": signal.SIGFPE,
    "Illegal instruction": signal.SIGILL,
}
_FAILED = re.compile(r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)[^\n]*? run: failed: ([^\n]+)$", re.MULTILINE)
# A log counts whole seconds, and an engine's start is noted a moment before it runs.
_TOLERANCE_SECONDS = 2.0


def logged_failure(session: Path, since: float) -> tuple[str, float] | None:
    """The reason of the last failure in the log and its moment, Unix seconds; None if there is none.

    Args:
        session: whose engine it was.
        since: when that engine started; what the log holds of earlier ones is no reason.
    """
    log = read_end(session)
    crash = _crash(session, log, since)
    if crash is not None:
        return crash
    found = _FAILED.findall(log)
    if not found:
        return None
    stamp, reason = found[-1]
    try:
        at = time.mktime(time.strptime(stamp, "%Y-%m-%d %H:%M:%S"))
    except (ValueError, OverflowError):
        return None
    return (reason.strip(), at) if at >= since - _TOLERANCE_SECONDS else None


def _crash(session: Path, log: str, since: float) -> tuple[str, float] | None:
    """The crash that the log ends with, if it is of an engine that started then."""
    crashes = list(_CRASHED.finditer(log))
    if not crashes or _STAMP.search(log, crashes[-1].end()):
        return None
    try:
        at = log_path(session).lstat().st_mtime
    except OSError:
        return None
    if at < since - _TOLERANCE_SECONDS:
        return None
    fault = crashes[-1].group(1).strip()
    how = f"ended by {name_of_signal(_SIGNALS[fault])}" if fault in _SIGNALS else f"ended by a fault ({fault})"
    panics = _PANICKED.findall(log, 0, crashes[-1].start())
    why = f": {panics[-1]}" if panics else ""
    return f"the engine was {how}{why}; the log ({log_path(session)}) says where", at
