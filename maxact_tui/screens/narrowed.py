"""The heatmap's filter: rows and columns that are kept, and what copying the heatmap writes.

- `Narrowed`
"""

from __future__ import annotations

from abc import abstractmethod

from maxact_tui.pages.cells import CellMaker
from maxact_tui.pages.measures import site_values
from maxact_tui.pages.sheets import as_tsv
from maxact_tui.pages.siterecords import kept_sites, matrix_text, site_records
from maxact_tui.screens.filterable import Filterable
from maxact_tui.screens.watched import WatchedScreen
from maxact_tui.terminal.palette import Look
from maxact_tui.texts.filtering import Record
from maxact_tui.watching.snapshot import Snapshot
from maxact_tui.widgets.grid import Grid
from maxact_tui.widgets.heatmap import Heatmap
from maxact_tui.widgets.prompt import PromptLine


class Narrowed(Filterable, WatchedScreen):
    """A screen whose heatmap can be filtered."""

    _maker: CellMaker
    _heatmap: Heatmap | None = None
    _grid: Grid | None = None
    _kept_sites: set[int]
    _origin: int | None = None  # where the cursor was before a filter was typed

    def __init__(self, look: Look, snapshot: Snapshot) -> None:
        super().__init__(look, snapshot)
        self._kept_sites = set()

    @abstractmethod
    def _arrange(self) -> None:
        """Give the heatmap as much room as it needs."""

    @abstractmethod
    def _cursor_moved(self) -> None:
        """The cursor is on another site."""

    @property
    def prompt(self) -> PromptLine:
        """The line of keys."""
        return self.query_one(PromptLine)

    def open_filter(self) -> None:
        """Let the user type a filter; what is typed on the way to it does not move the cursor for good."""
        self._origin = self._heatmap.site if self._heatmap is not None else None
        super().open_filter()

    def filter_changed(self) -> None:
        """Show the rows and columns the filter keeps."""
        self.draw()

    def example(self) -> Record | None:
        """The first site."""
        return next(iter(site_records(self.snapshot)), None)

    def filter_counts(self) -> tuple[int, int]:
        """How many sites are kept, of how many."""
        plan = self.snapshot.plan
        return len(kept_sites(self.kept, self.snapshot)), len(plan.sites) if plan is not None else 0

    def copied(self, *, whole: bool) -> str:
        """The site under the cursor, or what the heatmap shows, as tab-separated text."""
        if self._heatmap is None:
            return ""
        if whole:
            return matrix_text(self._heatmap.grid, site_values(self._maker.measure, self.snapshot))
        return as_tsv([site_records(self.snapshot)[self._heatmap.site]])

    def action_clear(self) -> None:
        """Show every site again."""
        self.clear_filter()

    def _narrow(self) -> bool:
        """Show only what the filter keeps, all of it if that is nothing; says whether that has changed."""
        heatmap, grid = self._heatmap, self._grid
        if heatmap is None or grid is None:
            return False
        kept = kept_sites(self.kept, self.snapshot) if self.kept else set()
        if kept == self._kept_sites:
            return False
        self._kept_sites, here = kept, heatmap.site
        shown = grid.narrowed(kept) if kept else grid
        wanted = here if self._origin is None else self._origin
        there = wanted if not kept or wanted in kept else grid.nearest(wanted, kept)
        heatmap.reorder(shown, shown.cell_of(there) or (0, 0))
        self._arrange()
        if there != here:
            self._cursor_moved()
        return True
