"""The scalars of every site between checkpoints: one packed copy from each device, combined with what was drained.

- `LIVE_FIELDS`   the columns
- `LiveScalars`   the table, kept by `Meter`
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from engine.statistics.fields import LIVE_FIELDS
from engine.statistics.patterns import magnitude_values
from engine.statistics.state import (
    EXTREMES,
    NO_ADDRESS,
    NONFINITE,
    NONFINITE_ADDRESS,
    PIVOT,
    POWER_SUMS,
    TOP_ADDRESSES,
    TOP_KEYS,
    SiteState,
    unpack_address,
)
from engine.statistics.tables import HostRows
from engine.statistics.totals import MAGNITUDES, SiteTotals

__all__ = ["LIVE_FIELDS", "LiveScalars"]

# Columns of the working table, from which LIVE_FIELDS follow.
_MAX, _MIN, _TOKENS, _WIDTH, _BAD, _NAN, _SQUARES, _BAD_SAMPLE, _BAD_POSITION, _BAD_CHANNEL = range(10)
_PEAK, _SAMPLE, _POSITION, _CHANNEL = range(10, 14)
_EMPTY = (-np.inf, np.inf, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0, -1.0, -1.0, -1.0, -1.0, -1.0, -1.0)
_BAD_ADDRESS = slice(_BAD_SAMPLE, _BAD_CHANNEL + 1)


class LiveScalars:
    """Running scalars of `sites` sites: what was collected from the devices, and what is still on them.

    Squares of 16-bit formats are summed over the histogram: of what is on a device when `table` is asked for rms, of
    what was set aside by whoever adds it up, until when the rms of before is shown.
    """

    def __init__(self, sites: int) -> None:
        self._collected = np.tile(_EMPTY, (sites, 1))
        self._committed = self._collected.copy()
        self._owes_squares = False
        self._squares: NDArray[np.float64] | None = None
        self._rms = np.full(sites, np.nan)

    def add(self, site: int, fresh: SiteTotals) -> None:
        """Take in what was just collected from a device."""
        self._take_squares()
        row = np.array(_EMPTY)
        row[_MAX], row[_MIN] = fresh.extremes
        row[_TOKENS], row[_WIDTH], row[_BAD] = fresh.tokens, fresh.width, fresh.nonfinite.sum()
        row[_NAN], row[_BAD_ADDRESS] = fresh.nonfinite[0], fresh.nonfinite_address
        row[_SQUARES] = sum_of_squares(fresh)
        # What a session lacks of its own stays unknown, whatever is measured from now on.
        if not fresh.has("extremes"):
            row[_MAX] = row[_MIN] = np.nan
        if not fresh.has("tokens", "nonfinite"):
            row[_SQUARES] = np.nan
        if len(fresh.top):
            first = fresh.top[0]
            row[_PEAK:] = abs(first["value"]), first["sample"], first["position"], first["channel"]
        self._collected[site] = _combine(self._collected[site : site + 1], row[None])[0]

    def set_aside(self, states: Mapping[int, SiteState], rows: Mapping[torch.device, HostRows]) -> None:
        """What is on the devices will become part of the totals; its squares are owed (`add_squares`)."""
        self._take_squares()
        fresh = _on_devices(len(self._collected), states, rows)
        self._collected = _combine(self._collected, fresh)
        self._owes_squares = True
        self.commit()

    def add_squares(self, squares: NDArray[np.float64]) -> None:
        """Float64 [sites], of what was set aside last; may be called from another thread."""
        self._squares = squares

    def commit(self) -> None:
        """What was collected so far has become part of the totals."""
        self._committed = self._collected.copy()

    def roll_back(self) -> None:
        """What was collected since the last `commit` did not happen."""
        self._take_squares()
        self._collected = self._committed.copy()

    def table(
        self, states: Mapping[int, SiteState], rows: Mapping[torch.device, HostRows], *, rms: bool
    ) -> NDArray[np.float64]:
        """Float64 [sites, len(LIVE_FIELDS)]; NaN for what is unknown, -1 for the address before the first element."""
        self._take_squares()
        fresh = _on_devices(len(self._collected), states, rows)
        known = _combine(self._collected, fresh)
        finite = known[:, _TOKENS] * known[:, _WIDTH] - known[:, _BAD]
        if rms and not self._owes_squares:
            squares = known[:, _SQUARES] + _device_squares(fresh, states, rows)
            with np.errstate(invalid="ignore", divide="ignore"):
                self._rms = np.where(finite > 0, np.sqrt(squares / finite), np.nan)
        columns = {
            "max": np.where(np.isfinite(known[:, _MAX]), known[:, _MAX], np.nan),
            "min": np.where(np.isfinite(known[:, _MIN]), known[:, _MIN], np.nan),
            "rms": self._rms,
            "tokens": known[:, _TOKENS],
            "nonfinite": known[:, _BAD],
            "sample": known[:, _SAMPLE],
            "position": known[:, _POSITION],
            "channel": known[:, _CHANNEL],
            "nan": known[:, _NAN],
            "bad_sample": known[:, _BAD_SAMPLE],
            "bad_position": known[:, _BAD_POSITION],
            "bad_channel": known[:, _BAD_CHANNEL],
        }
        return np.stack([columns[name] for name in LIVE_FIELDS], axis=1)

    def _take_squares(self) -> None:
        """Book the squares that were owed, once they are there."""
        squares, self._squares = self._squares, None
        if squares is not None:
            self._collected[:, _SQUARES] += squares
            self._committed[:, _SQUARES] += squares
            self._owes_squares = False


def _combine(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Two working tables as one, by the merge rules of their fields."""
    merged = a + b
    merged[:, _MAX], merged[:, _MIN] = np.maximum(a[:, _MAX], b[:, _MAX]), np.minimum(a[:, _MIN], b[:, _MIN])
    merged[:, _WIDTH] = np.maximum(a[:, _WIDTH], b[:, _WIDTH])
    merged[:, _BAD_ADDRESS] = np.where(
        _comes_first(a[:, _BAD_ADDRESS], b[:, _BAD_ADDRESS])[:, None], a[:, _BAD_ADDRESS], b[:, _BAD_ADDRESS]
    )
    order_a, order_b = ((-t[:, _PEAK], t[:, _SAMPLE], t[:, _POSITION], t[:, _CHANNEL]) for t in (a, b))
    rank = np.lexsort(tuple(np.stack([p, q], 1) for p, q in reversed(list(zip(order_a, order_b, strict=True)))))
    merged[:, _PEAK:] = np.where(rank[:, :1] == 0, a[:, _PEAK:], b[:, _PEAK:])
    return merged


