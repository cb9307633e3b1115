"""What a cell of the heatmap can show: fields of the registry, and quantities of the board.

- `MEASURES`  the fields, in the order the key walks through
- `site_values`  one of them at every site
- `board_values`, `damage_values`  a quantity of the board at every site
- `NONFINITE`, `PEAK`  the measures that count NaN and infinities, and that is shown first
- `DAMAGE_SCALE`, `MAE_SCALE`  to colours: damage; relative MAE
- `decibels`   of one error; infinite without error, NaN where it is unknown
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from engine.fields.field import SiteField
from engine.fields.registry import SITE_FIELDS, shown
from engine.quantization.metrics import QuantError
from engine.quantization.ranking import damage_of
from maxact_tui.terminal.palette import Scale
from maxact_tui.watching.boardview import BoardView
from maxact_tui.watching.snapshot import Snapshot

MEASURES: tuple[SiteField, ...] = tuple(field for _, field in shown("heatmap"))
NONFINITE, PEAK = SITE_FIELDS["nonfinite"], SITE_FIELDS["peak"]

DAMAGE_SCALE = Scale(0.003, 0.3)
MAE_SCALE = Scale(0.01, 1.0)


def decibels(error: QuantError | None) -> float:
    """SQNR in dB: infinite without error, NaN where there is no number."""
    return error.sqnr_db if error is not None and error.count else math.nan


def board_values(view: BoardView | None, column: int, sites: int) -> NDArray[np.float64]:
    """SQNR of every site under one scheme of the board, float64 [sites], NaN where unknown."""
    values = np.full(sites, np.nan)
    if view is not None:
        for number, row in enumerate(view.board.rows[:sites]):
            if row is not None:
                values[number] = decibels(row[column])
    return values


def damage_values(view: BoardView | None, scheme: str, sites: int) -> NDArray[np.float64]:
    """Damage of every site under a scheme, float64 [sites], NaN where it was not measured."""
    if view is None or not view.board.local:
        return np.full(sites, np.nan)
    return np.array([damage_of(view.board, site, scheme) for site in range(sites)], np.float64)


def site_values(measure: SiteField, snapshot: Snapshot) -> NDArray[np.float64]:
    """A measure of every site of the plan, float64 [sites], NaN where unknown: live, or of the last checkpoint."""
    sites = snapshot.plan.sites if snapshot.plan is not None else ()
    if measure.got == "quantiser":
        return board_values(snapshot.board, 0, len(sites))
    values = np.full(len(sites), np.nan)
    if measure.live is not None:
        if snapshot.live is not None:
            known = measure.live(snapshot.live)[: len(sites)]
            values[: len(known)] = known
        return values
    for number, (site, found) in enumerate(zip(sites, snapshot.summaries, strict=False)):
        value = measure.of(site, found) if found is not None else None
        values[number] = math.nan if value is None else value
    return values
