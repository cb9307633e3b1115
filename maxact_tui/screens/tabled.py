"""What every screen with a table has in common: filter, sorting, selection, and rows to copy.

- `Tabled`
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace

from maxact_tui.pages.sheets import Rows, Sheet, Sorting, arranged, as_tsv, heading
from maxact_tui.screens.filterable import Filterable
from maxact_tui.screens.listed import Listed
from maxact_tui.screens.steady import Drawing
from maxact_tui.texts.filtering import Record


class Tabled(Filterable, Listed):
    """Shows a `Sheet` in the screen's `Picker`; stands before the screen class among the bases."""

    draw: Drawing
    sorting: Sorting = Sorting()
    _numbers: Sequence[int] = ()

    @abstractmethod
    def sheet(self) -> Sheet | None:
        """The table as it is now; None while there is none."""

    def offer(self, sheet: Sheet) -> bool:
        """Show the rows the filter keeps, in the order asked for."""
        self._numbers = arranged(sheet, self.kept, self.sorting)
        title = heading(sheet.columns, self.sorting)
        return self.picker.offer([(title, "dim")], Rows(sheet, self._numbers))

    @property
    def chosen(self) -> int | None:
        """Number of the selected row in the table; None where no row is shown."""
        place = self.picker.selected
        return self._numbers[place] if place < len(self._numbers) else None

    def filter_changed(self) -> None:
        """Show what the filter keeps, from the top."""
        self.picker.selected = 0
        self.draw()

    def filter_counts(self) -> tuple[int, int]:
        """How many rows are kept, of how many."""
        sheet = self.sheet()
        return (len(arranged(sheet, self.kept)), sheet.count) if sheet is not None else (0, 0)

    def example(self) -> Record | None:
        """The first row."""
        sheet = self.sheet()
        return sheet.record(0) if sheet is not None and sheet.count else None

    def action_sort(self) -> None:
        """Sort by the next column; after the last as the rows come."""
        sheet = self.sheet()
        if sheet is not None:
            self.sorting = self.sorting.next(sheet.columns)
            self.filter_changed()

    def action_reverse(self) -> None:
        """Turn the order round."""
        self.sorting = replace(self.sorting, turned=not self.sorting.turned)
        self.filter_changed()

    def copied(self, *, whole: bool) -> str:
        """The selected row, or all rows that are shown in their order, as tab-separated text."""
        sheet = self.sheet()
        if sheet is None:
            return ""
        if whole:
            return as_tsv([sheet.record(number) for number in arranged(sheet, self.kept, self.sorting)])
        return "" if self.chosen is None else as_tsv([sheet.record(self.chosen)])
