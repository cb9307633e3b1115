"""From the interventions of a request to changes that can be put into the model: sites, thresholds, means.

- `Ready`        an intervention with its sites and its change, or with the reason why there is none
- `make_ready`   all of a request, running the calibration samples where they are needed
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from engine.effect.batches import Passage
from engine.effect.calibration import Calibration, MassiveMeans, run_passes, site_numbers
from engine.effect.changes import Ablation, Change, Quantiser
from engine.effect.errors import EffectError
from engine.effect.interventions import Ablate, Intervention, Quantise
from engine.effect.massive import Place, Places
from engine.effect.request import Request
from engine.effect.results import Massive
from engine.effect.targets import find_targets
from engine.sites.site import HookPlan
from engine.work.work import Progress, WorkContext

NO_CALIBRATION = "there are no samples left to calibrate with; measure a larger corpus, or take int8-token"


@dataclass(frozen=True, slots=True, eq=False)
class Ready:
    """An intervention on the way to its numbers.

    Attributes:
        intervention: what was asked for.
        plan, sites: where it works.
        change: what it does there; None if it cannot be done.
        place: where an ablation works.
        massive: what is known of an ablation before it ran.
        problem: why there is no change.
    """

    intervention: Intervention
    plan: HookPlan
    sites: tuple[int, ...] = ()
    change: Change | None = None
    place: Place | None = None
    massive: Massive | None = None
    problem: str = ""


def make_ready(
    context: WorkContext, request: Request, calibration: Sequence[int], passage: Passage
) -> Generator[Progress, None, list[Ready]]:
    """Prepare every intervention.

    Raises:
        EffectError: the model has no such site.
    """
    plan = context.prepared.plan
    ready = [Ready(one, plan) for one in request.interventions]
    static: Calibration | None = None
    if request.quantises:
        targets = find_targets(context.prepared.loaded.model, plan, request.scope)
        ready = [
            replace(one, plan=targets.plan, sites=targets.sites) if isinstance(one.intervention, Quantise) else one
            for one in ready
        ]
        if any(_is_calibrated(one.intervention) for one in ready) and calibration:
            static = Calibration(context.prepared, context.job, targets.plan, targets.sites)
    ready, means = yield from _with_ablations(context, request, ready, calibration, passage, static)
    return [_finished(one, static, means.get(number)) for number, one in enumerate(ready)]


def _with_ablations(
    context: WorkContext,
    request: Request,
    ready: list[Ready],
    calibration: Sequence[int],
    passage: Passage,
    static: Calibration | None,
) -> Generator[Progress, None, tuple[list[Ready], dict[int, MassiveMeans]]]:
    """Run the calibration samples for the quantisers, and for what ablations need of them."""
    passes: list[Calibration | MassiveMeans] = [] if static is None else [static]
    if not request.ablates:
        yield from _run(context, passes, calibration, passage)
        return ready, {}
    places = Places(context.prepared.loaded.model, context.prepared.plan, request.scope, context.reader)
    if not places.are_known and calibration:
        targets = places.targets
        unknown = Calibration(context.prepared, context.job, targets.plan, targets.sites)
        yield from _run(context, [*passes, unknown], calibration, passage)
        places.take(unknown.totals())
        passes = []
    ready = [_placed(one, places) for one in ready]
    means = {
        number: MassiveMeans(context.prepared, one.place.plan, one.place.site, one.place.threshold)
        for number, one in enumerate(ready)
        if one.place is not None and isinstance(one.intervention, Ablate) and one.intervention.substitute == "mean"
    }
    yield from _run(context, [*passes, *means.values()], calibration, passage)
    return ready, means


def _run(
    context: WorkContext,
    passes: Sequence[Calibration | MassiveMeans],
    calibration: Sequence[int],
    passage: Passage,
) -> Iterator[Progress]:
    if not passes or not calibration:
        return

    def work(numbers: tuple[int, ...]) -> Iterator[str]:
        run_passes(context.prepared, passes, numbers)
        yield "calibrating"

    passage.expect(calibration, 1)
    yield from passage.run(calibration, work)


def _placed(one: Ready, places: Places) -> Ready:
    """An ablation with its site; quantisers as they are."""
    if not isinstance(one.intervention, Ablate):
        return one
    try:
        place = places.find(one.intervention)
    except EffectError as error:
        return replace(one, problem=str(error))
    return replace(one, plan=place.plan, sites=(place.site,), place=place)


def _finished(one: Ready, static: Calibration | None, means: MassiveMeans | None) -> Ready:
    """With its change, or with its problem."""
    if one.problem:
        return one
    if isinstance(one.intervention, Quantise):
        if one.intervention.is_calibrated and static is None:
            return replace(one, problem=NO_CALIBRATION)
        totals = static.totals() if static is not None else {}
        return replace(one, change=Quantiser(one.intervention, {n: site_numbers(t) for n, t in totals.items()}))
    assert one.place is not None
    found, place = means.means() if means is not None else None, one.place
    if means is not None and (found is None or not np.isfinite(found).any()):
        return replace(one, problem=f"no sample for calibration has a massive activation at {place.name}")
    known = () if found is None else tuple((int(c), float(found[c])) for c in np.flatnonzero(np.isfinite(found)))
    massive = Massive(place.name, place.layer, place.threshold, elements=0, channels=known)
    return replace(one, change=Ablation(place.threshold, found), massive=massive)


def _is_calibrated(intervention: Intervention) -> bool:
    return isinstance(intervention, Quantise) and intervention.is_calibrated
