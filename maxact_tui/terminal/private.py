"""The door to what Textual does not promise: no other module uses a private name of it (the house test looks).

Each name with what it is used for; all of them are as here since Textual 8.2, which is the oldest version allowed, and
were last looked at in 8.2.8. Where 8.2.8 has a public way, that is used instead.

- `textual._parser.Parser`, `textual._xterm_parser.XTermParser`, its `_sequence_to_key_events`: keys that come in one
  burst, and pastes, are taken apart before Textual does (`Parser`, `XTermParser`, `keys_of`)
- `textual.message_pump._MessagePumpMeta`: abstract classes among Textual's (`MessagePumpMeta`)
- `textual._styles_cache.StylesCache`, `Widget._styles_cache` with its `_cache`, `Strip._divide_cache`: drawn lines of a
  screen that is covered are let go (`forget_drawn`, `forget_calls`)
- `Screen._compositor.render_strips`: what is on the screen as rows, for the text beside a picture (`rows_of`)
- `App._driver`: bytes of ours to the terminal, in the order of Textual's own (`send`, `driver_of`)
- `App._next_callbacks`, `_flush_next_callbacks`: what closing a screen has left to do comes before the next key
  (`settle_callbacks`)
- `LinuxDriver._key_thread`: whether the terminal was taken again after a stop (`returning_driver`)
- `App._fatal_error`, `_exception`, `_exit_renderables`, `_close_messages_no_wait`: a mistake of ours ends the program
  with one line instead of a traceback (`HonestApp`, `failure_of`)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from rich.text import Text
from textual._parser import Parser
from textual._styles_cache import StylesCache
from textual._xterm_parser import XTermParser
from textual.app import App
from textual.driver import Driver
from textual.drivers.linux_driver import LinuxDriver
from textual.events import Key
from textual.message_pump import _MessagePumpMeta as MessagePumpMeta
from textual.screen import Screen
from textual.strip import Strip
from textual.widget import Widget
from textual.worker import WorkerFailed

from maxact_tui.bugs import report_bug

__all__ = [
    "HonestApp",
    "MessagePumpMeta",
    "Parser",
    "XTermParser",
    "driver_of",
    "failure_of",
    "forget_calls",
    "forget_drawn",
    "keys_of",
    "returning_driver",
    "rows_of",
    "send",
    "settle_callbacks",
]

forget_calls: Final[Callable[[], None]] = StylesCache.get_inner_outer.cache_clear
"""Let go of the last 1,024 calls of a method of the caches of lines, each of which keeps its cache."""


def keys_of(parser: XTermParser, sequence: str) -> Iterable[Key]:
    """The keys that a terminal means by a sequence; none where it is not known."""
    return parser._sequence_to_key_events(sequence)


def forget_drawn(widget: Widget) -> None:
    """Let go of the lines that a widget has drawn, and of their pieces."""
    for drawn in widget._styles_cache._cache.values():
        drawn._divide_cache.clear()
    widget._styles_cache.clear()


def rows_of(screen: Screen[Any]) -> list[Strip]:
    """What a screen shows, row by row."""
    return screen._compositor.render_strips()


def driver_of(app: App[Any]) -> Driver | None:
    """What writes to the terminal; None before it is started."""
    return app._driver


def send(app: App[Any], text: str) -> None:
    """Write to the terminal, after what has been drawn; nothing before it is started."""
    if app._driver is not None:
        app._driver.write(text)
        app._driver.flush()


def returning_driver(driver: type[Driver], back: Callable[[], None]) -> type[Driver]:
    """A driver class that gives the terminal back once when it is stopped and takes it again once; others as they are.

    Textual's takes the terminal at every SIGCONT, also after a stop that nobody could handle (SIGSTOP): two threads
    would read the keys, and the terminal's own settings would be forgotten.

    Args:
        driver: the class.
        back: called after every SIGCONT, perhaps inside a signal handler.
    """
    if not issubclass(driver, LinuxDriver):
        return driver

    class Returning:
        is_away = False

        def suspend_application_mode(self) -> None:
            if not self.is_away:
                super().suspend_application_mode()  # type: ignore[misc]  # the driver class comes after this one
                self.is_away = True

        def resume_application_mode(self) -> None:
            if self.is_away:
                super().resume_application_mode()  # type: ignore[misc]
                thread = self._key_thread  # type: ignore[attr-defined]
                self.is_away = thread is None or not thread.is_alive()  # in the background it waits for its turn
            back()

    return type(f"Returning{driver.__name__}", (Returning, driver), {})


async def settle_callbacks(app: App[Any]) -> None:
    """Do what was to be done once the present message is over."""
    while app._next_callbacks:
        await app._flush_next_callbacks()


def failure_of(app: App[Any]) -> BaseException | None:
    """What ended the program, if anything did."""
    return app._exception


class HonestApp(App[int]):
    """Ends with one line where the program itself is at fault; the traceback is in the log of bugs."""

    def _fatal_error(self) -> None:
        error: BaseException | None = self._exception
        if isinstance(error, WorkerFailed):
            error = error.error
        if error is not None and not self._exit_renderables:  # the first says what went wrong
            self.panic(Text(f"maxact-tui: {report_bug(error)}", no_wrap=True, overflow="ignore"))
        else:
            self._close_messages_no_wait()
