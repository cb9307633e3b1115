"""What Textual keeps of what is no longer shown.

- `forget_lines`     let go of the lines a screen has drawn
- `ForgettingPool`   threads that do not keep what they did last, and that no end of the program waits for
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from queue import SimpleQueue
from typing import Any

from textual.widget import Widget

from maxact_tui.terminal.private import forget_calls, forget_drawn

THREADS = 4


def forget_lines(screen: Widget) -> None:
    """Let go of the lines of a screen that is covered or gone; they are drawn again when it is shown.

    Textual keeps every drawn line with seven caches of its pieces, at 200x60 up to 10 MB a screen. A line of one piece
    is a piece of itself, which only the garbage collector would find. And a method of the cache of lines remembers its
    last 1,024 calls, with each call the cache.
    """
    for node in screen.walk_children(with_self=True):
        if isinstance(node, Widget):
            forget_drawn(node)
    forget_calls()


class ForgettingPool(ThreadPoolExecutor):
    """Threads for the event loop whose work runs in a context of its own, and which no end of the program waits for.

    A Textual worker names itself in its thread's context, where it stays, and its screen with it, until the thread is
    given other work. And what reads a session file may have to wait for whoever writes it, long after the screen is
    left; writing is done by others (`Requests`, and exports, which say so when they are left).
    """

    def __init__(self) -> None:
        super().__init__(THREADS)  # of which none is started: its own are waited for at the end
        self._given: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._started = 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run `fn` with the context of whoever asks for it."""
        future: Future[Any] = Future()
        context = copy_context()

        def work() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(context.run(fn, *args, **kwargs))
                except BaseException as error:  # noqa: BLE001  # it belongs to whoever asked
                    future.set_exception(error)

        self._given.put(work)
        if self._started < THREADS:
            self._started += 1
            threading.Thread(target=self._run, name=f"reading-{self._started}", daemon=True).start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Let the threads end when they have nothing to do; waits for none, whatever is asked."""
        for _ in range(self._started):
            self._given.put(None)

    def _run(self) -> None:
        while (work := self._given.get()) is not None:
            work()
            del work  # and with it what it was done for
