"""Leaving in every way there is: signals, and a terminal that is gone.

- `on_signals`      calls back on SIGHUP, SIGTERM and SIGINT, inside the event loop
- `HangupWatch`     a thread that notices when the terminal is gone, even where SIGHUP is ignored
- `EXIT_*`          exit codes
- `exit_code`       which one a session's state asks for
- `leave_by_force_after`  for a terminal that swallows the orderly way out
"""

from __future__ import annotations

import asyncio
import os
import select
import signal
import sys
import threading
from collections.abc import Callable

from maxact_tui.watching.snapshot import Snapshot

EXIT_DONE, EXIT_FAILED, EXIT_DETACHED, EXIT_INTERRUPTED = 0, 1, 3, 130
LEAVING_SECONDS = 3.0
_POLL_MILLISECONDS = 1000


def exit_code(snapshot: Snapshot) -> int:
    """3 if the run goes on without the screen, 1 if it failed, else 0."""
    if snapshot.status is None or not snapshot.has_ended:
        return EXIT_DETACHED
    return EXIT_FAILED if snapshot.status.phase in ("failed", "gone") else EXIT_DONE


def on_signals(leave: Callable[[int], None]) -> None:
    """Call `leave(signal number)` inside the running event loop when a signal asks this process to end."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
        # A supervisor that ignores SIGHUP for us (nohup) has a reason; the hangup watch still sees the terminal go.
        if signal.getsignal(number) != signal.SIG_IGN:
            loop.add_signal_handler(number, leave, int(number))


def leave_by_force_after(seconds: float, code: int) -> None:
    """End the process after this time whatever happens; for a terminal that swallows the orderly way out."""
    timer = threading.Timer(seconds, os._exit, args=(code,))
    timer.daemon = True
    timer.start()


class HangupWatch(threading.Thread):
    """Waits until the terminal behind standard input is gone.

    Reading and writing a terminal that is gone fails or spins, so both are turned to the null device first.

    Args:
        gone: called from the thread.
    """

    def __init__(self, gone: Callable[[], None]) -> None:
        super().__init__(name="hangup-watch", daemon=True)
        self._gone = gone
        self._stopped = threading.Event()

    def stop(self) -> None:
        """End the thread within a second."""
        self._stopped.set()

    def run(self) -> None:
        """Wait without cost: the kernel reports a hangup though nothing else is asked for."""
        poll = select.poll()
        poll.register(sys.__stdin__.fileno() if sys.__stdin__ else 0, 0)
        while not self._stopped.is_set():
            if poll.poll(_POLL_MILLISECONDS):
                _to_nowhere()
                self._gone()
                return


def _to_nowhere() -> None:
    """Turn the descriptors the screen reads and writes (0 and 2) to the null device."""
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 2)
    os.close(null)
