"""Passes over samples in batches, each of which is halved when memory runs out; and how far they are.

- `Passage`  run work batch by batch, counting its steps
"""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch

from corpus.batching import plan_batches
from engine.base.memory import is_out_of_memory
from engine.effect.errors import EffectError
from engine.messages import Code, Message, message
from engine.preparation.prepare import Prepared
from engine.work.work import Progress

Batch = tuple[int, ...]


class Passage:
    """Runs work over samples.

    Args:
        prepared: the corpus and the token budget of its batches.
        seed: orders the batches.

    Attributes:
        skipped: samples that do not fit in memory even alone.
    """

    def __init__(self, prepared: Prepared, seed: int) -> None:
        self._prepared = prepared
        self._seed = seed
        self._done = 0
        self._total = 0
        self.skipped: list[int] = []

    def expect(self, samples: Sequence[int], steps: int) -> None:
        """Say that these samples will be run, with so many steps a batch."""
        self._total += len(self._plan(samples)) * steps

    def run(self, samples: Sequence[int], work: Callable[[Batch], Iterator[Message | None]]) -> Iterator[Progress]:
        """Do the work on every batch. It keeps nothing of a batch that it does not finish.

        Each message it yields ends a step; None only lets others go on, within a long one.

        Raises:
            EffectError: not one sample fits in memory.
        """
        todo = deque(self._plan(samples))
        fitted = not todo
        while todo:
            numbers, failed, steps, said = todo.popleft(), False, 0, message(Code.WORK_RUNNING)
            try:
                for step in work(numbers):
                    steps += step is not None
                    self._done += step is not None
                    said = step or said
                    yield Progress(self._done, max(self._total, self._done), said)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                error.__traceback__ = None  # its frames hold the activations that did not fit
                failed = True
            if failed:
                self._done -= steps
                _make_room()
                todo.extendleft(reversed(self._halves(numbers)))
            else:
                fitted = True
        if not fitted:
            raise EffectError(
                "out of memory even for one sample; ask again when the run has ended, or on shorter texts"
            )

    def _plan(self, samples: Sequence[int]) -> list[Batch]:
        tokenized = self._prepared.tokenized
        lengths = np.zeros(len(tokenized), np.int64)
        lengths[list(samples)] = tokenized.lengths[list(samples)]
        budget = self._prepared.batches.token_budget
        return list(plan_batches(lengths, tokenized.categories, token_budget=budget, seed=self._seed).batches)

    def _halves(self, numbers: Batch) -> list[Batch]:
        if len(numbers) == 1:
            self.skipped.append(numbers[0])
            return []
        middle = len(numbers) // 2
        return [numbers[:middle], numbers[middle:]]


def _make_room() -> None:
    """Give back what a failed batch held."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
