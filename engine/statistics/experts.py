"""`ExpertTotals`: what the experts of one mixture-of-experts layer saw, as plain numpy arrays that merge.

- `ExpertTotals`  tokens, largest gate and largest input of each expert, with their tokens
- `merge_experts` two totals of one layer, as if measured together
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
    """

    tokens: NDArray[np.int64]
    gate_max: NDArray[np.float32]
    gate_address: NDArray[np.int64]
    input_max: NDArray[np.float32]
    input_address: NDArray[np.int64]

    @classmethod
    def empty(cls, experts: int) -> ExpertTotals:
        """The identity of `merge_experts` for a layer of `experts` experts."""
        return cls(
            tokens=np.zeros(experts, np.int64),
            gate_max=np.full(experts, np.nan, np.float32),
            gate_address=np.full((experts, 2), -1, np.int64),
            input_max=np.full(experts, np.nan, np.float32),
            input_address=np.full((experts, 2), -1, np.int64),
        )

    @property
    def never_hit(self) -> NDArray[np.int64]:
        """Numbers of the experts that saw no token."""
        return np.flatnonzero(self.tokens == 0)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Every array by name (not copied)."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> ExpertTotals:
        """Read what `to_arrays` gave.

        Raises:
            TotalsMismatchError: an array is missing or has another shape than the number of experts asks for.
        """
        missing = [field.name for field in fields(cls) if field.name not in arrays]
        if missing:
            raise TotalsMismatchError(f"expert totals without {', '.join(missing)}: written by another version")
        model = cls.empty(len(arrays["tokens"]))
        found: dict[str, NDArray[Any]] = {}
        for name, expected in model.to_arrays().items():
            if arrays[name].shape != expected.shape:
                raise TotalsMismatchError(f"{name} has shape {arrays[name].shape}, not {expected.shape}")
            found[name] = np.asarray(arrays[name]).astype(expected.dtype, copy=False)
        return cls(**found)


def merge_experts(a: ExpertTotals, b: ExpertTotals) -> ExpertTotals:
    """Two totals of one layer over different tokens, exactly as if measured together.

    Raises:
        TotalsMismatchError: the layers have different numbers of experts.
    """
    if len(a.tokens) != len(b.tokens):
        raise TotalsMismatchError(f"totals of {len(a.tokens)} and {len(b.tokens)} experts cannot be merged")
    gate_max, gate_address = _larger(a.gate_max, a.gate_address, b.gate_max, b.gate_address)
    input_max, input_address = _larger(a.input_max, a.input_address, b.input_max, b.input_address)
    return ExpertTotals(a.tokens + b.tokens, gate_max, gate_address, input_max, input_address)


def _larger(
    a: NDArray[np.float32], where_a: NDArray[np.int64], b: NDArray[np.float32], where_b: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The larger of two maxima per expert, and its address; ties take the lower (sample, position)."""
    earlier = (where_b[:, 0] < where_a[:, 0]) | ((where_b[:, 0] == where_a[:, 0]) & (where_b[:, 1] < where_a[:, 1]))
    take_b = ~np.isnan(b) & (np.isnan(a) | (b > a) | ((b == a) & earlier))
    return np.where(take_b, b, a), np.where(take_b[:, None], where_b, where_a)
