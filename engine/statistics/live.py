"""The scalars of every site between checkpoints: one packed copy from each device, combined with what was drained.

- `LIVE_FIELDS`   the columns
- `LiveScalars`   the table, kept by `Meter`
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from engine.session.records import LIVE_FIELDS
from engine.statistics.accumulator import SiteAccumulator
from engine.statistics.patterns import magnitude_values
from engine.statistics.state import (
    EXTREMES,
    NONFINITE,
    PIVOT,
    POWER_SUMS,
    TOP_ADDRESSES,
    TOP_KEYS,
    SiteState,
    unpack_address,
)
from engine.statistics.totals import MAGNITUDES, SiteTotals

__all__ = ["LIVE_FIELDS", "LiveScalars"]

# Columns of the working table, from which LIVE_FIELDS follow.
_MAX, _MIN, _TOKENS, _WIDTH, _BAD, _SQUARES, _PEAK, _SAMPLE, _POSITION, _CHANNEL = range(10)
_EMPTY = (-np.inf, np.inf, 0.0, 0.0, 0.0, 0.0, -1.0, -1.0, -1.0, -1.0)


class LiveScalars:
    """Running scalars of `sites` sites: what was collected from the devices, and what is still on them."""

    def __init__(self, sites: int) -> None:
        self._collected = np.tile(_EMPTY, (sites, 1))
        self._committed = self._collected.copy()

    def add(self, site: int, fresh: SiteTotals) -> None:
        """Take in what was just collected from a device."""
        row = np.array(_EMPTY)
        row[_MAX], row[_MIN] = fresh.extremes
        row[_TOKENS], row[_WIDTH], row[_BAD] = fresh.tokens, fresh.width, fresh.nonfinite.sum()
        row[_SQUARES] = _sum_of_squares(fresh)
        if len(fresh.top):
            first = fresh.top[0]
            row[_PEAK:] = abs(first["value"]), first["sample"], first["position"], first["channel"]
        self._collected[site] = _combine(self._collected[site : site + 1], row[None])[0]

    def commit(self) -> None:
        """What was collected so far has become part of the totals."""
        self._committed = self._collected.copy()

    def roll_back(self) -> None:
        """What was collected since the last `commit` did not happen."""
        self._collected = self._committed.copy()

    def table(
        self,
        accumulators: Sequence[SiteAccumulator | None],
        tables: Mapping[torch.device, tuple[torch.Tensor, torch.Tensor]],
    ) -> NDArray[np.float64]:
        """Float64 [sites, len(LIVE_FIELDS)]; NaN for what is unknown, -1 for the address before the first element."""
        fresh = np.tile(_EMPTY, (len(accumulators), 1))
        for device, (integers, reals) in tables.items():
            here = [(site, a.state) for site, a in enumerate(accumulators) if a is not None and a.device == device]
            _read_device(fresh, here, integers, reals)
        known = _combine(self._collected, fresh)
        finite = known[:, _TOKENS] * known[:, _WIDTH] - known[:, _BAD]
        with np.errstate(invalid="ignore", divide="ignore"):
            rms = np.sqrt(known[:, _SQUARES] / finite)
        columns = {
            "max": np.where(finite > 0, known[:, _MAX], np.nan),
            "min": np.where(finite > 0, known[:, _MIN], np.nan),
            "rms": np.where(finite > 0, rms, np.nan),
            "tokens": known[:, _TOKENS],
            "nonfinite": known[:, _BAD],
            "sample": known[:, _SAMPLE],
            "position": known[:, _POSITION],
            "channel": known[:, _CHANNEL],
        }
        return np.stack([columns[name] for name in LIVE_FIELDS], axis=1)


def _combine(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Two working tables as one, by the merge rules of their fields."""
    merged = a + b
    merged[:, _MAX], merged[:, _MIN] = np.maximum(a[:, _MAX], b[:, _MAX]), np.minimum(a[:, _MIN], b[:, _MIN])
    merged[:, _WIDTH] = np.maximum(a[:, _WIDTH], b[:, _WIDTH])
    order_a, order_b = ((-t[:, _PEAK], t[:, _SAMPLE], t[:, _POSITION], t[:, _CHANNEL]) for t in (a, b))
    rank = np.lexsort(tuple(np.stack([p, q], 1) for p, q in reversed(list(zip(order_a, order_b, strict=True)))))
    merged[:, _PEAK:] = np.where(rank[:, :1] == 0, a[:, _PEAK:], b[:, _PEAK:])
    return merged


