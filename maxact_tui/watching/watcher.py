"""Watching a session file: a thread looks four times a second and keeps the newest snapshot.

- `Watcher`    the thread; it announces once until the snapshot is collected, so that updates cannot queue up
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from maxact_tui.watching.looking import Look
from maxact_tui.watching.machine import Machine, Usage
from maxact_tui.watching.snapshot import Snapshot, Wish

POLL_SECONDS = 0.25


class Watcher(threading.Thread):
    """Looks at one session file until it is told to stop.

    Args:
        path: the session file; it need not exist yet.
        read_only: the screen sends nothing; snapshots say so.
        announce: called from the thread when there is a newer snapshot, once until it has been collected.
    """

    def __init__(self, path: Path, announce: Callable[[], None], *, read_only: bool = False) -> None:
        super().__init__(name="session-watcher", daemon=True)
        self._path = path
        self._announce = announce
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopped = threading.Event()
        self._newest = Snapshot(path, read_only=read_only)
        self._machine = Machine()
        self._announced = False
        self._read_only = read_only
        self._wish = Wish()
        self._look = Look(path)

    def collect(self) -> Snapshot:
        """The newest snapshot; the next one will be announced again."""
        with self._lock:
            self._announced = False
            return self._newest

    def wish(self, wish: Wish) -> None:
        """Say what the screen wants to see; answered at once."""
        if wish != self._wish:
            self._wish = wish
            self._wake.set()

    def hurry(self) -> None:
        """Look again at once."""
        self._wake.set()

    def stop(self) -> None:
        """End the thread soon."""
        self._stopped.set()
        self._wake.set()

    def run(self) -> None:
        """Look, publish, wait; until stopped."""
        while not self._stopped.is_set():
            for _ in range(2):  # what is quick first, then what takes longer
                snapshot = self._look.again(self._wish)
                if snapshot is None:
                    break
                self._publish(snapshot, self._newest.usage)
            self._publish_usage()
            self._wake.wait(POLL_SECONDS)
            self._wake.clear()
        self._look.close()

    def _publish_usage(self) -> None:
        newest = self._newest
        usage = self._machine.usage(newest.status, newest.meta)
        if usage != newest.usage:
            self._publish(newest, usage)

    def _publish(self, snapshot: Snapshot, usage: Usage | None) -> None:
        with self._lock:
            self._newest = replace(snapshot, usage=usage, read_only=self._read_only)
            announced, self._announced = self._announced, True
        if not announced and not self._stopped.is_set():
            self._announce()
