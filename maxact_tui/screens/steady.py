"""What every screen of this program has in common: it is drawn for the window as it is now, or not at all.

- `Drawing`  the type of `draw`, for what is mixed into screens
- `Steady`   the base of every screen
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Generic, Protocol

from textual.screen import Screen, ScreenResultType

from maxact_tui.widgets.abstract import AbstractMeta

if TYPE_CHECKING:
    from textual.events import Resize
    from textual.widget import Widget

    from maxact_tui.widgets.lines import Lines


class Drawing(Protocol):
    """What `Steady.draw` is."""

    def __call__(self, *, by_data: bool = False) -> bool:
        """Bring every widget up to date, or do nothing while there are none."""
        ...


class Steady(Screen[ScreenResultType], Generic[ScreenResultType], metaclass=AbstractMeta):
    """Is drawn for the window as it is now, and only while its widgets are there.

    Textual lays a screen out for every size it is told, and tells it of that layout in turn. Two sizes on their way at
    once, as when a window is dragged while the screen draws, would follow each other for ever.
    """

    _has_widgets = False

    @abstractmethod
    def _draw(self, *, by_data: bool = False) -> bool | None:
        """Bring every widget up to date; returns whether anything visible changed, None where that is not known."""

    @property
    def can_draw(self) -> bool:
        """Whether its widgets are all there: not before it is composed, nor while they are made anew or removed."""
        return self._has_widgets and self.is_attached and self.app.is_running

    def draw(self, *, by_data: bool = False) -> bool:
        """Bring every widget up to date if they are there.

        Args:
            by_data: it is not the user who asked, so that dear parts may wait.

        Returns:
            Whether anything visible may have changed.
        """
        return self.can_draw and self._draw(by_data=by_data) is not False

    async def mount_composed_widgets(self, widgets: list[Widget]) -> None:
        """Nothing is drawn before the widgets are there."""
        await super().mount_composed_widgets(widgets)
        self._has_widgets = True

    async def recompose(self) -> None:
        """Make the widgets anew; meanwhile nothing is drawn."""
        self._has_widgets = False
        try:
            await super().recompose()
        finally:
            self._has_widgets = True

    def on_resize(self, event: Resize) -> None:
        """Keep Textual from laying out for a size of the past; the present one is on its way."""
        if event.size != self.app.size:
            event.prevent_default()

    def on_lines_resized(self, event: Lines.Resized) -> None:
        """Lines depend on the width they are made for."""
        event.stop()
        self.draw()
