"""What every screen with a list has in common: the keys that move its selection.

- `Listed`  the actions of `actions.SCROLLING`, for a screen with a `Picker`
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from inspect import isawaitable

from maxact_tui.widgets.picker import Picker


class Listed(ABC):
    """Moves the selection of a screen's list; stands before the screen class among the bases."""

    @property
    @abstractmethod
    def picker(self) -> Picker:
        """The list."""

    async def on_picker_chosen(self, event: Picker.Chosen) -> None:
        """What enter does, where it does something."""
        event.stop()
        choose = getattr(self, "action_choose", None)
        if callable(choose) and isawaitable(done := choose()):
            await done

    def action_scroll(self, lines: int) -> None:
        """Move the selection."""
        self.picker.move(lines)

    def action_scroll_page(self, direction: int) -> None:
        """Move the selection by a page."""
        self.picker.page(direction)

    def action_scroll_edge(self, direction: int) -> None:
        """Select the first or last entry."""
        self.picker.edge(direction)
