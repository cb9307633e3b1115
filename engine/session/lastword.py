"""What an engine wrote into its log and could not write into its session: of a full disk only the log may tell.

- `logged_failure`  why it ended, and when
- `ending_line`, `is_ending_line`  what an engine logs for it

A library that aborts or reads foreign memory ends the process before it could write anything; what Python's fault
handler then writes is the last thing in the log.
"""

from __future__ import annotations

import json
import re
import signal
import time
from pathlib import Path

from engine.base.stored import UnsoundError, parse
from engine.messages import Code, Message, as_written, message, read_message
from engine.session.library import log_path
from engine.session.logfile import read_end

_CRASHED = re.compile(r"^Fatal Python error: ([^\n]+)$", re.MULTILINE)
_PANICKED = re.compile(r"^thread [^\n]* panicked at [^\n]*\n([^\n]+)$", re.MULTILINE)
_AT = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
_STAMP = re.compile(rf"^{_AT}", re.MULTILINE)
ENDING = "ending"
# In faulthandler's words.
_SIGNALS = {
    "Aborted": signal.SIGABRT,
    "Segmentation fault": signal.SIGSEGV,
    "Bus error": signal.SIGBUS,
    "Floating-point exception": signal.SIGFPE,
    "Floating point exception": signal.SIGFPE,
    "Illegal instruction": signal.SIGILL,
}
# What `engine.run.recording` logs as a run fails, for this module; engines of before 0.3 logged their sentence alone.
_FAILED = re.compile(rf"^({_AT})\S* INFO engine\.run\.recording: {ENDING}: ([^\n]+)$", re.MULTILINE)
_FAILED_BEFORE = re.compile(rf"^({_AT})\S* INFO engine\.run\.recording: run: failed: ([^\n]+)$", re.MULTILINE)
# A log counts whole seconds, and an engine's start is noted a moment before it runs.
_TOLERANCE_SECONDS = 2.0


def ending_line(why: Message) -> str:
    """What an engine logs as it fails, beside the sentence for people; `logged_failure` reads it back."""
    return f"{ENDING}: {json.dumps(why.to_json())}"


def is_ending_line(line: str) -> bool:
    """Whether a line of the log is what `ending_line` made."""
    return _FAILED.match(line) is not None


def logged_failure(session: Path, since: float) -> tuple[Message, float] | None:
    """The reason of the last failure in the log and its moment, Unix seconds; None if there is none.

    Args:
        session: whose engine it was.
        since: when that engine started; what the log holds of earlier ones is no reason.
    """
    log = read_end(session)
    crash = _crash(session, log, since)
    if crash is not None:
        return crash
    coded = _FAILED.findall(log)
    for stamp, said in (coded or _FAILED_BEFORE.findall(log))[-1:]:
        try:
            why = read_message(parse(said)) if coded else as_written(said.strip())
            at = time.mktime(time.strptime(stamp, "%Y-%m-%d %H:%M:%S"))
        except (UnsoundError, ValueError, OverflowError):
            return None
        return (why, at) if at >= since - _TOLERANCE_SECONDS else None
    return None


def _crash(session: Path, log: str, since: float) -> tuple[Message, float] | None:
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
    panics = _PANICKED.findall(log, 0, crashes[-1].start())
    panic, path = panics[-1] if panics else None, str(log_path(session))
    return message(Code.CRASHED, signal=_number_of(fault), fault=fault, panic=panic, log=path), at


def _number_of(fault: str) -> int | None:
    found = _SIGNALS.get(fault)
    return int(found) if found is not None else None
