"""From the interventions of a request to changes that can be put into the model: sites, thresholds, means.

- `Ready`        an intervention with its sites and its change, or with the reason why there is none
- `changed`      a model with one of them in place
- `make_ready`   all of a request, running the calibration samples where they are needed
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import numpy as np
from torch import nn

from corpus.wording import counted
from engine.effect.batches import Passage
from engine.effect.calibration import Calibration, MassiveMeans, Pass, run_passes, stored_numbers
from engine.effect.changes import Ablation, Change, Quantiser, SiteNumbers
from engine.effect.deployed import Deployment
from engine.effect.errors import EffectError
from engine.effect.interventions import Ablate, Deploy, Intervention, Quantise
from engine.effect.massive import Place, Places
from engine.effect.replacing import replaced
from engine.effect.request import Request
from engine.effect.results import Massive
from engine.effect.targets import excluded_readers, find_targets
from engine.messages import Code, Message, message
from engine.session.splits import META, SplitRecord
from engine.sites.site import HookPlan
from engine.sites.weights import input_column_maxima
from engine.work.work import Progress, WorkContext

NO_CALIBRATION = "there are no samples left to calibrate with; measure a larger corpus, or take int8-token"


@dataclass(frozen=True, slots=True, eq=False)
class Ready:
    """An intervention on the way to its numbers.

    Attributes:
        intervention: what was asked for.
        plan, sites: where it works.
        change: what it does there; None if it cannot be done.
        skip: linears that read a site as it was.
        place: where an ablation works.
        massive: what is known of an ablation before it ran.
        problem: why there is no change, or what a reader must know of it.
    """

    intervention: Intervention
    plan: HookPlan
    sites: tuple[int, ...] = ()
    change: Change | Deployment | None = None
    skip: frozenset[str] = frozenset()
    place: Place | None = None
    massive: Massive | None = None
    problem: str = ""

    @property
    def rounds(self) -> str:
        """What a recipe rounds, in words; empty for others."""
        return self.change.rounds if isinstance(self.change, Deployment) else ""

    @property
    def count(self) -> int:
        """How many sites are changed; of a recipe, how many linears."""
        return self.change.count if isinstance(self.change, Deployment) else len(self.sites)


def changed(model: nn.Module, one: Ready) -> AbstractContextManager[None]:
    """Within this block the model is as the intervention leaves it; one that can be done."""
    assert one.change is not None
    if isinstance(one.change, Deployment):
        return one.change.applied()
    return replaced(model, one.plan, one.sites, one.change, one.skip)


def make_ready(
    context: WorkContext, request: Request, calibration: Sequence[int], passage: Passage
) -> Generator[Progress, None, list[Ready]]:
    """Prepare every intervention.

    Args:
        context: the model and the session.
        request: what was asked for.
        calibration: samples for what is static.
        passage: runs them.

    Raises:
        EffectError: the model has no such site.
    """
    plan = context.prepared.plan
    ready = [Ready(one, plan) for one in request.interventions]
    passes: list[Calibration] = []
    ready = [_deployed(context, one, request, calibration) for one in ready]
    deployments = [one.change for one in ready if isinstance(one.change, Deployment)]
    numbers: dict[int, SiteNumbers] | None = None
    if request.quantises:
        targets = find_targets(context.prepared.loaded.model, plan, request.scope)
        plan = targets.plan
        skip = frozenset(path for n in targets.sites for path in excluded_readers(plan.sites[n], request.scope))
        ready = [
            replace(one, plan=plan, sites=targets.sites, skip=skip) if isinstance(one.intervention, Quantise) else one
            for one in ready
        ]
        if any(isinstance(one, Quantise) and one.is_calibrated for one in request.interventions) and calibration:
            if plan is context.prepared.plan and len(calibration) == _own_calibration(context):
                numbers = stored_numbers(context.reader, targets.sites)
            if numbers is None:
                passes = [Calibration(context.prepared, context.job, plan, targets.sites)]
    static: list[Pass] = [*passes, *(one for one in deployments if one.needs_samples)]
    ready, means = yield from _with_ablations(context, request, ready, calibration, passage, static)
    ready = yield from _calibrated(context, ready, calibration, passage)
    if passes:
        numbers = passes[0].numbers()
    if numbers is not None and any(isinstance(one, Quantise) and one.smooths for one in request.interventions):
        numbers = _with_weights(context, plan, numbers)
    return [_finished(one, numbers, means.get(number)) for number, one in enumerate(ready)]


def _deployed(context: WorkContext, one: Ready, request: Request, calibration: Sequence[int]) -> Ready:
    """A recipe with its modules, or with its problem; others as they are."""
    if not isinstance(one.intervention, Deploy):
        return one
    recipe, plan = one.intervention.recipe, one.plan
    try:
        change = Deployment(context.prepared.loaded.model, recipe, request.scope.exclude, plan.text_model)
    except EffectError as error:
        return replace(one, problem=str(error))
    if change.needs_samples and not calibration:
        return replace(one, problem=NO_CALIBRATION)
    return replace(one, change=change)


def _calibrated(
    context: WorkContext, ready: list[Ready], calibration: Sequence[int], passage: Passage
) -> Generator[Progress, None, list[Ready]]:
    """Recipes with what the samples told, those that smooth after another round of their own; others as they are."""
    found = []
    for one in ready:
        change = one.change
        if isinstance(change, Deployment):
            try:
                change.prepare()
                if change.needs_samples:
                    yield from _run(context, [change], calibration, passage)
                    change.prepare()
            except EffectError as error:
                found.append(replace(one, change=None, problem=str(error)))
                continue
            found.append(replace(one, problem="; ".join(change.notes)))
        else:
            found.append(one)
    return found


def _own_calibration(context: WorkContext) -> int:
    """How many samples the session itself calibrates with; 0 without a split."""
    recorded = context.reader.meta().raw.get(META)
    return len(SplitRecord.from_json(recorded).calibration) if recorded else 0


def _with_weights(context: WorkContext, plan: HookPlan, numbers: Mapping[int, SiteNumbers]) -> dict[int, SiteNumbers]:
    """The same with the largest weights that read each site, where they can be read."""
    model = context.prepared.loaded.model
    return {
        site: replace(
            found, weight_max=input_column_maxima(model, readers) if (readers := plan.sites[site].readers) else None
        )
        for site, found in numbers.items()
    }


def _with_ablations(
    context: WorkContext,
    request: Request,
    ready: list[Ready],
    calibration: Sequence[int],
    passage: Passage,
    static: Sequence[Pass],
) -> Generator[Progress, None, tuple[list[Ready], dict[int, MassiveMeans]]]:
    """Run the calibration samples for the quantisers, and for what ablations need of them."""
    passes: list[Pass] = [*static]
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
    passes: Sequence[Pass],
    calibration: Sequence[int],
    passage: Passage,
) -> Iterator[Progress]:
    if not passes or not calibration:
        return

    def work(numbers: tuple[int, ...]) -> Iterator[Message]:
        run_passes(context.prepared, passes, numbers)
        yield message(Code.CALIBRATING)

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


def _finished(one: Ready, numbers: Mapping[int, SiteNumbers] | None, means: MassiveMeans | None) -> Ready:
    """With its change, or with its problem."""
    if one.problem or one.change is not None:
        return one
    if isinstance(one.intervention, Quantise):
        if one.intervention.is_calibrated and numbers is None:
            return replace(one, problem=NO_CALIBRATION)
        return replace(one, change=Quantiser(one.intervention, numbers or {}), problem=_unsmoothed(one, numbers or {}))
    assert one.place is not None
    found, place = means.means() if means is not None else None, one.place
    if means is not None and (found is None or not np.isfinite(found).any()):
        return replace(one, problem=f"no sample for calibration has a massive activation at {place.name}")
    known = () if found is None else tuple((int(c), float(found[c])) for c in np.flatnonzero(np.isfinite(found)))
    massive = Massive(place.name, place.layer, place.threshold, elements=0, channels=known)
    return replace(one, change=Ablation(place.threshold, found), massive=massive)


def _unsmoothed(one: Ready, numbers: Mapping[int, SiteNumbers]) -> str:
    """What a reader must know of a smoothing quantiser."""
    missing = sum(found.weight_max is None for found in numbers.values())
    if not isinstance(one.intervention, Quantise) or not one.intervention.smooths or not missing:
        return ""
    return (
        f"{missing} of {counted(len(numbers), 'site')} not smoothed: the weights that read them are not plain matrices"
    )
