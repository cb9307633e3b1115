"""The sweep in Triton, for CUDA: six kernels a tensor, nothing read back, the same integers as torch's.

| kernel | reads | leaves |
|---|---|---|
| `sweep_usual`, `sweep_flagged` | the tensor, once | maxima of rows and channels, pattern counts, non-finite ones |
| `judge_tokens` | row maxima, rows above 100 | token and sample maxima, medians, the channel census |
| `choose_rows`, `collect_elements` | row maxima, at most 100 rows | candidates for the top list |
| `conclude` | what the others left | the top list, Sun's criterion, signed extremes |

The kernels are checked in Triton's interpreter and compiled for sm_90 without a GPU; their speed is not measured.

- `backend`         the instance `choose_backend` hands out
- `TritonBackend`   the sweep, and `prepare` to compile it beforehand
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Final

import torch
import triton

from engine.statistics.backends.torch_ import log_edge_keys
from engine.statistics.backends.triton_log_bins import count_log_bins
from engine.statistics.backends.triton_sweep import sweep_flagged, sweep_usual
from engine.statistics.backends.triton_tokens import judge_tokens
from engine.statistics.backends.triton_top import choose_rows, collect_elements, conclude
from engine.statistics.rows import Rows
from engine.statistics.state import DTYPES, INTEGERS, PIVOT, REALS, SiteState, new_state
from engine.statistics.totals import TOP_K

# A program's own pattern counters, per sign: 32 binades of bfloat16. Those that would cover as much of float16 do not
# fit in registers, so its patterns are counted in memory.
WINDOWS: Final = {"bfloat16": 4096, "float16": 0, "float32": 4096}
TILE_BYTES: Final = 8192
BLOCK: Final = 1024
TOKEN_ROWS: Final = 16
CANDIDATES: Final = TOP_K * 128


class TritonBackend:
    """The sweep in Triton; it keeps nothing between calls."""

    name = "triton"

    def sweep(self, state: SiteState, x: torch.Tensor, rows: Rows) -> None:
        """See `engine.statistics.backends.Backend`."""
        with torch.cuda.device_of(x):
            _Sweep(state, x, rows).run()

    def prepare(self) -> None:
        """Compile the kernels for bfloat16 and the default detail on the current device, by sweeping a small tensor."""
        device = torch.device("cuda", torch.cuda.current_device())
        x = torch.ones((32, 256), dtype=torch.bfloat16, device=device)
        numbers = torch.arange(len(x), dtype=torch.int32, device=device)
        scalars = (
            torch.zeros(INTEGERS, dtype=torch.int64, device=device),
            torch.zeros(REALS, dtype=torch.float64, device=device),
        )
        state = new_state(DTYPES[x.dtype], x.shape[1], 1, "standard", True, scalars)
        for index in (None, numbers.to(torch.int64)):
            self.sweep(state, x, Rows(index, torch.zeros_like(numbers), numbers))


@cache
def backend() -> TritonBackend:
    """The shared instance; it keeps nothing between calls."""
    return TritonBackend()


@cache
def _multiprocessors(device: torch.device) -> int:
    # Triton's interpreter runs programs one after the other: two show that they work together.
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 1


def launch(kernel: Any, grid: tuple[int, ...], arguments: Mapping[str, Any], constants: Mapping[str, Any]) -> None:
    """Queue a kernel on the current stream; tensors and sizes by name, then what it is compiled for."""
    # Only float64 sums are added up; without fused products they round alike whatever the compiler's default is.
    kernel[grid](**arguments, **constants, enable_fp_fusion=False)


class _Sweep:
    """One call: the kernels in their order, and the memory they hand to each other."""

    def __init__(self, state: SiteState, x: torch.Tensor, rows: Rows) -> None:
        self.state = state
        self.device = x.device
        self.counted = state.detail != "lean"
        self.powered = self.counted and state.format.name == "float32"
        if self.powered and not state.pivot_is_set:
            state.choose_pivot(x[0] if rows.index is None else x.index_select(0, rows.index[:1])[0])
        count, width = len(rows.sample), state.width
        # Narrow chunks waste less of a width that is no multiple of the wide ones.
        self.columns = 256 if width % 256 == 0 else 64
        self.chunks = triton.cdiv(width, self.columns)
        # Two programs with their counters fill a multiprocessor's registers; without them more can hide the memory.
        wanted = _multiprocessors(x.device) * (2 if self.counted else 6)
        self.tile_rows = TILE_BYTES // (x.element_size() * self.columns)
        self.tiles = triton.cdiv(count, self.tile_rows)
        self.strides = min(triton.cdiv(wanted, self.chunks), self.tiles)
        self.rows = {"x": x.view(state.format.integer_type), "index": rows.sample if rows.index is None else rows.index}
        self.whose = {"sample": rows.sample, "position": rows.position}
        self.sizes = {"count": count, "width": width}
        self.kind = {"INFINITY": state.format.infinity, "INDEXED": rows.index is not None}
        programs = self.chunks * self.strides
        self.row_maxima = self._empty(self.chunks, count)
        self.extremes = self._empty(programs, 2)
        self.powers = self._empty(programs if self.powered else 0, 8, dtype=torch.float64)
        self.row_keys = self._empty(count)
        self.medians = self._empty(count if self.counted else 0)

    def run(self) -> None:
        """Launch everything."""
        self._read_tensor()
        self._judge_tokens()
        self._update_top()
        self.state.tokens += self.sizes["count"]

    def _read_tensor(self) -> None:
        state = self.state
        left = {
            "row_maxima": self.row_maxima,
            "flags": self._empty(self.chunks, self.tiles, dtype=torch.int8),
            "flagged": self._empty(len(self.extremes)),
            "extremes": self.extremes,
            "powers": self.powers,
            "pivot": state.reals[PIVOT],
            "channel_keys": state.channel_keys,
            "histogram": state.histogram,
        }
        grid = (self.chunks, self.strides)
        kind = {**self.kind, "ROWS": self.tile_rows, "COLUMNS": self.columns, "num_warps": 8}
        window = WINDOWS[state.format.name] if self.counted else 0
        in_memory = self.counted and not window
        if not in_memory:
            usual = {**kind, "WINDOW": window, "POWERED": self.powered}
            launch(sweep_usual, grid, {**self.rows, **self.sizes, **left}, usual)
        flagged = {**kind, "num_warps": 16, "COUNTED": self.counted, "POWERED": self.powered, "ALL": in_memory}
        arguments = {**self.rows, **self.whose, **self.sizes, **left, "integers": state.integers}
        launch(sweep_flagged, grid, arguments, flagged)
        if len(state.log_histogram):
            bins = {"edges": log_edge_keys(self.device), "log_histogram": state.log_histogram}
            launch(count_log_bins, grid, {**self.rows, **self.sizes, **bins}, kind)

    def _judge_tokens(self) -> None:
        state = self.state
        arguments = {
            **self.rows,
            "sample": self.whose["sample"],
            **self.sizes,
            "row_maxima": self.row_maxima,
            "chunks": self.chunks,
            "row_keys": self.row_keys,
            "medians": self.medians,
            "token_maxima": state.token_maxima,
            "sample_keys": state.sample_keys,
            "channel_tokens": state.channel_tokens,
        }
        constants = {
            **self.kind,
            "LADDER": state.format.ladder[0],
            "JUDGED": self.counted,
            "ALL": state.judges_all,
            "CENSUS": state.census,
            "ROWS": TOKEN_ROWS,
            "BLOCK": BLOCK,
            "num_warps": 4,
        }
        launch(judge_tokens, (triton.cdiv(self.sizes["count"], TOKEN_ROWS),), arguments, constants)

    def _update_top(self) -> None:
        state, count, infinity = self.state, self.sizes["count"], self.kind["INFINITY"]
        chosen = {"counters": self._empty(3), "chosen": self._empty(TOP_K)}
        candidates = {"keys": self._empty(CANDIDATES), "addresses": self._empty(CANDIDATES, dtype=torch.int64)}
        maxima = {"row_keys": self.row_keys, "count": count, "integers": state.integers}
        sizes = {"INFINITY": infinity, "BLOCK": 2 * BLOCK, "num_warps": 8}
        launch(choose_rows, (1,), {**maxima, **chosen}, sizes)
        arguments = {**self.rows, **self.whose, **self.sizes, **chosen, **candidates}
        launch(collect_elements, (TOP_K,), arguments, {**self.kind, "BLOCK": BLOCK, "num_warps": 4})
        arguments |= {
            "integers": state.integers,
            "reals": state.reals,
            "row_keys": self.row_keys,
            "medians": self.medians,
            "extremes": self.extremes,
            "powers": self.powers,
            "programs": len(self.extremes),
            "list_keys": self._empty(2 * TOP_K),
            "list_addresses": self._empty(2 * TOP_K, dtype=torch.int64),
            "list_rows": self._empty(2 * TOP_K),
        }
        constants = {
            **self.kind,
            "LADDER": state.format.ladder[0],
            "JUDGED": self.counted,
            "ALL": state.judges_all,
            "POWERED": self.powered,
            "BLOCK": BLOCK,
            "num_warps": 8,
        }
        launch(conclude, (1,), arguments, constants)

    def _empty(self, *shape: int, dtype: torch.dtype = torch.int32) -> torch.Tensor:
        return torch.empty(shape, dtype=dtype, device=self.device)
