"""Writing into a session as somebody else than its engine, with patience.

- `write`
- `fold`   have an ended session be one file
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from engine.session import schema
from engine.session.engine_lock import is_locked
from engine.session.patience import Patience
from engine.session.writer import SessionWriter

FOLD_SECONDS = 10.0
_STEP_SECONDS = 0.05
_Made = TypeVar("_Made")


def write(path: Path, act: Callable[[SessionWriter], _Made], patience: Patience, *, final: bool = False) -> _Made:
    """What `act` gives, which writes into a session as somebody else than its engine.

    Args:
        path: the session file.
        act: begun again from the start where another process writes.
        patience: with that process.
        final: fold the write-ahead log in afterwards.

    Raises:
        BusyError: another process was writing all the time.
        SessionError: it cannot be written; a full disk, too.
    """

    def once(wait_seconds: float) -> _Made:
        writer = SessionWriter.open(path, wait_seconds=wait_seconds)
        try:
            return act(writer)
        except sqlite3.Error as error:
            if schema.is_busy(error):
                raise schema.BusyError(path) from error
            raise schema.SessionError(f"cannot write {path}: {error}") from error
        finally:
            writer.close(final=final)

    return patience.wait_for(once)


def fold(session: Path, seconds: float = FOLD_SECONDS) -> None:
    """Have an ended session be one file again: whoever watched its end kept its engine from folding its log in.

    Args:
        session: whose reader here is closed.
        seconds: how long its engine may take to let go of it; then, and where others read it, it is left as it is.
    """
    end, log = time.monotonic() + seconds, session.with_name(session.name + "-wal")
    while log.exists() and is_locked(session) and time.monotonic() < end:
        time.sleep(_STEP_SECONDS)
    if log.exists():
        with suppress(schema.SessionError):
            SessionWriter.open(session, wait_seconds=_STEP_SECONDS).close(final=True)
