"""What quantisers make of a session's sites at a checkpoint, read and computed by the watcher.

- `SiteQuant`   one site: the elements of both populations, and its row of the board
- `BoardView`   all sites under every scheme, the summary, and what exceeds smaller formats
- `read_site_quant`, `read_board`  from an open session
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.quantization.board import LIMITS, Board, Overflow, SchemeSummary, find_overflows, summarise_schemes
from engine.quantization.distribution import Distribution
from engine.quantization.populations import Populations, SiteReader, board_of, read_session_board
from engine.session.reader import SessionReader
from engine.statistics.patterns import magnitude_counts, magnitude_values
from engine.statistics.totals import SiteTotals


@dataclass(frozen=True, slots=True, eq=False)
class SiteQuant:
    """One site.

    Attributes:
        populations: whose elements; one site long.
        board: one row long.
    """

    populations: Populations
    board: Board

    @property
    def errors(self) -> Distribution | None:
        """The elements whose errors are taken; None without a histogram."""
        return self.populations.errors[0]

    @property
    def thresholds(self) -> Distribution | None:
        """The elements thresholds are taken from."""
        found = self.populations.thresholds
        return (found[0] if found is not None else None) or self.errors


@dataclass(frozen=True, slots=True, eq=False)
class BoardView:
    """All sites as of a checkpoint.

    Attributes:
        checkpoint: its number.
        board: one row per site of the plan.
        population: whose elements, in words.
        summaries: one per scheme.
        magnitudes: M_site, float64 [sites], NaN where nothing finite was seen.
        beyond: how many elements exceed each of `LIMITS`, float64 [sites, limits], NaN where it was not counted.
        nonfinite: NaN and infinities of each site, int64 [sites].
        overflows: one per limit.
        samples: how many samples were measured.
        tokens: how many tokens.
        has_histograms: False where the run kept none (lean detail), or has seen nothing.
    """

    checkpoint: int
    board: Board
    population: str
    summaries: tuple[SchemeSummary, ...]
    magnitudes: NDArray[np.float64]
    beyond: NDArray[np.float64]
    nonfinite: NDArray[np.int64]
    overflows: tuple[Overflow, ...]
    samples: int
    tokens: int
    has_histograms: bool

    @property
    def damaging(self) -> tuple[str, ...]:
        """Names of the schemes whose damage is known at any site."""
        return tuple(dict.fromkeys(name for one in self.board.local if one is not None for name in one.names))


def read_site_quant(reader: SessionReader, site: int, totals: SiteTotals) -> SiteQuant:
    """One site, of whose totals the caller has read the newest."""
    with reader.snapshot():
        sites = SiteReader(reader)
        part, sums, local = sites.site(site, totals), sites.sums(site), sites.local(site)
    whole = Distribution.of(totals) if sites.closed else part[0]
    populations = sites.collect([whole], [part], [sums], [local])
    return SiteQuant(populations, board_of(populations))


def read_board(reader: SessionReader) -> BoardView:
    """All sites of the last checkpoint."""
    facts: list[tuple[float, ...]] = []
    with reader.snapshot():
        checkpoint, status = reader.checkpoint_number(), reader.checkpoint_status()
        samples = len(reader.samples_done())
        found = read_session_board(reader, lambda _, totals: facts.append(_facts(totals)))
    columns = np.array(facts, np.float64).reshape(len(facts), 2 + len(LIMITS))
    return BoardView(
        checkpoint=checkpoint,
        board=found.board,
        population=found.in_words,
        summaries=summarise_schemes(found.board),
        magnitudes=columns[:, 0],
        beyond=columns[:, 2:],
        nonfinite=columns[:, 1].astype(np.int64),
        overflows=find_overflows(columns[:, 0], columns[:, 1].astype(np.int64)),
        samples=samples,
        tokens=status.tokens_done if status is not None else 0,
        has_histograms=found.has_histograms,
    )


def _facts(totals: SiteTotals | None) -> tuple[float, ...]:
    """M_site, non-finite elements, and elements beyond each limit."""
    unknown = (math.nan,) * len(LIMITS)
    if totals is None:
        return (math.nan, 0.0, *unknown)
    nonfinite = float(totals.nonfinite.sum())
    magnitude = float(np.abs(totals.extremes).max()) if np.isfinite(totals.extremes).all() else math.nan
    if not totals.finite:
        return (magnitude, nonfinite, *unknown)
    if not totals.has_histogram:
        return (magnitude, nonfinite, *unknown)
    counts, values = magnitude_counts(totals.dtype, totals.histogram), magnitude_values(totals.dtype)
    with np.errstate(invalid="ignore"):
        return (magnitude, nonfinite, *(float(counts[values > limit].sum()) for _, limit in LIMITS))
