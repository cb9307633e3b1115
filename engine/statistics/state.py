"""What a site's device keeps between two drains: integers, a few float64 sums, and nothing that needs the host.

A *key* is |x| as an integer that sorts as |x| does: the pattern without its sign bit, 15 bits for bfloat16 and
float16, 31 bits for float32; -1 stands for "no finite element". An *address* is one int64 that sorts as
(sample, position, channel) does.

- `DTYPES`, `NumberFormat`   the torch dtypes that are measured, and how their bits are read
- `SiteState`     the arrays of one site on its device, with `new_state`, `reset`, `exchange`
- `INTEGERS`, `REALS`, and the slices into them   the layout of the two scalar rows; `empty_scalars`
- `token_address`, `unpack_address`   addresses in and out
- `state_bytes`   the documented size of a state

`engine.statistics.reading` turns a state into `SiteTotals`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from engine.base.job import Detail
from engine.statistics.counters import CounterLayout, CounterStore
from engine.statistics.totals import CENSUS_LADDER, CENSUS_RUNGS, LOG_BINS, MAGNITUDES, PATTERNS, TOP_K

POSITION_BITS: Final = 22
CHANNEL_BITS: Final = 18
NO_ADDRESS: Final = 2**63 - 1

# The scalar rows. Integers: non-finite counts (NaN, +inf, -inf), their first address, tokens over Sun's thresholds,
# address of the token with the largest ratio, then the top list as (address << 1 | negative) and as keys.
NONFINITE: Final = slice(0, 3)
NONFINITE_ADDRESS: Final = 3
SUN_TOKENS: Final = 4
SUN_ADDRESS: Final = 5
TOP_ADDRESSES: Final = slice(6, 6 + TOP_K)
TOP_KEYS: Final = slice(6 + TOP_K, 6 + 2 * TOP_K)
INTEGERS: Final = 6 + 2 * TOP_K
# Reals: max, min; power sums; ratio count, sum, sum of squares; largest ratio with its max and median; the peak
# token's median; the pivot.
EXTREMES: Final = slice(0, 2)
POWER_SUMS: Final = slice(2, 7)
RATIO_SUMS: Final = slice(7, 10)
SUN_RATIO: Final = slice(10, 13)
PEAK_MEDIAN: Final = 13
PIVOT: Final = 14
REALS: Final = 15


@dataclass(frozen=True, slots=True)
class NumberFormat:
    """How the bits of a dtype are read.

    Attributes:
        name: `bfloat16`, `float16` or `float32`.
        float_type: the torch dtype.
        integer_type: the torch integer of the same size.
        magnitude_mask: all bits but the sign.
        infinity: key of infinity; larger keys are NaN.
        pattern_shift: key or bits to pattern, 16 for float32, else 0.
        ladder: key of each rung of CENSUS_LADDER; the first is Sun's threshold of 100.
    """

    name: str
    float_type: torch.dtype
    integer_type: torch.dtype
    magnitude_mask: int
    infinity: int
    pattern_shift: int
    ladder: tuple[int, ...]

    def values(self, keys: torch.Tensor) -> torch.Tensor:
        """|x| of each key, float64, NaN for -1; a copy on the keys' device."""
        numbers = keys.clamp(min=0).to(self.integer_type).view(self.float_type).to(torch.float64)
        return numbers.masked_fill(keys < 0, torch.nan)

    def host_values(self, keys: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
        """`values` of an array on the host, without torch: a second thread that calls it wakes no pool of its own."""
        bits = np.maximum(keys, 0).astype(np.uint32)
        if self.name == "float16":
            numbers = bits.astype(np.uint16).view(np.float16).astype(np.float64)
        else:
            numbers = (bits << (16 - self.pattern_shift)).view(np.float32).astype(np.float64)
        return np.where(keys < 0, np.nan, numbers)


def _ladder(integer: type[np.generic], float_type: torch.dtype) -> tuple[int, ...]:
    # A rung above the largest number is exceeded by none of them.
    rungs = torch.from_numpy(np.minimum(CENSUS_LADDER, torch.finfo(float_type).max)).to(float_type)
    size = torch.int32 if float_type == torch.float32 else torch.int16
    return tuple(int(key) for key in rungs.view(size).numpy().astype(integer))


DTYPES: Final[dict[torch.dtype, NumberFormat]] = {
    t: NumberFormat(name, t, integer, mask, infinity, shift, _ladder(np.int64, t))
    for name, t, integer, mask, infinity, shift in (
        ("bfloat16", torch.bfloat16, torch.int16, 0x7FFF, 0x7F80, 0),
        ("float16", torch.float16, torch.int16, 0x7FFF, 0x7C00, 0),
        ("float32", torch.float32, torch.int32, 0x7FFFFFFF, 0x7F800000, 16),
    )
}


@dataclass(slots=True, eq=False)
class SiteState:
    """What one site has seen since it was last drained. Every tensor lies on the site's device.

    Attributes:
        format: how the site's numbers are read.
        width: D, elements per token.
        detail: which statistics are kept.
        census: whether token medians (compat: of all tokens) and channel counts are taken.
        integers: int64 [INTEGERS], see the slices of this module.
        reals: float64 [REALS], see the slices of this module.
        histogram: int32 [65536], each pattern of all valid elements; [0] in lean detail.
        token_maxima: int32 [32768], per-token maximum by magnitude pattern.
        log_histogram: int32 [512]; [0] unless float32 in compat detail.
        channel_keys: int32 [D], per-channel largest key, 0 before the first.
        channel_tokens: int32 [16, D], tokens above each rung; [16, 0] without a census.
        sample_keys: int32 [N], per-sample largest key, -1 before the first.
        tokens: rows swept since the last reset; known to the host without asking the device.
        pivot_is_set: whether `reals[PIVOT]` has been chosen; it outlives a reset.
        store: the memory of the counters; two sets of it on the CPU.
        views: a backend's own view of these arrays, made once for each set.
    """

    format: NumberFormat
    width: int
    detail: Detail
    census: bool
    integers: torch.Tensor
    reals: torch.Tensor
    histogram: torch.Tensor
    token_maxima: torch.Tensor
    log_histogram: torch.Tensor
    channel_keys: torch.Tensor
    channel_tokens: torch.Tensor
    sample_keys: torch.Tensor
    store: CounterStore = field(repr=False)
    tokens: int = 0
    pivot_is_set: bool = False
    views: Any = field(default=None, repr=False)

    @property
    def judges_all(self) -> bool:
        """Whether every token's median is taken, not only where the maximum exceeds 100."""
        return self.detail == "compat" and self.census

    def choose_pivot(self, row: torch.Tensor) -> None:
        """Take sums of powers about the mean of this row's finite elements, from now on."""
        seen = row.isfinite()
        total = row.to(torch.float64).masked_fill(~seen, 0).sum()
        self.reals[PIVOT] = total / seen.sum().clamp(min=1)
        self.pivot_is_set = True

    def reset(self) -> None:
        """Back to nothing seen, in place and without waiting for the device; the pivot stays."""
        self.store.clear()
        integers, reals = empty_scalars()
        _overwrite(self.integers, integers)
        _overwrite(self.reals[:PIVOT], reals[:PIVOT])
        self.tokens = 0

    def exchange(self) -> NDArray[np.int32]:
        """Hand over what was counted since the last reset, and count on from nothing; the scalar rows stay.

        On the CPU two sets of counters take turns, which costs nothing: the one handed over must be emptied
        (`CounterLayout.empty`) before the next exchange. On CUDA the copy to the host is only begun: it has arrived
        when what was begun on the device's current stream has ended.

        Returns:
            int32, all counters as `store.layout` divides them, on the host.
        """
        counted, self.views = self.store.exchange(self.views)
        for name, tensor in self.store.arrays.items():
            setattr(self, name, tensor)
        self.tokens = 0
        return counted


@cache
def empty_scalars() -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Int64 [INTEGERS] and float64 [REALS] of a site that has seen nothing; shared, not to be written to."""
    integers, reals = np.zeros(INTEGERS, np.int64), np.zeros(REALS)
    for place in (NONFINITE_ADDRESS, SUN_ADDRESS, TOP_ADDRESSES):
        integers[place] = NO_ADDRESS
    integers[TOP_KEYS] = -1
    reals[EXTREMES] = -np.inf, np.inf
    reals[SUN_RATIO] = -1.0
    reals[PEAK_MEDIAN] = np.nan
    return integers, reals


def _overwrite(tensor: torch.Tensor, values: NDArray[Any]) -> None:
    """Set in place. On the CPU through numpy: waking torch's threads for so little costs more than it saves."""
    if tensor.device.type == "cpu":
        tensor.numpy()[...] = values
    else:
        tensor.copy_(torch.from_numpy(values.copy()), non_blocking=True)


def new_state(
    number_format: NumberFormat,
    width: int,
    samples: int,
    detail: Detail,
    census: bool,
    scalars: tuple[torch.Tensor, torch.Tensor],
) -> SiteState:
    """An empty state on the device of `scalars`, the site's rows (int64 [INTEGERS], float64 [REALS]) of a table."""
    integers, reals = scalars
    counted = detail != "lean"
    logarithmic = detail == "compat" and number_format.name == "float32"

    layout = CounterLayout(
        histogram=PATTERNS if counted else 0,
        token_maxima=MAGNITUDES,
        log_histogram=LOG_BINS if logarithmic else 0,
        channel_keys=width,
        census_width=width if census else 0,
        sample_keys=samples,
    )
    store = CounterStore(layout, integers.device)
    state = SiteState(
        number_format, width, detail, census, integers, reals, **store.arrays, store=store
    )  # fmt: skip
    state.reset()
    return state


def state_bytes(width: int, samples: int, census: bool) -> int:
    """Bytes of one site on its device in the most detailed case; on a CPU the counters are there twice.

    4 (65536 + 32768 + 512 + D + N + 16 D if the census is taken) + 8 (206 + 15): the pattern and token-maximum
    histograms, the log histogram, the channels, the samples, the census, and the two scalar rows.
    """
    counters = PATTERNS + MAGNITUDES + LOG_BINS + width + samples + (CENSUS_RUNGS * width if census else 0)
    return 4 * counters + 8 * (INTEGERS + REALS)


def token_address(sample: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
    """Address of a token: sample << 22 | position, int64."""
    return (sample.to(torch.int64) << POSITION_BITS) | position


def unpack_address(address: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """(sample, position, channel) of element addresses `token << 18 | channel`."""
    token, channel = address >> CHANNEL_BITS, address & (1 << CHANNEL_BITS) - 1
    return token >> POSITION_BITS, token & (1 << POSITION_BITS) - 1, channel
