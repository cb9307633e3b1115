"""The largest site of each component.

- `LargestSite`, `largest_sites`  with what all sites of the component hold of NaN and infinity
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from engine.analysis.model import ModelSummary
from engine.analysis.site import SiteSummary
from engine.sites.site import Site


@dataclass(frozen=True, slots=True)
class LargestSite:
    """Of one component.

    Attributes:
        record: the site with the largest |x|, of equal ones the first.
        site: its numbers; NaN where no site of the component has a finite element.
        nonfinite: NaN and infinities at all sites of the component; None where none of them counted any.
    """

    record: Site
    site: SiteSummary
    nonfinite: int | None

    @property
    def name(self) -> str:
        """Of the site."""
        return self.record.name

    @property
    def is_lost(self) -> bool:
        """Whether nothing but NaN and infinity was seen."""
        return math.isnan(self.site.magnitude) and bool(self.nonfinite)


def largest_sites(summary: ModelSummary) -> tuple[LargestSite, ...]:
    """One for each component, the largest first; before them those without a finite element, unseen ones last."""
    found: dict[str, LargestSite] = {}
    for site, numbers in zip(summary.plan.sites if summary.plan else (), summary.sites, strict=True):
        if numbers is None:
            continue
        best, held = found.get(site.component), numbers.nonfinite
        bad = None if held is None else held.count
        if best is not None and best.nonfinite is not None:
            bad = best.nonfinite + (bad or 0)
        if best is not None and not _size(numbers) > _size(best.site):
            found[site.component] = LargestSite(best.record, best.site, bad)
        else:
            found[site.component] = LargestSite(site, numbers, bad)
    return tuple(sorted(found.values(), key=_place))


def _size(site: SiteSummary) -> float:
    return -1.0 if math.isnan(site.magnitude) else site.magnitude


def _place(one: LargestSite) -> tuple[int, float]:
    if math.isnan(one.site.magnitude):
        return (0 if one.is_lost else 2), 0.0
    return 1, -one.site.magnitude
