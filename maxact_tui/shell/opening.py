"""What the user can open and ask for: every `app.` action of the tables.

- `OpeningApp`  the part of the application that opens screens and sends requests
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from textual import work
from textual.message import Message
from textual.strip import Strip
from textual.worker import get_current_worker

from engine.report.errors import ReportError
from engine.session.patience import Patience
from engine.session.requests import Request
from engine.session.schema import SessionError
from maxact_tui.keymap import actions
from maxact_tui.keymap.settings import THEMES, Settings
from maxact_tui.pages.jumps import site_jumps
from maxact_tui.screens.browser import BrowserScreen
from maxact_tui.screens.choice import ChoiceScreen, continue_choices, gemm_choices, partner_choices
from maxact_tui.screens.events import EventsScreen
from maxact_tui.screens.filterable import Filterable
from maxact_tui.screens.monitor import MonitorScreen, Spot
from maxact_tui.screens.palette import PaletteScreen
from maxact_tui.screens.reading import ReadingScreen, help_lines, told_lines
from maxact_tui.screens.site import SiteScreen
from maxact_tui.screens.threads import ThreadsScreen
from maxact_tui.screens.watched import WatchedScreen
from maxact_tui.shell.boardapp import BoardActions
from maxact_tui.terminal.ending import EXIT_DONE
from maxact_tui.terminal.palette import Look
from maxact_tui.watching.asking import go_on
from maxact_tui.watching.requests import READ_ONLY

PageMaker = Callable[[Look, int], Sequence[Strip]]


class OpeningApp(BoardActions):
    """Opens screens over the monitor.

    Opening a screen is awaited, so that keys typed ahead reach the screen they are meant for.

    Args:
        session: the session file; None to choose one first.
        read_only: send no commands to the engine.
        ascii_only: write ASCII only.
        settings: theme, units, keys.
    """

    class PartnerStarted(Message):
        """The other run has begun."""

        def __init__(self, session: Path, partner: Path) -> None:
            super().__init__()
            self.session, self.partner = session, partner

    class GemmRunStarted(Message):
        """A run of the same samples that measures the GEMM inputs, too, has begun."""

        def __init__(self, session: Path) -> None:
            super().__init__()
            self.session = session

    def __init__(self, session: Path | None, *, read_only: bool, ascii_only: bool, settings: Settings) -> None:
        super().__init__(session, read_only=read_only, ascii_only=ascii_only, settings=settings)
        self.monitor = MonitorScreen(self.look, self.snapshot)
        self._opened: dict[Path, Spot | None] = {}

    @abstractmethod
    def watch_session(self, session: Path) -> None:
        """Show this session from now on."""

    @abstractmethod
    def hurry(self) -> None:
        """Look at the session at once."""

    async def action_open_site(self) -> None:
        """Show the site under the cursor full screen; afterwards the cursor is on the site that was shown last."""
        if self.monitor.site is None:
            self.say("the sites are known when the model is loaded")
        else:
            await self.push_screen(SiteScreen(self.look, self.snapshot, self.monitor.site), self.return_to)

    async def action_threads(self) -> None:
        """Show the threads; a chosen one brings its site."""
        await self.push_screen(ThreadsScreen(self.look, self.snapshot), self.return_to)

    async def action_browse(self) -> None:
        """Choose another session."""
        opened = {*self._opened, *([self._session] if self._session is not None else [])}
        await self.push_screen(BrowserScreen(self.look, self._session, opened), self._on_session_chosen)

    def action_other_session(self, by: int) -> None:
        """Show the next of the sessions that were opened here, where the user left it."""
        opened = list(self._opened)
        if self._session is None or len(opened) < 2:
            self.say("no other session is open here; o opens one")
            return
        number = (opened.index(self._session) + by) % len(opened)
        self._show_session(opened[number])
        self.say(f"session {number + 1} of {len(opened)}: {opened[number].stem}")

    def action_filter(self) -> None:
        """Let the user filter what the screen shows."""
        if isinstance(self.screen, Filterable):
            self.screen.open_filter()

    async def action_help(self) -> None:
        """Open the help, which begins with the screen it is opened from."""
        here: Sequence[actions.Place] = getattr(self.screen, "PLACES", ("list",))
        await self.read("Help", lambda look, width: help_lines(look, width, here))

    async def action_said(self) -> None:
        """Show everything that was said, whole."""
        await self.read("What this screen has told you", lambda look, width: told_lines(self.told, look, width))

    async def action_theme(self) -> None:
        """Show everything in the next theme."""
        theme = THEMES[(THEMES.index(self.look.theme) + 1) % len(THEMES)]
        self.look = self.make_look(theme, ascii_only=self.look.ascii_only)
        for screen in self.screen_stack:
            if isinstance(screen, WatchedScreen):
                await screen.take_look(self.look)
        self.say(f'theme: {theme}; for good with theme = "{theme}" in the settings file (maxact-tui settings)')

    async def action_log(self) -> None:
        """Open the event log; a chosen event brings its site."""
        await self.push_screen(EventsScreen(self.look, self.snapshot), self.return_to)

    async def action_palette(self) -> None:
        """Open the command palette."""
        places = self.screen.PLACES if isinstance(self.screen, WatchedScreen) else ()
        idle = self.screen.idle_actions if isinstance(self.screen, Filterable) else ()
        found = actions.commands(*places, "app", keys=self.look.keys, without=idle)
        await self.push_screen(
            PaletteScreen(self.look, found, partial(site_jumps, self.snapshot.plan)), self._on_command_chosen
        )

    def action_jump(self, site: int) -> None:
        """Go to a site, on whatever screen shows sites."""
        if isinstance(self.screen, SiteScreen):
            self.screen.go(site)
        elif self.screen is self.monitor:
            self.monitor.place(site)
        elif isinstance(self.screen, WatchedScreen):
            self.screen.dismiss(site)

    async def action_pause(self) -> None:
        """Ask the engine to pause, or to go on; ask whether a run that ended before its time is to be continued."""
        status = self.snapshot.status
        if status is not None and self.snapshot.has_ended and status.phase != "finished" and not self._read_only:
            saved = self.snapshot.samples_done
            question, choices = continue_choices(status, 0 if saved is None else len(saved))
            await self.push_screen(ChoiceScreen(self.look, question, choices), self._on_continue_chosen)
        elif self._requests.toggle_pause(self.snapshot):
            self.hurry()

    async def action_ab(self) -> None:
        """Ask, then run the same samples under the other token policy, and compare when both are done."""
        if self._session is None or self._read_only:
            self.say(READ_ONLY)
        elif not self.snapshot.has_ended or not self.snapshot.checkpoint:
            self.say("the other run starts when this one has ended; two at once would share the device")
        elif self.snapshot.meta is not None and self.snapshot.status is not None:
            question, choices = partner_choices(self.snapshot.meta.job.policy, self.snapshot.status)
            await self.push_screen(ChoiceScreen(self.look, question, choices), self._on_partner_chosen)

    async def action_gemm_run(self) -> None:
        """Ask, then run the same samples with the GEMM inputs beside the paper's sites."""
        plan, meta, status = self.snapshot.plan, self.snapshot.meta, self.snapshot.status
        if self._session is None or self._read_only:
            self.say(READ_ONLY)
        elif plan is None or meta is None or status is None:
            self.say("the sites of this run are not known yet")
        elif any(site.is_input for site in plan.sites):
            self.say("this run measures the GEMM inputs: the first group")
        elif not self.snapshot.has_ended or not self.snapshot.checkpoint:
            self.say("the other run starts when this one has ended; two at once would share the device")
        else:
            question, choices = gemm_choices(status)
            await self.push_screen(ChoiceScreen(self.look, question, choices), self._on_gemm_run_chosen)

    async def read(self, title: str, make: PageMaker) -> None:
        """Open a page of text, made for the look and the width it is shown in."""
        await self.push_screen(ReadingScreen(self.look, title, lambda width: make(self.look, width)), self.redraw)

    def return_to(self, site: int | None) -> None:
        """A screen has closed; put the cursor on the site it gave back, if any."""
        if site is not None:
            self.monitor.place(site)
        self.redraw()

    def _on_continue_chosen(self, chosen: str | None) -> None:
        self.redraw()
        if chosen == "continue" and self._session is not None:
            self._requests.post(Request("continue"), partial(go_on, self._session))

    def _on_partner_chosen(self, chosen: str | None) -> None:
        self.redraw()
        if chosen == "start" and self._session is not None:
            self._requests.post(Request("the other run"), partial(self._start_partner, self._session))

    def _start_partner(self, session: Path, patience: Patience) -> None:
        from maxact_tui.watching.pairing import start_partner

        self.post_message(self.PartnerStarted(session, start_partner(session, patience=patience)))

    def _on_gemm_run_chosen(self, chosen: str | None) -> None:
        self.redraw()
        if chosen == "start" and self._session is not None:
            self._requests.post(Request("the run with GEMM inputs"), partial(self._start_gemm_run, self._session))

    def _start_gemm_run(self, session: Path, patience: Patience) -> None:
        from maxact_tui.watching.pairing import start_gemm_run

        self.post_message(self.GemmRunStarted(start_gemm_run(session, patience)))

    def on_opening_app_gemm_run_started(self, event: GemmRunStarted) -> None:
        """Say where it is."""
        self.say(f"started {event.session.stem}; o opens it")

    def on_opening_app_partner_started(self, event: PartnerStarted) -> None:
        """Wait for its end."""
        self.say(f"started {event.partner.stem}; o opens it, and both are compared at its end")
        self._await_partner(event.session, event.partner)

    @work(thread=True, exclusive=True, group="partner")
    def _await_partner(self, session: Path, partner: Path) -> None:
        from maxact_tui.watching.pairing import await_partner

        worker = get_current_worker()
        try:
            await_partner(
                session, partner, lambda text: self.call_from_thread(self.say, text), lambda: worker.is_cancelled
            )
        except (SessionError, ReportError, OSError) as error:
            self.call_from_thread(self.say, f"the other run failed: {error}")

    def _on_session_chosen(self, chosen: Path | None) -> None:
        if chosen is not None and chosen != self._session:
            self._show_session(chosen)
        elif self._session is None:
            self.leave(EXIT_DONE)
        self.redraw()

    def _show_session(self, session: Path) -> None:
        if self._session is not None:
            self._opened[self._session] = self.monitor.spot
        spot = self._opened.setdefault(session, None)
        self.watch_session(session)
        self.monitor.start_over(self.snapshot, spot)

    async def _on_command_chosen(self, action: str | None) -> None:
        self.redraw()
        if action is not None:
            await self.run_action(action, self if hasattr(self, f"action_{action}") else self.screen)
