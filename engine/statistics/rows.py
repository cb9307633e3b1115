"""Which rows of a flattened activation count, and whose they are."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class Rows:
    """The valid rows of one batch, made once on the host and uploaded once per device.

    A site's tensor is viewed as [R, D] (R = B * T, or the rows of a flattened MoE block). Only the rows named
    here are ever read, so padding never reaches a statistic, whatever it holds.

    Attributes:
        index: int64 [n], the rows to read in ascending order; None when all R rows count (n == R).
        sample: int32 [n], the session-wide sample number of each row that counts.
        position: int32 [n], the token's position within its sample, from 0.

    Rows are in ascending (sample, position) order, so "first" among ties is "lowest row".
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
