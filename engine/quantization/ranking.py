"""Which sites a quantiser hurts most: the one order of the board, its colours, `show`, reports and recipes.

- `Ranked`        a site with the number it is ranked by, and its SQNR beside it
- `rank`          the sites of a board, the worst first
- `split_lost`    those of an order without a finite element, and the others
- `damage_of`     the damage of one site under a scheme; NaN where it was not measured
- `DAMAGE_LIMIT`, `MAE_LIMIT`  above them an input is better left unquantised; chosen on SmolLM2-135M
- `MEASURES`      what an order can be by, in words

SQNR is no order: one massive activation carries nearly all of the signal, so it reads well where everything else
becomes 0. Damage (`engine.statistics.local_errors`) is the error's size in the residual stream behind the site's block.
A session without it, of an older version or without calibration samples, is ranked by relative MAE, which a few large
elements mask less; within a session that has it, sites without one come after those with one, in that same order. A
site that saw nothing finite comes before all others: nothing is worse.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from engine.quantization.board import Board
from engine.quantization.metrics import QuantError
from engine.statistics.local_errors import LocalNumbers

By = Literal["nonfinite", "damage", "rel_mae"]

MEASURES: Final[dict[By, str]] = {
    "nonfinite": "no finite element",
    "damage": "damage",
    "rel_mae": "relative MAE (damage not measured)",
}
DAMAGE_LIMIT: Final = 0.05
MAE_LIMIT: Final = 0.25


@dataclass(frozen=True, slots=True)
class Ranked:
    """One site of a board under one scheme.

    Attributes:
        site: its number.
        by: what it is ranked by.
        value: that number, the larger the worse; NaN for a site without a finite element.
        sqnr_db: NaN where it is not known.
        error: of all elements; None where the board has none of this scheme.
        local: of a few tokens; None where it was not measured.
    """

    site: int
    by: By
    value: float
    sqnr_db: float
    error: QuantError | None
    local: LocalNumbers | None

    @property
    def is_harmful(self) -> bool:
        """Whether quantising it is better left: a damage above `DAMAGE_LIMIT`, or a relative MAE above `MAE_LIMIT`."""
        return self.is_lost or self.value > (DAMAGE_LIMIT if self.by == "damage" else MAE_LIMIT)

    @property
    def is_lost(self) -> bool:
        """Whether it has no finite element, and so no number."""
        return self.by == "nonfinite"


def rank(board: Board, scheme: str = "int8", sites: Collection[int] | None = None) -> list[Ranked]:
    """The sites of which anything is known under a scheme, the worst first, equal ones as the model computes.

    Args:
        board: of a session.
        scheme: its name.
        sites: those to rank; all if None.
    """
    column = next((number for number, one in enumerate(board.schemes) if one.name == scheme), None)
    found = []
    for site, row in enumerate(board.rows):
        if sites is not None and site not in sites:
            continue
        error = row[column] if row is not None and column is not None else None
        one = _ranked(site, error if error is not None and error.count else None, board.local_numbers(site, scheme))
        if site in board.lost:
            one = Ranked(site, "nonfinite", math.nan, math.nan, None, None)
        if one is not None:
            found.append(one)
    places = list(MEASURES)
    return sorted(found, key=lambda one: (places.index(one.by), 0.0 if one.is_lost else -one.value, one.site))


def split_lost(found: Sequence[Ranked]) -> tuple[list[Ranked], list[Ranked]]:
    """The sites of an order that have no finite element, and those that have a number."""
    lost = sum(one.is_lost for one in found)
    return list(found[:lost]), list(found[lost:])


def damage_of(board: Board, site: int, scheme: str) -> float:
    """The damage of a site under a scheme, a share of the stream's norm; NaN where it was not measured."""
    found = board.local[site] if site < len(board.local) else None
    return found.damage(scheme) if found is not None else math.nan


def _ranked(site: int, error: QuantError | None, local: LocalNumbers | None) -> Ranked | None:
    sqnr_db = error.sqnr_db if error is not None else math.nan
    if local is not None and not math.isnan(local.damage):
        return Ranked(site, "damage", local.damage, sqnr_db, error, local)
    if error is not None:
        return Ranked(site, "rel_mae", error.rel_mae, sqnr_db, error, local)
    if local is None or math.isnan(local.rel_mae):
        return None
    return Ranked(site, "rel_mae", local.rel_mae, sqnr_db, None, local)
