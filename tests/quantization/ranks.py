"""How well a measure of sites ranks them like the KL divergence does: for the bench and for the test of its table.

- `MEASURES`      the measures of a table's rows, and whether a low value is the bad one
- `correlations`  Spearman's rho, and how many of the worst five by effect are among the measure's worst ten
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from scipy.stats import spearmanr

MEASURES: Final[dict[str, bool]] = {
    "damage": False, "sqnr_db": True, "bulk_db": True, "below_top_db": True, "zeroed": False, "rel_mae": False,
    "token_median": False, "token_q90": False, "token_worst": False,
}  # fmt: skip


def correlations(rows: Sequence[Mapping[str, Any]], measure: str) -> tuple[float, int]:
    """(rho with the KL divergence, how many of the worst five by it are among the worst ten by the measure)."""
    kl = np.array([row["kl"] for row in rows])
    values = np.array([row[measure] for row in rows]) * (-1 if MEASURES[measure] else 1)
    worst, picked = set(np.argsort(-kl)[:5].tolist()), set(np.argsort(-values)[:10].tolist())
    return float(spearmanr(values, kl).statistic), len(worst & picked)
