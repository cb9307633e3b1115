"""The parts of a heatmap: one widget per column, so that a changed cell costs only itself.

- `Cell`         what one cell shows
- `HeatColumn`   one component's cells, a title above
- `RowLabels`    the layers
- `CELL_WIDTH`, `LABEL_WIDTH`
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from rich.segment import Segment
from rich.style import Style
from textual.events import Click
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from maxact_tui.terminal.palette import STYLES, Look
from maxact_tui.texts.visible import fitted

CELL_WIDTH = 8
LABEL_WIDTH = 6
_CURSOR_STYLE = Style(bold=True, reverse=True)


@dataclass(frozen=True, slots=True)
class Cell:
    """What one cell shows.

    Attributes:
        text: the number, at most six cells wide.
        level: place on the ramp, -1 for no colour.
        mark: `*` where M is, `!` where something is not finite, else a space.
        is_banner: the text is eight cells of a line that goes on over the columns.
    """

    text: str
    level: int
    mark: str = " "
    is_banner: bool = False


BLANK = Cell("", -1)


class HeatColumn(Widget):
    """One component: its title, and below it the visible cells."""

    DEFAULT_CSS = "HeatColumn { width: 8; height: 1fr; }"

    class CellClicked(Message):
        """The user clicked a cell of the column of this name, `times`; `row` counts the visible rows from 0."""

        def __init__(self, column: str, row: int, times: int) -> None:
            super().__init__()
            self.column, self.row, self.times = column, row, times

    def __init__(self, look: Look, column: str, title: str) -> None:
        super().__init__()
        self._look, self._column, self._title = look, column, title
        self._cells: tuple[Cell, ...] = ()
        self._cursor: int | None = None
        self._highlight = False

    def show(self, cells: Sequence[Cell], cursor: int | None, *, highlight: bool) -> bool:
        """Show these cells from the top; `cursor` is the row the cursor is on, if it is in this column.

        Returns:
            Whether anything changed.
        """
        old_cells, old_cursor, old_highlight = self._cells, self._cursor, self._highlight
        self._cells, self._cursor, self._highlight = tuple(cells), cursor, highlight
        pairs = zip_longest(old_cells, self._cells, fillvalue=BLANK)
        # Cells are made anew only where they differ, so that identity settles nearly every comparison.
        different = {row for row, (old, new) in enumerate(pairs) if old is not new and old != new}
        if cursor != old_cursor:
            different |= {row for row in (cursor, old_cursor) if row is not None}
        rows = max(self.size.height - 1, 0)
        changed = sorted(row for row in different if row < rows)
        regions = [Region(0, row + 1, self.size.width, 1) for row in changed]
        if highlight != old_highlight:
            regions.append(Region(0, 0, self.size.width, 1))
        if regions:
            self.refresh(*regions)
        return bool(regions)

    def render_line(self, y: int) -> Strip:
        """Textual's Line API."""
        if y == 0:
            style = STYLES["title"] if self._highlight else STYLES["dim"]
            return Strip([Segment(fitted(self._title, CELL_WIDTH - 1, right=True) + " ", style)])
        return self._render_cell(_cell(self._cells, y - 1), self._cursor == y - 1)

    def on_click(self, event: Click) -> None:
        """Move the cursor to the clicked cell."""
        if event.y > 0:
            self.post_message(self.CellClicked(self._column, event.y - 1, event.chain))

    def _render_cell(self, cell: Cell, has_cursor: bool) -> Strip:
        if cell.is_banner:
            return Strip([Segment(cell.text, STYLES["title"])])
        glyph = self._look.level_glyphs[cell.level] if cell.level >= 0 else " "
        lead = self._look.own("▸") if has_cursor else glyph
        text = f"{lead}{cell.text:>6}{cell.mark}"
        if has_cursor:
            return Strip([Segment(text, _CURSOR_STYLE)])
        style = self._look.ramp[cell.level] if cell.level >= 0 else Style()
        if cell.mark != " ":
            style += Style(bold=True)
        return Strip([Segment(text, style)])


class RowLabels(Widget):
    """The labels of the visible rows."""

    DEFAULT_CSS = "RowLabels { width: 6; height: 1fr; }"

    def __init__(self, width: int = LABEL_WIDTH) -> None:
        super().__init__()
        self._labels: tuple[str, ...] = ()
        self._cursor: int | None = None
        self._width = self.styles.width = width
        self._beyond = ""

    def show(self, labels: Sequence[str], cursor: int | None, beyond: str = "") -> bool:
        """Show these labels from the top, that of the cursor's row in bold. Returns whether anything changed.

        Args:
            labels: of the visible rows.
            cursor: the row the cursor is on.
            beyond: how many columns are off the screen, above the labels.
        """
        old, old_cursor = self._labels, self._cursor
        if beyond != self._beyond:
            self._beyond = beyond
            self.refresh(Region(0, 0, self._width, 1))
        self._labels, self._cursor = tuple(labels), cursor
        rows = range(min(max(len(old), len(self._labels)), max(self.size.height - 1, 0)))
        changed = [y for y in rows if _label(old, y) != _label(self._labels, y) or (y == old_cursor) != (y == cursor)]
        if changed:
            self.refresh(*[Region(0, y + 1, self.size.width, 1) for y in changed])
        return bool(changed)

    def render_line(self, y: int) -> Strip:
        """Textual's Line API."""
        if y == 0:
            return Strip([Segment(fitted(self._beyond, self._width - 1, right=True) + " ", STYLES["dim"])])
        if len(whole := _label(self._labels, y - 1)) == self._width:  # of a banner
            return Strip([Segment(whole, STYLES["title"])])
        style = STYLES["title"] if self._cursor == y - 1 else STYLES["dim"]
        return Strip([Segment(fitted(_label(self._labels, y - 1), self._width - 1, right=True) + " ", style)])


def _cell(cells: Sequence[Cell], row: int) -> Cell:
    return cells[row] if 0 <= row < len(cells) else BLANK


def _label(labels: Sequence[str], row: int) -> str:
    return labels[row] if row < len(labels) else ""
