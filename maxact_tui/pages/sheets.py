"""Tables of every screen: which rows are kept, in which order, under which heading, and as text to take away.

- `Column`    one column: what it sorts by, and its heading
- `Sheet`     a table: columns, and each row as a record and as a strip
- `Sorting`   by which column, and which way round
- `arranged`  the rows a filter keeps, in the order asked for
- `Rows`      their strips, each made when it is first looked at
- `heading`   the titles, with a mark at the column that sorts
- `as_tsv`    records as tab-separated text
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import overload

from textual.strip import Strip

from maxact_tui.texts.filtering import EVERYTHING, Filter, Record, Value
from maxact_tui.texts.visible import visible

UP, DOWN = "▲", "▼"


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Attributes:
        title: its heading.
        width: cells, the blank before the next column not counted; 0 for the last.
        field: what it sorts by, of the rows' records; empty if it cannot be sorted by.
        right: the heading stands at the right.
        largest_first: sorting begins with the largest.
    """

    title: str
    width: int
    field: str = ""
    right: bool = True
    largest_first: bool = False


@dataclass(frozen=True, slots=True)
class Sheet:
    """A table.

    Attributes:
        columns: from the left.
        count: how many rows.
        record: what the filter asks, sorting compares and copying writes, of a row.
        row: how a row looks.
    """

    columns: tuple[Column, ...]
    count: int
    record: Callable[[int], Record]
    row: Callable[[int], Strip]


@dataclass(frozen=True, slots=True)
class Sorting:
    """By which column; None leaves the rows as they come. `turned` is the other way round."""

    column: int | None = None
    turned: bool = False

    def next(self, columns: Sequence[Column]) -> Sorting:
        """By the next column that can be sorted by; after the last as they come."""
        start = 0 if self.column is None else self.column + 1
        return Sorting(next((i for i in range(start, len(columns)) if columns[i].field), None))

    def reverse(self) -> Sorting:
        """The same the other way round."""
        return replace(self, turned=not self.turned)

    def descends(self, columns: Sequence[Column]) -> bool:
        """Whether the largest comes first."""
        return self.column is not None and columns[self.column].largest_first != self.turned


def arranged(sheet: Sheet, kept: Filter = EVERYTHING, sorting: Sorting | None = None) -> list[int]:
    """Numbers of the rows the filter keeps, in order; rows without a value stand last whichever way."""
    sorting = sorting or Sorting()
    if not kept and sorting.column is None:
        return list(range(sheet.count))[:: -1 if sorting.turned else 1]
    records = {number: sheet.record(number) for number in range(sheet.count)}
    numbers = [number for number, record in records.items() if kept.holds(record)]
    if sorting.column is None:
        return numbers[:: -1 if sorting.turned else 1]
    field = sheet.columns[sorting.column].field
    keys = {number: _key(records[number].get(field)) for number in numbers}
    known = [number for number in numbers if keys[number] is not None]
    known.sort(key=lambda number: keys[number], reverse=sorting.descends(sheet.columns))  # type: ignore[arg-type,return-value]
    return known + [number for number in numbers if keys[number] is None]


class Rows(Sequence[Strip]):
    """Rows of a table as strips; a row nobody has scrolled to is not made.

    Args:
        sheet: the table.
        numbers: which of its rows, in order.
    """

    def __init__(self, sheet: Sheet, numbers: Sequence[int]) -> None:
        self._sheet, self._numbers = sheet, numbers
        self._made: dict[int, Strip] = {}

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, place: int) -> Strip: ...

    @overload
    def __getitem__(self, place: slice) -> list[Strip]: ...

    def __getitem__(self, place: int | slice) -> Strip | list[Strip]:
        if isinstance(place, slice):
            return [self._row(number) for number in self._numbers[place]]
        return self._row(self._numbers[place])

    def _row(self, number: int) -> Strip:
        if number not in self._made:
            self._made[number] = self._sheet.row(number)
        return self._made[number]


def heading(columns: Sequence[Column], sorting: Sorting) -> str:
    """The titles over their columns."""
    parts = []
    for number, column in enumerate(columns):
        mark = (DOWN if sorting.descends(columns) else UP) if number == sorting.column else ""
        text = f"{column.title}{mark}"
        width = column.width or len(text)
        parts.append(f"{text:>{width}}" if column.right else f"{text:<{width}}")
    return " ".join(parts)


def as_tsv(records: Sequence[Record]) -> str:
    """A line of field names and one line per record; foreign text made visible, so that every row is one line."""
    if not records:
        return ""
    names = list(records[0])
    lines = [names, *([_written(record.get(name)) for name in names] for record in records)]
    return "".join("\t".join(line) + "\n" for line in lines)


def _key(value: Value) -> float | str | None:
    if isinstance(value, str):
        return value.casefold()
    if isinstance(value, tuple):
        return value[0].casefold() if value else None
    if isinstance(value, range):
        return float(value[0]) if value else None
    return None if value is None or math.isnan(value) else float(value)


def _written(value: Value) -> str:
    if value is None:
        return ""
    if isinstance(value, tuple):
        return _written(value[0]) if value else ""
    if isinstance(value, range):
        return f"{value[0]}-{value[-1]}" if value else ""
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    return visible(str(value), space=" ")
