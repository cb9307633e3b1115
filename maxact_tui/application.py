"""The Textual application: watches one session and shows it.

- `MaxactApp`  snapshots in, screens out; leaving in every way there is
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import ClassVar

from textual import work
from textual.app import App, SystemCommand
from textual.binding import BindingType
from textual.events import CursorPosition
from textual.message import Message
from textual.screen import Screen
from textual.strip import Strip

from engine.session.reader import send_command
from engine.session.schema import SessionError
from maxact_tui import actions
from maxact_tui.ending import (
    EXIT_DETACHED,
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    LEAVING_SECONDS,
    HangupWatch,
    leave_by_force_after,
    on_signals,
)
from maxact_tui.pacing import Pacer
from maxact_tui.palette import Look, choose_look
from maxact_tui.screens.choice import Choice, ChoiceScreen
from maxact_tui.screens.monitor import MonitorScreen
from maxact_tui.screens.reading import ReadingScreen, event_lines, help_lines
from maxact_tui.screens.site import SiteScreen
from maxact_tui.screens.watched import WatchedScreen
from maxact_tui.snapshot import Snapshot
from maxact_tui.watching import Watcher

NOTICE_SECONDS = 6.0
TWICE_SECONDS = 2.0
PACE_SECONDS = 0.25
Exporter = Callable[[Path], str]


class MaxactApp(App[int]):
    """Shows one session; its result is the exit code.

    Args:
        session: the session file; it need not be readable yet.
        read_only: send no commands to the engine.
        exporter: writes the results and says in one line what it wrote.
        ascii_only: write ASCII only.
    """

    # Textual loads a screen's own file when the screen is pushed, which the one at the bottom never is.
    CSS_PATH: ClassVar = ["application.tcss", "screens/monitor.tcss"]
    BINDINGS: ClassVar[list[BindingType]] = [*actions.bindings("app")]
    ALLOW_SELECT: ClassVar[bool] = False
    ENABLE_COMMAND_PALETTE: ClassVar[bool] = True

    class SnapshotTaken(Message):
        """A newer snapshot can be collected."""

    class TerminalLost(Message):
        """The terminal is gone."""

    def __init__(self, session: Path, *, read_only: bool = False, exporter: Exporter, ascii_only: bool = False) -> None:
        super().__init__()
        self.session, self._read_only, self._exporter = session, read_only, exporter
        self.look: Look = choose_look(
            self.console.color_system, no_colour=bool(os.environ.get("NO_COLOR")), ascii_only=ascii_only
        )
        self.snapshot = Snapshot(session)
        self.watcher = Watcher(session, self._announce)
        self._pacer = Pacer(self._write)
        self._monitor = MonitorScreen(self.look, self.snapshot)
        self._hangup = HangupWatch(self._lost)
        self._waits_for_stop = False
        self._interrupted_at = -TWICE_SECONDS
        self._notice_number = 0
        self._asked: dict[int, str] = {}

    def get_default_screen(self) -> WatchedScreen:
        """The monitor is always at the bottom."""
        return self._monitor

    def on_mount(self) -> None:
        """Start watching; the first frame does not wait for it."""
        if not self.is_headless:
            on_signals(self._leave_on_signal)
            self._hangup.start()
        self.watcher.start()
        threading.Thread(target=_import_plotext, name="import-plotext", daemon=True).start()

    def on_unmount(self) -> None:
        """Stop the threads."""
        self._hangup.stop()
        self.watcher.stop()

    def on_maxact_app_snapshot_taken(self, event: SnapshotTaken) -> None:
        """Draw the newest snapshot, or leave it where it is until the terminal has caught up."""
        if self._pacer.may_draw():
            self._draw_newest()
        else:
            self.set_timer(PACE_SECONDS, self._draw_when_allowed)

    def on_cursor_position(self, event: CursorPosition) -> None:
        """The terminal has caught up with the last data frame."""
        self._pacer.answered()

    def on_maxact_app_terminal_lost(self) -> None:
        """Nobody is watching any more."""
        self._leave(self._code_for_leaving(), by_force=True)

    def on_watched_screen_view_wished(self, event: WatchedScreen.ViewWished) -> None:
        """The watcher reads what the screen shows."""
        self.watcher.wish(event.wish)

    def on_monitor_screen_site_opened(self, event: MonitorScreen.SiteOpened) -> None:
        """Show a site full screen; afterwards the cursor stands on the site that was shown last."""
        self.push_screen(SiteScreen(self.look, self.snapshot, event.site), self._on_site_left)

    def action_help(self) -> None:
        """Open the help."""
        self._read("Help", help_lines)

    def action_log(self) -> None:
        """Open the event log."""
        status = self.snapshot.status
        started = status.started if status is not None else 0.0
        self._read("Events", lambda look, width: event_lines(self.snapshot.events, look, width, started))

    def action_palette(self) -> None:
        """Open the command palette."""
        self.action_command_palette()

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """What the palette offers, from the table of actions."""
        for title, sentence, action in actions.commands("monitor", "app"):
            yield SystemCommand(title, sentence, self._runner(action))

    def action_pause(self) -> None:
        """Ask the engine to pause, or to go on."""
        status = self.snapshot.status
        if status is None or self.snapshot.has_ended or status.phase in ("starting", "loading"):
            self._say("nothing is running")
        else:
            self._send("resume" if status.phase == "paused" else "pause")

    def action_export(self) -> None:
        """Write the results beside the session."""
        if self.snapshot.checkpoint == 0:
            self._say("nothing to export before the first checkpoint")
        else:
            self._say("exporting ...")
            self._export(self._exporter)

    def action_leave(self) -> None:
        """Leave; ask first if a run goes on."""
        if self.snapshot.has_ended or self._waits_for_stop:
            self._leave(self._code_for_leaving())
            return
        choices = [Choice("leave", "l", "leave it running; attach again with: maxact-tui attach")]
        if not self._read_only:
            choices.append(Choice("stop", "s", "stop it after the current batch; resume later"))
        choices.append(Choice("stay", "c", "stay here"))
        self.push_screen(
            ChoiceScreen(self.look, "The run goes on without this screen.", choices), self._on_leave_chosen
        )

    async def action_quit(self) -> None:
        """Textual's own quit key does what q does."""
        self.action_leave()

    def action_help_quit(self) -> None:
        """ctrl+c: twice within two seconds leaves at once."""
        now = time.monotonic()
        if now - self._interrupted_at < TWICE_SECONDS:
            self._leave(EXIT_INTERRUPTED)
        self._interrupted_at = now
        self._say("ctrl+c again leaves at once; the engine is not touched")

    def _announce(self) -> None:
        self.post_message(self.SnapshotTaken())

    def _lost(self) -> None:
        self.post_message(self.TerminalLost())

    def _draw_when_allowed(self) -> None:
        if self._pacer.may_draw():
            self._draw_newest()
        else:
            self.set_timer(PACE_SECONDS, self._draw_when_allowed)

    def _draw_newest(self) -> None:
        self.snapshot = self.watcher.collect()
        self._answer_commands()
        drawn = self.screen.show(self.snapshot) if isinstance(self.screen, WatchedScreen) else False
        if drawn and not self.is_headless:
            self.call_after_refresh(self._pacer.frame_sent)
        if self._waits_for_stop and self.snapshot.has_ended:
            self._leave(self._code_for_leaving())

    def _answer_commands(self) -> None:
        """Show the engine's answers to what was asked here."""
        for command in self.snapshot.commands:
            name = self._asked.get(command.number)
            if name and command.state != "new":
                del self._asked[command.number]
                self._say(f"{name}: {command.answer.get('text') or command.state}")

    def _send(self, name: str) -> None:
        if self._read_only:
            self._say("this screen is read-only")
            return
        try:
            self._asked[send_command(self.session, name)] = name
        except SessionError as error:
            self._say(str(error))
            return
        self._say(f"{name}: asked the engine, it answers after the current batch")
        self.watcher.hurry()

    @work(thread=True, exclusive=True)
    def _export(self, exporter: Exporter) -> None:
        try:
            said = exporter(self.session)
        except (SessionError, OSError, ValueError) as error:
            said = f"export failed: {error}"
        self.call_from_thread(self._say, said)

    def _say(self, text: str) -> None:
        """Show a line for some seconds."""
        self._notice_number += 1
        number = self._notice_number
        self._notify_user(text)
        self.set_timer(NOTICE_SECONDS, lambda: self._unsay(number))

    def _unsay(self, number: int) -> None:
        if number == self._notice_number:
            self._notify_user("")

    def _notify_user(self, text: str) -> None:
        if isinstance(self.screen, WatchedScreen):
            self.screen.notice(text)
        if self._monitor is not self.screen:
            self._monitor.notice(text)

    def _read(self, title: str, make: Callable[[Look, int], Sequence[Strip]]) -> None:
        self.push_screen(ReadingScreen(self.look, title, lambda width: make(self.look, width)), self._redraw)

    def _on_site_left(self, site: int | None) -> None:
        if site is not None:
            self._monitor.place(site)
        self._redraw()

    def _redraw(self, _: object = None) -> None:
        self._monitor.show(self.snapshot)

    def _runner(self, action: str) -> Callable[[], None]:
        def run() -> None:
            self.call_later(self.run_action, action, self._monitor)

        return run

    def _on_leave_chosen(self, chosen: str | None) -> None:
        if chosen == "leave":
            self._leave(self._code_for_leaving())
        elif chosen == "stop":
            self._waits_for_stop = True
            self._send("stop")
            self._say("stopping after the current batch and its checkpoint; q leaves without waiting")
        self._redraw()

    def _code_for_leaving(self) -> int:
        status = self.snapshot.status
        if status is None or not self.snapshot.has_ended:
            return EXIT_DETACHED
        return EXIT_FAILED if status.phase in ("failed", "gone") else EXIT_DONE

    def _leave_on_signal(self, number: int) -> None:
        import signal

        interrupted = number == signal.SIGINT
        self._leave(EXIT_INTERRUPTED if interrupted else self._code_for_leaving(), by_force=True)

    def _leave(self, code: int, *, by_force: bool = False) -> None:
        if by_force:
            leave_by_force_after(LEAVING_SECONDS, code)
        self.exit(code, return_code=code)

    def _write(self, text: str) -> None:
        if self._driver is not None:
            self._driver.write(text)


def _import_plotext() -> None:
    """Load the plotting library while the user looks at the first frame."""
    import plotext  # noqa: F401
