"""Quantiser errors on the CPU by compiled code, shared among torch's threads.

- `compiled_errors`   the instance
- `CompiledErrors`    `add_errors` as `engine.statistics.quantisers` has it, and `prepare`
"""

from __future__ import annotations

import threading
from functools import cache
from typing import Any, Final

import numpy as np
import torch

from engine.statistics.backends.numba_ import keep_compiled_code, on_threads, worthwhile_threads
from engine.statistics.pass_sums import SUM_FIELDS
from engine.statistics.quantisers import Calibration, add_errors

_WIDENING: Final = {torch.bfloat16: (torch.int16, 16), torch.float32: (torch.int32, 0)}
_SIGNAL_COLUMNS: Final = [SUM_FIELDS.index(name) for name in ("signal_squares", "absolute_signal", "elements")]
_ERROR_COLUMNS: Final = [
    SUM_FIELDS.index(name) for name in ("squared_error", "absolute_error", "clipped_squares", "clipped")
]


class CompiledErrors:
    """All schemes in one read of the rows. One call at a time, which a lock sees to: its buffers are shared.

    A scheme without a kernel is left to torch.
    """

    def __init__(self) -> None:
        keep_compiled_code()
        from engine.statistics.backends import numba_quantisers

        self._kernels: Any = numba_quantisers
        self._turn = threading.Lock()
        self._spaces: dict[tuple[int, int], list[Any]] = {}
        self._programs: dict[int, tuple[Calibration, Any]] = {}

    def prepare(self) -> None:
        """Compile, or read what an earlier run compiled."""
        calibration = Calibration.of(np.ones(2, np.float32), np.ones(2, np.float32), torch.device("cpu"))
        for dtype in _WIDENING:
            table = torch.zeros(len(calibration.schemes), len(SUM_FIELDS), dtype=torch.float64)
            self.add_errors(table, torch.tensor([[1.0, -2.0]], dtype=dtype), calibration, None)

    def add_errors(
        self, table: torch.Tensor, x: torch.Tensor, calibration: Calibration, index: torch.Tensor | None
    ) -> None:
        """Add the errors of every scheme on the rows `index` of x; see `engine.statistics.quantisers.add_errors`."""
        if x.dtype not in _WIDENING:
            x = x.to(torch.float32)
        program = self._program_of(calibration)
        with self._turn:
            left = self._sweep(table.numpy(), x, program, index)
        if left.any():
            add_errors(table, x[_chosen(left, index)], calibration)
        others = [place for place in range(len(calibration.schemes)) if place not in program.places]
        if others and not left.all():
            rows = x if index is None and not left.any() else x[_chosen(~left, index)]
            sums = torch.zeros(len(others), table.shape[1], dtype=table.dtype)
            add_errors(sums, rows, calibration.only(tuple(calibration.schemes[place] for place in others)))
            table[others] += sums

    def _sweep(self, table: Any, x: torch.Tensor, program: Any, index: torch.Tensor | None) -> Any:
        """Sweep what float32 sums can hold; says which rows they cannot."""
        integer, shift = _WIDENING[x.dtype]
        bits = x.view(integer).numpy()
        rows = np.zeros(0, np.int64) if index is None else index.numpy()
        count = len(bits) if index is None else len(rows)
        left = np.zeros(count, np.bool_)
        threads = worthwhile_threads(bits.size)
        spaces = self._spaces.setdefault((bits.shape[1], len(table)), [])
        while len(spaces) < threads:
            spaces.append(self._kernels.Workspace.of(bits.shape[1], len(table)))

        def sweep(number: int, team: int) -> None:
            first, last = count * number // team, count * (number + 1) // team
            self._kernels.sweep_rows(
                first, last, bits, rows, shift, *program.arguments(), left, *spaces[number].buffers()
            )

        on_threads(threads, sweep)
        places = np.array(program.places, np.int64)
        for space in spaces[:threads]:
            table[:, _ERROR_COLUMNS] += space.errors
            table[places[:, None], _SIGNAL_COLUMNS[:2]] += space.signal
            space.errors.fill(0)
            space.signal.fill(0)
        table[places, _SIGNAL_COLUMNS[2]] += (count - int(left.sum())) * bits.shape[1]
        return left

    def _program_of(self, calibration: Calibration) -> Any:
        """A calibration as the kernels take it; kept as long as this instance, which a run's sites are, too."""
        known = self._programs.get(id(calibration))
        if known is None or known[0] is not calibration:
            known = (
                calibration,
                self._kernels.Program.of(
                    calibration.schemes,
                    calibration.channel_max.numpy(),
                    calibration.smoothing.numpy(),
                    np.float32(calibration.tensor_scale.numpy()),
                ),
            )
            self._programs[id(calibration)] = known
        return known[1]


def _chosen(rows: Any, index: torch.Tensor | None) -> torch.Tensor:
    """Row numbers of x, of those rows that count and are marked."""
    marked = torch.from_numpy(np.flatnonzero(rows))
    return marked if index is None else index[marked]


@cache
def compiled_errors() -> CompiledErrors:
    """The shared instance."""
    return CompiledErrors()
