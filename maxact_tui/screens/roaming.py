"""What every screen with a heatmap has in common: the keys that move its cursor.

- `Roaming`  the actions `cursor`, `page` and `edge`
"""

from __future__ import annotations

from maxact_tui.widgets.heatmap import Heatmap


class Roaming:
    """Moves the cursor of a screen's heatmap, where there is one; stands before the screen class among the bases."""

    _heatmap: Heatmap | None = None

    def cursor_went(self) -> None:
        """The cursor was moved by a key; the next key may already open what is under it."""

    def action_cursor(self, rows: int, columns: int) -> None:
        """Move the cursor by one cell."""
        if self._heatmap is not None:
            self._heatmap.move(rows, columns)
            self.cursor_went()

    def action_page(self, direction: int) -> None:
        """Move the cursor by a page of rows."""
        if self._heatmap is not None:
            self._heatmap.page(direction)
            self.cursor_went()

    def action_edge(self, direction: int) -> None:
        """Move the cursor to the first or last row."""
        if self._heatmap is not None:
            self._heatmap.edge(direction)
            self.cursor_went()
