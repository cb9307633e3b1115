"""Where a run stands between calibration, evaluation and the rest, and what it keeps where one part ends.

- `Parts`   knows the part of a batch; keeps histograms at the boundaries; holds the sums taken in the pass
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from engine.base.job import Job
from engine.messages import Code, message
from engine.preparation.prepare import Prepared
from engine.preparation.splitting import CALIBRATION, EVALUATION, REST, arrange, part_numbers
from engine.scheme_names import schemes_in_pass
from engine.session.reader import SessionReader
from engine.session.splits import CALIBRATION as CALIBRATION_OWNER
from engine.session.splits import CLOSED, CLOSED_OWNER, IN_PASS, LOCAL, SplitRecord
from engine.session.splits import EVALUATION as EVALUATION_OWNER
from engine.sites.hooks import Problem
from engine.sites.weights import input_column_maxima
from engine.statistics.local_errors import LocalErrors
from engine.statistics.pass_meter import PassMeter
from engine.statistics.pass_sums import PassSums
from engine.statistics.rows import Rows
from engine.statistics.totals import SiteTotals

Arrays = Mapping[str, Mapping[str, NDArray[Any]]]
_Sparse = tuple[NDArray[np.intp], NDArray[np.int64]]


class Parts:
    """The parts of one run. Parts are closed in order, when nothing of them is left to run and all is in the totals.

    Args:
        split: the samples; None for a run without parts.
        prepared: model and plan.
        job: says whether sums are taken in the pass.
        problem: called with a site and one line when a site cannot be measured as asked for.
    """

    def __init__(self, split: SplitRecord | None, prepared: Prepared, job: Job, problem: Problem) -> None:
        sites = len(prepared.plan.sites)
        self._split = split
        self._part_of = part_numbers(split)
        self._prepared = prepared
        self._problem = problem
        self._first: list[_Sparse | None] = [None] * sites
        self._unsaved: dict[str, dict[str, NDArray[Any]]] = {}
        schemes = schemes_in_pass(job.quant, job.schemes) if split is not None else ()
        self._meter = PassMeter(sites, job.backend, schemes) if schemes else None
        self._sums_saved: dict[int, PassSums] = {}
        # What a session lacks of its own is not measured by what is left of the run.
        self._unknown: set[int] = set()  # sites whose calibration samples' histogram it lacks
        self._unsummed: set[int] = set()  # sites whose sums it lacks
        self._part = CALIBRATION
        self.closed = REST if split is None else CALIBRATION
        """The number of parts that are complete."""

    def arrange(self, batches: Iterable[Sequence[int]]) -> list[tuple[int, ...]]:
        """The same samples part by part; batches that mix parts are cut. Samples added later belong to the rest."""
        return arrange(batches, self._part_of)

    def part_of(self, batch: Sequence[int]) -> int:
        """The part of a batch, which does not mix any."""
        return self._part_of.get(batch[0], REST)

    def load(self, reader: SessionReader) -> None:
        """Continue from the last checkpoint of a session."""
        if self._split is None:
            return
        self.closed = reader.parts_closed()
        for site in range(len(self._first) if self.closed == EVALUATION else 0):
            kept = reader.part(f"{CALIBRATION_OWNER}{site}")
            if kept is None:
                continue
            if kept.has("histogram"):
                self._first[site] = _sparse(kept.histogram)
            else:
                self._unknown.add(site)
            if self._meter is not None and kept.has("channel_max"):
                self._meter.calibrate(site, kept.channel_max, kept.weight_max if kept.has("weight_max") else None)
        for site in range(len(self._first) if self._meter is not None else 0):
            sums = reader.pass_sums(site)
            if sums is not None and self._meter is not None:
                self._sums_saved[site] = sums
                self._meter.load(site, sums)
            elif reader.extra(f"{IN_PASS}{site}"):
                self._unsummed.add(site)

    def close(self, part: int, totals: Sequence[SiteTotals | None]) -> None:
        """Everything before `part` is in the totals: keep what is wanted of it."""
        if self.closed <= CALIBRATION < part:
            self._close_calibration(totals)
        if self.closed <= EVALUATION < part:
            self._close_evaluation(totals)
        self.closed = max(self.closed, part)
        self._unsaved[CLOSED_OWNER] = {CLOSED: np.asarray(self.closed, np.int64)}

    def ends_evaluation(self, part: int) -> bool:
        """Whether entering this part ends the evaluation of a run whose calibration is in the file."""
        return self._split is not None and self.closed == EVALUATION < part

    def keep_local(self, found: Mapping[int, LocalErrors]) -> None:
        """Keep what blocks computed again have shown."""
        self._unsaved |= {f"{LOCAL}{site}": errors.to_arrays() for site, errors in found.items()}

    def begin_batch(self, batch: Sequence[int]) -> None:
        """Say whose tensors come next."""
        self._part = self.part_of(batch)

    def update(self, site: int, x: torch.Tensor, rows: Rows) -> None:
        """Add the named rows of x, [R, D], to the sums taken in the pass, if they are of evaluation samples."""
        if self._meter is not None and self._part == EVALUATION:
            self._meter.update(site, x, rows)

    def drain(self) -> Arrays:
        """What the next checkpoint has to write, by owner: what was kept and is not saved yet, and the newest sums."""
        if self._meter is not None:
            self._meter.drain()
            for site in range(len(self._first)):
                sums = self._meter.sums(site)
                if sums is not None and sums is not self._sums_saved.get(site) and site not in self._unsummed:
                    self._unsaved[f"{IN_PASS}{site}"] = sums.to_arrays()
                    self._sums_saved[site] = sums
        return dict(self._unsaved)

    @property
    def has_unsaved(self) -> bool:
        """Whether anything waits for a checkpoint to succeed."""
        return bool(self._unsaved)

    def saved(self) -> None:
        """What `drain` gave last is in the file."""
        self._unsaved.clear()

    def discard(self) -> None:
        """Forget the sums since the last `drain`."""
        if self._meter is not None:
            self._meter.discard()

    def _close_calibration(self, totals: Sequence[SiteTotals | None]) -> None:
        for site, one in enumerate(totals):
            if one is None:
                continue
            if one.has("histogram"):
                self._first[site] = _sparse(one.histogram)
            held = one.to_arrays()
            kept: dict[str, NDArray[Any]] = {}
            kept |= {name: held[name].copy() for name in ("histogram", "extremes", "channel_max") if name in held}
            if self._meter is not None and "channel_max" in kept:
                weights = self._weights(site)
                if weights is not None and len(weights) == one.width:
                    kept["weight_max"] = weights
                self._meter.calibrate(site, kept["channel_max"], kept.get("weight_max"))
            self._unsaved[f"{CALIBRATION_OWNER}{site}"] = kept

    def _close_evaluation(self, totals: Sequence[SiteTotals | None]) -> None:
        """The difference of two exact histograms; a site first seen in the evaluation has all of it from there."""
        for site, one in enumerate(totals):
            if one is None or not one.has("histogram") or site in self._unknown:
                continue
            histogram, first = one.histogram.copy(), self._first[site]
            if first is not None:
                histogram[first[0]] -= first[1]
            self._unsaved[f"{EVALUATION_OWNER}{site}"] = {"histogram": histogram}
            self._first[site] = None

    def _weights(self, site: int) -> NDArray[np.float32] | None:
        readers = self._prepared.plan.sites[site].readers
        if not readers:
            return None
        found = input_column_maxima(self._prepared.loaded.model, readers)
        if found is None:
            self._problem(site, message(Code.NO_SMOOTHING))
        return found


def _sparse(histogram: NDArray[np.int64]) -> _Sparse:
    """The filled places of a histogram and their counts: a site fills some 8,000 of 65,536."""
    filled = np.flatnonzero(histogram)
    return filled, histogram[filled]
