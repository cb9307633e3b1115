"""The heatmap: layers down, components across, and a cursor.

- `Heatmap`      columns, labels, cursor, scrolling
- what it is made of, from `heatcolumn`
"""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.events import MouseScrollDown, MouseScrollUp, Resize
from textual.message import Message

from maxact_tui.terminal.palette import Look
from maxact_tui.widgets.grid import NOWHERE, Grid
from maxact_tui.widgets.heatcolumn import BLANK, CELL_WIDTH, LABEL_WIDTH, Cell, HeatColumn, RowLabels

__all__ = ["BLANK", "CELL_WIDTH", "LABEL_WIDTH", "Cell", "HeatColumn", "Heatmap", "RowLabels"]


class Heatmap(Horizontal):
    """Layers down, components across, and a cursor on one cell."""

    DEFAULT_CSS = "Heatmap { height: 1fr; overflow: hidden hidden; }"

    class CursorMoved(Message):
        """The user moved the cursor to another site."""

        def __init__(self, site: int) -> None:
            super().__init__()
            self.site = site

    class Scrolled(Message):
        """Other columns are on the screen than before."""

    _announced: range = range(0)

    class Opened(Message):
        """The user clicked a site twice."""

    def __init__(self, look: Look, grid: Grid, *, id: str | None = None, label_width: int = LABEL_WIDTH) -> None:
        super().__init__(id=id)
        self._look, self.grid = look, grid
        self._labels, self._label_width = RowLabels(label_width), label_width
        pairs = zip(grid.columns, grid.titles, strict=True)
        self._columns = {name: HeatColumn(look, name, title) for name, title in pairs}
        self._cells: dict[int, Cell] = {}
        self._row, self._column = 0, 0
        self._top, self._left = 0, 0
        self._is_centred = True

    def compose(self) -> ComposeResult:
        """Labels, then one widget per column."""
        yield self._labels
        yield from self._columns.values()

    @property
    def site(self) -> int:
        """Number of the site under the cursor, -1 where there is none."""
        return int(self.grid.sites[self._row, self._column])

    @property
    def page_rows(self) -> int:
        """How many rows are visible."""
        return max(self.size.height - 1, 1)

    @property
    def page_columns(self) -> int:
        """How many columns are visible."""
        return max((self.size.width - self._label_width) // CELL_WIDTH, 1)

    @property
    def cursor(self) -> tuple[int, int]:
        """Row and column of the cursor."""
        return self._row, self._column

    @property
    def visible_columns(self) -> range:
        """Numbers of the columns that are on the screen."""
        return range(self._left, min(self._left + self.page_columns, len(self.grid.columns)))

    @property
    def _beyond(self) -> str:
        """How many columns are off the screen on either side: `1‹ ›3`; empty where all are on it."""
        shown, left_mark, right_mark = self.visible_columns, self._look.own("‹"), self._look.own("›")
        left, right = shown.start, len(self.grid.columns) - shown.stop
        before, after = f"{left}{left_mark}" if left else "", f"{right_mark}{right}" if right > 0 else ""
        return f"{before} {after}".strip()

    def show(self, cells: dict[int, Cell]) -> bool:
        """Show the cell of each site number; returns whether anything visible changed."""
        self._cells = cells
        return self._draw()

    def reorder(self, grid: Grid, cursor: tuple[int, int]) -> None:
        """Take other rows, and the same columns or some of them, and the cursor to this cell; `show` draws them."""
        self.grid = grid
        self._row, self._column = cursor

    def place(self, site: int) -> bool:
        """Put the cursor on a site, in the middle, without telling anyone; returns whether anything visible changed."""
        cell = self.grid.cell_of(site)
        if cell is None or cell == (self._row, self._column):
            return False
        self._row, self._column = cell
        self._is_centred = True
        return self._draw()

    def move(self, rows: int, columns: int) -> None:
        """Move the cursor; across gaps, and never onto a cell without a site."""
        row, column = self._row, self._column
        while True:
            row, column = row + (rows > 0) - (rows < 0), column + (columns > 0) - (columns < 0)
            if not (0 <= row < len(self.grid.rows) and 0 <= column < len(self.grid.columns)):
                return
            if self.grid.sites[row, column] != NOWHERE:
                return self._go(row, column)

    def jump(self, row: int) -> None:
        """Move the cursor to the nearest site to `row` in this column, else in any."""
        row = min(max(row, 0), len(self.grid.rows) - 1)
        filled = [r for r in range(len(self.grid.rows)) if self.grid.sites[r, self._column] != NOWHERE]
        if filled:
            self._go(min(filled, key=lambda r: abs(r - row)), self._column)

    def page(self, direction: int) -> None:
        """Move the cursor one page of rows."""
        self.jump(self._row + direction * self.page_rows)

    def edge(self, direction: int) -> None:
        """Move the cursor to the first or last row."""
        self.jump(0 if direction < 0 else len(self.grid.rows) - 1)

    def on_resize(self, event: Resize) -> None:
        """Fit the visible part to the new size."""
        self._draw()

    def on_heat_column_cell_clicked(self, event: HeatColumn.CellClicked) -> None:
        """Move the cursor to a clicked cell."""
        event.stop()
        row, column = self._top + event.row, self.grid.columns.index(event.column)
        if row < len(self.grid.rows) and self.grid.sites[row, column] != NOWHERE:
            self._go(row, column)
            if event.times == 2:
                self.post_message(self.Opened())

    def on_mouse_scroll_down(self, event: MouseScrollDown) -> None:
        """The cursor three rows down."""
        self.jump(self._row + 3)

    def on_mouse_scroll_up(self, event: MouseScrollUp) -> None:
        """The cursor three rows up."""
        self.jump(self._row - 3)

    def _go(self, row: int, column: int) -> None:
        if (row, column) != (self._row, self._column):
            self._row, self._column = row, column
            self._is_centred = False
            self._draw()
            self.post_message(self.CursorMoved(self.site))

    def _draw(self) -> bool:
        """Scroll so that the cursor is visible, and show every visible column."""
        if not self.size:
            return False
        if self._is_centred:
            self._top = self._row - self.page_rows // 2
        self._top = _scrolled(self._top, self._row, self.page_rows, len(self.grid.rows))
        self._left = _scrolled(self._left, self._column, self.page_columns, len(self.grid.columns))
        rows = range(self._top, min(self._top + self.page_rows, len(self.grid.rows)))
        banners = {row: _pieces(self.grid.banners[row], self._label_width) for row in rows if row in self.grid.banners}
        labels = [banners[row][0] if row in banners else self.grid.rows[row] for row in rows]
        changed = self._labels.show(labels, self._row - self._top, self._beyond)
        if self.visible_columns != self._announced:
            self._announced = self.visible_columns
            self.post_message(self.Scrolled())
        inside = {self.grid.columns[number]: number for number in self.visible_columns}
        for name, column in self._columns.items():
            number = inside.get(name)
            if column.display != (number is not None):
                column.display, changed = number is not None, True
            if number is not None:
                here = number == self._column
                place = number - self._left + 1
                cells = [
                    _banner(banners[row], place)
                    if row in banners
                    else self._cells.get(int(self.grid.sites[row, number]), BLANK)
                    for row in rows
                ]
                changed |= column.show(cells, self._row - self._top if here else None, highlight=here)
        return changed


def _pieces(text: str, label_width: int) -> list[str]:
    """A line cut to the width of the labels and of each column beside them, each piece filled up."""
    pieces = [f"{text[:label_width]:<{label_width}}"]
    rest = text[label_width:]
    return pieces + [f"{rest[at : at + CELL_WIDTH]:<{CELL_WIDTH}}" for at in range(0, len(rest), CELL_WIDTH)]


def _banner(pieces: list[str], place: int) -> Cell:
    return Cell(pieces[place], -1, is_banner=True) if place < len(pieces) else BLANK


def _scrolled(start: int, place: int, page: int, total: int) -> int:
    """First visible index, moved as little as possible so that `place` is visible with a little around it."""
    around = min(2, (page - 1) // 3)
    start = min(max(start, place + around - page + 1), place - around)
    return max(min(start, total - page), 0)
