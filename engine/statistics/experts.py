"""`ExpertTotals`: what the experts of one mixture-of-experts layer saw, as plain numpy arrays that merge.

- `ExpertTotals`  tokens, largest gate and largest input of each expert, with their tokens
- `merge_experts` two totals of one layer, as if measured together
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.statistics.declared import array, declared, empty_arrays, read_arrays
from engine.statistics.totals import TotalsMismatchError


@dataclass(frozen=True, slots=True, eq=False)
class ExpertTotals:
    """The sufficient statistics of one MoE layer with E experts. Population: valid (token, expert) pairs.

    A pair whose row holds a NaN or an infinity counts in `tokens` and takes no part in that maximum; the expert
    sites' own totals count such elements.

    Attributes:
        tokens: int64 [E], valid tokens routed to each expert; 0 marks an expert never hit.
        gate_max: float32 [E], largest |gate pre-activation| of each expert, NaN before the first.
        gate_address: int64 [E, 2], (sample, position) of that token, the lowest among ties; -1 before the first.
        input_max: float32 [E], largest |x| of the rows routed to each expert, NaN before the first.
        input_address: int64 [E, 2], (sample, position) of that token, the lowest among ties; -1 before the first.
        missing: the arrays that the session does not hold; see `SiteTotals`.
    """

    tokens: NDArray[np.int64] = field(metadata=array(("E",), "i8", 0, "add", "the tokens of experts", "tokens"))
    gate_max: NDArray[np.float32] = field(
        metadata=array(("E",), "f4", np.nan, "maximum of seen", "the gates of experts", "activation")
    )
    gate_address: NDArray[np.int64] = field(
        metadata=array(("E", 2), "i8", -1, "with the maximum", "where the gates of experts are largest")
    )
    input_max: NDArray[np.float32] = field(
        metadata=array(("E",), "f4", np.nan, "maximum of seen", "the inputs of experts", "activation")
    )
    input_address: NDArray[np.int64] = field(
        metadata=array(("E", 2), "i8", -1, "with the maximum", "where the inputs of experts are largest")
    )
    missing: frozenset[str] = frozenset()

    @classmethod
    def empty(cls, experts: int) -> ExpertTotals:
        """The identity of `merge_experts` for a layer of `experts` experts."""
        return cls(**empty_arrays(cls, {"E": experts}))

    @property
    def never_hit(self) -> NDArray[np.int64]:
        """Numbers of the experts that saw no token."""
        return np.flatnonzero(self.tokens == 0)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Every array that was measured, by name (not copied)."""
        return {name: getattr(self, name) for name in declared(ExpertTotals) if name not in self.missing}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> ExpertTotals:
        """Read what `to_arrays` gave; an array that is not there was not measured.

        Raises:
            UnsoundError: an array has another shape than the number of experts asks for.
        """
        found, missing = read_arrays(cls, arrays, {})
        return cls(**found, missing=missing)


def merge_experts(a: ExpertTotals, b: ExpertTotals) -> ExpertTotals:
    """Two totals of one layer over different tokens, exactly as if measured together.

    Raises:
        TotalsMismatchError: the layers have different numbers of experts.
    """
    if len(a.tokens) != len(b.tokens):
        raise TotalsMismatchError(f"totals of {len(a.tokens)} and {len(b.tokens)} experts cannot be merged")
    gate_max, gate_address = _larger(a.gate_max, a.gate_address, b.gate_max, b.gate_address)
    input_max, input_address = _larger(a.input_max, a.input_address, b.input_max, b.input_address)
    missing = a.missing | b.missing
    return ExpertTotals(a.tokens + b.tokens, gate_max, gate_address, input_max, input_address, missing)


def _larger(
    a: NDArray[np.float32], where_a: NDArray[np.int64], b: NDArray[np.float32], where_b: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The larger of two maxima per expert, and its address; ties take the lower (sample, position)."""
    earlier = (where_b[:, 0] < where_a[:, 0]) | ((where_b[:, 0] == where_a[:, 0]) & (where_b[:, 1] < where_a[:, 1]))
    take_b = ~np.isnan(b) & (np.isnan(a) | (b > a) | ((b == a) & earlier))
    return np.where(take_b, b, a), np.where(take_b[:, None], where_b, where_a)
