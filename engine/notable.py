"""What matters while numbers come in, said once each: a new M, the layer where it emerges, alarms, convergence.

- `Notable`        one such moment
- `NotableWatch`   compares the newest scalars with the last ones, and the checkpoints' samples with each other
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.analysis.convergence import has_converged, running_maximum
from engine.analysis.emergence import find_emergence, hidden_profile
from engine.session.records import LIVE_FIELDS, Event
from engine.sites.site import HookPlan
from engine.statistics.totals import SiteTotals

FP16_MAX = 65_504.0
NOTABLE_GROWTH = 1.01  # a new M within one bf16 step of the old one is not news
_GREW = re.compile(r"new maximum (\S+) at ")
_CONVERGED = re.compile(r"converged: M = (\S+) since ")


@dataclass(frozen=True, slots=True)
class Notable:
    """One moment worth a line: `kind` is `maximum`, `emergence`, `convergence`, `fp16` or `nonfinite`."""

    kind: str
    text: str
    site: int | None


class NotableWatch:
    """Turns what a run knows into the few moments that matter."""

    def __init__(self, plan: HookPlan) -> None:
        self._plan = plan
        self._counted = np.array([site.counts_for_m for site in plan.sites])
        self._maximum = 0.0
        self._converged = math.nan
        self._said: set[tuple[str, int | None]] = set()

    def recall(self, events: Iterable[Event]) -> None:
        """Take what was said before the run was interrupted as said, even where its batches were lost."""
        for event in events:
            self._said.add((event.kind, event.site))
            if event.kind == "maximum" and (found := _GREW.match(event.text)):
                self._maximum = max(self._maximum, _number(found[1]))
            elif event.kind == "convergence" and (found := _CONVERGED.match(event.text)):
                self._converged = _number(found[1])

    def look(self, live: NDArray[np.float64]) -> list[Notable]:
        """What is new in `live`, float64 [sites, len(LIVE_FIELDS)]."""
        magnitude = np.maximum(np.abs(live[:, LIVE_FIELDS.index("max")]), np.abs(live[:, LIVE_FIELDS.index("min")]))
        finite = np.where(np.isfinite(magnitude), magnitude, 0.0)
        grown = self._new_maximum(np.where(self._counted, finite, 0.0))
        return [*grown, *self._emergence(magnitude), *self._alarms(live, finite)]

    def look_back(
        self, order: Sequence[int], totals: Sequence[SiteTotals | None], lengths: NDArray[np.int64]
    ) -> list[Notable]:
        """Whether M has converged, by the samples done at a checkpoint.

        Args:
            order: numbers of the samples done, in run order.
            totals: of every site.
            lengths: tokens of every sample of the corpus, int64 [samples].
        """
        maxima = [t.sample_max for t, counts in zip(totals, self._counted, strict=True) if t is not None and counts]
        if not maxima or not order:
            return []
        found = running_maximum(np.asarray(order, np.int64), np.fmax.reduce(maxima), lengths)
        text = f"{found.magnitude:,.6g}"
        if not has_converged(found, int(lengths.sum())) or _number(text) == self._converged:
            return []
        self._converged = _number(text)
        at = found.points[-1].tokens
        said = f"converged: M = {text} since {at:,} of {found.tokens:,} tokens"
        return [Notable("convergence", said, None)]

    def _new_maximum(self, magnitude: NDArray[np.float64]) -> list[Notable]:
        site = int(np.argmax(magnitude))
        value = float(magnitude[site])
        if value <= self._maximum * NOTABLE_GROWTH:
            return []
        self._maximum = value
        return [Notable("maximum", f"new maximum {value:,.6g} at {self._plan.sites[site].name}", site)]

    def _emergence(self, magnitude: NDArray[np.float64]) -> list[Notable]:
        """The layer where the hidden state jumps; said again only if more tokens move it to another."""
        found = find_emergence(hidden_profile(self._plan, magnitude))
        if found is None or found.layer is None:
            return []
        pairs = enumerate(self._plan.sites)
        site = next(i for i, site in pairs if site.component == "hidden" and site.layer == found.layer)
        step = "out of zeros" if math.isinf(found.ratio) else f"{found.ratio:.3g} x the layer before"
        return self._fresh([Notable("emergence", f"emergence at layer {found.layer}: hidden state {step}", site)])

    def _alarms(self, live: NDArray[np.float64], magnitude: NDArray[np.float64]) -> list[Notable]:
        found = []
        for site in np.flatnonzero(live[:, LIVE_FIELDS.index("nonfinite")] > 0):
            count = int(live[site, LIVE_FIELDS.index("nonfinite")])
            values = "value" if count == 1 else "values"
            found.append(Notable("nonfinite", f"{count:,} non-finite {values} at {self._name(site)}", int(site)))
        for site in np.flatnonzero(magnitude > FP16_MAX):
            found.append(Notable("fp16", f"{self._name(site)} exceeds fp16: {magnitude[site]:,.6g}", int(site)))
        return self._fresh(found)

    def _fresh(self, found: list[Notable]) -> list[Notable]:
        """Those of a kind and a site that were not said yet; they are now."""
        fresh = [one for one in found if (one.kind, one.site) not in self._said]
        self._said.update((one.kind, one.site) for one in fresh)
        return fresh

    def _name(self, site: np.intp | int) -> str:
        return self._plan.sites[int(site)].name


def _number(text: str) -> float:
    return float(text.replace(",", ""))
