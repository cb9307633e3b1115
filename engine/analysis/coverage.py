"""Which experts of a mixture the corpus reached, and how large their gates and inputs got.

- `LayerCoverage`    one MoE layer in numbers
- `expert_coverage`  all layers that were tapped
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from engine.sites.site import HookPlan
from engine.statistics.experts import ExpertTotals


@dataclass(frozen=True, slots=True)
class LayerCoverage:
    """How the tokens of one MoE layer spread over its experts.

    Attributes:
        layer: decoder block, None if the plan does not say.
        experts: how many the layer has.
        never_hit: numbers of the experts that saw no token: nothing is known of them, and a calibration over this
            corpus would leave their scales undefined. Empty where the tokens were not counted.
        fewest, most: tokens of the least and the most visited expert; None where they were not counted.
        gate_max: largest |gate pre-activation| of any expert, NaN where the experts have no gate.
        gate_expert: its expert, -1 where there is none.
        input_max: largest |x| of the rows routed to any expert.
    """

    layer: int | None
    experts: int
    never_hit: tuple[int, ...]
    fewest: int | None
    most: int | None
    gate_max: float
    gate_expert: int
    input_max: float


def expert_coverage(plan: HookPlan, totals: Mapping[int, ExpertTotals]) -> tuple[LayerCoverage, ...]:
    """Coverage of every tapped layer, in layer order.

    Args:
        plan: the hook plan.
        totals: by the number of the layer's first expert site.
    """
    return tuple(_layer(plan.sites[site].layer, one) for site, one in sorted(totals.items()))


def _layer(layer: int | None, totals: ExpertTotals) -> LayerCoverage:
    is_counted = "tokens" not in totals.missing
    has_gate = bool(np.isfinite(totals.gate_max).any())
    has_input = bool(np.isfinite(totals.input_max).any())
    return LayerCoverage(
        layer=layer,
        experts=len(totals.tokens),
        never_hit=tuple(int(expert) for expert in totals.never_hit) if is_counted else (),
        fewest=int(totals.tokens.min()) if is_counted else None,
        most=int(totals.tokens.max()) if is_counted else None,
        gate_max=float(np.nanmax(totals.gate_max)) if has_gate else float("nan"),
        gate_expert=int(np.nanargmax(totals.gate_max)) if has_gate else -1,
        input_max=float(np.nanmax(totals.input_max)) if has_input else float("nan"),
    )
