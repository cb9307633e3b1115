"""`ExpertMeter`: the expert statistics of every MoE layer, kept on the device, updated without a host sync.

- `ExpertMeter`  begin_batch, record, set_aside, absorb, drain, discard, totals, load
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from engine.sites.experts import ExpertRows
from engine.statistics.experts import ExpertTotals, merge_experts
from engine.statistics.rows import ADDRESS_LIMIT

_LOW = (1 << 32) - 1


@dataclass(slots=True)
class _Maxima:
    """Running maxima of one quantity over the experts of a layer, on the device.

    Attributes:
        bits: int64 [E], the float32 pattern of the largest |x|, which orders like its value; -1 before the first.
        address: int64 [E], sample * ADDRESS_LIMIT + position of its token; -1 before the first.
    """

    bits: torch.Tensor
    address: torch.Tensor

    @classmethod
    def empty(cls, experts: int, device: torch.device) -> _Maxima:
        nothing = torch.full((experts,), -1, dtype=torch.int64, device=device)
        return cls(nothing, nothing)

    def update(self, values: torch.Tensor, rows: ExpertRows, address: torch.Tensor) -> None:
        """Take in |x| maxima, float32 [S], of rows; tokens of negative address and non-finite maxima are left out."""
        valid = (address[rows.token_index] >= 0) & torch.isfinite(values)
        # The larger value wins; among equal ones the lower token, which is the lower address within a batch.
        key = (values.view(torch.int32).to(torch.int64) << 32) | (_LOW - rows.token_index)
        key = torch.where(valid, key, -1)
        best = torch.full_like(self.bits, -1).scatter_reduce(0, rows.expert_index, key, "amax")
        found = address[(_LOW - (best & _LOW)).clamp(0, address.numel() - 1)]
        bits = best >> 32
        better = (bits > self.bits) | ((bits == self.bits) & (best >= 0) & (found < self.address))
        self.bits = torch.where(better, bits, self.bits)
        self.address = torch.where(better, found, self.address)

    def read(self) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """(maxima float32 [E], addresses int64 [E, 2]) on the host; this waits for the device."""
        bits, address = self.bits.to("cpu").numpy(), self.address.to("cpu").numpy()
        seen = bits >= 0
        maxima = np.where(seen, np.maximum(bits, 0).astype(np.uint32).view(np.float32), np.nan)
        places = np.stack([address // ADDRESS_LIMIT, address % ADDRESS_LIMIT], axis=1)
        return maxima.astype(np.float32), np.where(seen[:, None], places, -1)


@dataclass(slots=True)
class _Layer:
    """The state of one MoE layer since the last `drain`."""

    tokens: torch.Tensor
    gate: _Maxima
    input: _Maxima


class ExpertMeter:
    """Expert statistics of all MoE layers of a run, each on the device where its rows are.

    A layer goes by the number of its first expert site. `record` is what `attach` takes as `expert_rows`.
    """

    def __init__(self) -> None:
        self._layers: dict[int, _Layer] = {}
        self._aside: dict[int, _Layer] = {}
        self._totals: dict[int, ExpertTotals] = {}
        self._index: NDArray[np.int64] | None = None
        self._address: NDArray[np.int64] = np.zeros(0, np.int64)
        self._on: dict[tuple[torch.device, int], torch.Tensor] = {}

    @property
    def layers(self) -> tuple[int, ...]:
        """Numbers of the layers seen so far, ascending."""
        return tuple(sorted({*self._layers, *self._aside, *self._totals}))

    @property
    def saved_layers(self) -> tuple[int, ...]:
        """Numbers of the layers that have totals, ascending."""
        return tuple(sorted(self._totals))

    def begin_batch(
        self,
        index: NDArray[np.integer[Any]] | None,
        sample: NDArray[np.integer[Any]],
        position: NDArray[np.integer[Any]],
    ) -> None:
        """Say whose rows the next forward holds; the same arguments as `Meter.begin_batch`."""
        self._index = None if index is None else np.asarray(index, np.int64)
        self._address = np.asarray(sample, np.int64) * ADDRESS_LIMIT + np.asarray(position, np.int64)
        self._on = {}

    def record(self, layer: int, rows: ExpertRows) -> None:
        """Take in the rows of one layer, whose number is that of its first expert site."""
        device = rows.expert_index.device
        state = self._layers.get(layer)
        if state is None:
            nothing = torch.zeros(rows.experts, dtype=torch.int64, device=device)
            state = _Layer(nothing, _Maxima.empty(rows.experts, device), _Maxima.empty(rows.experts, device))
            self._layers[layer] = state
        address = self._address_on(device, rows.tokens.shape[0])
        valid = (address[rows.token_index] >= 0).to(torch.int64)
        state.tokens = state.tokens + torch.zeros_like(state.tokens).scatter_add(0, rows.expert_index, valid)
        largest = rows.tokens.abs().amax(dim=-1).to(torch.float32)
        state.input.update(largest[rows.token_index], rows, address)
        if rows.gate is not None:
            state.gate.update(rows.gate.abs().amax(dim=-1).to(torch.float32), rows, address)

    def set_aside(self) -> None:
        """Put what was recorded aside for `absorb`, and record on from nothing."""
        self._aside, self._layers = self._layers, {}

    def absorb(self) -> None:
        """Add what was set aside to the totals; waits for the devices. Any one thread may, while others record."""
        for layer, state in self._aside.items():
            gate_max, gate_address = state.gate.read()
            input_max, input_address = state.input.read()
            tokens = state.tokens.to("cpu").numpy().copy()
            fresh = ExpertTotals(tokens, gate_max, gate_address, input_max, input_address)
            held = self._totals.get(layer)
            self._totals[layer] = fresh if held is None else merge_experts(held, fresh)
        self._aside = {}

    def drain(self) -> None:
        """Move what the devices hold into the totals, at once; this waits for them."""
        self.set_aside()
        self.absorb()

    def discard(self) -> None:
        """Forget everything recorded since the last `set_aside` or `drain`."""
        self._layers = {}

    def totals(self, layer: int) -> ExpertTotals | None:
        """What a layer holds as of the last `absorb`; None if it has seen nothing."""
        return self._totals.get(layer)

    def load(self, layer: int, totals: ExpertTotals) -> None:
        """Continue from the totals of an earlier run."""
        self._totals[layer] = totals

    def _address_on(self, device: torch.device, places: int) -> torch.Tensor:
        """int64 [places], the address of each place of the batch, -1 for padding; uploaded once per batch."""
        known = self._on.get((device, places))
        if known is None:
            host = np.full(places, -1, np.int64)
            host[slice(None) if self._index is None else self._index] = self._address
            tensor = torch.from_numpy(host)
            if device.type == "cuda":
                tensor = tensor.pin_memory()
            known = self._on[device, places] = tensor.to(device, non_blocking=True)
        return known
