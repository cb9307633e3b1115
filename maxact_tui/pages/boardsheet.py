"""Sites down, one quantity per column: what the board's table shows, and in which order.

- `BoardColumn`, `BoardSheet`
- `scheme_sheet`    what sites are ranked by, and SQNR under every scheme
- `overflow_sheet`  how far each site is from the largest number of fp16 and e4m3
- `Order`, `ordered`  sorted by a column, or as the model computes
- `grouped_rows`    GEMM inputs before the other sites, each group under a line that names it
- `sheet_grid`, `sheet_cells`  the order as rows of a heatmap, and what they hold
- `sheet_records`  rows to copy
- `site_label`, `scheme_titles`  their short names
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from engine.base.wording import counted
from engine.quantization.board import LIMITS
from engine.quantization.groups import GROUPS, site_groups
from engine.quantization.metrics import QuantError
from engine.quantization.ranking import rank
from engine.scheme_names import title_of
from engine.schemes import Column
from engine.sites.site import HookPlan, Site
from maxact_tui.pages.cells import decibel_text
from maxact_tui.pages.measures import DAMAGE_SCALE, MAE_SCALE, board_values, damage_values
from maxact_tui.terminal.palette import Look, Scale
from maxact_tui.texts.filtering import Value
from maxact_tui.texts.numbers import compact
from maxact_tui.watching.boardview import BoardView
from maxact_tui.widgets.grid import NOWHERE, TITLES, Grid
from maxact_tui.widgets.heatmap import Cell

LABEL_CELLS = 14
Row = int | str
"""A site's number, or a line of text."""
_EXPECTED = ("gemm_inputs", "streams")
HEADROOM_SCALE = Scale(8.0, 0.0, log=False)
"""Bits of headroom to colours."""

_OUTSIDE = {"embedding": "embed", "final_norm": "norm", "lm_head_input": "head"}


@dataclass(frozen=True, slots=True, eq=False)
class BoardColumn:
    """One column.

    Attributes:
        name: what it is called in a sentence.
        group, title: what stands above it in two lines, the second at most seven cells.
        values: float64 [sites], NaN where unknown.
        cells: one per site.
        low_is_bad: whether low values are the bad ones.
        scheme: number of the scheme on the board whose SQNR it holds; None for other columns.
    """

    name: str
    group: str
    title: str
    values: NDArray[np.float64]
    cells: tuple[Cell, ...]
    low_is_bad: bool
    scheme: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class BoardSheet:
    """A table of sites.

    Attributes:
        columns: from left to right.
        labels: of the sites, by number.
        lost: sites without a finite element, which are worse than any number.
    """

    columns: tuple[BoardColumn, ...]
    labels: tuple[str, ...]
    lost: frozenset[int] = frozenset()

    @property
    def names(self) -> tuple[str, ...]:
        """Of the columns."""
        return tuple(column.name for column in self.columns)


@dataclass(frozen=True, slots=True)
class Order:
    """How the rows are sorted: by the column of this name (None: as the model computes), and whether upside down."""

    column: str | None
    is_reversed: bool = False


def site_label(site: Site) -> str:
    """A site in at most thirteen cells: `L11 down.in`."""
    if site.layer is None:
        return _OUTSIDE.get(site.component, site.name)
    return f"L{site.layer} {TITLES.get(site.component, site.component)}"


def scheme_sheet(view: BoardView, plan: HookPlan, look: Look) -> BoardSheet:
    """First what sites are ranked by, then SQNR of every site under every scheme; damage before the SQNR it is of.

    Cells of both have the colour of what sites are ranked by, the damage, or the relative MAE where that was not
    measured: SQNR would paint a site cool that a massive activation makes look well.
    """
    sites = len(plan.sites)
    of_schemes = {name: damage_values(view, name, sites) for name in view.damaging}
    columns = [] if of_schemes else [_mae_column(view, look, sites)]
    for number, scheme in enumerate(view.board.schemes):
        damage = of_schemes.pop(scheme.name, None)
        if damage is not None:
            columns.append(_damage_column(view, scheme.name, damage, look))
        columns.append(_sqnr_column(view, number, damage, look, sites))
        if not number:
            # Of what has no SQNR on the board: a run without --quant full.
            names = {one.name for one in view.board.schemes}
            columns += [_damage_column(view, name, of_schemes[name], look) for name in of_schemes if name not in names]
    return BoardSheet(tuple(columns), tuple(map(site_label, plan.sites)), view.board.lost)


