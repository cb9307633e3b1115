"""What a session does not hold, because it was written before that was measured, or lost it: in words.

- `not_measured`  the meanings of arrays that are missing
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from engine.statistics.declared import declared
from engine.statistics.experts import ExpertTotals
from engine.statistics.part_totals import PartTotals
from engine.statistics.pass_sums import PassSums
from engine.statistics.totals import SiteTotals


def not_measured(
    of_sites: Iterable[Collection[str]],
    of_experts: Iterable[Collection[str]] = (),
    of_parts: Iterable[Collection[str]] = (),
    of_sums: Iterable[Collection[str]] = (),
) -> tuple[str, ...]:
    """A few words on each array that is missing somewhere, in the order of their declarations.

    Args:
        of_sites: names of the arrays of `SiteTotals` that each of some sites lacks.
        of_experts: likewise of `ExpertTotals`.
        of_parts: likewise of `PartTotals`.
        of_sums: likewise of `PassSums`.
    """
    found = []
    owners = ((SiteTotals, of_sites), (ExpertTotals, of_experts), (PartTotals, of_parts), (PassSums, of_sums))
    for owner, missing in owners:
        names = {name for one in missing for name in one}
        found += [one.meaning for name, one in declared(owner).items() if name in names]
    return tuple(found)
