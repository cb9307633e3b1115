"""Whose elements a session's board is about: thresholds from calibration samples, errors over evaluation samples.

- `Populations`        distributions of every site over both, and what was summed in the pass
- `read_populations`   from a session file, running or finished
- `SiteReader`         the same one site after the other
- `read_board`         the board of a session, in the columns that suit its protocol
- `board_schemes`      those columns
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from engine.quantization.board import Board, Population, compute_board
from engine.quantization.distribution import Distribution
from engine.quantization.schemes import DEFAULT_SCHEMES, Scheme
from engine.session.reader import SessionReader
from engine.session.splits import CALIBRATION, CLOSED, CLOSED_OWNER, EVALUATION, IN_PASS, META, SplitRecord
from engine.statistics.pass_sums import PassSums
from engine.statistics.patterns import pattern_values
from engine.statistics.totals import MAGNITUDES, SiteTotals


@dataclass(frozen=True, slots=True)
class Populations:
    """What a board is computed from.

    Attributes:
        errors: of each site, the elements whose errors are taken; None for a site without any.
        thresholds: of each site, the elements thresholds come from; None where they are those of `errors`.
        in_pass: of each site, what was summed in the pass.
        split: the samples; None for a session without a split, or none of whose evaluation samples is done yet.
        is_complete: all evaluation samples were measured; True without a split.
    """

    errors: tuple[Distribution | None, ...]
    thresholds: tuple[Distribution | None, ...] | None
    in_pass: tuple[PassSums | None, ...]
    split: SplitRecord | None
    is_complete: bool

    @property
    def errors_over(self) -> Population:
        """The samples `errors` are of."""
        return "all" if self.thresholds is None else "evaluation"

    @property
    def in_words(self) -> str:
        """One line for a reader of the board."""
        if self.split is None:
            return "thresholds and errors over all samples measured"
        calibration, evaluation = len(self.split.calibration), len(self.split.evaluation)
        so_far = "" if self.is_complete else " (so far)"
        return f"thresholds from {calibration} calibration samples, errors over {evaluation} others{so_far}"


class SiteReader:
    """Reads the populations of one site after the other.

    Args:
        reader: of the session; inside its `snapshot` all sites are of one checkpoint.
    """

    def __init__(self, reader: SessionReader) -> None:
        self._reader = reader
        recorded = reader.meta().raw.get(META)
        self.split = SplitRecord.from_json(recorded) if recorded else None
        found = reader.extra(CLOSED_OWNER) if self.split is not None else {}
        self.closed = int(found[CLOSED]) if CLOSED in found else 0

    def site(self, number: int, totals: SiteTotals) -> tuple[Distribution | None, Distribution | None]:
        """(evaluation, calibration) of a site; before calibration is over, (all elements, None)."""
        whole = Distribution.of(totals)
        if not self.closed or whole is None:
            return whole, None
        kept = self._reader.extra(f"{CALIBRATION}{number}")
        first = None
        if kept and kept["histogram"].any():
            high, low = kept["extremes"].tolist()
            first = _distribution(totals.dtype, kept["histogram"], (high, low))
        if self.closed > 1:
            rest = self._reader.extra(f"{EVALUATION}{number}").get("histogram")
        else:
            rest = totals.histogram - kept["histogram"] if kept else totals.histogram
        if rest is None or not rest.any():
            return None, first
        return _distribution(totals.dtype, rest, _limits(totals, rest)), first

    def sums(self, number: int) -> PassSums | None:
        """What was summed in the pass at a site."""
        arrays = self._reader.extra(f"{IN_PASS}{number}") if self.closed else {}
        return PassSums.from_arrays(arrays) if arrays else None

    def collect(
        self,
        wholes: Sequence[Distribution | None],
        parts: Sequence[tuple[Distribution | None, Distribution | None]],
        in_pass: Sequence[PassSums | None],
    ) -> Populations:
        """The populations of all sites; of the whole, as long as no evaluation sample is done."""
        if self.closed and any(errors is not None for errors, _ in parts):
            errors, thresholds = (tuple(column) for column in zip(*parts, strict=True))
            return Populations(errors, thresholds, tuple(in_pass), self.split, self.closed > 1)
        return Populations(tuple(wholes), None, tuple(in_pass), None, True)


def read_populations(reader: SessionReader) -> Populations:
    """The populations of every site of a session, as of its last checkpoint."""
    wholes: list[Distribution | None] = []
    parts: list[tuple[Distribution | None, Distribution | None]] = []
    in_pass: list[PassSums | None] = []
    with reader.snapshot():
        sites = SiteReader(reader)
        for number, totals in enumerate(reader.iter_totals()):
            part = (None, None) if totals is None else sites.site(number, totals)
            parts.append(part)
            wholes.append(None if totals is None else part[0] if not sites.closed else Distribution.of(totals))
            in_pass.append(sites.sums(number))
    return sites.collect(wholes, parts, in_pass)


def board_schemes(split: SplitRecord | None) -> tuple[Scheme, ...]:
    """The board's columns from histograms: the paper's protocol takes the reference's quantile for the exact one."""
    if split is None or split.protocol != "paper":
        return DEFAULT_SCHEMES
    return tuple(
        replace(scheme, policy="reference_quantile") if scheme.policy == "quantile" else scheme
        for scheme in DEFAULT_SCHEMES
    )


def board_of(populations: Populations, schemes: Sequence[Scheme] | None = None) -> Board:
    """The board of what was read."""
    columns = board_schemes(populations.split) if schemes is None else schemes
    return compute_board(populations.errors, columns, populations.thresholds, populations.in_pass)


def read_board(reader: SessionReader, schemes: Sequence[Scheme] | None = None) -> Board:
    """The board of a session: columns from histograms, and those summed in the pass where there are any.

    Args:
        reader: of the session.
        schemes: columns from histograms; `board_schemes` if None.
    """
    return board_of(read_populations(reader), schemes)


def _distribution(dtype: str, histogram: np.ndarray, limits: tuple[float, float]) -> Distribution | None:
    found = Distribution(dtype, histogram, limits)
    return found if found.count else None


def _limits(totals: SiteTotals, histogram: np.ndarray) -> tuple[float, float]:
    """(max, min) of a part: exactly the site's own where they fall in the same pattern, else that pattern's middle."""
    values = pattern_values(totals.dtype)
    high, low = (
        _outermost(histogram[start : start + MAGNITUDES], totals.histogram[start : start + MAGNITUDES], start, values)
        for start in (0, MAGNITUDES)
    )
    return (
        float(totals.extremes[0]) if high is None else high,
        float(totals.extremes[1]) if low is None else low,
    )


def _outermost(part: np.ndarray, whole: np.ndarray, start: int, values: np.ndarray) -> float | None:
    """The value of the last filled finite pattern of a sign; None if the whole site ends there, too."""
    finite = np.isfinite(values[start : start + MAGNITUDES])
    seen, everything = np.flatnonzero(part * finite), np.flatnonzero(whole * finite)
    if not len(seen):
        return 0.0
    if seen[-1] == everything[-1]:
        return None
    return float(values[start + seen[-1]])
