"""What keeps a run from saving what it has measured.

- `StorageError` what was measured could not be saved
- `MovedError`   the session file was moved, removed or replaced while it was written
- `disk_trouble` why a file cannot be written, and what to do about it
- `free_name`    a name for a copy
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from engine.messages import Code, Message, message, words


class StorageError(Exception):
    """What was measured could not be saved.

    Attributes:
        why: with the next step.
    """

    def __init__(self, why: Message | None) -> None:
        super().__init__(words(why))
        self.why = why


class MovedError(Exception):
    """The session file has not the name any more that it had.

    Attributes:
        why: says where its content is.
    """

    def __init__(self, path: Path, beside: Path | None, error: Exception | None = None) -> None:
        said = None if error is None else str(error)
        self.why = message(
            Code.FAILED_MOVED, path=str(path), error=said, resume=None if beside is None else str(beside)
        )
        super().__init__(words(self.why))


def disk_trouble(error: sqlite3.Error) -> Message:
    """What keeps a session from being written, with the next step."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    troubles = {
        sqlite3.SQLITE_FULL: "full",
        sqlite3.SQLITE_IOERR: "failing",
        sqlite3.SQLITE_READONLY: "read-only",
        sqlite3.SQLITE_CANTOPEN: "folder",
        sqlite3.SQLITE_BUSY: "held",
    }
    return message(Code.DISK, error=str(error), trouble=troubles.get(code, "other"))


def free_name(path: Path) -> Path:
    """A name beside a session's that nothing has."""
    number = 1
    while True:
        found = path.with_name(f"{path.stem}-saved{f'-{number}' if number > 1 else ''}{path.suffix}")
        if not os.path.lexists(found):
            return found
        number += 1
