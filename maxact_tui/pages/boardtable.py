"""The state of the board's table: section, order, columns, and which sites stand in which row.

- `BoardTable`
- `SCHEMES`, `LIMITS`  the sections
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from engine.sites.site import HookPlan
from maxact_tui.pages.boardsheet import (
    BoardSheet,
    Order,
    Row,
    grouped_rows,
    ordered,
    overflow_sheet,
    scheme_sheet,
    sheet_cells,
    sheet_grid,
)
from maxact_tui.terminal.palette import Look
from maxact_tui.watching.boardview import BoardView
from maxact_tui.widgets.grid import Grid
from maxact_tui.widgets.heatmap import Cell

SCHEMES, LIMITS = range(2)


class BoardTable:
    """Two sections, each with its own order and its own cursor.

    Attributes:
        section: `SCHEMES` or `LIMITS`.
        sheet: of that section; None before there are numbers.
        sites: from top to bottom, GEMM inputs before the others.
        rows: the same with a line above each group.
        site: under the cursor, None where no site is shown.
    """

    def __init__(self, site: int | None) -> None:
        self.section = SCHEMES
        self.sheet: BoardSheet | None = None
        self.sites: list[int] = []
        self.rows: tuple[Row, ...] = ()
        self._plan: HookPlan | None = None
        self.site = site
        self._other_site: int | None = None
        self._orders: list[Order | None] = [None, Order("headroom to fp16")]
        self._columns = [0, 0]
        self._made_for: tuple[BoardView, int, Look] | None = None

    @property
    def order(self) -> Order:
        """Of the section's rows; at first by what sites are ranked by, the first column."""
        chosen = self._orders[self.section]
        return chosen or Order(self.sheet.columns[0].name if self.sheet is not None else None)

    @property
    def column(self) -> int:
        """The section's column under the cursor."""
        return self._columns[self.section]

    @column.setter
    def column(self, number: int) -> None:
        self._columns[self.section] = number

    @property
    def scheme(self) -> int | None:
        """Number of the scheme whose column is under the cursor; None for another column."""
        columns = self.sheet.columns if self.sheet is not None else ()
        return columns[self.column].scheme if self.column < len(columns) else None

    def show_scheme(self, scheme: int) -> None:
        """Put the cursor on the column of a scheme."""
        columns = self.sheet.columns if self.sheet is not None else ()
        self.column = next((place for place, one in enumerate(columns) if one.scheme == scheme), self.column)

    @property
    def row(self) -> int:
        """Row of the cursor."""
        return self.rows.index(self.site) if self.site in self.sites and self.site is not None else 0

    def site_at(self, row: int) -> int | None:
        """The site in a row; None where a line of text stands."""
        found = self.rows[row] if 0 <= row < len(self.rows) else None
        return found if isinstance(found, int) else None

    @property
    def grid(self) -> Grid:
        """The rows for a heatmap."""
        assert self.sheet is not None
        return sheet_grid(self.sheet, self.rows)

    @property
    def cells(self) -> dict[int, Cell]:
        """What they hold."""
        assert self.sheet is not None
        return sheet_cells(self.sheet, self.rows)

    def take(self, view: BoardView, plan: HookPlan, look: Look) -> bool:
        """Make the sheet anew where numbers, section or look have changed; says whether they have."""
        if self._made_for == (view, self.section, look):
            return False
        self.sheet = (overflow_sheet if self.section == LIMITS else scheme_sheet)(view, plan, look)
        self._made_for, self._plan = (view, self.section, look), plan
        return True

    def arrange(self, keeps: Callable[[int], bool], hint: str = "") -> None:
        """Filter, sort and group; the cursor stays on its site, or goes to the first.

        Args:
            keeps: whether the filter keeps a site.
            hint: what to do where the GEMM inputs were not measured.
        """
        found = ordered(self.sheet, self.order) if self.sheet is not None else []
        kept = [site for site in found if keeps(site)]
        self.rows = grouped_rows(kept, self._plan, hint) if self._plan is not None else ()
        self.sites = [row for row in self.rows if isinstance(row, int)]
        if self.site not in self.sites:
            self.site = self.sites[0] if self.sites else None

    def sort(self) -> None:
        """Sort by the column under the cursor, worst first; again as the model computes. The cursor goes to the top."""
        if self.sheet is not None:
            name = self.sheet.columns[self.column].name
            self._orders[self.section] = Order(None if self.order.column == name else name)
            self.site = None

    def reverse(self) -> None:
        """Turn the order round. The cursor goes to the top."""
        self._orders[self.section] = replace(self.order, is_reversed=not self.order.is_reversed)
        self.site = None

    def turn(self) -> None:
        """The other section, with its own cursor."""
        self.section = 1 - self.section
        self.site, self._other_site = self._other_site, self.site