def _sqnr_column(
    view: BoardView, number: int, damage: NDArray[np.float64] | None, look: Look, sites: int
) -> BoardColumn:
    scheme, values = view.board.schemes[number], board_values(view, number, sites)
    errors = [row[number] if row is not None else None for row in view.board.rows]
    mae = [one.rel_mae if one is not None and one.count else math.nan for one in errors]
    levels = MAE_SCALE.levels(np.asarray(mae, np.float64), look.levels)
    if damage is not None:
        levels = np.where(np.isnan(damage), levels, DAMAGE_SCALE.levels(damage, look.levels))
    marks = _marks(view)
    cells = tuple(
        _cell(error, level, mark, look) for error, level, mark in zip(errors, levels.tolist(), marks, strict=True)
    )
    group, title = scheme_titles(scheme)
    return BoardColumn(title_of(scheme.name), group, title, values, cells, True, number)


def _damage_column(view: BoardView, scheme: str, values: NDArray[np.float64], look: Look) -> BoardColumn:
    levels = DAMAGE_SCALE.levels(values, look.levels).tolist()
    marks = [mark if math.isnan(v) else " " for v, mark in zip(values.tolist(), _marks(view), strict=True)]
    cells = tuple(_shared(damage_text(v), *rest) for v, *rest in zip(values.tolist(), levels, marks, strict=True))
    head, _, tail = title_of(scheme).partition("-")
    title = tail.replace("smooth", "sm")[:7] or head
    return BoardColumn(f"damage {title_of(scheme)}", "damage", title, values, cells, False)


def _mae_column(view: BoardView, look: Look, sites: int) -> BoardColumn:
    """Relative MAE under INT8, for a session that has no damage."""
    values, texts, marks = np.full(sites, np.nan), ["-"] * sites, _marks(view)
    for one in rank(view.board):
        values[one.site] = one.value
        texts[one.site] = "zero" if one.error is not None and one.error.is_zero else damage_text(one.value)
    levels = MAE_SCALE.levels(values, look.levels).tolist()
    cells = tuple(
        _shared(text, -1 if text == "zero" else level, mark if text == "-" else " ")
        for text, level, mark in zip(texts, levels, marks, strict=True)
    )
    return BoardColumn("rel. mae int8", "rel.mae", "int8", values, cells, False)


def damage_text(share: float) -> str:
    """A share in at most six cells: `0.41%`, `12.3%`, `-` where it is unknown."""
    if math.isnan(share):
        return "-"
    points = 100 * share
    return f"{points:.2f}%" if points < 10 else f"{points:.1f}%" if points < 1000 else f"{compact(points, 2)}%"


def overflow_sheet(view: BoardView, plan: HookPlan, look: Look) -> BoardSheet:
    """The largest |x| of every site, its bits of headroom to fp16 and e4m3, and how many elements exceed them."""
    marks = _marks(view)
    largest = tuple(Cell(compact(v), -1, mark) for v, mark in zip(view.magnitudes.tolist(), marks, strict=True))
    columns = [BoardColumn("max|x|", "", "max|x|", view.magnitudes, largest, False)]
    for number, (name, limit) in enumerate(LIMITS):
        with np.errstate(divide="ignore"):
            bits = np.log2(limit / np.where(view.nonfinite > 0, np.inf, view.magnitudes))
        levels = HEADROOM_SCALE.levels(bits, look.levels).tolist()
        cells = tuple(Cell(decibel_text(b, look), level) for b, level in zip(bits.tolist(), levels, strict=True))
        columns.append(BoardColumn(f"headroom to {name}", name, "bits", bits, cells, True))
        over = view.beyond[:, number]
        cells = tuple(Cell(_count(n), look.levels - 1 if n > 0 else -1) for n in over.tolist())
        columns.append(BoardColumn(f"elements over {name}", "", "over", over, cells, False))
    return BoardSheet(tuple(columns), tuple(map(site_label, plan.sites)), view.board.lost)


