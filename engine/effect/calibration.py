"""Thresholds, scales and means, from samples that are not held out.

- `Calibration`   the totals of some sites over the calibration samples
- `MassiveMeans`  the mean of the massive values of each channel of one site
- `Pass`          what takes in batches of calibration samples
- `run_passes`    one batch through the model for several of them
- `stored_numbers`, `stored_site`  what the session itself kept of its calibration samples
- `places_of`, `run_text_model`  a batch's tokens, and its way through the text model
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from corpus.batching import Batch, collate
from engine.base.job import Job
from engine.effect.changes import SiteNumbers
from engine.messages import Message
from engine.preparation.prepare import Prepared
from engine.quantization.distribution import Distribution
from engine.session.reader import SessionReader
from engine.session.splits import CALIBRATION
from engine.sites.hooks import attach
from engine.sites.site import HookPlan
from engine.statistics.meter import Meter
from engine.statistics.totals import SiteTotals


class Calibration:
    """The totals of some sites over the calibration samples.

    Args:
        prepared: the model and the corpus.
        job: chooses the statistics' backend.
        plan: a plan of the model.
        sites: numbers of the sites in it.
    """

    def __init__(self, prepared: Prepared, job: Job, plan: HookPlan, sites: Sequence[int]) -> None:
        self._sites = tuple(sites)
        self._plan = replace(plan, sites=tuple(plan.sites[number] for number in sites))
        self._model = prepared.loaded.model
        self._meter = Meter(
            sites=len(sites),
            samples=len(prepared.corpus.samples),
            detail="standard",
            backend=job.backend,
            census=[False] * len(sites),
            problem=_overlook,
        )

    @contextmanager
    def attached(self, batch: Batch) -> Iterator[None]:
        """Within this block the batch is measured; an exception forgets it."""
        places = places_of(batch)
        row, position = np.nonzero(places)
        index = np.flatnonzero(places) if batch.padded else None
        self._meter.begin_batch(index, batch.samples[row], position)
        try:
            with attach(self._model, self._plan, self._meter.record, _overlook):
                yield
        except BaseException:
            self._meter.discard()
            raise
        self._meter.end_batch()
        self._meter.drain()

    def numbers(self) -> dict[int, SiteNumbers]:
        """What quantisers need of every site that saw something."""
        return {site: SiteNumbers(Distribution.of(one), one.channel_max) for site, one in self.totals().items()}

    def totals(self) -> dict[int, SiteTotals]:
        """What every site saw, by its number in the whole plan; a site that saw nothing is left out."""
        found = {number: self._meter.totals(place) for place, number in enumerate(self._sites)}
        return {number: totals for number, totals in found.items() if totals is not None}


class MassiveMeans:
    """The mean of the massive values of each channel of one site.

    Args:
        prepared: the model and the corpus.
        plan: a plan of the model.
        site: number of the site in it.
        threshold: |x| above which an element is massive.
    """

    def __init__(self, prepared: Prepared, plan: HookPlan, site: int, threshold: float) -> None:
        self._plan = replace(plan, sites=(plan.sites[site],))
        self._model = prepared.loaded.model
        self._threshold = threshold
        self._sums: torch.Tensor | None = None

    @contextmanager
    def attached(self, batch: Batch) -> Iterator[None]:
        """Within this block the batch is taken in; an exception forgets it."""
        valid = torch.from_numpy(places_of(batch).reshape(-1, 1))
        found: list[torch.Tensor] = []

        def record(_site: int, x: torch.Tensor, _token_index: torch.Tensor | None = None, /) -> None:
            rows = x.reshape(-1, x.shape[-1]).double()
            massive = (rows.abs() > self._threshold) & valid.to(x.device)
            found.append(torch.stack([torch.where(massive, rows, 0.0).sum(dim=0), massive.sum(dim=0).double()]))

        with attach(self._model, self._plan, record, _overlook):
            yield
        for part in found:
            self._sums = part if self._sums is None else self._sums + part

    def means(self) -> NDArray[np.float32] | None:
        """float32 [D], NaN for channels that were never massive; None if the site saw nothing."""
        if self._sums is None:
            return None
        total, count = self._sums.cpu().numpy()
        with np.errstate(invalid="ignore"):
            found: NDArray[np.float32] = (total / count).astype(np.float32)
        return found


class Pass(Protocol):
    """What takes in batches of calibration samples."""

    def attached(self, batch: Batch) -> AbstractContextManager[None]:
        """Within this block the batch is taken in."""


def run_passes(prepared: Prepared, passes: Sequence[Pass], numbers: Sequence[int]) -> None:
    """One batch of samples through the model for all of them; none of their hooks stays."""
    batch = collate(prepared.tokenized, numbers)
    with ExitStack() as stack:
        for one in passes:
            stack.enter_context(one.attached(batch))
        run_text_model(prepared, batch)


def stored_numbers(reader: SessionReader, sites: Sequence[int]) -> dict[int, SiteNumbers] | None:
    """What the session kept of its own calibration samples at these sites; None where one of them is missing.

    Then the thresholds are those of the session's board.
    """
    with reader.snapshot():
        found: dict[int, SiteNumbers] = {}
        for site in sites:
            one = stored_site(reader, site)
            if one is None:
                return None
            found[site] = one
    return found


def stored_site(reader: SessionReader, site: int) -> SiteNumbers | None:
    """What the session kept of its own calibration samples at a site; None for nothing."""
    kept, totals = reader.part(f"{CALIBRATION}{site}"), reader.totals(site)
    if kept is None or totals is None or not kept.histogram.any() or not kept.has("extremes", "channel_max"):
        return None
    distribution = Distribution(totals.dtype, kept.histogram, kept.limits)
    weights = kept.weight_max if kept.has("weight_max") else None
    return SiteNumbers(distribution if distribution.count else None, kept.channel_max, weights)


def places_of(batch: Batch) -> NDArray[np.bool_]:
    """Which places hold tokens."""
    found: NDArray[np.bool_] = np.arange(batch.input_ids.shape[1])[None, :] < batch.lengths[:, None]
    return found


def run_text_model(prepared: Prepared, batch: Batch) -> Any:
    """One batch through the text model, padding masked."""
    mask = torch.from_numpy(places_of(batch).astype(np.int64)).to(prepared.device) if batch.padded else None
    ids = torch.from_numpy(batch.input_ids).to(prepared.device)
    return prepared.text_model(input_ids=ids, attention_mask=mask, use_cache=False)


def _overlook(_site: int, _problem: Message) -> None:
    """A site without a tensor is refused where it is changed, with its name."""
