"""A list of lines with one selected, and a heading that stays.

- `Picker`
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textual.events import Click
from textual.message import Message
from textual.strip import Strip

from maxact_tui.terminal.palette import Look
from maxact_tui.widgets.lines import Part, line
from maxact_tui.widgets.scroller import Scroller

MARK_CELLS = 2


def joined(look: Look, mark: str, strip: Strip) -> Strip:
    """A strip with a mark of two cells before it."""
    return Strip.join([line(look, (f"{mark:<{MARK_CELLS}}", "key")), strip])


@dataclass(frozen=True, slots=True)
class Choice:
    """One answer: what it is called in code, the letter that picks it, and what it says."""

    name: str
    letter: str
    text: str


class Picker(Scroller):
    """A scrolled list with a selected entry; moving moves the selection and keeps it visible."""

    class Picked(Message):
        """Another entry is selected."""

    class Chosen(Message):
        """An entry was clicked twice."""

    _heading: tuple[Strip, ...] = ()
    _entries: Sequence[Strip] = ()
    selected: int = 0

    def offer(self, heading: Sequence[Part], entries: Sequence[Strip]) -> bool:
        """Show a heading and these entries; the selection stays at its place. Returns whether anything changed."""
        self._heading = (joined(self.look, "", line(self.look, *heading)),) if heading else ()
        self._entries = entries
        self.selected = max(min(self.selected, len(entries) - 1), 0)
        return self._draw()

    def move(self, lines: int) -> None:
        """Move the selection."""
        self.select(self.selected + lines)

    def page(self, direction: int) -> None:
        """Move the selection by a page."""
        self.move(direction * max(self._page_rows - 1, 1))

    def edge(self, direction: int) -> None:
        """Select the first or last entry."""
        self.select(0 if direction < 0 else len(self._entries) - 1)

    def select(self, number: int) -> None:
        """Select an entry by number, as near as there is one."""
        number = max(min(number, len(self._entries) - 1), 0)
        if number != self.selected:
            self.selected = number
            self._draw()
            self.post_message(self.Picked())

    def on_click(self, event: Click) -> None:
        """Select the clicked entry; twice opens it."""
        event.stop()
        number = self._top + event.y - len(self._heading)
        if event.y - len(self._heading) >= 0 and number < len(self._entries):
            self.select(number)
            if event.chain == 2:
                self.post_message(self.Chosen())

    @property
    def position(self) -> str:
        """Which entry is selected, of how many."""
        return f"{self.selected + 1} of {len(self._entries)}" if self._entries else ""

    @property
    def _page_rows(self) -> int:
        return max(self.size.height - len(self._heading), 1)

    def _move_to(self, top: int) -> bool:
        return self._draw()

    def _draw(self) -> bool:
        rows = self._page_rows
        self._top = max(min(self._top, self.selected), self.selected - rows + 1, 0)
        self._top = max(min(self._top, len(self._entries) - rows), 0)
        shown = [
            joined(self.look, "▸" if number == self.selected else "", entry)
            for number, entry in enumerate(self._entries[self._top : self._top + rows], self._top)
        ]
        return self.show([*self._heading, *shown])
