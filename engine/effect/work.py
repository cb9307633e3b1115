"""The work `effect`: several interventions measured on the same held-out samples, one forward a step.

- `effect`  arguments in, a result of kind `effect` out
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from corpus.batching import Batch, collate
from corpus.wording import counted
from engine.base.memory import is_out_of_memory
from engine.effect.batches import Passage
from engine.effect.calibration import places_of
from engine.effect.changes import Ablation
from engine.effect.divergence import Predictions, compare, perplexity_of, summarise_predictions
from engine.effect.errors import EffectError
from engine.effect.head import LanguageHead
from engine.effect.known import nothing_to_compare
from engine.effect.ready import Ready, changed, make_ready
from engine.effect.request import Request, read_request
from engine.effect.results import KIND, Effect, Outcome
from engine.effect.samples import Holdout, Targets, hold_out, targets_of
from engine.messages import Code, Message, message
from engine.session.splits import META, SplitRecord
from engine.work.work import Progress, WorkContext, WorkError

WORST = 10


def effect(context: WorkContext, arguments: Mapping[str, Any]) -> Generator[Progress, None, int]:
    """Measure what interventions do to the model's predictions.

    Arguments of the command: those of `engine.effect.request.Request.to_json`; all have defaults.

    The result's data are those of `engine.effect.results.Effect`. Its arrays, over the predictions in the order they
    were made: `samples` and `positions` int32 [n] of the predicted token; `nll_reference` float32 [n]; `kl` and `nll`
    float32 [interventions with numbers, n].

    Raises:
        WorkError: an unknown scheme, site or component, nothing to predict, or not enough memory for one sample.
    """
    started = time.monotonic()
    try:
        request = read_request(arguments)
        yield Progress(0, 0, message(Code.WORK_FINDING_SITES))
        holdout = _hold_out(context, request)
        passage = Passage(context.prepared, context.job.seed)
        head = LanguageHead(context.prepared.loaded.model, context.prepared.text_model, context.prepared.device)
        passage.expect(holdout.measured, len(request.interventions) + 2)
        yield from _require_predictions(context, head, holdout.measured)
        ready = yield from make_ready(context, request, holdout.calibration, passage)
        measuring = _Measuring(context, head, ready)
        yield from passage.run(holdout.measured, measuring.run_batch)
        measured = [number for number in holdout.measured if number not in passage.skipped]
        notes = [*holdout.notes, *_skipped(passage.skipped, context)]
        return measuring.store(request, replace(holdout, measured=tuple(measured), notes=tuple(notes)), started)
    except EffectError as error:
        raise WorkError(str(error)) from None


class _Measuring:
    """The held-out samples under every change.

    Raises:
        EffectError: not one intervention can be done.
    """

    def __init__(self, context: WorkContext, head: LanguageHead, ready: Sequence[Ready]) -> None:
        self._context = context
        self._head = head
        self._ready = ready
        self._usable = [number for number, one in enumerate(ready) if one.change is not None]
        self._found: dict[int, list[Predictions]] = {number: [] for number in self._usable}
        self._counts = dict.fromkeys(self._usable, (0, 0))
        self._where: list[Targets] = []
        if not self._usable:
            raise EffectError(ready[0].problem)

    def run_batch(self, numbers: tuple[int, ...]) -> Iterator[Message | None]:
        """The unchanged model, every change, the comparison; a step each."""
        batch = collate(self._context.prepared.tokenized, numbers)
        where = targets_of(batch)
        rows = torch.from_numpy(where.rows)
        reference = self._hidden(batch, rows)
        yield message(Code.UNCHANGED_MODEL)
        hidden = []
        for number in self._usable:
            self._ready_for(number, batch)
            one = self._ready[number]
            with changed(self._context.prepared.loaded.model, one):
                hidden.append(self._hidden(batch, rows))
            yield message(Code.WORK_ON, name=one.intervention.name)
        targets = torch.from_numpy(where.tokens)
        found = yield from compare(self._head, reference, hidden, targets)
        self._keep(where, found)
        yield message(Code.COMPARING)

    def store(self, request: Request, holdout: Holdout, started: float) -> int:
        """Keep the result; its number."""
        joined = {number: Predictions.joined(parts) for number, parts in self._found.items()}
        samples = np.concatenate([where.samples for where in self._where])
        positions = np.concatenate([where.positions for where in self._where])
        first = joined[self._usable[0]]
        lost = int((~np.isfinite(first.nll_reference)).sum())
        if lost == len(samples):
            raise EffectError(nothing_to_compare(self._context.reader))
        said = f"{lost:,} of {counted(len(samples), 'prediction')} of the unchanged model are NaN or infinite: left out"
        lengths = self._context.prepared.tokenized.lengths
        found = Effect(
            number=0,
            at=0.0,
            scope=request.scope,
            samples=len(holdout.measured),
            tokens=int(lengths[list(holdout.measured)].sum()),
            predictions=len(samples),
            calibration_samples=len(holdout.calibration),
            calibration_tokens=int(lengths[list(holdout.calibration)].sum()),
            perplexity=perplexity_of(first.nll_reference[np.isfinite(first.nll_reference)]),
            outcomes=tuple(
                self._outcome(number, one, joined.get(number), samples, positions)
                for number, one in enumerate(self._ready)
            ),
            notes=(*((said,) if lost else ()), *holdout.notes),
            seconds=time.monotonic() - started,
        )
        arrays = {
            "samples": samples,
            "positions": positions,
            "nll_reference": first.nll_reference,
            "kl": np.stack([one.kl for one in joined.values()]),
            "nll": np.stack([one.nll for one in joined.values()]),
        }
        return self._context.writer.add_result(KIND, found.title, request.to_json(), found.to_json(), arrays)

    def _hidden(self, batch: Batch, rows: torch.Tensor) -> torch.Tensor:
        """The last hidden state of every place that predicts, [n, D]."""
        device = self._context.prepared.device
        mask = torch.from_numpy(places_of(batch).astype(np.int64)).to(device) if batch.padded else None
        found = self._head.hidden(torch.from_numpy(batch.input_ids).to(device), mask)
        return found.reshape(-1, found.shape[-1])[rows.to(found.device)]

    def _ready_for(self, number: int, batch: Batch) -> None:
        change = self._ready[number].change
        if isinstance(change, Ablation):
            change.begin_batch(torch.from_numpy(places_of(batch).reshape(-1)))

    def _keep(self, where: Targets, found: Sequence[Predictions]) -> None:
        """Take over a batch, all of it at once."""
        self._where.append(where)
        for number, predictions in zip(self._usable, found, strict=True):
            self._found[number].append(predictions)
            change = self._ready[number].change
            if isinstance(change, Ablation):
                massive, chosen = change.counts()
                before = self._counts[number]
                self._counts[number] = (before[0] + massive, before[1] + chosen)

    def _outcome(self, number: int, one: Ready, found: Predictions | None, samples: Any, positions: Any) -> Outcome:
        if found is None:
            return Outcome(one.intervention.name, one.count, None, problem=one.problem, rounds=one.rounds)
        categories = dict(enumerate(self._context.prepared.tokenized.categories))
        numbers, by_category = summarise_predictions(found, samples, categories)
        massive, problem = one.massive, one.problem
        if massive is not None:
            elements, chosen = self._counts[number]
            massive = replace(massive, elements=chosen, kept=elements - chosen)
            if not elements:
                problem = "the held-out samples have no massive activation there, so nothing was changed"
        order = np.argsort(-np.nan_to_num(found.kl, nan=-1.0), kind="stable")[:WORST]
        worst = tuple((float(found.kl[i]), int(samples[i]), int(positions[i])) for i in order)
        return Outcome(one.intervention.name, one.count, numbers, by_category, massive, worst, problem, one.rounds)


def _require_predictions(context: WorkContext, head: LanguageHead, numbers: Sequence[int]) -> Iterator[Progress]:
    """Look for one prediction of the unchanged model that is finite, sample by sample: mostly the first has one.

    Raises:
        EffectError: there is none, which is to be said before anything long is done.
    """
    for number in numbers:
        yield Progress(0, 0, message(Code.TRYING_MODEL))
        try:
            if _predicts(context, head, number):
                return
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            return  # what does not fit is told where batches are halved
    raise EffectError(nothing_to_compare(context.reader))


def _predicts(context: WorkContext, head: LanguageHead, number: int) -> bool:
    """Whether a prediction of one sample is finite."""
    batch = collate(context.prepared.tokenized, (number,))
    where = targets_of(batch)
    hidden = head.hidden(torch.from_numpy(batch.input_ids).to(context.prepared.device), None)[0]
    rows = hidden[torch.from_numpy(where.rows).to(hidden.device)]
    for part in head.chunks(len(rows)):
        expected = torch.log_softmax(head.logits(rows[part]).float(), dim=-1)
        wanted = torch.from_numpy(where.tokens[part, None]).to(expected.device)
        if bool(expected.gather(-1, wanted).isfinite().any()):
            return True
    return False


def _hold_out(context: WorkContext, request: Request) -> Holdout:
    recorded = context.reader.meta().raw.get(META)
    split = SplitRecord.from_json(recorded) if recorded else None
    return hold_out(
        context.prepared.tokenized,
        samples=request.samples,
        tokens=request.tokens,
        calibration=request.calibration,
        seed=context.job.seed,
        split=None if split is None else (split.calibration, split.evaluation),
    )


def _skipped(samples: Sequence[int], context: WorkContext) -> list[str]:
    lengths = context.prepared.tokenized.lengths
    return [f"sample {n} skipped: {counted(int(lengths[n]), 'token')} do not fit in memory" for n in samples]
