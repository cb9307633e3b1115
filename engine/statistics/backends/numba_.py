"""The sweep compiled for the CPU by numba: every statistic from one read of the tensor, shared among torch's threads.

- `backend`        the instance `choose_backend` hands out
- `NumbaBackend`   the sweep, and `prepare` to compile it beforehand
- `keep_compiled_code`, `worthwhile_threads`, `on_threads`   for other compiled code
"""

from __future__ import annotations

import hashlib
import tempfile
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Final

import numba
import numpy as np
import torch
from numpy.typing import NDArray

from corpus.owned import owned_folder
from engine.loading.cache import cache_dir
from engine.statistics import state as state_module
from engine.statistics import totals as totals_module
from engine.statistics.backends.numba_views import Bits, SiteViews
from engine.statistics.backends.openmp import team
from engine.statistics.rows import Rows
from engine.statistics.state import (
    CHANNEL_BITS,
    DTYPES,
    INTEGERS,
    NONFINITE,
    NONFINITE_ADDRESS,
    PEAK_MEDIAN,
    PIVOT,
    POSITION_BITS,
    POWER_SUMS,
    REALS,
    TOP_KEYS,
    SiteState,
    new_state,
)
from engine.statistics.totals import LOG_BINS, PATTERNS, TOP_K

# Each thread is entered through the interpreter, one after the other, so a crowd of them gains nothing.
MOST_THREADS: Final = 8
LEAST_ELEMENTS: Final = 1 << 17
# numba gives its settings names at run time only.
_numba_config: Any = numba.config
_NO_ROWS: NDArray[np.int64] = np.zeros(0, np.int64)


class NumbaBackend:
    """The compiled sweep. One call at a time, which a lock sees to: its counting scratch is shared by all sites."""

    name = "numba"

    def __init__(self) -> None:
        keep_compiled_code()
        from engine.statistics.backends import numba_sites

        self._kernels: Any = numba_sites
        self._turn = threading.Lock()
        self._spare: list[tuple[NDArray[np.int32], NDArray[np.int32]]] = []

    def prepare(self) -> None:
        """Compile for all dtypes, or read what an earlier run compiled, by sweeping two small rows of each."""
        for form in DTYPES.values():
            scalars = torch.zeros(INTEGERS, dtype=torch.int64), torch.zeros(REALS, dtype=torch.float64)
            state = new_state(form, 2, 1, "compat", True, scalars)
            x = torch.tensor([[1.0, -200.0], [torch.inf, 0.0]], dtype=form.float_type)
            rows = torch.zeros(2, dtype=torch.int32)
            # Between two dtypes a sweep may come in that waits for only one of them.
            self.sweep(state, x, Rows(None, rows, rows))

    def sweep(self, state: SiteState, x: torch.Tensor, rows: Rows) -> None:
        """See `engine.statistics.backends.Backend`."""
        with self._turn:
            self._sweep(state, x, rows)

    def _sweep(self, state: SiteState, x: torch.Tensor, rows: Rows) -> None:
        kernels, bits = self._kernels, x.view(state.format.integer_type).numpy()
        index = _NO_ROWS if rows.index is None else rows.index.numpy()
        tokens = (rows.sample.numpy().astype(np.int64) << POSITION_BITS) | rows.position.numpy()
        if state.views is None:
            state.views = SiteViews.of(state)
        v: SiteViews = state.views
        if v.sums and not state.pivot_is_set:
            state.choose_pivot(x[int(index[0]) if len(index) else 0])
        token_keys, medians = np.empty(len(tokens), np.int64), np.empty(len(tokens), np.int64)
        found = self._read_rows(v, bits, index, token_keys, medians)
        _keep_nonfinite(v, tokens, found[:, : kernels.POSITIVE], state.width)
        self._keep_extremes(v, bits, index, token_keys, found[:, kernels.POSITIVE :].max(0))
        self._take_census(v, bits, index, token_keys)
        kernels.keep_tokens(
            tokens, v.form, token_keys, v.values(token_keys), v.values(medians), state.judges_all, v.sample_keys,
            v.token_maxima, v.integers, v.reals,
        )  # fmt: skip
        self._keep_top(v, bits, index, tokens, token_keys, medians)
        state.tokens += len(tokens)

    def _read_rows(
        self,
        v: SiteViews,
        bits: Bits,
        index: NDArray[np.int64],
        token_keys: NDArray[np.int64],
        medians: NDArray[np.int64],
    ) -> NDArray[np.int64]:
        """The read of the tensor, on several threads; int64 [threads, 6], what each of them found."""
        threads = worthwhile_threads(bits.size)
        channels = np.zeros((threads, bits.shape[1]), bits.dtype)
        # Rows as an idle thread leaves them, should the team be smaller than asked for.
        found = np.tile(self._kernels.nothing_found(), (threads, 1))
        powers = [np.append(np.zeros(5), v.reals[PIVOT]) if v.edges is not None else None for _ in range(threads)]
        while len(self._spare) < threads - 1:
            self._spare.append((np.zeros(PATTERNS, np.int32), np.zeros(LOG_BINS, np.int32)))
        # The first thread counts where the site keeps its counts, the others apart.
        counts = [(v.histogram, v.log_histogram), *self._spare[: threads - 1]]

        def read(number: int, count: int) -> None:
            first, last = len(token_keys) * number // count, len(token_keys) * (number + 1) // count
            self._kernels.sweep_rows(
                first, last, bits, index, v.form, v.what, *counts[number], token_keys, medians, channels[number],
                found[number], powers[number], v.edges,
            )  # fmt: skip

        on_threads(threads, read)
        for spare, log_spare in self._spare[: threads - 1]:
            if v.what[0]:
                np.add(v.histogram, spare, out=v.histogram)
                spare.fill(0)
            if v.what[1]:
                np.add(v.log_histogram, log_spare, out=v.log_histogram)
                log_spare.fill(0)
        np.maximum(v.channel_keys, channels.max(0), out=v.channel_keys)
        if v.sums:
            v.reals[POWER_SUMS] += np.sum([part[:5] for part in powers if part is not None], axis=0)
        return found

    def _take_census(self, v: SiteViews, bits: Bits, index: NDArray[np.int64], token_keys: NDArray[np.int64]) -> None:
        """Channels above the rungs; each thread takes a range of channels, so that no two count in one place."""
        width = v.channel_tokens.shape[1]
        above = np.flatnonzero(token_keys > v.form[3]) if width else _NO_ROWS
        if not len(above):
            return
        where = index[above] if len(index) else above

        def count_range(number: int, count: int) -> None:
            first, last = width * number // count, width * (number + 1) // count
            self._kernels.count_rungs(first, last, bits, where, v.form, v.ladder, v.channel_tokens)

        on_threads(worthwhile_threads(len(above) * width), count_range)

    def _keep_extremes(
        self,
        v: SiteViews,
        bits: Bits,
        index: NDArray[np.int64],
        token_keys: NDArray[np.int64],
        signed: NDArray[np.int64],
    ) -> None:
        """Signed extremes from the largest positive and negative keys, below zero where there is none."""
        if token_keys.max() < 0:
            return
        if signed.min() < 0:
            least = v.values(np.array([self._kernels.least_key(bits, index, v.form, len(token_keys))]))[0]
        positive, negative = v.values(signed).tolist()
        v.reals[0] = max(v.reals[0], positive if signed[0] >= 0 else -least)
        v.reals[1] = min(v.reals[1], -negative if signed[1] >= 0 else least)

    def _keep_top(
        self,
        v: SiteViews,
        bits: Bits,
        index: NDArray[np.int64],
        tokens: NDArray[np.int64],
        token_keys: NDArray[np.int64],
        medians: NDArray[np.int64],
    ) -> None:
        least = max(int(v.integers[TOP_KEYS][-1]), 0)
        if token_keys.max() < least:
            return
        if len(token_keys) >= TOP_K:
            # A hundred rows reach this key, so the hundred largest do.
            least = max(least, int(np.partition(token_keys, -TOP_K)[-TOP_K]))
        peak = self._kernels.keep_top(bits, index, v.form, tokens, token_keys, least, v.integers)
        if peak < 0:
            return
        median = medians[peak]
        if median < 0:
            row = bits[index[peak] if len(index) else peak]
            mask, infinity = v.form[0], v.form[1]
            finite = int(np.count_nonzero((row & mask) < infinity))
            median = self._kernels.lower_median(row, mask, finite, infinity, infinity >> 1, np.empty_like(row))
        v.reals[PEAK_MEDIAN] = v.values(np.array([median]))[0]


