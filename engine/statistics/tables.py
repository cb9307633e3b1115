"""The scalar rows of all sites of one device, side by side in two tables, so that one copy brings them to the host.

- `HostRows`      both tables on the host
- `new_tables`, `host_rows`, `clear_tables`
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from engine.statistics.state import INTEGERS, PIVOT, REALS, empty_scalars

HostRows = tuple[NDArray[np.int64], NDArray[np.float64]]


def new_tables(sites: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Int64 [sites, INTEGERS] and float64 [sites, REALS] on a device; each site empties its own rows when it begins."""
    # Tensors made under inference mode could not be reset outside of it.
    with torch.inference_mode(False):
        return (
            torch.zeros((sites, INTEGERS), dtype=torch.int64, device=device),
            torch.zeros((sites, REALS), dtype=torch.float64, device=device),
        )


def host_rows(integers: torch.Tensor, reals: torch.Tensor) -> HostRows:
    """A copy on the host; waits for the device."""
    if integers.device.type == "cpu":
        return integers.numpy().copy(), reals.numpy().copy()
    packed = torch.cat([integers, reals.view(torch.int64)], dim=1).cpu().numpy()
    return packed[:, :INTEGERS], packed[:, INTEGERS:].copy().view(np.float64)


def clear_tables(integers: torch.Tensor, reals: torch.Tensor) -> None:
    """Nothing seen, in place and without waiting for the device; the pivots stay."""
    empty_integers, empty_reals = empty_scalars()
    if integers.device.type == "cpu":
        integers.numpy()[:] = empty_integers
        reals.numpy()[:, :PIVOT] = empty_reals[:PIVOT]
        return
    integers.copy_(torch.from_numpy(empty_integers.copy()), non_blocking=True)
    reals[:, :PIVOT].copy_(torch.from_numpy(empty_reals[:PIVOT].copy()), non_blocking=True)