def scheme_titles(scheme: Column) -> tuple[str, str]:
    """What stands above a scheme's column, in two lines: `int8` and `q99.9`."""
    head, _, tail = title_of(scheme.name).partition("-")
    tail = tail.replace("paper0.", "pap.").replace("smooth", "sm")
    return head, (tail or ("max" if scheme.source == "from histogram" else "block"))[:7]


def ordered(sheet: BoardSheet, order: Order) -> list[int]:
    """The sites' numbers from top to bottom, equal ones as the model computes, unknown ones last.

    Worst first, and of all sites those without a finite element: nothing is worse.
    """
    sites = list(range(len(sheet.labels)))
    column = next((one for one in sheet.columns if one.name == order.column), None)
    if column is None:
        return sites[::-1] if order.is_reversed else sites
    sign = 1.0 if column.low_is_bad != order.is_reversed else -1.0
    values, lost = (sign * column.values).tolist(), math.inf if order.is_reversed else -math.inf

    def place(site: int) -> tuple[bool, float]:
        return (False, lost) if site in sheet.lost else (math.isnan(values[site]), values[site])

    return sorted(sites, key=place)


def grouped_rows(sites: Sequence[int], plan: HookPlan, hint: str) -> tuple[Row, ...]:
    """Rows of the board: a line for each group, and below it the group's sites in their order.

    Of GEMM inputs and streams, a group of which the session has no site says so; one that a filter leaves empty is left
    out.

    Args:
        sites: those to show, in their order.
        plan: of the session.
        hint: what to do where the GEMM inputs were not measured.
    """
    rows: list[Row] = []
    groups = site_groups(plan)
    for group, title in GROUPS.items():
        members = frozenset(groups.get(group, ()))
        shown, count = [site for site in sites if site in members], len(members)
        if shown:
            amount = counted(count, "site") if len(shown) == count else f"{len(shown)} of {counted(count, 'site')}"
            rows += [f" {title}: {amount}", *shown]
        elif not count and group in _EXPECTED:
            rows.append(f" {title}: not measured{hint if group == 'gemm_inputs' else ''}")
    return tuple(rows)


def sheet_grid(sheet: BoardSheet, rows: Sequence[Row]) -> Grid:
    """A heatmap's grid with these rows; the number of a cell is row * columns + column."""
    count = len(sheet.columns)
    numbers = np.arange(len(rows) * count, dtype=np.int64).reshape(len(rows), count)
    banners = {place: row for place, row in enumerate(rows) if isinstance(row, str)}
    numbers[list(banners)] = NOWHERE
    labels = tuple("" if isinstance(row, str) else sheet.labels[row] for row in rows)
    return Grid(sheet.names, tuple(column.title for column in sheet.columns), labels, numbers, banners)


def sheet_cells(sheet: BoardSheet, rows: Sequence[Row]) -> dict[int, Cell]:
    """The cells of that grid, by number."""
    count = len(sheet.columns)
    return {
        place * count + number: column.cells[row]
        for place, row in enumerate(rows)
        if not isinstance(row, str)
        for number, column in enumerate(sheet.columns)
    }


def _count(number: float) -> str:
    return f"{int(number)}" if number < 1e5 else compact(number)


def sheet_records(sheet: BoardSheet, sites: Sequence[int], plan: HookPlan) -> list[dict[str, Value]]:
    """Name, layer, component and every column of these sites, the numbers in full."""
    records = []
    for number in sites:
        site = plan.sites[number]
        record: dict[str, Value] = {"site": site.name, "layer": site.layer, "component": site.component}
        record |= {column.name: float(column.values[number]) for column in sheet.columns}
        records.append(record)
    return records


def _marks(view: BoardView) -> list[str]:
    """`!` for every site that holds NaN or infinity."""
    return ["!" if count else " " for count in view.nonfinite.tolist()]


def _cell(error: QuantError | None, level: int, mark: str, look: Look) -> Cell:
    """SQNR, marked where elements were left out of it, and where they left nothing."""
    if error is None or not error.count:
        return _shared("-", -1, mark)
    mark = "!" if error.nonfinite else " "
    return _shared("zero", -1, mark) if error.is_zero else _shared(decibel_text(error.sqnr_db, look), level, mark)


@lru_cache(maxsize=4_096)
def _shared(text: str, level: int, mark: str) -> Cell:
    """One cell for all places that look the same: a large session has 14,000 with some 300 texts."""
    return Cell(text, level, mark)
