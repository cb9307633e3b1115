"""What a cell of the heatmap can show.

- `Measure`   one quantity per site
- `MEASURES`  all of them, in the order the key walks through
- `live_values`, `summary_values`, `board_values`, `damage_values`  the quantity of every site
- `NONFINITE`  the measure that counts NaN and infinities
- `SQNR_SCALE`, `DAMAGE_SCALE`, `MAE_SCALE`  to colours: decibels, the fewer the hotter; damage; relative MAE
- `decibels`   of one error; infinite without error, NaN where it is unknown
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.analysis.site import SiteSummary
from engine.quantization.metrics import QuantError
from engine.quantization.ranking import damage_of
from engine.session.records import LiveTable
from maxact_tui.terminal.palette import Scale
from maxact_tui.watching.boardview import BoardView


@dataclass(frozen=True, slots=True)
class Measure:
    """One quantity per site.

    Attributes:
        name: identifier.
        title: what the legend calls it.
        meaning: one sentence for the help.
        is_live: known at every tick; the others at every checkpoint.
        log: shown on a log10 axis.
    """

    name: str
    title: str
    meaning: str
    is_live: bool
    log: bool = True


MEASURES: tuple[Measure, ...] = (
    Measure("max", "max|x|", "Largest |x| of the site, shown with the sign it has.", True),
    Measure("rms", "rms", "Root mean square of the site.", True),
    Measure("crest", "crest", "Largest |x| over rms: how far the peak stands out, what INT8 suffers from.", True),
    Measure("nonfinite", "non-finite", "NaN and infinities seen; anything but 0 is an alarm.", True),
    Measure("q999", "q99.9", "|x| below which 99.9 % of the elements lie.", False),
    Measure("median", "median", "Lower median of |x|.", False),
    Measure(
        "sun", "max/median", "Largest |x| over the site's median; above 1000, and 100 in itself, it is massive.", False
    ),
    Measure("kurtosis", "kurtosis", "Fourth standardised moment; 3 for a normal distribution.", False),
    Measure(
        "sqnr", "SQNR int8 dB", "What INT8 per tensor leaves, the largest |x| as threshold; bad is hot.", False, False
    ),
)

NONFINITE = next(measure for measure in MEASURES if measure.name == "nonfinite")

SQNR_SCALE = Scale(50.0, 0.0, log=False)
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


def live_values(measure: Measure, live: LiveTable) -> NDArray[np.float64]:
    """A live measure of every site, float64 [sites]; NaN where nothing was seen. `max` carries its sign."""
    signed = live.peak
    if measure.name == "max":
        return signed
    if measure.name == "rms":
        return live.column("rms")
    if measure.name == "crest":
        rms = live.column("rms")
        return np.divide(np.abs(signed), rms, out=np.full_like(signed, np.nan), where=rms > 0)
    seen = live.column("tokens") > 0
    return np.where(seen, live.column("nonfinite"), np.nan)


def summary_values(
    measure: Measure, summaries: Mapping[int, SiteSummary] | Sequence[SiteSummary | None], sites: int
) -> NDArray[np.float64]:
    """A measure of every site from the summaries of the last checkpoint, float64 [sites], NaN where unknown."""
    found = summaries.items() if isinstance(summaries, Mapping) else enumerate(summaries)
    values = np.full(sites, np.nan)
    for number, summary in found:
        if summary is not None and number < sites:
            values[number] = _of_summary(measure.name, summary)
    return values


def _of_summary(name: str, summary: SiteSummary) -> float:
    match name:
        case "q999":
            return summary.abs_q999
        case "median":
            return summary.abs_median
        case "sun":
            return summary.sun_layer.ratio
        case "kurtosis":
            return summary.kurtosis
    raise KeyError(name)
