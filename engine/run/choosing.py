"""Which sites a run of `--sites auto` measures: timed on the model that is loaded, then decided.

- `choose_sites`   a prepared run -> the same with its sites, and what they were chosen by
- `choice_message` that as an event
- `time_in_turns`  the fastest of some alternating turns of two calls
- `trial_rows`     samples of one batch, few enough to be timed several times
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from corpus.batching import Batch, collate
from engine.base.computing import computing
from engine.base.job import Job
from engine.base.memory import is_out_of_memory
from engine.effect.replay import choose_stretches
from engine.messages import Code, Message, message, words
from engine.messages.events import TrialCost
from engine.preparation.forward import run_forward
from engine.preparation.prepare import Prepared
from engine.session.costs import SitesChoice, Trial, decide
from engine.sites.check import self_check
from engine.sites.discovery import find_sites
from engine.sites.hooks import attach
from engine.statistics.local_errors import replayed
from engine.statistics.meter import Meter

TRIAL_TOKENS: Final = {"cpu": 256, "cuda": 16_384}
"""A CPU computes a share of so many tokens as of thousands; a GPU is only busy with a whole batch."""
TRIAL_SHARE: Final = 32  # a trial takes at least four passes: no more than an eighth of a short run
TURNS: Final = 3
ENOUGH_SECONDS: Final = 2.0
_log = logging.getLogger(__name__)

Timer = Callable[[Prepared, Job], Trial | None]


def choose_sites(prepared: Prepared, job: Job, timer: Timer | None = None) -> tuple[Prepared, SitesChoice]:
    """Take the paper's sites with the GEMM inputs where their statistics are cheap enough, else the paper's alone.

    Args:
        prepared: of a job whose sites are `auto`; its plan has both.
        job: that job.
        timer: makes the trials; `time_trial` if None.

    Raises:
        SiteError: the paper's sites alone cannot be found.
    """
    timer = timer or time_trial
    both = timer(prepared, job)
    if decide(both) == "paper+gemm":
        return prepared, SitesChoice("paper+gemm", both)
    model = prepared.loaded.model
    alone = replace(prepared, plan=self_check(model, find_sites(model, "paper", vision=job.vision)))
    return alone, SitesChoice("paper", timer(alone, job), both)


def choice_message(choice: SitesChoice) -> Message:
    """What is measured, what that was timed to cost, and the option that would have it otherwise."""
    return message(Code.SITES_CHOSEN, sites=choice.sites, trial=_cost(choice.trial), refused=_cost(choice.refused))


def _cost(trial: Trial | None) -> TrialCost | None:
    if trial is None:
        return None
    damage = trial.damage_seconds if trial.damage_tokens else None
    return TrialCost(trial.tokens, trial.sites, trial.slowdown, trial.added_seconds, damage)


def time_trial(prepared: Prepared, job: Job) -> Trial | None:
    """Time a small batch with and without the statistics of the plan; None if it does not fit in memory."""
    lengths = prepared.tokenized.lengths
    most = TRIAL_TOKENS.get(prepared.device.type, TRIAL_TOKENS["cuda"])
    tokens = min(most, prepared.batches.token_budget, int(lengths.sum()) // TRIAL_SHARE)
    rows = trial_rows(prepared.batches.batches, lengths, tokens)
    if not rows:
        return None
    batch = collate(prepared.tokenized, rows)
    try:
        with computing(prepared.loaded.model):
            bare, hooked = _time_batch(prepared, job, batch)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        _log.warning("no trial of the statistics: %s", error)
        return None
    sites = len(prepared.plan.sites)
    return Trial(sites, int(batch.lengths.sum()), bare, hooked, int(lengths.sum()), _damage_tokens(prepared, job))


def _damage_tokens(prepared: Prepared, job: Job) -> float:
    """A block for each site in it and each scheme, on the stretches that will be taken of the evaluation samples."""
    split = prepared.split.record
    if split is None:
        return 0.0
    schemes = replayed(job.quant, job.schemes)
    inside = sum(site.layer is not None for site in prepared.plan.sites)
    stretches = choose_stretches(prepared.tokenized, split.evaluation, job.seed)
    return inside * len(schemes) / max(prepared.plan.layers, 1) * sum(one.size for one in stretches)


def _time_batch(prepared: Prepared, job: Job, batch: Batch) -> tuple[float, float]:
    plan = prepared.plan
    census = [site.counts_for_m for site in plan.sites]
    samples = len(prepared.corpus.samples)
    meter = Meter(len(census), samples, job.detail, job.backend, census, _log_problem)

    def settled(act: Callable[[], None]) -> Callable[[], None]:
        def whole() -> None:
            act()
            if prepared.device.type == "cuda":
                torch.cuda.synchronize(prepared.device)

        return whole

    def bare() -> None:
        run_forward(prepared, batch, ())

    def hooked() -> None:
        with attach(prepared.loaded.model, plan, meter.record, _log_problem):
            run_forward(prepared, batch, (meter,))
            meter.end_batch()

    return time_in_turns(settled(bare), settled(hooked))


def time_in_turns(
    bare: Callable[[], None], hooked: Callable[[], None], clock: Callable[[], float] = time.perf_counter
) -> tuple[float, float]:
    """Seconds of the fastest turn of each, after one turn to warm up; slow calls get fewer turns.

    The fastest is what a machine that others use takes when it is left alone.
    """
    bare()
    hooked()
    began, best = clock(), (float("inf"), float("inf"))
    for _ in range(TURNS):
        times = []
        for act in (bare, hooked):
            started = clock()
            act()
            times.append(clock() - started)
        best = (min(best[0], times[0]), min(best[1], times[1]))
        if clock() - began > ENOUGH_SECONDS:
            break
    return best


def trial_rows(batches: Sequence[Sequence[int]], lengths: NDArray[np.int64], tokens: int) -> tuple[int, ...]:
    """Samples of one batch with at most so many tokens, as many as fit; where none does, the shortest of all."""
    best: tuple[int, ...] = ()
    for batch in batches:
        chosen, total = [], 0
        for number in batch:
            if total + lengths[number] <= tokens:
                chosen.append(number)
                total += int(lengths[number])
        if total > int(lengths[list(best)].sum() if best else 0):
            best = tuple(chosen)
    if best:
        return best
    return tuple(sorted((n for batch in batches for n in batch if lengths[n]), key=lambda n: lengths[n])[:1])


def _log_problem(site: int, problem: Message) -> None:
    _log.info("trial, site %d: %s", site, words(problem))
