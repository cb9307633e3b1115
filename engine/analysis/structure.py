"""The shape of the largest few: do they share a sign, does one stand alone, are they pinned to one value.

- `TopStructure`    of the five largest |x| of a site
- `top_structure`   from its top list
- `hot_sites`       the sites that come close to M
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.sites.site import HookPlan

FIVE: Final = 5
HOT_SHARE: Final = 0.9


@dataclass(frozen=True, slots=True)
class TopStructure:
    """Of the five largest |x| (fewer where there are fewer).

    Attributes:
        values: signed, largest |x| first.
        sign_consistency: share of the commoner sign, 0.5 to 1.
        concentration: |top1| / mean|top5|; 1 if all are equal.
        is_saturated: all five have the same |x|.
    """

    values: tuple[float, ...]
    sign_consistency: float
    concentration: float
    is_saturated: bool


def top_structure(values: Sequence[float]) -> TopStructure | None:
    """From signed values in descending order of |x|; None if there is none, or all are zero."""
    five = np.asarray(values[:FIVE], np.float64)
    if not five.size or five[0] == 0:
        return None
    positive = int((five > 0).sum())
    magnitudes = np.abs(five)
    return TopStructure(
        values=tuple(five.tolist()),
        sign_consistency=max(positive, len(five) - positive) / len(five),
        concentration=float(magnitudes[0] / magnitudes.mean()),
        is_saturated=bool(len(five) == FIVE and magnitudes.min() == magnitudes[0]),
    )


def hot_sites(plan: HookPlan, magnitudes: NDArray[np.float64], magnitude: float) -> tuple[int, ...]:
    """Numbers of the sites that count for M and reach 0.9 M."""
    return tuple(
        i
        for i, site in enumerate(plan.sites[: len(magnitudes)])
        if site.counts_for_m and magnitudes[i] >= HOT_SHARE * magnitude
    )