def _comes_first(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether a's address is not above b's, bool [sites], of addresses [sites, 3] in which -1 means none."""
    a, b = np.where(a < 0, np.inf, a), np.where(b < 0, np.inf, b)
    below, same = a < b, a == b
    first: NDArray[np.bool_] = below[:, 0] | (same[:, 0] & (below[:, 1] | (same[:, 1] & (a[:, 2] <= b[:, 2]))))
    return first


def sum_of_squares(totals: SiteTotals) -> float:
    """Of all finite elements; NaN where no histogram was kept."""
    if not totals.has("histogram"):
        return np.nan
    if not totals.has_histogram:
        return np.nan if totals.finite else 0.0
    if totals.dtype == "float32":
        if not totals.has("pivot", "power_sums"):
            return np.nan
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


def _on_devices(
    sites: int, states: Mapping[int, SiteState], rows: Mapping[torch.device, HostRows]
) -> NDArray[np.float64]:
    """The working table of what is on the devices, without squares."""
    table = np.tile(_EMPTY, (sites, 1))
    for device, (integers, reals) in rows.items():
        for form in {state.format.name: state.format for state in states.values()}.values():
            here = [n for n, s in states.items() if s.reals.device == device and s.format is form and s.tokens]
            if not here:
                continue
            table[here, _TOKENS] = [states[site].tokens for site in here]
            table[here, _WIDTH] = [states[site].width for site in here]
            table[here, _BAD] = integers[here, NONFINITE].sum(axis=1)
            table[here, _NAN] = integers[here, NONFINITE.start]
            first = integers[here, NONFINITE_ADDRESS]
            address = np.stack(unpack_address(first), axis=1)
            table[here, _BAD_ADDRESS] = np.where(first[:, None] == NO_ADDRESS, -1.0, address)
            table[here, _MAX : _MIN + 1] = reals[here, EXTREMES]
            keys, addresses = integers[here, TOP_KEYS.start], integers[here, TOP_ADDRESSES.start]
            peaks = np.stack([form.host_values(keys), *unpack_address(addresses >> 1)], axis=1)
            table[here, _PEAK:] = np.where(keys[:, None] < 0, _EMPTY[_PEAK:], peaks)
    return table


def _device_squares(
    fresh: NDArray[np.float64], states: Mapping[int, SiteState], rows: Mapping[torch.device, HostRows]
) -> NDArray[np.float64]:
    """Sums of squares of what is on the devices, float64 [sites]; one copy from each device."""
    squares = np.zeros(len(fresh))
    waiting: dict[torch.device, list[tuple[int, torch.Tensor]]] = {}
    for site, state in states.items():
        if not state.tokens:
            continue
        device, dtype = state.reals.device, state.format.name
        if not len(state.histogram):
            squares[site] = np.nan
        elif dtype == "float32":
            real = rows[device][1][site]
            finite = fresh[site, _TOKENS] * fresh[site, _WIDTH] - fresh[site, _BAD]
            squares[site] = _squares_about_zero(real[POWER_SUMS], real[PIVOT], finite) if finite else 0.0
        elif device.type == "cpu":
            squares[site] = _histogram_squares(state.histogram.numpy(), dtype)
        else:
            magnitudes = state.histogram[:MAGNITUDES] + state.histogram[MAGNITUDES:]
            total = torch.dot(magnitudes.to(torch.float64), _squared_values_on(device, dtype))
            waiting.setdefault(device, []).append((site, total))
    for found in waiting.values():
        squares[[site for site, _ in found]] = torch.stack([total for _, total in found]).cpu().numpy()
    return squares


@cache
def _squared_values(dtype: str) -> NDArray[np.float64]:
    """x^2 of each magnitude pattern, 0 where it is not finite."""
    return np.nan_to_num(magnitude_values(dtype) ** 2, nan=0.0)


@cache
def _squared_values_on(device: torch.device, dtype: str) -> torch.Tensor:
    return torch.from_numpy(_squared_values(dtype)).to(device)
