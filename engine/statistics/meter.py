"""`Meter`: every site's accumulator, fed by the hooks, read by the loop.

The hooks call `record`; nothing there waits for a device. The loop calls `live` for a tick and `set_aside` for a
checkpoint, which wait for what the device has begun; what was set aside is added up by `absorb`, in another thread.

- `Meter`   begin_batch, record, end_batch; live, set_aside, absorb, drain, discard, totals, load
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from engine.base.job import Detail
from engine.messages import Code, Message, message
from engine.statistics.accumulator import SiteAccumulator, unfit
from engine.statistics.backends import Backend, BackendError, check_backend, choose_backend
from engine.statistics.live import LiveScalars, sum_of_squares
from engine.statistics.reading import Aside, put_aside
from engine.statistics.rows import BatchRows, Rows
from engine.statistics.state import DTYPES, SiteState
from engine.statistics.tables import HostRows, clear_tables, host_rows, new_tables
from engine.statistics.totals import SiteTotals, merge

COUNTER_LIMIT: Final = 2**31 - 1


class Meter:
    """All sites of a run. One thread at a time may use it; another may `absorb` meanwhile.

    Args:
        sites: how many sites the hook plan has; they are numbered from 0.
        samples: N, samples of the corpus; sample numbers lie below it.
        detail: which statistics are kept.
        backend: `auto`, `torch`, `numba` or `triton`.
        census: for each site, whether token medians and channel counts are taken (not for gates and logits).
        problem: called with a site and one line when a site's tensor cannot be measured, once per site and cause.

    Raises:
        BackendError: the backend is not installed, or does not exist.
    """

    def __init__(
        self,
        sites: int,
        samples: int,
        detail: Detail,
        backend: str,
        census: Sequence[bool],
        problem: Callable[[int, Message], None],
    ) -> None:
        if len(census) != sites:
            raise ValueError(f"census has {len(census)} entries for {sites} sites")
        check_backend(backend)
        self._samples = samples
        self._detail: Detail = detail
        self._backend = backend
        self._census = tuple(census)
        self._problem = problem
        self._accumulators: list[SiteAccumulator | None] = [None] * sites
        self._totals: list[SiteTotals | None] = [None] * sites
        self._undrained: list[SiteTotals | None] = [None] * sites
        self._aside: list[tuple[int, Aside | SiteTotals]] = []
        self._arrivals: list[torch.cuda.Event] = []
        self._tables: dict[torch.device, tuple[torch.Tensor, torch.Tensor]] = {}
        self._live = LiveScalars(sites)
        self._batch: BatchRows | None = None
        self.also: Callable[[int, torch.Tensor, Rows], None] | None = None
        """Called with every tensor that was measured, [R, D], and its rows; it must not wait for the device."""
        self.skipped: Counter[tuple[int, str]] = Counter()
        """How many tensors were not measured, by site and cause."""

    def begin_batch(
        self,
        index: NDArray[np.integer[Any]] | None,
        sample: NDArray[np.integer[Any]],
        position: NDArray[np.integer[Any]],
    ) -> None:
        """Say whose rows the next tensors hold.

        Args:
            index: numbers of the rows that count in a [B * T, D] view, ascending; None when all do.
            sample: sample number of each row that counts, ascending.
            position: position of each row that counts within its sample, ascending within a sample.

        Raises:
            ValueError: a sample number is not below N, or the rows are not in order.
        """
        self._batch = BatchRows(index, sample, position, self._samples)
        for site, accumulator in enumerate(self._accumulators):
            # The next tensor may hold a row for each token and expert; 64 of them are room enough.
            if accumulator and accumulator.elements + 64 * len(sample) * accumulator.state.width > COUNTER_LIMIT:
                self._collect(site, accumulator)

    def end_batch(self) -> None:
        """No more tensors of this batch come."""
        self._batch = None

    def record(self, site: int, x: torch.Tensor, token_index: torch.Tensor | None = None) -> None:
        """Measure one tensor of the current batch; never raises for what a model does.

        Args:
            site: number of the site.
            x: [B, T, D] or [B * T, D]; with `token_index` [rows, D].
            token_index: integer [rows], for each row the place of its token in the flattened [B * T] batch. Every
                token must have equally many rows, one for each expert it is sent to.

        Raises:
            RuntimeError: no batch was begun.
        """
        if self._batch is None:
            raise RuntimeError("Meter.record outside a batch: call begin_batch first")
        x = x.detach()
        cause = unfit(x)
        accumulator = self._accumulators[site]
        if cause is None:
            cause = accumulator.mismatch(x) if accumulator is not None else self._contradiction(site, x)
        if cause is not None:
            self._skip(site, cause)
            return
        flat = x.reshape(-1, x.shape[-1])
        rows = self._batch.of(flat, token_index)
        if isinstance(rows, Message):
            self._skip(site, rows)
            return
        if not len(rows.sample):
            return
        if accumulator is None:
            accumulator = self._accumulators[site] = self._new_accumulator(site, x)
        accumulator.update(flat, rows)
        if self.also is not None:
            self.also(site, flat, rows)

    def wait(self) -> None:
        """Wait until the devices have done what was asked of them so far."""
        for device in self._tables:
            if device.type == "cuda":
                torch.cuda.current_stream(device).synchronize()

    def live(self, *, rms: bool = True) -> NDArray[np.float64]:
        """The newest scalars of every site, float64 [sites, len(LIVE_FIELDS)]: one packed copy from each device.

        Args:
            rms: work the root mean squares out anew, which reads every histogram; they stay as they were if not,
                and while `absorb` is owed.
        """
        return self._live.table(self._states(), self._host_rows(), rms=rms)

    def set_aside(self) -> None:
        """Put what was recorded aside for `absorb`, and record on from nothing.

        Raises:
            RuntimeError: what was set aside before has not been absorbed.
        """
        if self._aside:
            raise RuntimeError("Meter.set_aside before what was set aside last was absorbed")
        rows = self._host_rows()
        self._live.set_aside(self._states(), rows)
        for site, accumulator in enumerate(self._accumulators):
            fresh, self._undrained[site] = self._undrained[site], None
            if fresh is not None:
                self._aside.append((site, fresh))
            if accumulator is not None and accumulator.state.tokens:
                integers, reals = rows[accumulator.device]
                self._aside.append((site, put_aside(accumulator.state, integers[site], reals[site])))
        for integers, reals in self._tables.values():
            clear_tables(integers, reals)
        for device in self._tables:
            if device.type == "cuda":
                arrival = torch.cuda.Event()
                arrival.record(torch.cuda.current_stream(device))
                self._arrivals.append(arrival)

    def absorb(self) -> None:
        """Add what was set aside to the totals; any one thread may, while others record."""
        for arrival in self._arrivals:
            arrival.synchronize()
        squares = np.zeros(len(self._totals))
        for site, part in self._aside:
            fresh = part if isinstance(part, SiteTotals) else part.totals()
            held = self._totals[site]
            if held is None:
                held = SiteTotals.empty(fresh.dtype, fresh.width, self._samples, census=self._census[site])
            self._totals[site] = merge(held, fresh, reuse=True)
            if isinstance(part, Aside):
                squares[site] = sum_of_squares(fresh)
                part.clear()
        self._live.add_squares(squares)
        self._arrivals, self._aside = [], []

    def drain(self) -> None:
        """Move what the devices hold into the totals, at once."""
        self.set_aside()
        self.absorb()

    def discard(self) -> None:
        """Forget everything recorded since the last `set_aside` or `drain`, and the current batch."""
        self._batch = None
        self._undrained = [None] * len(self._undrained)
        for accumulator in self._accumulators:
            if accumulator is not None:
                accumulator.reset()
        self._live.roll_back()

    def totals(self, site: int) -> SiteTotals | None:
        """What a site holds as of the last `absorb` (the next one changes it in place); None if it saw nothing."""
        return self._totals[site]

    def load(self, site: int, totals: SiteTotals) -> None:
        """Continue from the totals of an earlier run (they are copied).

        Raises:
            TotalsMismatchError: they are of a corpus of another size, or of another census.
        """
        empty = SiteTotals.empty(totals.dtype, totals.width, self._samples, census=self._census[site])
        self._totals[site] = merge(empty, totals)
        self._live.add(site, totals)
        self._live.commit()

    def _states(self) -> dict[int, SiteState]:
        return {site: one.state for site, one in enumerate(self._accumulators) if one is not None}

    def _host_rows(self) -> dict[torch.device, HostRows]:
        """The scalar rows of all sites, copied from each device."""
        return {device: host_rows(integers, reals) for device, (integers, reals) in self._tables.items()}

    def _contradiction(self, site: int, x: torch.Tensor) -> Message | None:
        """How a site's first tensor differs from the totals that were loaded for it."""
        held = self._totals[site]
        if held is None or (held.dtype, held.width) == (DTYPES[x.dtype].name, x.shape[-1]):
            return None
        dtype, width = DTYPES[x.dtype].name, x.shape[-1]
        return message(Code.UNLIKE_TOTALS, dtype=dtype, width=width, held_dtype=held.dtype, held_width=held.width)

    def _skip(self, site: int, cause: Message) -> None:
        self.skipped[site, cause.code] += 1
        if self.skipped[site, cause.code] == 1:
            self._problem(site, message(Code.NOT_MEASURED, cause=cause))

    def _collect(self, site: int, accumulator: SiteAccumulator) -> None:
        fresh, held = accumulator.read(), self._undrained[site]
        self._undrained[site] = fresh if held is None else merge(held, fresh)
        self._live.add(site, fresh)
        accumulator.reset()

    def _new_accumulator(self, site: int, x: torch.Tensor) -> SiteAccumulator:
        if x.device not in self._tables:
            self._tables[x.device] = new_tables(len(self._accumulators), x.device)
        integers, reals = self._tables[x.device]
        return SiteAccumulator(
            x,
            self._samples,
            self._detail,
            self._census[site],
            self._backend_for(site, x),
            (integers[site], reals[site]),
        )

    def _backend_for(self, site: int, x: torch.Tensor) -> Backend:
        try:
            return choose_backend(self._backend, x.device)
        except BackendError as error:
            if not self.skipped[-1, Code.OTHER_BACKEND]:
                self._problem(site, message(Code.OTHER_BACKEND, reason=str(error)))
            self.skipped[-1, Code.OTHER_BACKEND] += 1
            return choose_backend("torch", x.device)
