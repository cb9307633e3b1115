"""The counters of one site in one piece of memory, and their way off the device between two batches.

- `COUNTERS`       names of the arrays, in their order in memory
- `CounterLayout`  how long each of them is
- `CounterStore`   the memory on the device, emptied and handed over
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from engine.statistics.totals import CENSUS_RUNGS

COUNTERS: Final = ("histogram", "token_maxima", "log_histogram", "channel_keys", "channel_tokens", "sample_keys")


@dataclass(frozen=True, slots=True)
class CounterLayout:
    """Elements of each array; `channel_tokens` has one row for each rung of the census."""

    histogram: int
    token_maxima: int
    log_histogram: int
    channel_keys: int
    census_width: int
    sample_keys: int

    @property
    def sizes(self) -> tuple[int, ...]:
        """Elements of each of `COUNTERS`."""
        census = CENSUS_RUNGS * self.census_width
        return (
            self.histogram, self.token_maxima, self.log_histogram, self.channel_keys, census, self.sample_keys
        )  # fmt: skip

    def split(self, flat: torch.Tensor) -> dict[str, torch.Tensor]:
        """The arrays of `COUNTERS` in a piece of memory; views."""
        pieces = dict(zip(COUNTERS, flat.split(self.sizes), strict=True))
        pieces["channel_tokens"] = pieces["channel_tokens"].view(CENSUS_RUNGS, self.census_width)
        return pieces

    def split_host(self, flat: NDArray[np.int32]) -> dict[str, NDArray[np.int32]]:
        """The same of an array on the host."""
        pieces = dict(zip(COUNTERS, np.split(flat, np.cumsum(self.sizes)[:-1]), strict=True))
        pieces["channel_tokens"] = pieces["channel_tokens"].reshape(CENSUS_RUNGS, self.census_width)
        return pieces

    def empty(self, flat: NDArray[np.int32]) -> None:
        """Set counts on the host to nothing seen: zeros, and -1 for each sample."""
        seen = len(flat) - self.sample_keys
        flat[:seen] = 0
        flat[seen:] = -1


class CounterStore:
    """The memory of one site's counters on its device, where `flat`, int32 [sum of sizes], counts now.

    `arrays` are its parts by name.
    """

    def __init__(self, layout: CounterLayout, device: torch.device) -> None:
        self.layout = layout
        self.flat = self._new(device)
        self.arrays = layout.split(self.flat)
        self._turn: tuple[torch.Tensor, dict[str, torch.Tensor], Any] | None = None  # on the CPU the other set
        self._host: torch.Tensor | None = None  # elsewhere where copies arrive

    def clear(self) -> None:
        """Nothing seen, in place and without waiting for the device."""
        if self.flat.device.type == "cpu":
            # Through numpy: waking torch's threads for so little costs more than it saves.
            self.layout.empty(self.flat.numpy())
            return
        seen = len(self.flat) - self.layout.sample_keys
        self.flat[:seen].fill_(0)
        self.flat[seen:].fill_(-1)

    def exchange(self, views: Any) -> tuple[NDArray[np.int32], Any]:
        """Hand over the counts and begin anew; see `SiteState.exchange`.

        Args:
            views: what a backend keeps of the present memory.

        Returns:
            The counts on the host, and what was kept of the memory that is used from now on.
        """
        if self.flat.device.type == "cpu":
            counted, turn = (self.flat, self.arrays, views), self._turn
            if turn is None:
                flat = self._new(self.flat.device)
                turn = flat, self.layout.split(flat), None
            self.flat, self.arrays, kept = turn
            self._turn = counted
            return counted[0].numpy(), kept
        if self._host is None:
            self._host = torch.empty(len(self.flat), dtype=torch.int32, pin_memory=self.flat.device.type == "cuda")
        self._host.copy_(self.flat, non_blocking=self._host.is_pinned())
        self.clear()
        return self._host.numpy(), views

    def _new(self, device: torch.device) -> torch.Tensor:
        with torch.inference_mode(False):
            flat = torch.zeros(sum(self.layout.sizes), dtype=torch.int32, device=device)
            flat[len(flat) - self.layout.sample_keys :] = -1
        return flat
