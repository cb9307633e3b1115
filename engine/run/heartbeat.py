"""A thread that says twice a second that the engine is alive, also while a model loads or a long batch runs."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable
from types import TracebackType

from engine.session.schema import SessionError

BEAT_SECONDS = 0.5
_log = logging.getLogger(__name__)


class Heartbeat:
    """Context manager: beats until it is left.

    Args:
        beat: says at a moment, Unix seconds, that the engine is alive (`SessionWriter.beat`, `.beat_service`).
    """

    def __init__(self, beat: Callable[[float], None]) -> None:
        self._say = beat
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
                self._say(time.time())
            except sqlite3.OperationalError as error:
                _log.warning("heartbeat not written: %s", error)
            except SessionError as error:  # another engine has taken over; the run's own writing will say so
                _log.error("no heartbeat any more: %s", error)
                return
