"""Writing into a session as somebody else than its engine, with patience.

- `write`
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from engine.session import schema
from engine.session.patience import Patience
from engine.session.writer import SessionWriter

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
