"""An engine that was asked to stop while it loads ends within seconds, whatever its libraries are busy with.

- `LoadGuard`     ends the process where the load does not
- `STOP_SECONDS`  how long the load has for ending by itself

A load ends itself at its next report of progress. A template that loops, a configuration that is built for minutes or a
read of a slow disk report none; there nobody would look at the wish, and Python would not even run a signal handler.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from engine.run.commands import CommandDesk
from engine.session.schema import SessionError

STOP_SECONDS = 5.0
LOOK_SECONDS = 0.5
_log = logging.getLogger(__name__)


class LoadGuard:
    """Context manager around a load, in the main thread.

    The kernel's handler writes each signal into a pipe at once, so that the guard's thread sees it also while the main
    thread is inside a library.

    Args:
        desk: has the wish to stop; asked for it here, too.
        give_up: says in the session that the engine was stopped; called where the load does not end by itself.
        seconds: how long it has for that.
        leave: ends the process.
    """

    def __init__(
        self,
        desk: CommandDesk,
        give_up: Callable[[], object],
        *,
        seconds: float = STOP_SECONDS,
        leave: Callable[[int], object] = os._exit,
    ) -> None:
        self._desk, self._give_up, self._seconds, self._leave = desk, give_up, seconds, leave
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="load-guard", daemon=True)

    def __enter__(self) -> Self:
        self._before = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        signal.set_wakeup_fd(self._before)
        os.write(self._write, b"\0")
        self._thread.join()
        os.close(self._read)
        os.close(self._write)

    def _watch(self) -> None:
        deadline = 0.0
        while not self._done.is_set():
            if select.select([self._read], [], [], LOOK_SECONDS)[0]:
                signals = os.read(self._read, 512)
                if signal.SIGTERM in signals or signal.SIGINT in signals:
                    self._desk.stop_wished = True
            if not self._desk.stop_wished:
                self._look()
            if self._desk.stop_wished:
                deadline = deadline or time.monotonic() + self._seconds
                if time.monotonic() >= deadline and not self._done.is_set():
                    _log.warning(
                        "the load did not end within %.0f s of being asked to; the engine leaves", self._seconds
                    )
                    self._give_up()
                    self._leave(0)
                    return

    def _look(self) -> None:
        try:
            self._desk.look_for_stop()
        except SessionError as error:  # the load, which writes more often, meets the same and says so
            _log.warning("no look at the commands: %s", error)
