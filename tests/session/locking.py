"""Another connection that holds a session file, as an engine does while it writes.

- `WAYS`  (journal, kind of transaction); with a rollback journal an exclusive one keeps readers out, too
- `held`  hold it
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from tests.waiting import PATIENCE_SECONDS

WAYS = (("wal", "IMMEDIATE"), ("wal", "EXCLUSIVE"), ("delete", "IMMEDIATE"), ("delete", "EXCLUSIVE"))


class Hold:
    """The file is held until `release`."""

    def __init__(self, path: Path, kind: str) -> None:
        self._path, self._kind = path, kind
        self._held, self._released = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._hold)
        self._thread.start()
        assert self._held.wait(PATIENCE_SECONDS)

    def release(self) -> None:
        """Let go of it; returns when it is free."""
        self._released.set()
        self._thread.join()

    @property
    def is_held(self) -> bool:
        """Whether it is held still."""
        return self._thread.is_alive()

    def _hold(self) -> None:
        with closing(sqlite3.connect(self._path, isolation_level=None, timeout=PATIENCE_SECONDS)) as db:
            db.execute(f"BEGIN {self._kind}")
            db.execute("UPDATE status SET heartbeat = heartbeat")
            self._held.set()
            self._released.wait(10 * PATIENCE_SECONDS)  # for longer than any test takes
            db.execute("ROLLBACK")


@contextmanager
def held(path: Path, kind: str) -> Iterator[Hold]:
    """The file is held inside, or until it is released there."""
    hold = Hold(path, kind)
    try:
        yield hold
    finally:
        hold.release()
