"""Which rows of a flattened activation count, and whose they are.

- `Rows`        the rows of one tensor, on its device
- `BatchRows`   the rows of one batch: made on the host, uploaded once to each device that asks
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from engine.messages import Code, Message, message

ADDRESS_LIMIT = 1 << 22  # sample numbers and positions must fit in an address


@dataclass(frozen=True, slots=True)
class Rows:
    """The valid rows of one batch, made once on the host and uploaded once per device.

    A site's tensor is viewed as [R, D] (R = B * T, or the rows of a flattened MoE block). Only the rows named
    here are ever read, so padding never reaches a statistic, whatever it holds.

    Attributes:
        index: int64 [n], the rows to read, in ascending (sample, position) order; None when all R rows count in
            their own order (n == R).
        sample: int32 [n], the session-wide sample number of each row that counts.
        position: int32 [n], the token's position within its sample, from 0.

    Rows are in ascending (sample, position) order, so "first" among ties is "lowest row". A token may have several
    rows (one for each expert it was sent to).
    """

    index: torch.Tensor | None
    sample: torch.Tensor
    position: torch.Tensor

    def to(self, device: torch.device) -> Rows:
        """The same rows on `device` (a non-blocking copy where the memory is pinned)."""
        if self.sample.device == device:
            return self
        index = None if self.index is None else self.index.to(device, non_blocking=True)
        return Rows(index, self.sample.to(device, non_blocking=True), self.position.to(device, non_blocking=True))


class BatchRows:
    """The rows of one batch, for tensors with a row per place and for those of experts.

    Args:
        index: the rows that count in a [B * T, D] view, ascending; None when all do.
        sample: sample number of each row that counts.
        position: position of each row that counts within its sample.
        samples: N; sample numbers lie below it.

    Raises:
        ValueError: a sample number is not below N, the rows are not in ascending (sample, position) order, or a
            sample number or position does not fit in an address.
    """

    def __init__(
        self,
        index: NDArray[np.integer[Any]] | None,
        sample: NDArray[np.integer[Any]],
        position: NDArray[np.integer[Any]],
        samples: int,
    ) -> None:
        sample, position = np.asarray(sample, np.int64), np.asarray(position, np.int64)
        address = sample * ADDRESS_LIMIT + position
        if len(sample) != len(position) or (index is not None and len(index) != len(sample)):
            raise ValueError("index, sample and position must name the same rows")
        if len(sample) and (sample.min() < 0 or sample.max() >= min(samples, ADDRESS_LIMIT)):
            raise ValueError(f"sample numbers must lie in 0..{min(samples, ADDRESS_LIMIT) - 1}")
        if len(sample) and (position.min() < 0 or position.max() >= ADDRESS_LIMIT):
            raise ValueError(f"positions must lie in 0..{ADDRESS_LIMIT - 1}")
        if (np.diff(address) <= 0).any() or (index is not None and (np.diff(index) <= 0).any()):
            raise ValueError("rows must be in ascending (sample, position) order, each once")
        self.count = len(sample)
        self._height = self.count if index is None else None
        self._least_height = self.count if index is None or not len(index) else int(index[-1]) + 1
        wide = None if index is None else torch.from_numpy(np.asarray(index, np.int64))
        self._host = Rows(
            wide, torch.from_numpy(sample.astype(np.int32)), torch.from_numpy(position.astype(np.int32))
        )  # fmt: skip
        self._on: dict[torch.device, Rows] = {}
        self._ranks: dict[torch.device, torch.Tensor] = {}

    def of(self, x: torch.Tensor, token_index: torch.Tensor | None = None) -> Rows | Message:
        """The rows of a tensor [R, D] that count, on its device; or why it does not fit the batch."""
        if token_index is None:
            fits = len(x) == self._height if self._height is not None else len(x) >= self._least_height
            if not fits:
                return message(Code.ROWS, rows=len(x), places=self._height or self._least_height)
            self._height = len(x)
            return self._rows_on(x.device)
        if token_index.shape != (len(x),):
            return message(Code.ROWS_OF_INDEX, rows=len(x), shape=tuple(token_index.shape))
        return self._rows_of_tokens(token_index.to(x.device))

    def _rows_on(self, device: torch.device) -> Rows:
        if device not in self._on:
            host = self._host
            if device.type == "cuda":
                index = None if host.index is None else host.index.pin_memory()
                host = Rows(index, host.sample.pin_memory(), host.position.pin_memory())
            self._on[device] = host.to(device)
        return self._on[device]

    def _rows_of_tokens(self, token_index: torch.Tensor) -> Rows | Message:
        """Rows of experts, in token order. Each token has equally many, so their number is known without asking."""
        rows, height = self._rows_on(token_index.device), self._height or self._least_height
        if rows.index is None:
            rank = token_index.to(torch.int64)
            order = rank.argsort(stable=True)
        else:
            if len(token_index) % height:
                return message(Code.ROWS_UNEVEN, rows=len(token_index), places=height)
            rank = self._rank_on(token_index.device, rows.index, height)[token_index]
            order = rank.argsort(stable=True)[: self.count * (len(token_index) // height)]
        token = rank[order]
        return Rows(order, rows.sample[token], rows.position[token])

    def _rank_on(self, device: torch.device, index: torch.Tensor, height: int) -> torch.Tensor:
        """For each place of the batch the number of its row among those that count; `count` for padding."""
        if device not in self._ranks:
            rank = torch.full((height,), self.count, dtype=torch.int64, device=device)
            rank[index] = torch.arange(self.count, device=device)
            self._ranks[device] = rank
        return self._ranks[device]
