"""What every screen of this program has in common: it is drawn for the window as it is now, or not at all.

- `Steady`
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from textual.events import Resize
    from textual.screen import Screen

    from maxact_tui.widgets.lines import Lines


class Steady(ABC):
    """Follows the size of the window; stands before the screen class among the bases.

    Textual lays a screen out for every size it is told, and tells it of that layout in turn. Two sizes on their way at
    once, as when a window is dragged while the screen draws, would follow each other for ever.
    """

    @abstractmethod
    def draw(self) -> object:
        """Bring every widget up to date."""

    @property
    def can_draw(self) -> bool:
        """Whether its widgets are all there: not before it is composed, nor while the program ends."""
        screen = cast("Screen[object]", self)
        return screen.is_mounted and screen.app.is_running

    def on_resize(self, event: Resize) -> None:
        """Keep Textual from laying out for a size of the past; the present one is on its way."""
        if event.size != cast("Screen[object]", self).app.size:
            event.prevent_default()

    def on_lines_resized(self, event: Lines.Resized) -> None:
        """Lines depend on the width they are made for."""
        event.stop()
        if self.can_draw:
            self.draw()
