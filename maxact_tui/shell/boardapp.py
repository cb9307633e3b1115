"""What the user can open from the board of quantisers, and from the threshold's slider.

- `BoardActions`  that part of the application

What is opened is imported then: the first frame does not wait for it.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from engine.effect.errors import EffectError
from engine.session.requests import Request
from engine.sites.site import Site
from maxact_tui.screens.choice import ChoiceScreen
from maxact_tui.screens.monitor import MonitorScreen
from maxact_tui.screens.number import NumberScreen
from maxact_tui.screens.reading import ReadingScreen
from maxact_tui.screens.site import INT8, SiteScreen
from maxact_tui.screens.tunable import Tunable
from maxact_tui.shell.leaving import LeavingApp
from maxact_tui.watching.requests import READ_ONLY

if TYPE_CHECKING:
    from maxact_tui.screens.board import BoardScreen


class BoardActions(LeavingApp):
    """Opens the board, a site from it, and the line to type a threshold in; asks for effects on predictions."""

    monitor: MonitorScreen

    @abstractmethod
    def return_to(self, site: int | None) -> None:
        """A screen has closed; put the cursor on the site it gave back, if any."""

    @abstractmethod
    def redraw(self, _: object = None) -> None:
        """Show on the uncovered screen what came while it was covered."""

    @abstractmethod
    def hurry(self) -> None:
        """Look at the session at once."""

    async def action_board(self) -> None:
        """Show every site under every quantiser; a chosen one brings its site."""
        if self.snapshot.plan is None:
            self.say("the board comes with the first checkpoint")
        else:
            from maxact_tui.screens.board import BoardScreen

            await self.push_screen(BoardScreen(self.look, self.snapshot), self.return_to)

    async def action_open_tuned(self) -> None:
        """Show the site under the board's cursor on its INT8 tab."""
        from maxact_tui.screens.board import BoardScreen

        board = self.screen
        if isinstance(board, BoardScreen) and board.tuned_site is not None:
            screen = SiteScreen(self.look, self.snapshot, board.tuned_site, INT8)
            screen.tuning = board.tuning
            await self.push_screen(screen, lambda site: self._back_on_board(board, screen, site))

    async def action_threshold(self) -> None:
        """Let the user type a threshold."""
        screen = self.screen
        if isinstance(screen, Tunable) and screen.can_move:
            question = "Threshold: the |x| up to which nothing is clipped"
            await self.push_screen(NumberScreen(self.look, question, screen.check_threshold), screen.take_threshold)

    async def action_effect(self) -> None:
        """Ask what to measure on held-out samples and where, or list what was measured."""
        screen, plan = self.screen, self.snapshot.plan
        if not isinstance(screen, Tunable) or screen.tuned_site is None or plan is None:
            return
        from maxact_tui.pages.effects import WHAT, tuned_name, what_choices

        schemes, tuning, site = screen.columns, screen.tuning, plan.sites[screen.tuned_site]
        try:
            name = tuned_name(schemes[tuning.column], tuning) if schemes else "int8"
        except EffectError as error:
            self.say(str(error))
            return
        question = ChoiceScreen(self.look, WHAT, what_choices(name))
        await self.push_screen(question, lambda what: self._on_what_chosen(what, name, site))

    async def _on_what_chosen(self, what: str | None, name: str, site: Site) -> None:
        from maxact_tui.pages.effects import WHERE, effect_lines, where_choices

        self.redraw()
        if what == "list":
            page = ReadingScreen(self.look, "Effects", lambda width: effect_lines(self.snapshot, self.look, width))
            await self.push_screen(page, self.redraw)
        elif what == "ablate":
            self._measure(what, "", name, site)
        elif what is not None:
            question = ChoiceScreen(self.look, WHERE, where_choices(site))
            await self.push_screen(question, lambda where: self._measure(what, where, name, site))

    def _measure(self, what: str, where: str | None, name: str, site: Site) -> None:
        self.redraw()
        if where is None or self._session is None:
            return
        if self._read_only:
            self.say(READ_ONLY)
            return
        from maxact_tui.pages.effects import make_request

        try:
            request = make_request(what, where, name, site)
        except EffectError as error:
            self.say(str(error))
            return
        self.say("asking the engine; the line above the keys says how it is getting on")
        self._requests.ask(Request("effect", request.to_json()))

    def _back_on_board(self, board: BoardScreen, screen: SiteScreen, site: int | None) -> None:
        if site is not None:
            board.place(site, screen.tuning)
