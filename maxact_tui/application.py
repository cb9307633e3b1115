"""The Textual application: watches a session and shows it.

- `MaxactApp`  snapshots in, screens out; leaving in every way there is
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

from textual import work
from textual.binding import BindingType
from textual.events import CursorPosition
from textual.message import Message
from textual.strip import Strip

from engine.report.errors import ReportError
from engine.session.schema import SessionError
from maxact_tui import actions
from maxact_tui.ending import EXIT_DONE
from maxact_tui.leaving import LeavingApp
from maxact_tui.pacing import Pacer
from maxact_tui.palette import Look
from maxact_tui.requests import Requests
from maxact_tui.screens.browser import BrowserScreen
from maxact_tui.screens.monitor import MonitorScreen
from maxact_tui.screens.palette import PaletteScreen
from maxact_tui.screens.reading import ReadingScreen, event_lines, help_lines
from maxact_tui.screens.site import SiteScreen
from maxact_tui.screens.threads import ThreadsScreen
from maxact_tui.screens.watched import WatchedScreen
from maxact_tui.snapshot import Snapshot
from maxact_tui.watching import Watcher
from maxact_tui.widgets.plot import preload

NOTICE_SECONDS = 6.0
PACE_SECONDS = 0.25
Exporter = Callable[[Path], str]
PageMaker = Callable[[Look, int], Sequence[Strip]]


class MaxactApp(LeavingApp):
    """Shows one session at a time; its result is the exit code.

    Opening a screen is awaited, so that keys typed ahead reach the screen they are meant for.

    Args:
        session: the session file, which need not be readable yet; None to choose one first.
        read_only: send no commands to the engine.
        exporter: writes the results and says in one line what it wrote.
        ascii_only: write ASCII only.
    """

    # Textual loads a screen's own file when the screen is pushed, which the one at the bottom never is.
    CSS_PATH: ClassVar = ["application.tcss", "screens/monitor.tcss"]
    BINDINGS: ClassVar[list[BindingType]] = [*actions.bindings("app")]
    ALLOW_SELECT: ClassVar[bool] = False
    ENABLE_COMMAND_PALETTE: ClassVar[bool] = False

    class SnapshotTaken(Message):
        """A newer snapshot can be collected."""

    def __init__(
        self, session: Path | None, *, exporter: Exporter, read_only: bool = False, ascii_only: bool = False
    ) -> None:
        super().__init__(session, read_only=read_only, ascii_only=ascii_only)
        self._exporter = exporter
        self.watcher: Watcher | None = None
        self._pacer = Pacer(self._write)
        self._monitor = MonitorScreen(self.look, self.snapshot)
        self._waits_for_terminal = False
        self._notices = 0

    def get_default_screen(self) -> WatchedScreen:
        """The monitor is always at the bottom."""
        return self._monitor

    def on_mount(self) -> None:
        """Start watching; the first frame does not wait for it."""
        if self._session is None:
            self.call_later(self.action_browse)
        else:
            self._watch(self._session)
        preload()

    def on_unmount(self) -> None:
        """Stop watching."""
        if self.watcher is not None:
            self.watcher.stop()

    def on_maxact_app_snapshot_taken(self, event: SnapshotTaken) -> None:
        """Draw the newest snapshot as soon as the terminal has caught up."""
        self._draw_when_allowed()

    def on_cursor_position(self, event: CursorPosition) -> None:
        """The terminal has caught up with the last data frame."""
        self._pacer.answered()
        if self._waits_for_terminal:
            self._try_again()

    def on_watched_screen_view_wished(self, event: WatchedScreen.ViewWished) -> None:
        """The watcher reads what the screen shows."""
        if self.watcher is not None:
            self.watcher.wish(event.wish)

    async def action_open_site(self) -> None:
        """Show the site under the cursor full screen; afterwards the cursor is on the site that was shown last."""
        if self._monitor.site is not None:
            await self.push_screen(SiteScreen(self.look, self.snapshot, self._monitor.site), self._return_to)

    async def action_threads(self) -> None:
        """Show the threads; a chosen one brings its site."""
        await self.push_screen(ThreadsScreen(self.look, self.snapshot), self._return_to)

    async def action_browse(self) -> None:
        """Choose another session."""
        await self.push_screen(BrowserScreen(self.look, self._session), self._on_session_chosen)

    async def action_help(self) -> None:
        """Open the help."""
        await self._read("Help", help_lines)

    async def action_log(self) -> None:
        """Open the event log."""
        started = self.snapshot.status.started if self.snapshot.status is not None else 0.0
        await self._read("Events", lambda look, width: event_lines(self.snapshot.events, look, width, started))

    async def action_palette(self) -> None:
        """Open the command palette."""
        here: actions.Place = "site" if isinstance(self.screen, SiteScreen) else "monitor"
        await self.push_screen(PaletteScreen(self.look, actions.commands(here, "app")), self._on_command_chosen)

    def action_pause(self) -> None:
        """Ask the engine to pause, or to go on."""
        if self._requests.toggle_pause(self.snapshot) and self.watcher is not None:
            self.watcher.hurry()

    def action_export(self) -> None:
        """Write the results beside the session."""
        if self.snapshot.checkpoint == 0:
            self.say("nothing to export before the first checkpoint")
        elif self._session is not None:
            self.say("exporting ...")
            self._export(self._session)

    def action_ab(self) -> None:
        """Run the same samples under the other token policy, and compare when both are done."""
        if self._session is None or self._read_only:
            self.say("this screen is read-only")
        elif not self.snapshot.has_ended or not self.snapshot.checkpoint:
            self.say("the other run starts when this one has ended; two at once would share the device")
        else:
            self._run_partner(self._session)

    def say(self, text: str) -> None:
        """Show a line for some seconds."""
        self._notices += 1
        number = self._notices
        self._show_notice(text)
        self.set_timer(NOTICE_SECONDS, lambda: self._show_notice("") if number == self._notices else None)

    def _watch(self, session: Path) -> None:
        if self.watcher is not None:
            self.watcher.stop()
        self._session = session
        self._requests = Requests(session, self._read_only, self.say)
        self.snapshot = Snapshot(session)
        self.watcher = Watcher(session, self._announce)
        self.watcher.start()

    def _announce(self) -> None:
        self.post_message(self.SnapshotTaken())

    def _draw_when_allowed(self) -> None:
        if self._pacer.may_draw():
            self._waits_for_terminal = False
            self._draw_newest()
        elif not self._waits_for_terminal:
            self._waits_for_terminal = True
            self.set_timer(PACE_SECONDS, self._try_again)

    def _try_again(self) -> None:
        self._waits_for_terminal = False
        self._draw_when_allowed()

    def _draw_newest(self) -> None:
        if self.watcher is None:
            return
        self.snapshot = self.watcher.collect()
        self._requests.tell_answers(self.snapshot)
        drawn = self.screen.show(self.snapshot) if isinstance(self.screen, WatchedScreen) else False
        if drawn and not self.is_headless:
            self.call_after_refresh(self._pacer.frame_sent)
        self.leave_if_stopped()

    @work(thread=True, exclusive=True)
    def _export(self, session: Path) -> None:
        try:
            said = self._exporter(session)
        except (SessionError, OSError, ValueError) as error:
            said = f"export failed: {error}"
        self.call_from_thread(self.say, said)

    @work(thread=True, exclusive=True, group="partner")
    def _run_partner(self, session: Path) -> None:
        from maxact_tui.pairing import run_partner

        try:
            run_partner(session, lambda text: self.call_from_thread(self.say, text))
        except (SessionError, ReportError, OSError) as error:
            self.call_from_thread(self.say, f"the other run failed: {error}")

    def _show_notice(self, text: str) -> None:
        for screen in {self._monitor, self.screen}:
            if isinstance(screen, WatchedScreen) and screen.is_mounted:
                screen.notice(text)

    async def _read(self, title: str, make: PageMaker) -> None:
        await self.push_screen(ReadingScreen(self.look, title, lambda width: make(self.look, width)), self.redraw)

    def redraw(self, _: object = None) -> None:
        """Show on the uncovered screen what came while it was covered."""
        if isinstance(self.screen, WatchedScreen):
            self.screen.ask()
            self.screen.show(self.snapshot)

    def _return_to(self, site: int | None) -> None:
        if site is not None:
            self._monitor.place(site)
        self.redraw()

    def _on_session_chosen(self, chosen: Path | None) -> None:
        if chosen is not None and chosen != self._session:
            self._watch(chosen)
            self._monitor.start_over(self.snapshot)
        elif self._session is None:
            self.leave(EXIT_DONE)
        self.redraw()

    async def _on_command_chosen(self, action: str | None) -> None:
        self.redraw()
        if action is not None:
            await self.run_action(action, self if hasattr(self, f"action_{action}") else self.screen)

    def _write(self, text: str) -> None:
        if self._driver is not None:
            self._driver.write(text)
