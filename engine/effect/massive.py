"""Where massive activations are ablated, and what they are replaced with.

- `Places`  the hidden states with their thresholds; finds the site of an ablation
- `Place`   that site
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from engine.analysis.threads import Level, find_threads
from engine.analysis.verdicts import judge_layer
from engine.effect.errors import EffectError
from engine.effect.interventions import Ablate, Scope
from engine.effect.targets import Targets, find_targets
from engine.session.reader import SessionReader
from engine.sites.site import HookPlan
from engine.statistics.totals import SiteTotals


@dataclass(frozen=True, slots=True)
class Place:
    """A site whose massive activations are replaced.

    Attributes:
        plan: the plan it is in.
        site: its number there.
        layer: its decoder block, -1 outside the blocks.
        threshold: |x| above which an element of it is massive.
    """

    plan: HookPlan
    site: int
    layer: int
    threshold: float

    @property
    def name(self) -> str:
        """The site's name."""
        return self.plan.sites[self.site].name


class Places:
    """The sites ablations may choose from, and their thresholds by Sun et al.'s criterion with the layer median.

    Where the session measured them, the thresholds are those it shows; else the calibration samples give them.

    Args:
        model: the model.
        plan: the session's plan.
        scope: one site, or the hidden states.
        reader: of the session.
    """

    def __init__(self, model: nn.Module, plan: HookPlan, scope: Scope, reader: SessionReader) -> None:
        wanted = scope if scope.site is not None else Scope(component="hidden")
        self.targets: Targets = find_targets(model, plan, wanted)
        self._totals: dict[int, SiteTotals] = {}
        if self.targets.plan is plan:
            found = {number: reader.totals(number) for number in self.targets.sites}
            self._totals = {n: totals for n, totals in found.items() if totals is not None and _suffices(totals)}

    @property
    def are_known(self) -> bool:
        """Whether every one of them has its totals."""
        return len(self._totals) == len(self.targets.sites)

    def take(self, totals: Mapping[int, SiteTotals]) -> None:
        """The totals that calibration found."""
        self._totals = dict(totals)

    def find(self, ablation: Ablate) -> Place:
        """The site of an ablation.

        Raises:
            EffectError: nothing there is massive.
        """
        if ablation.layer is None and len(self.targets.sites) > 1:
            return self._birth()
        for number, totals in self._totals.items():
            layer = self.targets.plan.sites[number].layer
            if ablation.layer is None or layer == ablation.layer:
                return self._massive(number, totals)
        raise EffectError(f"{ablation.name}: there is no such hidden state; maxact-tui plan shows the model's layers")

    def _birth(self) -> Place:
        """The layer in which the thread of the largest |x| of all is born.

        Smaller threads may begin earlier: they are other tokens', and without them M would still be where it is.
        """
        levels = {}
        for number, totals in self._totals.items():
            layer, threshold = self.targets.plan.sites[number].layer, self._threshold(totals)
            if layer is not None and layer not in levels:
                levels[layer] = (Level(layer, totals.top, threshold), number, threshold)
        threads = find_threads([levels[layer][0] for layer in sorted(levels)])
        if not threads:
            raise EffectError("no hidden state of this model has a massive activation, so there is nothing to ablate")
        birth = threads[0].birth
        return Place(self.targets.plan, levels[birth][1], birth, levels[birth][2])

    def _massive(self, number: int, totals: SiteTotals) -> Place:
        site, threshold = self.targets.plan.sites[number], self._threshold(totals)
        largest = _largest(totals)
        if not largest > threshold:
            raise EffectError(
                f"nothing to ablate: the largest |x| of {site.name}, {largest:.4g}, is not above {threshold:.4g}"
            )
        return Place(self.targets.plan, number, -1 if site.layer is None else site.layer, threshold)

    @staticmethod
    def _threshold(totals: SiteTotals) -> float:
        return judge_layer(totals, _largest(totals)).threshold


def _suffices(totals: SiteTotals) -> bool:
    return totals.has_histogram and totals.has("extremes", "top")


def _largest(totals: SiteTotals) -> float:
    return max(abs(float(totals.extremes[0])), abs(float(totals.extremes[1]))) if totals.finite else 0.0