def worthwhile_threads(elements: int) -> int:
    """How many threads are worth waking for so many elements."""
    wanted = min(torch.get_num_threads(), MOST_THREADS, max(elements // LEAST_ELEMENTS, 1))
    return wanted if team() is not None else 1


def on_threads(threads: int, work: Callable[[int, int], None]) -> None:
    """Call work(number, count) on so many of torch's threads."""
    helpers = team()
    if threads > 1 and helpers is not None:
        helpers.run(threads, work)
    else:
        work(0, 1)


@cache
def backend() -> NumbaBackend:
    """The shared instance."""
    return NumbaBackend()


def _keep_nonfinite(v: SiteViews, tokens: NDArray[np.int64], found: NDArray[np.int64], width: int) -> None:
    """The threads' counts of NaN, +inf and -inf, and the first address among theirs."""
    v.integers[NONFINITE] += found[:, :3].sum(0)
    place = int(found[:, 3].min())
    if place < len(tokens) * width:
        address = (int(tokens[place // width]) << CHANNEL_BITS) | (place % width)
        v.integers[NONFINITE_ADDRESS] = min(int(v.integers[NONFINITE_ADDRESS]), address)


def keep_compiled_code() -> None:
    """Have numba keep compiled code in our cache folder, apart for each version of the sources it came from.

    numba itself notices changes of the file a function stands in, but not of the functions and numbers it uses.
    """
    if _numba_config.CACHE_DIR:
        return
    here = Path(__file__).parent
    sources = [
        here / "numba_rows.py",
        here / "numba_sites.py",
        here / "numba_quantisers.py",
        here / "numba_quantised_rows.py",
        Path(state_module.__file__),
        Path(totals_module.__file__),
    ]
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:16]
    try:
        folder = owned_folder(cache_dir(), "numba", digest)  # it holds pickles
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        folder = Path(tempfile.mkdtemp(prefix="maxact-numba-"))
    _numba_config.CACHE_DIR = str(folder)
