"""Whose elements a session's board is about: thresholds from calibration samples, errors over evaluation samples.

- `Populations`        distributions of every site over both, and what was summed in the pass
- `SiteReader`         the same one site after the other, from a session file, running or finished
- `SessionBoard`, `BoardBuilder`, `read_session_board`  the board of a session, of which one site is held at a time
- `read_board`         the board alone
- `board_schemes`      its columns, which suit the session's protocol
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from engine.quantization.board import Board, Population, Row, assemble_board, compute_board, histogram_row
from engine.quantization.distribution import Distribution
from engine.scheme_names import schemes_of_tensors
from engine.schemes import DEFAULT_SCHEMES, Scheme
from engine.session.reader import SessionReader
from engine.session.splits import CALIBRATION, EVALUATION, META, SplitRecord
from engine.statistics.local_errors import LocalErrors
from engine.statistics.pass_sums import PassSums
from engine.statistics.patterns import pattern_values
from engine.statistics.totals import MAGNITUDES, SiteTotals

BOARD_FIELDS: Final = ("tokens", "histogram", "extremes", "nonfinite")


@dataclass(frozen=True, slots=True)
class Populations:
    """What a board is computed from.

    Attributes:
        errors: of each site, the elements whose errors are taken; None for a site without any.
        thresholds: of each site, the elements thresholds come from; None where they are those of `errors`.
        in_pass: of each site, what was summed in the pass.
        local: of each site, what quantising it alone does to a few tokens.
        split: the samples; None for a session without a split, or none of whose evaluation samples is done yet.
        is_complete: all evaluation samples were measured; True without a split.
        chosen: the session's own columns from histograms, besides the usual ones.
    """

    errors: tuple[Distribution | None, ...]
    thresholds: tuple[Distribution | None, ...] | None
    in_pass: tuple[PassSums | None, ...]
    local: tuple[LocalErrors | None, ...]
    split: SplitRecord | None
    is_complete: bool
    chosen: tuple[Scheme, ...] = ()

    @property
    def errors_over(self) -> Population:
        """The samples `errors` are of."""
        return "all" if self.thresholds is None else "evaluation"

    @property
    def in_words(self) -> str:
        """One line for a reader of the board."""
        return _in_words(self.split, self.is_complete)


@dataclass(frozen=True, slots=True)
class SessionBoard:
    """The board of a session.

    Attributes:
        board: one row per site of the plan.
        split, is_complete: as of `Populations`.
        has_histograms: False where the run kept none (lean detail), or has seen nothing.
    """

    board: Board
    split: SplitRecord | None
    is_complete: bool
    has_histograms: bool

    @property
    def in_words(self) -> str:
        """One line for a reader of the board."""
        return _in_words(self.split, self.is_complete)


class SiteReader:
    """Reads the populations of one site after the other.

    Args:
        reader: of the session; inside its `snapshot` all sites are of one checkpoint.
    """

    def __init__(self, reader: SessionReader) -> None:
        self._reader = reader
        meta = reader.meta()
        recorded = meta.raw.get(META)
        self.chosen = schemes_of_tensors(meta.job.schemes)
        self.split = SplitRecord.from_json(recorded) if recorded else None
        self.closed = reader.parts_closed() if self.split is not None else 0

    def site(self, number: int, totals: SiteTotals) -> tuple[Distribution | None, Distribution | None]:
        """(evaluation, calibration) of a site; before calibration is over, (all elements, None)."""
        whole = Distribution.of(totals)
        if not self.closed or whole is None:
            return whole, None
        kept = self._reader.part(f"{CALIBRATION}{number}", ("histogram", "extremes"))
        if kept is not None and not kept.has("histogram"):
            return None, None  # thresholds from other samples would be other thresholds
        first = None
        if kept is not None and kept.histogram.any():
            first = _distribution(totals.dtype, kept.histogram, kept.limits)
        if self.closed > 1:
            found = self._reader.part(f"{EVALUATION}{number}")
            rest = found.histogram if found is not None else None
        else:
            rest = totals.histogram - kept.histogram if kept is not None else totals.histogram
        if rest is None or not rest.any():
            return None, first
        return _distribution(totals.dtype, rest, _limits(totals, rest)), first

    def sums(self, number: int) -> PassSums | None:
        """What was summed in the pass at a site."""
        return self._reader.pass_sums(number) if self.closed else None

    def local(self, number: int) -> LocalErrors | None:
        """What quantising a site alone does to a few tokens; None where it was not measured."""
        return self._reader.local_errors(number) if self.closed else None

    def collect(
        self,
        wholes: Sequence[Distribution | None],
        parts: Sequence[tuple[Distribution | None, Distribution | None]],
        in_pass: Sequence[PassSums | None],
        local: Sequence[LocalErrors | None],
    ) -> Populations:
        """The populations of all sites; of the whole, as long as no evaluation sample is done."""
        if self.closed and any(errors is not None for errors, _ in parts):
            errors, thresholds = (tuple(column) for column in zip(*parts, strict=True))
            is_complete = self.closed > 1
            return Populations(errors, thresholds, tuple(in_pass), tuple(local), self.split, is_complete, self.chosen)
        return Populations(tuple(wholes), None, tuple(in_pass), tuple(local), None, True, self.chosen)


def board_schemes(split: SplitRecord | None, chosen: Sequence[Scheme] = ()) -> tuple[Scheme, ...]:
    """The board's columns from histograms: the paper's protocol takes the reference's quantile for the exact one."""
    if split is None or split.protocol != "paper":
        return (*DEFAULT_SCHEMES, *chosen)
    usual = (
        replace(scheme, policy="reference_quantile") if scheme.policy == "quantile" else scheme
        for scheme in DEFAULT_SCHEMES
    )
    return tuple(dict.fromkeys((*usual, *chosen)))


