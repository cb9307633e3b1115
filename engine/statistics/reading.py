"""From the state of a site, as its device left it, to `SiteTotals`. Needs no torch once the arrays are on the host.

- `read_state`  a copy on the host; waits for the device
- `Aside`       what was put aside of a site, to be added up later, in another thread
- `put_aside`   exchange a state's counters for empty ones
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.statistics.counters import CounterLayout
from engine.statistics.state import (
    EXTREMES,
    NO_ADDRESS,
    NONFINITE,
    NONFINITE_ADDRESS,
    PEAK_MEDIAN,
    PIVOT,
    POSITION_BITS,
    POWER_SUMS,
    RATIO_SUMS,
    SUN_ADDRESS,
    SUN_RATIO,
    SUN_TOKENS,
    TOP_ADDRESSES,
    TOP_KEYS,
    NumberFormat,
    SiteState,
    unpack_address,
)
from engine.statistics.totals import LOG_BINS, NOWHERE, PATTERNS, TOP_DTYPE, SiteTotals, merge


@dataclass(frozen=True, slots=True, eq=False)
class Aside:
    """What one site saw between two resets, on the host.

    Attributes:
        format: how its numbers are read.
        width: D, elements per token.
        tokens: rows swept.
        sums: whether power sums were taken.
        integers: int64 [INTEGERS], its scalar row.
        reals: float64 [REALS], its scalar row.
        layout: how `counters` is divided.
        counters: int32, all counters in one.
    """

    format: NumberFormat
    width: int
    tokens: int
    sums: bool
    integers: NDArray[np.int64]
    reals: NDArray[np.float64]
    layout: CounterLayout
    counters: NDArray[np.int32]

    def totals(self) -> SiteTotals:
        """As totals to be merged at once: their counts are `counters` itself, in 32 bits, where that saves a copy."""
        integers, reals, form = self.integers, self.reals, self.format
        counts = self.layout.split_host(self.counters)
        finite = self.tokens * self.width - int(integers[NONFINITE].sum())
        address = int(integers[NONFINITE_ADDRESS])
        return SiteTotals(
            dtype=form.name,
            width=self.width,
            tokens=np.asarray(self.tokens, np.int64),
            histogram=_counts(counts["histogram"], PATTERNS),
            extremes=reals[EXTREMES].copy(),
            pivot=np.asarray(reals[PIVOT] if self.sums and finite else np.nan),
            power_sums=reals[POWER_SUMS].copy(),
            log_histogram=_counts(counts["log_histogram"], LOG_BINS),
            nonfinite=integers[NONFINITE].copy(),
            nonfinite_address=NOWHERE.copy()
            if address == NO_ADDRESS
            else np.stack(unpack_address(np.asarray(address))),
            token_maxima=_counts(counts["token_maxima"], 0),
            channel_max=form.host_values(counts["channel_keys"]).astype(np.float32),
            channel_tokens=_counts(counts["channel_tokens"], 0),
            sample_max=form.host_values(counts["sample_keys"]).astype(np.float32),
            top=_read_top(integers, form),
            peak_median=np.asarray(reals[PEAK_MEDIAN]),
            sun_tokens=np.asarray(integers[SUN_TOKENS]),
            sun_ratio=_read_sun(integers, reals),
            ratio_sums=reals[RATIO_SUMS].copy(),
        )

    def clear(self) -> None:
        """Empty the counters for their next turn; totals made from them are void."""
        self.layout.empty(self.counters)


def put_aside(state: SiteState, integers: NDArray[np.int64], reals: NDArray[np.float64]) -> Aside:
    """Exchange the counters of a state for empty ones, see `SiteState.exchange`.

    Args:
        state: whose scalar rows are left to the caller.
        integers: int64 [INTEGERS], a copy of its row on the host.
        reals: float64 [REALS], likewise.
    """
    tokens = state.tokens
    counters = state.exchange()
    return Aside(state.format, state.width, tokens, _has_sums(state), integers, reals, state.store.layout, counters)


def read_state(state: SiteState) -> SiteTotals:
    """What the site has seen since its last reset, copied to the host; this waits for the device."""
    # On the CPU these are the state's own arrays.
    integers, reals, counters = (t.cpu().numpy().copy() for t in (state.integers, state.reals, state.store.flat))
    layout = state.store.layout
    found = Aside(state.format, state.width, state.tokens, _has_sums(state), integers, reals, layout, counters).totals()
    empty = SiteTotals.empty(found.dtype, found.width, layout.sample_keys, census=state.census)
    return merge(empty, found, reuse=True)


def _has_sums(state: SiteState) -> bool:
    return state.format.name == "float32" and state.detail != "lean"


def _counts(found: NDArray[np.int32], missing: int) -> NDArray[np.int64]:
    # Added to 64-bit integers they become such; only the merge sees these.
    return found.view() if found.size or not missing else np.zeros(missing, np.int64)  # type: ignore[return-value]


def _read_top(integers: NDArray[np.int64], form: NumberFormat) -> NDArray[np.void]:
    keys, packed = integers[TOP_KEYS], integers[TOP_ADDRESSES]
    kept = keys >= 0
    top = np.zeros(int(kept.sum()), TOP_DTYPE)
    magnitude = form.host_values(keys[kept])
    top["value"] = np.where(packed[kept] & 1, -magnitude, magnitude)
    top["sample"], top["position"], top["channel"] = unpack_address(packed[kept] >> 1)
    return top


def _read_sun(integers: NDArray[np.int64], reals: NDArray[np.float64]) -> NDArray[np.float64]:
    address = int(integers[SUN_ADDRESS])
    if address == NO_ADDRESS:
        return np.full(5, -1.0)
    return np.array([*reals[SUN_RATIO], address >> POSITION_BITS, address & (1 << POSITION_BITS) - 1])
