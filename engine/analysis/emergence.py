"""How the maximum grows over the depth: in one jump, or gradually.

- `Emergence`       the verdict and the largest step
- `find_emergence`  from a profile of hidden-state maxima
- `hidden_profile`  that profile, read off per-site extremes
- `positive_profile`  the reference's profile, from positive maxima alone
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from engine.sites.site import HookPlan

SUDDEN_RATIO: Final = 10.0

Profile = Sequence[tuple[int, float]]


@dataclass(frozen=True, slots=True)
class Emergence:
    """How a_l, the hidden state's maximum after block l, grows.

    Attributes:
        kind: `sudden` if a_l / a_(l-1) >= 10 somewhere, else `gradual`.
        layer: the first such layer, None if gradual.
        ratio: the step at that layer, NaN if gradual.
        largest_ratio: the largest step of all; infinite out of a layer of zeros.
        largest_layer: its layer.
    """

    kind: Literal["sudden", "gradual"]
    layer: int | None
    ratio: float
    largest_ratio: float
    largest_layer: int


def find_emergence(profile: Profile) -> Emergence | None:
    """The verdict for a profile of (layer, a_l) in ascending order of layers; None if no two neighbours are known.

    Values that are NaN or not positive are unknown: steps into them are not taken, and steps out of 0 are infinite.
    """
    steps = []
    for (before, low), (layer, high) in pairwise(profile):
        if layer == before + 1 and high > 0 and low >= 0:
            steps.append((layer, high / low if low > 0 else math.inf))
    if not steps:
        return None
    largest_layer, largest = max(steps, key=lambda step: (step[1], -step[0]))
    first = next((step for step in steps if step[1] >= SUDDEN_RATIO), None)
    return Emergence(
        kind="gradual" if first is None else "sudden",
        layer=None if first is None else first[0],
        ratio=math.nan if first is None else first[1],
        largest_ratio=largest,
        largest_layer=largest_layer,
    )


def hidden_profile(plan: HookPlan, magnitudes: NDArray[np.float64]) -> list[tuple[int, float]]:
    """(layer, a_l) of the hidden states, ascending; a_l = max(|max_l|, |min_l|), unseen sites left out."""
    found: dict[int, float] = {}
    for number, site in enumerate(plan.sites[: len(magnitudes)]):
        value = float(magnitudes[number])
        if site.component == "hidden" and site.layer is not None and not math.isnan(value):
            found[site.layer] = max(value, found.get(site.layer, 0.0))
    return sorted(found.items())


def positive_profile(plan: HookPlan, maxima: NDArray[np.float64]) -> list[tuple[int, float]]:
    """(layer, max_l) of the hidden states from positive maxima alone; negative peaks do not show (compat)."""
    return hidden_profile(plan, np.where(maxima >= 0, maxima, np.nan))
