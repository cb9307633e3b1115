"""A thread that says twice a second that the engine is alive, also while a model loads or a long batch runs."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from types import TracebackType

from engine.session.writer import SessionWriter

BEAT_SECONDS = 0.5
_log = logging.getLogger(__name__)


class Heartbeat:
    """Context manager: beats into the session file until it is left."""

    def __init__(self, writer: SessionWriter) -> None:
        self._writer = writer
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._done.wait(BEAT_SECONDS):
            try:
                self._writer.beat(time.time())
            except sqlite3.OperationalError as error:
                _log.warning("heartbeat not written: %s", error)
