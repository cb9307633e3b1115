"""What matters while numbers come in: a new M, the first non-finite value, fp16 exceeded. Said once each.

- `Notable`        one such moment
- `NotableWatch`   compares the newest scalars with the last ones
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.session.records import LIVE_FIELDS
from engine.sites.site import HookPlan

FP16_MAX = 65_504.0
NOTABLE_GROWTH = 1.01  # a new M within one bf16 step of the old one is not news


@dataclass(frozen=True, slots=True)
class Notable:
    """One moment worth a line: `kind` is `maximum`, `fp16` or `nonfinite`."""

    kind: str
    text: str
    site: int


class NotableWatch:
    """Turns successive live tables into the few moments that matter."""

    def __init__(self, plan: HookPlan) -> None:
        self._plan = plan
        self._counted = np.array([site.counts_for_m for site in plan.sites])
        self._maximum = 0.0
        self._said: set[tuple[str, int]] = set()

    def look(self, live: NDArray[np.float64]) -> list[Notable]:
        """What is new in `live`, float64 [sites, len(LIVE_FIELDS)]."""
        magnitude = np.maximum(np.abs(live[:, LIVE_FIELDS.index("max")]), np.abs(live[:, LIVE_FIELDS.index("min")]))
        magnitude = np.where(np.isfinite(magnitude), magnitude, 0.0)
        return [*self._new_maximum(np.where(self._counted, magnitude, 0.0)), *self._alarms(live, magnitude)]

    def _new_maximum(self, magnitude: NDArray[np.float64]) -> list[Notable]:
        site = int(np.argmax(magnitude))
        value = float(magnitude[site])
        if value <= self._maximum * NOTABLE_GROWTH:
            return []
        self._maximum = value
        return [Notable("maximum", f"new maximum {value:,.6g} at {self._plan.sites[site].name}", site)]

    def _alarms(self, live: NDArray[np.float64], magnitude: NDArray[np.float64]) -> list[Notable]:
        found = []
        for site in np.flatnonzero(live[:, LIVE_FIELDS.index("nonfinite")] > 0):
            count = int(live[site, LIVE_FIELDS.index("nonfinite")])
            found.append(Notable("nonfinite", f"{count:,} non-finite values at {self._name(site)}", int(site)))
        for site in np.flatnonzero(magnitude > FP16_MAX):
            found.append(Notable("fp16", f"{self._name(site)} exceeds fp16: {magnitude[site]:,.6g}", int(site)))
        fresh = [one for one in found if (one.kind, one.site) not in self._said]
        self._said.update((one.kind, one.site) for one in fresh)
        return fresh

    def _name(self, site: np.intp | int) -> str:
        return self._plan.sites[int(site)].name
