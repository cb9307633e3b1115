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
from engine.analysis.maximum import place_label
from engine.analysis.nonfinite import live_alarm
from engine.base.wording import counted
from engine.formats import FP16_LIMIT
from engine.report.alarm import alarm_event
from engine.session.records import REPLACES, Event, LiveTable
from engine.sites.site import HookPlan, headline_sites
from engine.statistics.fields import LIVE_FIELDS
from engine.statistics.totals import SiteTotals

NOTABLE_GROWTH = 1.01  # a new M within one bf16 step of the old one is not news
_GREW = re.compile(r"new (?:maximum|largest GEMM input) (\S+) at ")
_CONVERGED = re.compile(r"converged: (?:M|largest GEMM input) = (\S+) since ")


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
        self._counted = np.isin(np.arange(len(plan.sites)), headline_sites(plan))
        has_m = any(site.counts_for_m for site in plan.sites)
        self._what, self._grew = ("M", "maximum") if has_m else ("largest GEMM input", "largest GEMM input")
        self._maximum = 0.0
        self._converged = math.nan
        self._said: set[tuple[str, int | None]] = set()
        self._counts: dict[str, str] = {}

    def recall(self, events: Iterable[Event]) -> None:
        """Take what was said before the run was interrupted as said, even where its batches were lost."""
        for event in events:
            self._said.add((event.kind, event.site))
            if event.kind in REPLACES:
                self._counts[event.kind] = event.text
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
        """Whether M has converged, by the samples done at a checkpoint; never with NaN or infinity anywhere.

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
        is_finite = not any(t is not None and t.nonfinite.any() for t in totals)
        if not (is_finite and has_converged(found, int(lengths.sum()))) or _number(text) == self._converged:
            return []
        self._converged = _number(text)
        at = found.points[-1].tokens
        said = f"converged: {self._what} = {text} since {at:,} of {found.tokens:,} tokens"
        return [Notable("convergence", said, None)]

    def _new_maximum(self, magnitude: NDArray[np.float64]) -> list[Notable]:
        site = int(np.argmax(magnitude))
        value = float(magnitude[site])
        if value <= self._maximum * NOTABLE_GROWTH:
            return []
        self._maximum = value
        return [Notable("maximum", f"new {self._grew} {value:,.6g} at {self._plan.sites[site].name}", site)]

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
        """One line for all sites with NaN or infinity, one for all that exceed fp16; again only as they change."""
        found = []
        alarm = live_alarm(self._plan, LiveTable(0, live))
        if alarm is not None:
            found.append(Notable("nonfinite", alarm_event(alarm, self._plan), alarm.site))
        places = self._plan.places
        over = sorted(np.flatnonzero(magnitude > FP16_LIMIT).tolist(), key=lambda site: places[site])
        if over:
            text = f"fp16 exceeded at {counted(len(over), 'site')}, first {place_label(self._plan, over[:1])}"
            found.append(Notable("fp16", text, over[0]))
        fresh = [one for one in found if self._counts.get(one.kind) != one.text]
        self._counts |= {one.kind: one.text for one in fresh}
        return fresh

    def _fresh(self, found: list[Notable]) -> list[Notable]:
        """Those of a kind and a site that were not said yet; they are now."""
        fresh = [one for one in found if (one.kind, one.site) not in self._said]
        self._said.update((one.kind, one.site) for one in fresh)
        return fresh


def _number(text: str) -> float:
    return float(text.replace(",", ""))
