"""Which samples calibrate quantisers and which evaluate them, and batches in that order.

- `Split`         the record for the session file, and a line where it is smaller than asked for
- `choose_split`  a job and a corpus's lengths -> split
- `plan_in_parts` the batch plan: calibration first, then evaluation, then the rest
- `part_numbers`  the part of each sample
- `arrange`       any batches in that order, none of which mixes two parts
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from corpus.batching import BatchPlan, plan_batches
from corpus.sampling import choose_samples, split_samples
from engine.base.job import Job
from engine.messages import Code, Message, message
from engine.scheme_names import schemes_in_pass
from engine.session.splits import SplitRecord

CALIBRATION, EVALUATION, REST = range(3)


@dataclass(frozen=True, slots=True)
class Split:
    """What was chosen.

    Attributes:
        record: the samples; None for no split.
        note: what the user should know of it, if anything.
    """

    record: SplitRecord | None = None
    note: Message | None = None


NO_SPLIT: Final = Split()


def choose_split(job: Job, lengths: NDArray[np.int64], categories: Sequence[str]) -> Split:
    """Choose calibration and evaluation samples among those that have tokens.

    By the exact protocol both are stratified by category; by the paper's they are the first samples of the corpus.

    Args:
        job: says how many, and by which protocol.
        lengths: tokens of each sample.
        categories: of each sample.
    """
    # Lean detail counts no patterns, so there is nothing to keep of a part but for the sums of the pass.
    if job.quant == "off" or (job.detail == "lean" and not schemes_in_pass(job.quant, job.schemes)):
        return NO_SPLIT
    usable = [number for number in range(len(lengths)) if lengths[number] > 0]
    wanted, note = (job.calibration, job.evaluation), None
    if len(usable) < 2:
        return Split(None, message(Code.SPLIT_OF_ONE))
    first, second = wanted
    if len(usable) < first + second:
        first = min(max(round(len(usable) * first / (first + second)), 1), len(usable) - 1)
        second = len(usable) - first
        note = message(
            Code.SPLIT_OF_FEW,
            samples=len(usable),
            calibration=wanted[0],
            evaluation=wanted[1],
            first=first,
            second=second,
        )
    if job.protocol == "paper":
        chosen = usable[:first], usable[first : first + second]
    else:
        kinds = [categories[number] for number in usable]
        both = choose_samples(kinds, first + second, job.seed)
        parts = split_samples([kinds[place] for place in both], first, job.seed)
        chosen = (
            [usable[both[place]] for place in parts.calibration],
            [usable[both[place]] for place in parts.evaluation],
        )
    return Split(SplitRecord(tuple(chosen[0]), tuple(chosen[1]), job.protocol), note)


def plan_in_parts(
    split: SplitRecord | None,
    lengths: NDArray[np.int64],
    categories: Sequence[str],
    *,
    token_budget: int,
    seed: int,
) -> BatchPlan:
    """The plans of the three parts one after the other; each begins with its dearest batches."""
    known = part_numbers(split)
    part = np.array([known.get(number, REST) for number in range(len(lengths))], np.int8)
    plans = [
        plan_batches(np.where(part == one, lengths, 0), categories, token_budget=token_budget, seed=seed)
        for one in (CALIBRATION, EVALUATION, REST)
    ]
    return BatchPlan(
        batches=tuple(batch for plan in plans for batch in plan.batches),
        tokens=sum(plan.tokens for plan in plans),
        padded_tokens=sum(plan.padded_tokens for plan in plans),
        token_budget=token_budget,
        seed=seed,
    )


def part_numbers(split: SplitRecord | None) -> dict[int, int]:
    """The part of every sample that is not of the rest."""
    if split is None:
        return {}
    return {**dict.fromkeys(split.calibration, CALIBRATION), **dict.fromkeys(split.evaluation, EVALUATION)}


def arrange(batches: Iterable[Sequence[int]], part: Mapping[int, int]) -> list[tuple[int, ...]]:
    """The same samples part by part, in the order given within a part; batches that mix parts are cut."""
    given = [tuple(batch) for batch in batches]
    found = [
        tuple(number for number in batch if part.get(number, REST) == one)
        for one in (CALIBRATION, EVALUATION, REST)
        for batch in given
    ]
    return [batch for batch in found if batch]