def _sum_of_squares(totals: SiteTotals) -> float:
    if not totals.has_histogram:
        return np.nan if totals.finite else 0.0
    if totals.dtype == "float32":
        if np.isnan(totals.pivot):
            return 0.0
        return float(_squares_about_zero(totals.power_sums, float(totals.pivot), totals.finite))
    return _histogram_squares(totals.histogram, totals.dtype)


def _histogram_squares(histogram: NDArray[np.integer[Any]], dtype: str) -> float:
    # einsum, unlike a dot product, neither converts the whole array first nor wakes threads for it.
    magnitudes = histogram[:MAGNITUDES] + histogram[MAGNITUDES:]
    return float(np.einsum("i,i->", magnitudes, _squared_values(dtype)))


def _squares_about_zero(power_sums: NDArray[np.float64], pivot: float, count: float) -> float:
    return float(power_sums[1] + 2 * pivot * power_sums[0] + pivot * pivot * count)


def _read_device(
    table: NDArray[np.float64],
    here: Sequence[tuple[int, SiteState]],
    integers: torch.Tensor,
    reals: torch.Tensor,
) -> None:
    """Fill the rows of one device's sites, with a single copy to the host."""
    nothing = torch.zeros((), dtype=torch.float64, device=reals.device)
    squares = torch.stack([_device_squares(state) for _, state in here] or [nothing])
    chosen = torch.tensor([site for site, _ in here], dtype=torch.int64).to(reals.device)
    whole = torch.cat(
        [
            integers[:, [*range(NONFINITE.start, NONFINITE.stop), TOP_ADDRESSES.start, TOP_KEYS.start]],
            reals.view(torch.int64),
        ],
        dim=1,
    )
    packed = torch.cat([whole.index_select(0, chosen).view(-1), squares.view(torch.int64)]).cpu().numpy()
    rows = packed[: len(here) * whole.shape[1]].reshape(len(here), -1)
    sums = packed[len(here) * whole.shape[1] :].view(np.float64)
    for (site, state), row, total in zip(here, rows, sums.tolist(), strict=False):
        real = row[5:].view(np.float64)
        bad = int(row[:3].sum())
        table[site, _MAX], table[site, _MIN] = real[EXTREMES]
        table[site, _TOKENS], table[site, _WIDTH], table[site, _BAD] = state.tokens, state.width, bad
        table[site, _SQUARES] = total if state.tokens else 0.0
        if state.format.name == "float32" and state.detail != "lean" and state.tokens:
            table[site, _SQUARES] = _squares_about_zero(real[POWER_SUMS], real[PIVOT], state.tokens * state.width - bad)
        if row[4] >= 0:
            sample, position, channel = unpack_address(row[3:4] >> 1)
            peak = state.format.host_values(row[4:5])[0]
            table[site, _PEAK:] = peak, sample[0], position[0], channel[0]


@cache
def _squared_values(dtype: str) -> NDArray[np.float64]:
    """x^2 of each magnitude pattern, 0 where it is not finite."""
    return np.nan_to_num(magnitude_values(dtype) ** 2, nan=0.0)


@cache
def _squared_values_on(device: torch.device, dtype: str) -> torch.Tensor:
    return torch.from_numpy(_squared_values(dtype)).to(device)


def _device_squares(state: SiteState) -> torch.Tensor:
    """Sum of squares of a 16-bit site from its histogram, on its device; NaN in lean detail."""
    device, dtype = state.reals.device, state.format.name
    if not len(state.histogram):
        return torch.full((), torch.nan, dtype=torch.float64, device=device)
    if dtype == "float32":
        return torch.zeros((), dtype=torch.float64, device=device)
    if device.type == "cpu":
        return torch.tensor(_histogram_squares(state.histogram.numpy(), dtype), dtype=torch.float64)
    magnitudes = state.histogram[:MAGNITUDES] + state.histogram[MAGNITUDES:]
    return torch.dot(magnitudes.to(torch.float64), _squared_values_on(device, dtype))
