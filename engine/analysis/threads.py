"""Threads: one (sample, position, channel) that stays massive through consecutive layers.

- `Level`         the largest elements of one layer's hidden state, and its massive threshold
- `Thread`        one element followed: born, died, peak
- `find_threads`  all of them, the largest first
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.statistics.totals import TOP_K

Address = tuple[int, int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Level:
    """What is known of one layer's hidden state.

    Attributes:
        layer: decoder block.
        top: TOP_DTYPE, its largest |x|, largest first.
        threshold: |x| above which an element is massive.
    """

    layer: int
    top: NDArray[Any]
    threshold: float

    @property
    def is_complete(self) -> bool:
        """Whether the list holds every massive element; a full list of massive ones may lack some."""
        return len(self.top) < TOP_K or abs(float(self.top["value"][-1])) <= self.threshold

    def massive(self) -> dict[Address, float]:
        """The listed elements above the threshold, by address."""
        entries = self.top[np.abs(self.top["value"]) > self.threshold].tolist()
        return {(sample, position, channel): value for value, sample, position, channel in entries}


@dataclass(frozen=True, slots=True)
class Thread:
    """One element that is massive in consecutive layers.

    Attributes:
        sample, position, channel: its address.
        birth: first layer in which it is massive.
        death: first layer in which it is not any more, None if it lives to the last layer.
        peak: its signed value of largest magnitude.
        peak_layer: where that is (the first, if several).
        values: signed values from `birth` on, one per layer.
        birth_certain: False if the layer before lists only larger elements, so that it may have been born earlier.
        death_certain: the same for the layer after.
    """

    sample: int
    position: int
    channel: int
    birth: int
    death: int | None
    peak: float
    peak_layer: int
    values: tuple[float, ...]
    birth_certain: bool
    death_certain: bool


def find_threads(levels: Sequence[Level]) -> tuple[Thread, ...]:
    """All threads through the levels (in ascending order of layers), by descending |peak|, then address.

    Layers that are not consecutive break a thread.
    """
    finished: list[Thread] = []
    open_threads: dict[Address, list[float]] = {}
    for number, level in enumerate(levels):
        if number and level.layer != levels[number - 1].layer + 1:
            finished += _close(open_threads, open_threads.keys(), levels, number)
            open_threads = {}
        massive = level.massive()
        gone = open_threads.keys() - massive.keys()
        finished += _close(open_threads, gone, levels, number)
        open_threads = {address: [*open_threads.get(address, []), value] for address, value in massive.items()}
    finished += _close(open_threads, open_threads.keys(), levels, len(levels))
    return tuple(sorted(finished, key=lambda t: (-abs(t.peak), t.sample, t.position, t.channel, t.birth)))


def _close(
    open_threads: dict[Address, list[float]], addresses: Iterable[Address], levels: Sequence[Level], end: int
) -> list[Thread]:
    """Threads whose last massive level is `end - 1`."""
    closed = []
    for address in addresses:
        values = open_threads[address]
        start = end - len(values)
        peak = max(range(len(values)), key=lambda i: (abs(values[i]), -i))
        before = levels[start - 1] if start else None
        after = levels[end] if end < len(levels) and levels[end].layer == levels[end - 1].layer + 1 else None
        known_before = before is None or before.layer != levels[start].layer - 1 or before.is_complete
        closed.append(
            Thread(
                *address,
                birth=levels[start].layer,
                death=None if after is None else after.layer,
                peak=values[peak],
                peak_layer=levels[start].layer + peak,
                values=tuple(values),
                birth_certain=known_before,
                death_certain=after is None or after.is_complete,
            )
        )
    return closed
