"""How long the statistics take, measured in the run itself.

- `Stopwatch`  seconds of batches, and of the statistics in their hooks

On a CPU hooks compute where they are called, so that the clock around them is the whole truth. On a GPU they only begin
work: there every so many batches are timed by events in the GPU's own stream, and waited for at their end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import torch

from engine.session.costs import Spent

TIMED_EVERY: Final = 16  # batches on a GPU: waiting for one of them now and then costs nothing that could be seen
Record = Callable[[], None]


class Stopwatch:
    """Times the batches of a run.

    Args:
        device: where the model begins.
        clock: seconds.
    """

    def __init__(self, device: torch.device, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._on_gpu = device.type == "cuda"
        self._device = device
        self._batches = 0
        self._is_timing = False
        self._inside = 0.0
        self._events: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []
        self._first: Spent | None = None
        self._rest = Spent()

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Within this block one batch runs; one that fails is not counted."""
        self._is_timing = not self._on_gpu or self._batches % TIMED_EVERY == 1  # the first one warms up
        self._batches += 1
        self._inside, self._events = 0.0, []
        started = self._now()
        yield
        if not self._is_timing:
            return
        seconds = self._now() - started
        inside = self._inside + sum(first.elapsed_time(last) for first, last in self._events) / 1_000
        self._is_timing = False
        found = Spent(model=max(seconds - inside, 0.0), statistics=inside)
        if self._first is None and not self._on_gpu:
            self._first = found
        else:
            self._rest = self._rest.plus(found)

    def around(self, device: torch.device, record: Record) -> None:
        """Do a site's statistics, in the time of the batch at hand."""
        if not self._is_timing:
            record()
        elif device.type == "cuda":
            stream = torch.cuda.current_stream(device)
            first, last = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            first.record(stream)
            record()
            last.record(stream)
            self._events.append((first, last))
        else:
            started = self._clock()
            record()
            self._inside += self._clock() - started

    def spent(self) -> Spent:
        """So far; without the first batch, which loads what is compiled, unless there is no other."""
        return self._rest if self._rest.model or self._first is None else self._first

    def _now(self) -> float:
        if self._on_gpu and self._is_timing:
            torch.cuda.synchronize(self._device)
        return self._clock()
