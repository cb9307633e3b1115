"""A site's state as the compiled sweep sees it: numpy arrays over the tensors' memory.

- `SiteViews`   made once for each state
- `Bits`        a tensor's numbers as signed integers of their size
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.statistics.patterns import LOG_EDGES, log_bin_of, magnitude_values
from engine.statistics.state import SiteState
from engine.statistics.totals import LOG_BINS, MAGNITUDES

Bits = NDArray[np.signedinteger[Any]]


@dataclass(frozen=True, slots=True)
class SiteViews:
    """A state's tensors as numpy arrays over the same memory, and the constants of its format.

    Attributes:
        form: int64 (magnitude mask, infinity, pattern shift, key of 100).
        ladder: int64 [16], key of each rung.
        what: int64 (1 to count patterns, 1 to count log bins, 1 to judge rows above 100 or 2 to judge all).
        table: |x| of each key, and NaN in the last place, where key -1 finds it; None for float32.
        edges: int32 [2, 32768], for each magnitude pattern the bin of its lowest number and the key where that bin
            ends; None for 16-bit formats.
        sums: whether sums of powers are taken.
    """

    integers: NDArray[np.int64]
    reals: NDArray[np.float64]
    histogram: NDArray[np.int32]
    token_maxima: NDArray[np.int32]
    log_histogram: NDArray[np.int32]
    channel_keys: NDArray[np.int32]
    channel_tokens: NDArray[np.int32]
    sample_keys: NDArray[np.int32]
    form: NDArray[np.int64]
    ladder: NDArray[np.int64]
    what: NDArray[np.int64]
    table: NDArray[np.float64] | None
    edges: NDArray[np.int32] | None
    sums: bool

    @classmethod
    def of(cls, state: SiteState) -> SiteViews:
        """The views of a state on the CPU."""
        form = state.format
        counted = state.detail != "lean"
        wide = form.name == "float32"
        judged = 0 if not counted else 2 if state.judges_all else 1
        return cls(
            integers=state.integers.numpy(),
            reals=state.reals.numpy(),
            histogram=state.histogram.numpy(),
            token_maxima=state.token_maxima.numpy(),
            log_histogram=state.log_histogram.numpy(),
            channel_keys=state.channel_keys.numpy(),
            channel_tokens=state.channel_tokens.numpy(),
            sample_keys=state.sample_keys.numpy(),
            form=np.array([form.magnitude_mask, form.infinity, form.pattern_shift, form.ladder[0]], np.int64),
            ladder=np.array(form.ladder, np.int64),
            what=np.array([counted, len(state.log_histogram) > 0, judged], np.int64),
            table=None if wide else _table(form.name),
            edges=_log_cells() if wide else None,
            sums=counted and wide,
        )

    def values(self, keys: NDArray[np.int64]) -> NDArray[np.float64]:
        """|x| of each key, NaN for -1."""
        if self.table is not None:
            return np.asarray(self.table[keys])
        # As an int32 pattern -1 is a NaN.
        return keys.astype(np.int32).view(np.float32).astype(np.float64)


@cache
def _table(dtype: str) -> NDArray[np.float64]:
    """|x| of each key, and NaN in the last place, where key -1 finds it."""
    return np.append(magnitude_values(dtype), np.nan)


@cache
def _log_cells() -> NDArray[np.int32]:
    """For each float32 magnitude pattern the bin of its lowest number and the key where that bin ends, [2, 32768]."""
    keys = np.arange(MAGNITUDES, dtype=np.int64) << 16
    with np.errstate(invalid="ignore"):
        lowest = keys.astype(np.int32).view(np.float32).astype(np.float64)
    bins = log_bin_of(np.nan_to_num(lowest, nan=1.0, posinf=1.0))
    ends = LOG_EDGES[1:LOG_BINS]
    near = ends.astype(np.float32)
    above = np.where(near < ends, np.nextafter(near, np.float32(np.inf)), near).view(np.int32)
    return np.stack([bins.astype(np.int32), np.append(above, np.int32(2**31 - 1))[bins]])
