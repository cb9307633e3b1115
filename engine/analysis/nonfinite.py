"""NaN and infinity: where they begin.

- `Alarm`       the first non-finite element of a model, and how many sites hold any
- `find_alarm`, `live_alarm`  from counts and addresses of every site, saved or live
- `session_alarm`  of a session's last checkpoint

"First" is meant in the order of one forward, not in time: the site that the forward reaches first of all those that
hold a non-finite element, and there the lowest (sample, position, channel). What comes after it in the forward may
follow from it, what comes before cannot; and the answer does not depend on batches, on the order of the samples or on
how sessions were merged. A later sample with a fault further up in the model therefore replaces the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from engine.session.reader import SessionReader
from engine.session.records import LiveTable
from engine.sites.site import HookPlan

Kind = Literal["Inf", "NaN", "Inf/NaN"]


@dataclass(frozen=True, slots=True)
class Alarm:
    """The first non-finite element, in the order of one forward.

    Attributes:
        site: its site's number.
        kind: what that site holds; `Inf/NaN` where it holds both, of which one is at the address.
        sample, position, channel: the site's lowest address of one; -1 in the live numbers of older sessions.
        sites: numbers of all sites that hold any, in the order of the forward; `site` is the first.
        kinds: what all of them hold together.
    """

    site: int
    kind: Kind
    sample: int
    position: int
    channel: int
    sites: tuple[int, ...]
    kinds: Kind

    @property
    def after(self) -> int:
        """How many sites hold any besides the first: all of them come after it in a forward."""
        return len(self.sites) - 1


def find_alarm(
    plan: HookPlan, counts: NDArray[Any], nan: NDArray[Any], addresses: NDArray[Any] | Sequence[Sequence[int]]
) -> Alarm | None:
    """The alarm of a model; None where every element was finite.

    Args:
        plan: the hook plan.
        counts: non-finite elements of each site, [sites]; NaN counts as none.
        nan: those of them that are NaN, [sites]; NaN where they were not told apart.
        addresses: (sample, position, channel) of the lowest one of each site, [sites, 3]; -1 if there is none.
    """
    places = plan.places
    known = np.nan_to_num(np.asarray(counts, np.float64)[: len(places)])
    sites = sorted(np.flatnonzero(known > 0).tolist(), key=lambda site: places[site])
    if not sites:
        return None
    first = sites[0]
    bad = np.asarray(nan, np.float64)[: len(places)]
    sample, position, channel = (int(part) for part in addresses[first])
    kind = _kind(float(known[first]), float(bad[first]))
    return Alarm(
        first, kind, sample, position, channel, tuple(sites), _kind(float(known[sites].sum()), float(bad[sites].sum()))
    )


def live_alarm(plan: HookPlan, live: LiveTable) -> Alarm | None:
    """`find_alarm` from the newest scalars."""
    return find_alarm(plan, live.column("nonfinite"), live.column("nan"), live.bad_addresses)


def session_alarm(reader: SessionReader) -> Alarm | None:
    """The alarm of a session's last checkpoint; None where every element was finite, or nothing was measured."""
    with reader.snapshot():
        plan = reader.meta().plan
        every = list(reader.iter_totals(("nonfinite", "nonfinite_address")))
    if plan is None:
        return None
    held = [None if one is None or not one.has("nonfinite") else one for one in every]
    counts = np.array([0 if one is None else int(one.nonfinite.sum()) for one in held])
    nan = np.array([0 if one is None else int(one.nonfinite[0]) for one in held])
    addresses = [(-1, -1, -1) if one is None else tuple(map(int, one.nonfinite_address)) for one in held]
    return find_alarm(plan, counts, nan, addresses)


def _kind(count: float, nan: float) -> Kind:
    if nan == 0:
        return "Inf"
    return "NaN" if nan == count else "Inf/NaN"
