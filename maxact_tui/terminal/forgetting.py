"""What Textual keeps of what is no longer shown.

- `forget_lines`     let go of the lines a screen has drawn
- `ForgettingPool`   threads that do not keep what they did last
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

from textual._styles_cache import StylesCache
from textual.widget import Widget

THREADS = 4


def forget_lines(screen: Widget) -> None:
    """Let go of the lines of a screen that is covered or gone; they are drawn again when it is shown.

    Textual keeps every drawn line with seven caches of its pieces, at 200x60 up to 10 MB a screen. A line of one piece
    is a piece of itself, which only the garbage collector would find. And a method of the cache of lines remembers its
    last 1,024 calls, with each call the cache.
    """
    for node in screen.walk_children(with_self=True):
        if isinstance(node, Widget):
            for line in node._styles_cache._cache.values():
                line._divide_cache.clear()
            node._styles_cache.clear()
    StylesCache.get_inner_outer.cache_clear()


class ForgettingPool(ThreadPoolExecutor):
    """Threads for the event loop whose work runs in a context of its own.

    A Textual worker names itself in its thread's context, where it stays, and its screen with it, until the thread is
    given other work.
    """

    def __init__(self) -> None:
        super().__init__(THREADS, thread_name_prefix="reading")

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run `fn` with the context of whoever asks for it."""
        return super().submit(copy_context().run, fn, *args, **kwargs)
