"""What matters while numbers come in, said once each: a new M, the layer where it emerges, alarms, convergence.

- `Notable`        one such moment
- `NotableWatch`   compares the newest scalars with the last ones, and the checkpoints' samples with each other
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.analysis.convergence import has_converged, running_maximum
from engine.analysis.emergence import find_emergence, hidden_profile
from engine.analysis.maximum import place_label
from engine.analysis.nonfinite import live_alarm
from engine.formats import FP16_LIMIT
from engine.messages import Code, Message, message, words
from engine.report.alarm import alarm_message
from engine.session.records import REPLACES, Event, LiveTable
from engine.sites.site import HookPlan, headline_sites
from engine.statistics.totals import SiteTotals

SAME = 1e-6  # a sentence names six digits
NOTABLE_GROWTH = 1.01  # a new M within one bf16 step of the old one is not news


@dataclass(frozen=True, slots=True)
class Notable:
    """One moment worth a line: `kind` is `maximum`, `emergence`, `convergence`, `fp16` or `nonfinite`."""

    kind: str
    message: Message
    site: int | None

    @property
    def text(self) -> str:
        """The sentence of the message, for showing."""
        return words(self.message)


class NotableWatch:
    """Turns what a run knows into the few moments that matter."""

    def __init__(self, plan: HookPlan) -> None:
        self._plan = plan
        self._counted = np.isin(np.arange(len(plan.sites)), headline_sites(plan))
        self._is_m = any(site.counts_for_m for site in plan.sites)
        self._maximum = 0.0
        self._converged = math.nan
        self._said: set[tuple[str, int | None]] = set()
        self._counts: dict[str, Message] = {}

    def recall(
        self,
        events: Iterable[Event],
        live: NDArray[np.float64] | None = None,
        look_back: Callable[[], object] = lambda: None,
    ) -> None:
        """Take what was said before the run was interrupted as said, even where its batches were lost.

        Args:
            events: of the session. Those of before schema 3 are texts, which nobody reads: what they said of numbers
                is taken to be what was true when the run ended.
            live: the last scalars of the session, float64 [sites, len(LIVE_FIELDS)].
            look_back: does what `look_back` of this does, with what the last checkpoint holds.
        """
        for event in events:
            said, is_old = event.message, event.message.code == Code.TEXT
            self._said.add((event.kind, event.site))
            if event.kind in REPLACES:
                self._counts[event.kind] = said
            if said.code == Code.MAXIMUM:
                self._maximum = max(self._maximum, float(said.data["value"]))
            elif said.code == Code.CONVERGED:
                self._converged = float(said.data["value"])
            elif is_old and event.kind == "maximum" and live is not None:
                self._maximum = float(self._finite(live)[self._counted].max(initial=0.0))
            elif is_old and event.kind == "convergence":
                look_back()

    def look(self, live: NDArray[np.float64]) -> list[Notable]:
        """What is new in `live`, float64 [sites, len(LIVE_FIELDS)]."""
        magnitude, finite = LiveTable(0, live).magnitude, self._finite(live)
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
        value = float(found.magnitude)
        is_finite = not any(t is not None and t.nonfinite.any() for t in totals)
        is_said = math.isclose(value, self._converged, rel_tol=SAME)
        if is_said or not (is_finite and has_converged(found, int(lengths.sum()))):
            return []
        self._converged = value
        since, tokens = int(found.points[-1].tokens), int(found.tokens)
        said = message(Code.CONVERGED, value=value, since=since, tokens=tokens, is_m=self._is_m)
        return [Notable("convergence", said, None)]

    def _finite(self, live: NDArray[np.float64]) -> NDArray[np.float64]:
        """The largest |x| of each site, 0 where it is not finite or nothing was seen."""
        magnitude = LiveTable(0, live).magnitude
        return np.where(np.isfinite(magnitude), magnitude, 0.0)

    def _new_maximum(self, magnitude: NDArray[np.float64]) -> list[Notable]:
        site = int(np.argmax(magnitude))
        value = float(magnitude[site])
        if value <= self._maximum * NOTABLE_GROWTH:
            return []
        self._maximum = value
        said = message(Code.MAXIMUM, value=value, site=self._plan.sites[site].name, is_m=self._is_m)
        return [Notable("maximum", said, site)]

    def _emergence(self, magnitude: NDArray[np.float64]) -> list[Notable]:
        """The layer where the hidden state jumps; said again only if more tokens move it to another."""
        found = find_emergence(hidden_profile(self._plan, magnitude))
        if found is None or found.layer is None:
            return []
        pairs = enumerate(self._plan.sites)
        site = next(i for i, site in pairs if site.component == "hidden" and site.layer == found.layer)
        ratio = None if math.isinf(found.ratio) else float(found.ratio)
        return self._fresh([Notable("emergence", message(Code.EMERGENCE, layer=int(found.layer), ratio=ratio), site)])

    def _alarms(self, live: NDArray[np.float64], magnitude: NDArray[np.float64]) -> list[Notable]:
        """One line for all sites with NaN or infinity, one for all that exceed fp16; again only as they change."""
        found = []
        alarm = live_alarm(self._plan, LiveTable(0, live))
        if alarm is not None:
            found.append(Notable("nonfinite", alarm_message(alarm, self._plan), alarm.site))
        places = self._plan.places
        over = sorted(np.flatnonzero(magnitude > FP16_LIMIT).tolist(), key=lambda site: places[site])
        if over:
            said = message(Code.FP16, sites=len(over), first=place_label(self._plan, over[:1]))
            found.append(Notable("fp16", said, over[0]))
        fresh = [one for one in found if self._counts.get(one.kind) != one.message]
        self._counts |= {one.kind: one.message for one in fresh}
        return fresh

    def _fresh(self, found: list[Notable]) -> list[Notable]:
        """Those of a kind and a site that were not said yet; they are now."""
        fresh = [one for one in found if (one.kind, one.site) not in self._said]
        self._said.update((one.kind, one.site) for one in fresh)
        return fresh
