"""The red line of NaN and infinity at the top of every screen that shows a session's numbers.

- `AlarmLine`  the widget, which takes room only while there is something to say
- `Alarmed`    a screen that begins with it
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Generic

from textual.app import ComposeResult
from textual.screen import ScreenResultType
from textual.strip import Strip

from maxact_tui.screens.steady import Steady
from maxact_tui.terminal.palette import Look
from maxact_tui.widgets.lines import Lines


class AlarmLine(Lines):
    """One line; without anything to say it takes no room."""

    DEFAULT_CSS = """
    AlarmLine { height: 1; display: none; }
    AlarmLine.-told { display: block; }
    """

    def show(self, lines: Sequence[Strip]) -> bool:
        """Show this line, or none."""
        self.set_class(bool(lines), "-told")
        return super().show(lines)


class Alarmed(Steady[ScreenResultType], Generic[ScreenResultType]):
    """Tells above everything else where the first NaN or infinity is."""

    look: Look

    @abstractmethod
    def parts(self) -> ComposeResult:
        """The widgets below the line."""

    @abstractmethod
    def alarm(self, width: int) -> Sequence[Strip]:
        """The line, in so many cells; empty while every element is finite."""

    def compose(self) -> ComposeResult:
        """The line, and what else the screen has."""
        yield AlarmLine(self.look)
        yield from self.parts()

    def draw(self, *, by_data: bool = False) -> bool:
        """Bring every widget up to date, the line first; see `Steady.draw`."""
        told = self.can_draw and self.query_one(AlarmLine).show(self.alarm(self.size.width))
        return super().draw(by_data=by_data) or told
