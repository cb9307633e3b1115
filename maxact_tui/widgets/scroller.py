"""More lines than fit, scrolled by keys.

- `Scroller`  a `Lines` with an offset
"""

from __future__ import annotations

from collections.abc import Sequence

from textual.events import MouseScrollDown, MouseScrollUp, Resize
from textual.strip import Strip

from maxact_tui.widgets.lines import Lines


class Scroller(Lines):
    """Shows a window of its lines; a change of content keeps the offset where possible."""

    DEFAULT_CSS = "Scroller { width: 1fr; height: 1fr; }"

    _all: tuple[Strip, ...] = ()
    _top: int = 0

    def fill(self, lines: Sequence[Strip], *, from_top: bool = False) -> bool:
        """Take these lines; returns whether anything visible changed."""
        self._all = tuple(lines)
        return self._move_to(0 if from_top else self._top)

    def move(self, lines: int) -> None:
        """Scroll by so many lines."""
        self._move_to(self._top + lines)

    def page(self, direction: int) -> None:
        """Scroll by one page."""
        self.move(direction * max(self.size.height - 1, 1))

    def edge(self, direction: int) -> None:
        """Scroll to the first or last line."""
        self._move_to(0 if direction < 0 else len(self._all))

    @property
    def position(self) -> str:
        """Which lines are visible, in words; empty if all are."""
        height = self.size.height
        if len(self._all) <= height:
            return ""
        return f"lines {self._top + 1}-{min(self._top + height, len(self._all))} of {len(self._all)}"

    def on_resize(self, event: Resize) -> None:
        """Show as much as fits now."""
        self._move_to(self._top)

    def on_mouse_scroll_down(self, event: MouseScrollDown) -> None:
        """Three lines down."""
        self.move(3)

    def on_mouse_scroll_up(self, event: MouseScrollUp) -> None:
        """Three lines up."""
        self.move(-3)

    def _move_to(self, top: int) -> bool:
        height = max(self.size.height, 1)
        self._top = max(min(top, len(self._all) - height), 0)
        return self.show(self._all[self._top : self._top + height])
