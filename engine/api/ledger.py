"""The samples of a watched model: one per sequence, numbered as they come, and what is kept of each.

- `Ledger`  gives numbers, keeps tokens, and hands over what a checkpoint is to write
- `MOST_SAMPLES`  sequences that have a number of their own
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.api.following import Sequences
from engine.session.records import SampleRecord

FIRST_SAMPLES: Final = 1_024
MOST_SAMPLES: Final = 65_536
"""Sequences with a number, maxima and tokens of their own; those after share the last number."""
KEPT_TOKENS: Final = 4_000_000
"""Up to so many tokens all are kept; beyond, those of sequences that hold one of the largest activations."""


class Ledger:
    """Numbers the sequences of a watched model."""

    def __init__(self) -> None:
        self.count = 0
        """Samples so far."""
        self._fresh: list[SampleRecord] = []
        self._overflow = 0
        self._kept = 0

    def room_for(self, sequences: int) -> int:
        """The least size of a meter, by doubling, that has room for so many more."""
        wanted, size = min(self.count + sequences, MOST_SAMPLES), FIRST_SAMPLES
        while size < wanted:
            size *= 2
        return size

    def enter(self, found: Sequences, category: str, origin: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Take the sequences of a pass; returns sample and position of each row that counts, int64 [rows]."""
        own = min(len(found.lengths), max(MOST_SAMPLES - 1 - self.count, 0))
        nothing = np.zeros(0, np.int32)
        for place in range(own):
            tokens = found.tokens[place] if found.tokens is not None else nothing
            self._fresh.append(SampleRecord(self.count + place, category, "", origin, False, tokens))
        sample, position = self.count + found.row, found.position
        if own < len(found.lengths):  # the rest is one sample, in which every row has a place of its own
            if not self._overflow:
                self._fresh.append(SampleRecord(MOST_SAMPLES - 1, category, "", "all sequences after", False, nothing))
            rest = found.row >= own
            sample = np.where(rest, MOST_SAMPLES - 1, sample)
            position = np.where(rest, self._overflow + np.cumsum(rest) - 1, position)
            self._overflow += int(rest.sum())
        self.count = min(self.count + len(found.lengths), MOST_SAMPLES)
        return sample, position

    def take(self) -> list[SampleRecord]:
        """What has come since the last call."""
        found, self._fresh = self._fresh, []
        return found

    def keep(self, records: list[SampleRecord], wanted: Collection[int]) -> list[SampleRecord]:
        """The records to write: once many tokens are kept, only the tokens of samples that are `wanted`."""
        kept = []
        for record in records:
            if self._kept > KEPT_TOKENS and record.number not in wanted:
                record = SampleRecord(  # noqa: PLW2901  # the same one without its tokens
                    record.number, record.category, "", record.origin, True, np.zeros(0, np.int32)
                )
            self._kept += len(record.token_ids)
            kept.append(record)
        return kept
