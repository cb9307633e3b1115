"""Mistakes of the program itself: told as such, in one line, with the traceback in a log. None is blamed on a file.

- `report_bug`  log an error that nobody has foreseen; the line that says so
- `in_words`    the line for any error: its own words if it was meant for a user, else that of a bug
- `bug_log`     where the tracebacks are
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Final

import platformdirs

from maxact_tui.texts.visible import visible

LOG_VARIABLE: Final = "MAXACT_BUG_LOG"
_MOST_BYTES: Final = 1 << 20
_logged: set[str] = set()  # what goes wrong four times a second is logged once


def bug_log() -> Path:
    """The file of tracebacks, which `MAXACT_BUG_LOG` overrides."""
    override = os.environ.get(LOG_VARIABLE)
    return Path(override) if override else Path(platformdirs.user_log_dir("maxact-tui", appauthor=False)) / "bugs.log"


def report_bug(error: BaseException) -> str:
    """Write the traceback into the log; returns one printable line that names the bug and the log."""
    what = visible(" ".join(str(error).split()), 200, space=" ")
    said = f"a bug in maxact-tui: {type(error).__name__}{': ' if what else ''}{what}"
    text = "".join(traceback.format_exception(error))
    for log in (bug_log(), Path(tempfile.gettempdir()) / f"maxact-tui-bugs-{os.getpid()}.log"):
        if text in _logged or _written(log, text):
            _logged.add(text)
            return f"{said}; the traceback is in {visible(str(log), space=' ')}; please report it"
    return f"{said}; its traceback could not be written anywhere; please report it"


def in_words(error: Exception) -> str:
    """What to tell of an error: its own message where it was raised for a user, else that of a bug."""
    from engine.report.errors import ReportError
    from engine.session.schema import SessionError
    from maxact_tui.errors import UserError

    return str(error) if isinstance(error, (SessionError, ReportError, UserError, OSError)) else report_bug(error)


def _written(log: Path, text: str) -> bool:
    """Append to the log, for its owner only; a log that has grown long is begun anew."""
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        if log.exists() and log.stat().st_size > _MOST_BYTES:
            log.replace(log.with_name(log.name + ".old"))
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)
        with os.fdopen(os.open(log, flags, 0o600), "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} maxact-tui {' '.join(sys.argv[1:3])}\n{text}\n")
    except OSError:
        return False
    return True
