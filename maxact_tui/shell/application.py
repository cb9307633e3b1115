"""The Textual application: watches a session and shows it.

- `MaxactApp`  snapshots in, screens out
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.driver import Driver
from textual.events import CursorPosition, Event, Key
from textual.message import Message

from maxact_tui.keymap import actions
from maxact_tui.keymap.settings import Settings
from maxact_tui.screens.watched import WatchedScreen
from maxact_tui.shell.ahead import AHEAD_SECONDS, load_ahead
from maxact_tui.shell.leaving import NOTICE_SECONDS, LeavingApp
from maxact_tui.shell.resultsapp import ResultsApp
from maxact_tui.shell.taking import TakingApp
from maxact_tui.terminal.forgetting import ForgettingPool
from maxact_tui.terminal.pacing import Pacer
from maxact_tui.terminal.private import returning_driver, send
from maxact_tui.terminal.thrift import Shadow, thrifty_driver
from maxact_tui.terminal.typing import reading_driver
from maxact_tui.texts.visible import cell_width, visible
from maxact_tui.watching.memory import IdleCollector
from maxact_tui.watching.snapshot import Snapshot
from maxact_tui.watching.watcher import Watcher

COLLECT_SECONDS = 0.5


class MaxactApp(TakingApp, ResultsApp):
    """Shows one session at a time; its result is the exit code. What it can open is in `OpeningApp`.

    Args:
        session: the session file, which need not be readable yet; None to choose one first.
        read_only: send no commands to the engine.
        ascii_only: write ASCII only.
        settings: theme, units, keys; None for the defaults.
    """

    # Textual loads a screen's own file when the screen is pushed, which the one at the bottom never is.
    CSS_PATH: ClassVar = ["../screens/application.tcss", "../screens/monitor.tcss"]
    BINDINGS: ClassVar[list[BindingType]] = [
        *actions.bindings("app"),
        Binding("ctrl+z", "suspend_process", show=False),  # as everywhere in a shell; back with fg
    ]
    ALLOW_SELECT: ClassVar[bool] = False
    ENABLE_COMMAND_PALETTE: ClassVar[bool] = False

    class SnapshotTaken(Message):
        """A newer snapshot can be collected."""

    def __init__(
        self,
        session: Path | None,
        *,
        read_only: bool = False,
        ascii_only: bool = False,
        settings: Settings | None = None,
    ) -> None:
        chosen = settings or Settings()
        super().__init__(session, read_only=read_only, ascii_only=ascii_only, settings=chosen)
        self.watcher: Watcher | None = None
        self._pacer = Pacer(self._write)
        self._waits_for_terminal = False
        self._notices = 0
        self._collector = IdleCollector()

    def get_default_screen(self) -> WatchedScreen:
        """The monitor is always at the bottom."""
        return self.monitor

    def get_driver_class(self) -> type[Driver]:
        """The platform's driver, writing in fewer bytes."""
        self._shadow = Shadow()
        driver = reading_driver(thrifty_driver(super().get_driver_class(), self._shadow))
        return returning_driver(driver, self._come_back)

    def on_mount(self) -> None:
        """Start watching; the first frame does not wait for it."""
        asyncio.get_running_loop().set_default_executor(ForgettingPool())
        self.set_interval(COLLECT_SECONDS, self._collector.look)
        self.set_timer(AHEAD_SECONDS, lambda: self.run_worker(load_ahead, thread=True, group="ahead"))
        if self._session is None:
            self.call_later(self.action_browse)
        else:
            self.watch_session(self._session)

    def on_unmount(self) -> None:
        """Stop watching."""
        self._collector.close()
        if self.watcher is not None:
            self.watcher.stop()

    def on_maxact_app_snapshot_taken(self, event: SnapshotTaken) -> None:
        """Draw the newest snapshot as soon as the terminal has caught up."""
        self._draw_when_allowed()

    async def on_event(self, event: Event) -> None:
        """While keys come, nothing is done that can wait."""
        if isinstance(event, Key):
            self._collector.keyed()
        await super().on_event(event)

    def on_resize(self) -> None:
        """What the terminal keeps of its picture when its size changes is its own affair."""
        self._shadow.forget()

    def _come_back(self) -> None:
        """The process was stopped and goes on; called by a signal handler, which must not draw itself."""
        with suppress(RuntimeError):  # while the program ends there is no loop to draw in
            asyncio.get_running_loop().call_soon_threadsafe(self.action_repaint)

    def action_repaint(self) -> None:
        """Write everything again, after something else has written to the terminal."""
        self._shadow.forget()
        self.refresh()

    def on_cursor_position(self, event: CursorPosition) -> None:
        """The terminal has caught up with the last data frame."""
        self._pacer.answered()
        if self._waits_for_terminal:
            self._try_again()

    def on_watched_screen_view_wished(self, event: WatchedScreen.ViewWished) -> None:
        """The watcher reads what the uppermost screen shows; the ones below ask, too, when the window changes."""
        shown = next((one for one in reversed(self.screen_stack) if isinstance(one, WatchedScreen)), None)
        if self.watcher is not None:
            self.watcher.wish(shown.wish() if shown is not None and shown.can_draw else event.wish)

    def say(self, text: str, *shorter: str) -> None:
        """Show a line for some seconds, of `text` and what is shorter the first that fits; `told` has it whole."""
        self._notices += 1
        number = self._notices
        self.told.append((time.time(), text))
        fitting = (one for one in (text, *shorter) if cell_width(visible(one, space=" ")) < self.size.width - 1)
        self._show_notice(next(fitting, (text, *shorter)[-1]))
        self.set_timer(NOTICE_SECONDS, lambda: self._show_notice("") if number == self._notices else None)

    def on_watched_screen_request_wished(self, event: WatchedScreen.RequestWished) -> None:
        """A screen wants something of the loaded model."""
        self._requests.ask(event.request)
        self._take(self.snapshot)

    def on_leaving_app_request_moved(self, event: LeavingApp.RequestMoved) -> None:
        """Say and show it, and look for the answer; a stop that could not be sent is not waited for."""
        event.requests.tell(event.request)
        if event.request.name == "stop" and event.request.sending.has_failed:
            self._waits_for_stop = False
        self._take(self.snapshot)
        if self._shown is not None:
            self._shown.show(self.snapshot)
        self.hurry()

    def on_watched_screen_said(self, event: WatchedScreen.Said) -> None:
        """A screen has something to tell."""
        self.say(event.text)

    def redraw(self, _: object = None) -> None:
        """Show on the uncovered screen what came while it was covered."""
        shown = self._shown
        if shown is not None:
            shown.ask()
            shown.show(self.snapshot)

    def watch_session(self, session: Path) -> None:
        """Show this session from now on."""
        if self.watcher is not None:
            self.watcher.stop()
        self._session = session
        self._requests = self.requests_of(session)
        self.snapshot = Snapshot(session, read_only=self._read_only)
        self.watcher = Watcher(session, self._announce, read_only=self._read_only)
        self.watcher.start()

    def hurry(self) -> None:
        """Look at the session at once."""
        if self.watcher is not None:
            self.watcher.hurry()

    def _announce(self) -> None:
        self.post_message(self.SnapshotTaken())

    def _draw_when_allowed(self) -> None:
        if self._pacer.may_draw():
            self._waits_for_terminal = False
            self._draw_newest()
        elif not self._waits_for_terminal:
            self._waits_for_terminal = True
            self.set_timer(self._pacer.rest_seconds, self._try_again)

    def _take(self, snapshot: Snapshot) -> None:
        """Show this from now on, with what is asked for and not in it yet."""
        self.snapshot = replace(snapshot, requests=self._requests.missing(snapshot))

    def _try_again(self) -> None:
        self._waits_for_terminal = False
        self._draw_when_allowed()

    def _draw_newest(self) -> None:
        if self.watcher is None or not self.is_running:
            return
        self._take(self.watcher.collect())
        self._requests.tell_answers(self.snapshot)
        shown = self._shown
        drawn = shown.show(self.snapshot) if shown is not None else False
        if drawn and not self.is_headless:
            self.call_after_refresh(self._pacer.frame_sent)
        self.leave_if_stopped()

    @property
    def _shown(self) -> WatchedScreen | None:
        """The uppermost screen, if it shows the session; while the program ends there is none."""
        screen = self.screen if self.is_running else None
        return screen if isinstance(screen, WatchedScreen) else None

    def _show_notice(self, text: str) -> None:
        for screen in {self.monitor, self._shown}:
            if screen is not None and screen.can_draw:
                screen.notice(text)

    def _write(self, text: str) -> None:
        send(self, text)
