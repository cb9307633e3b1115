"""What the user can open from the board of quantisers, and from the threshold's slider.

- `BoardActions`  that part of the application
"""

from __future__ import annotations

from abc import abstractmethod

from maxact_tui.leaving import LeavingApp
from maxact_tui.screens.board import BoardScreen
from maxact_tui.screens.monitor import MonitorScreen
from maxact_tui.screens.number import NumberScreen
from maxact_tui.screens.site import INT8, SiteScreen
from maxact_tui.screens.tunable import Tunable


class BoardActions(LeavingApp):
    """Opens the board, a site from it, and the line to type a threshold in."""

    monitor: MonitorScreen

    @abstractmethod
    def return_to(self, site: int | None) -> None:
        """A screen has closed; put the cursor on the site it gave back, if any."""

    async def action_board(self) -> None:
        """Show every site under every quantiser; a chosen one brings its site."""
        if self.snapshot.plan is None:
            self.say("the board comes with the first checkpoint")
        else:
            await self.push_screen(BoardScreen(self.look, self.snapshot), self.return_to)

    async def action_open_tuned(self) -> None:
        """Show the site under the board's cursor on its INT8 tab."""
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

    def _back_on_board(self, board: BoardScreen, screen: SiteScreen, site: int | None) -> None:
        if site is not None:
            board.place(site, screen.tuning)