def board_of(populations: Populations) -> Board:
    """The board of what was read."""
    columns = board_schemes(populations.split, populations.chosen)
    return compute_board(populations.errors, columns, populations.thresholds, populations.in_pass, populations.local)


class BoardBuilder:
    """Computes a session's board from the totals of one site after the other.

    Args:
        reader: of the session; inside its `snapshot` all sites are of one checkpoint.
    """

    def __init__(self, reader: SessionReader) -> None:
        self._reader, self._sites = reader, SiteReader(reader)
        self._schemes = board_schemes(self._sites.split if self._sites.closed else None, self._sites.chosen)
        self._rows: dict[int, Row] = {}
        self._lost: set[int] = set()

    def add(self, number: int, totals: SiteTotals) -> None:
        """Take a site; of its totals `BOARD_FIELDS` are read."""
        errors, thresholds = self._sites.site(number, totals)
        self._take(number, errors, thresholds)
        if totals.nonfinite.any() and not totals.finite:
            self._lost.add(number)

    def finish(self, count: int) -> SessionBoard:
        """The board of all of so many sites; those that were not added have no row."""
        is_split = bool(self._sites.closed and self._rows)
        if self._sites.closed and not is_split:
            # Calibration is over, but no evaluation sample is done.
            self._schemes = board_schemes(None, self._sites.chosen)
            for number, totals in enumerate(self._reader.iter_totals(BOARD_FIELDS)):
                self._take(number, None if totals is None else Distribution.of(totals), None)
        board = assemble_board(
            [self._rows.get(number) for number in range(count)],
            self._schemes,
            [self._sites.sums(number) for number in range(count)],
            [self._sites.local(number) for number in range(count)],
            is_split=is_split,
            lost=self._lost,
        )
        split = self._sites.split if is_split else None
        return SessionBoard(board, split, not is_split or self._sites.closed > 1, bool(self._rows))

    def _take(self, number: int, errors: Distribution | None, thresholds: Distribution | None) -> None:
        if (row := histogram_row(errors, self._schemes, thresholds)) is not None:
            self._rows[number] = row


def read_session_board(
    reader: SessionReader, visit: Callable[[int, SiteTotals | None], None] | None = None
) -> SessionBoard:
    """The board of a session as of its last checkpoint; columns from histograms, and those summed in the pass.

    Args:
        reader: of the session.
        visit: called with each site's number and totals (`BOARD_FIELDS` of them; None where nothing was seen).
    """
    count = 0
    with reader.snapshot():
        builder = BoardBuilder(reader)
        for number, totals in enumerate(reader.iter_totals(BOARD_FIELDS)):
            count = number + 1
            if visit is not None:
                visit(number, totals)
            if totals is not None:
                builder.add(number, totals)
        return builder.finish(count)


def read_board(reader: SessionReader) -> Board:
    """The board of a session alone."""
    return read_session_board(reader).board


def _in_words(split: SplitRecord | None, is_complete: bool) -> str:
    if split is None:
        return "thresholds and errors over all samples measured"
    done = "" if is_complete else "those measured so far of "
    calibration, evaluation = len(split.calibration), len(split.evaluation)
    return f"thresholds from {calibration} calibration samples, errors over {done}{evaluation} others"


def _distribution(dtype: str, histogram: np.ndarray, limits: tuple[float, float] | None) -> Distribution | None:
    found = Distribution(dtype, histogram, limits)
    return found if found.count else None


def _limits(totals: SiteTotals, histogram: np.ndarray) -> tuple[float, float] | None:
    """(max, min) of a part: exactly the site's own where they fall in the same pattern, else that pattern's middle.

    None where the site's own were not measured.
    """
    if not totals.has("extremes"):
        return None
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
