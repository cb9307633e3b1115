"""What a site's device keeps between two drains: integers, a few float64 sums, and nothing that needs the host.

A *key* is |x| as an integer that sorts as |x| does: the pattern without its sign bit, 15 bits for bfloat16 and
float16, 31 bits for float32; -1 stands for "no finite element". An *address* is one int64 that sorts as
(sample, position, channel) does.

- `DTYPES`, `NumberFormat`   the torch dtypes that are measured, and how their bits are read
- `SiteState`     the arrays of one site on its device, with `new_state`, `reset`
- `INTEGERS`, `REALS`, and the slices into them   the layout of the two scalar rows
- `token_address`, `unpack_address`   addresses in and out
- `state_bytes`   the documented size of a state
- `read_state`    a copy on the host, as `SiteTotals`
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from engine.job import Detail
from engine.statistics.totals import (
    CENSUS_LADDER,
    CENSUS_RUNGS,
    LOG_BINS,
    MAGNITUDES,
    NOWHERE,
    PATTERNS,
    TOP_DTYPE,
    TOP_K,
    SiteTotals,
)

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
        """`values` of an array on the host."""
        return np.asarray(self.values(torch.from_numpy(np.ascontiguousarray(keys))).numpy(), np.float64)


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
        tokens: rows swept since the last drain; known to the host without asking the device.
        pivot_is_set: whether `reals[PIVOT]` has been chosen; it outlives a reset.
        views: a backend's own view of these arrays, made once.
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
        """Back to nothing seen, in place and without waiting for the device."""
        for tensor in (self.histogram, self.token_maxima, self.log_histogram, self.channel_keys, self.channel_tokens):
            _fill(tensor, 0)
        _fill(self.sample_keys, -1)
        _fill(self.integers, 0)
        for place in (NONFINITE_ADDRESS, SUN_ADDRESS, TOP_ADDRESSES):
            _fill(self.integers[place], NO_ADDRESS)
        _fill(self.integers[TOP_KEYS], -1)
        _fill(self.reals[:PIVOT], 0.0)
        _fill(self.reals[EXTREMES.start], -np.inf)
        _fill(self.reals[EXTREMES.start + 1], np.inf)
        _fill(self.reals[SUN_RATIO], -1.0)
        _fill(self.reals[PEAK_MEDIAN], np.nan)
        self.tokens = 0


def _fill(tensor: torch.Tensor, value: float) -> None:
    """Fill in place. On the CPU through numpy: waking torch's threads for so little costs more than it saves."""
    if tensor.device.type == "cpu":
        tensor.numpy().fill(value)
    else:
        tensor.fill_(value)


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

    def zeros(*shape: int) -> torch.Tensor:
        return torch.zeros(shape, dtype=torch.int32, device=integers.device)

    state = SiteState(
        format=number_format,
        width=width,
        detail=detail,
        census=census,
        integers=integers,
        reals=reals,
        histogram=zeros(PATTERNS if counted else 0),
        token_maxima=zeros(MAGNITUDES),
        log_histogram=zeros(LOG_BINS if logarithmic else 0),
        channel_keys=zeros(width),
        channel_tokens=zeros(CENSUS_RUNGS, width if census else 0),
        sample_keys=zeros(samples),
    )
    state.reset()
    return state


def state_bytes(width: int, samples: int, census: bool) -> int:
    """Bytes of one site on its device in the most detailed case.

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


def read_state(state: SiteState) -> SiteTotals:
    """What the site has seen since its last reset, copied to the host; this waits for the device."""
    host = {
        name: getattr(state, name).cpu().numpy()
        for name in ("integers", "reals", "histogram", "token_maxima", "log_histogram", "channel_keys",
                     "channel_tokens", "sample_keys")
    }  # fmt: skip
    # On the CPU these are the state's own arrays, so every field below is a copy.
    integers, reals, form = host["integers"], host["reals"], state.format
    nothing = SiteTotals.empty(form.name, state.width, len(host["sample_keys"]), census=state.census)
    address = int(integers[NONFINITE_ADDRESS])
    finite = state.tokens * state.width - int(integers[NONFINITE].sum())
    summed = form.name == "float32" and state.detail != "lean"
    return SiteTotals(
        dtype=form.name,
        width=state.width,
        tokens=np.asarray(state.tokens, np.int64),
        histogram=_counts(host["histogram"], nothing.histogram),
        extremes=reals[EXTREMES].copy(),
        pivot=np.asarray(reals[PIVOT] if summed and finite else np.nan),
        power_sums=reals[POWER_SUMS].copy(),
        log_histogram=_counts(host["log_histogram"], nothing.log_histogram),
        nonfinite=integers[NONFINITE].copy(),
        nonfinite_address=NOWHERE.copy() if address == NO_ADDRESS else np.stack(unpack_address(np.asarray(address))),
        token_maxima=host["token_maxima"].astype(np.int64),
        channel_max=form.host_values(host["channel_keys"]).astype(np.float32),
        channel_tokens=host["channel_tokens"].astype(np.int64),
        sample_max=form.host_values(host["sample_keys"]).astype(np.float32),
        top=_read_top(integers, form),
        peak_median=np.asarray(reals[PEAK_MEDIAN]),
        sun_tokens=np.asarray(integers[SUN_TOKENS]),
        sun_ratio=_read_sun(integers, reals),
        ratio_sums=reals[RATIO_SUMS].copy(),
    )


def _counts(found: NDArray[np.int32], nothing: NDArray[np.int64]) -> NDArray[np.int64]:
    return found.astype(np.int64) if len(found) else nothing


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
