"""Sites x schemes at a glance, each scheme in one line, and what overflows without any quantiser.

- `Board`, `compute_board`        one `QuantError` per site and scheme, from histograms and from the pass
- `histogram_row`, `assemble_board`  the same one site after the other, so that no more than one is held
- `Column`, `Row`                 a scheme of either kind; the errors of a site
- `SchemeSummary`, `summarise_schemes`  count-weighted means, and the worst site that they hide
- `best_within`                   the best scheme of a site within a bit budget
- `Overflow`, `find_overflows`    which sites exceed fp16 and e4m3
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from engine.formats import E4M3_LIMIT, FP16_LIMIT
from engine.quantization.distribution import Distribution
from engine.quantization.metrics import QuantError
from engine.quantization.schemes import evaluate
from engine.scheme_names import find_scheme
from engine.schemes import DEFAULT_SCHEMES, Column, Scheme, UnknownScheme
from engine.statistics.local_errors import LocalErrors, LocalNumbers
from engine.statistics.pass_sums import PassSums

Row = tuple[QuantError | None, ...]
Population = Literal["evaluation", "all"]

LIMITS: Final = (("fp16", FP16_LIMIT), ("e4m3", E4M3_LIMIT))


@dataclass(frozen=True, slots=True)
class Board:
    """Errors of sites under schemes.

    Attributes:
        schemes: the columns; `source` of each says `from histogram` or `in pass`.
        rows: one row per site with one error per scheme; None for a site of which nothing is known, and in a row
            where a scheme was not applied to this site, or the site has no histogram.
        errors_over: the samples whose errors these are. Columns from the pass are of evaluation samples always.
        thresholds_from: the samples the thresholds come from: `calibration`, or `all` like the errors.
        local: of each site, what quantising it alone does to a few tokens and to the stream behind its block; None
            where that was not measured, and empty for a session without any.
        lost: sites that saw NaN or infinity and nothing else, so that there is nothing to quantise.
    """

    schemes: tuple[Column, ...]
    rows: tuple[Row | None, ...]
    errors_over: Population = "all"
    thresholds_from: Literal["calibration", "all"] = "all"
    local: tuple[LocalErrors | None, ...] = field(default=(), compare=False)
    lost: frozenset[int] = frozenset()

    def local_numbers(self, site: int, scheme: str) -> LocalNumbers | None:
        """What is known of a site's few tokens under a scheme; None where it was not measured."""
        found = self.local[site] if site < len(self.local) else None
        return None if found is None else found.numbers(scheme)


@dataclass(frozen=True, slots=True)
class SchemeSummary:
    """One scheme over sites of a board. Means are weighted by the sites' numbers of elements.

    Attributes:
        scheme: the column.
        sites: sites with a number.
        rel_rmse, rel_mae, clip_rate: means.
        sqnr_db: mean over the sites where it is finite; infinite if it is so at all of them, NaN without sites.
        infinite_sites: how many have an infinite SQNR and are in neither side of that mean.
        worst_site: row of the lowest SQNR, None without sites; which one is hurt most, `ranking.rank` tells.
        worst_sqnr_db: that SQNR; NaN without sites.
        is_exact: whether all sites are.
    """

    scheme: Column
    sites: int
    rel_rmse: float
    rel_mae: float
    clip_rate: float
    sqnr_db: float
    infinite_sites: int
    worst_site: int | None
    worst_sqnr_db: float
    is_exact: bool


@dataclass(frozen=True, slots=True)
class Overflow:
    """What exceeds a format's largest number.

    Attributes:
        name, limit: of the format.
        sites: rows above the limit, in order; the first is where it begins.
        headroom_bits: log2(limit / largest), negative by as much as it overflows; NaN without sites.
    """

    name: str
    limit: float
    sites: tuple[int, ...]
    headroom_bits: float


def compute_board(
    distributions: Sequence[Distribution | None],
    schemes: Sequence[Scheme] = DEFAULT_SCHEMES,
    calibration: Sequence[Distribution | None] | None = None,
    in_pass: Sequence[PassSums | None] | None = None,
    local: Sequence[LocalErrors | None] = (),
) -> Board:
    """Every scheme on every site.

    Args:
        distributions: of each site, the elements whose errors are taken.
        schemes: the columns from histograms.
        calibration: the elements the thresholds are taken from, in the same order of sites; the same elements if
            None, as for a site that has none.
        in_pass: what was summed in the pass at each site; its schemes become further columns.
        local: of each site, what quantising it alone does to a few tokens.
    """
    sources = distributions if calibration is None else calibration
    rows = [histogram_row(one, schemes, source) for one, source in zip(distributions, sources, strict=True)]
    sums = in_pass if in_pass is not None else [None] * len(rows)
    return assemble_board(rows, schemes, sums, local, is_split=calibration is not None)


def histogram_row(
    one: Distribution | None, schemes: Sequence[Scheme], source: Distribution | None = None
) -> Row | None:
    """The errors of a site, one per scheme; None without elements. Arguments as of `compute_board`, of one site."""
    return None if one is None else tuple(evaluate(one, scheme, source) for scheme in schemes)


def assemble_board(
    rows: Sequence[Row | None],
    schemes: Sequence[Scheme],
    in_pass: Sequence[PassSums | None],
    local: Sequence[LocalErrors | None] = (),
    *,
    is_split: bool,
    lost: Collection[int] = (),
) -> Board:
    """The board of rows that were computed one by one.

    Args:
        rows: `histogram_row` of each site.
        schemes: the columns of the rows.
        in_pass: what was summed in the pass at each site; its schemes become further columns.
        local: of each site, what quantising it alone does to a few tokens.
        is_split: thresholds are from calibration samples, errors over evaluation samples.
        lost: sites that have no finite element.
    """
    names = dict.fromkeys(name for one in in_pass if one is not None for name in one.names)
    further = tuple(find_scheme(name) or UnknownScheme(name) for name in names)
    unknown = (None,) * len(schemes)
    whole = tuple(
        None
        if row is None and measured is None
        else (row or unknown) + tuple(pass_error(measured, scheme) for scheme in further)
        for row, measured in zip(rows, in_pass, strict=True)
    )
    return Board(
        (*schemes, *further),
        whole,
        "evaluation" if is_split else "all",
        "calibration" if is_split else "all",
        tuple(local) if any(one is not None for one in local) else (),
        frozenset(lost),
    )


def pass_error(sums: PassSums | None, scheme: Column) -> QuantError | None:
    """The error of a scheme that was applied in the pass; None where it was not, or saw no element."""
    row = None if sums is None else sums.row(scheme.name)
    return None if row is None or not row[-2:].any() else QuantError.of_sums(row)


def summarise_schemes(board: Board, sites: Collection[int] | None = None) -> tuple[SchemeSummary, ...]:
    """One line per scheme, over these sites; over all if None."""
    return tuple(_summary(board, column, sites) for column in range(len(board.schemes)))


def best_within(board: Board, row: int, bits: int) -> tuple[Column, QuantError] | None:
    """The scheme with the highest SQNR among those of at most `bits` bits at this site; the first of equals."""
    errors = board.rows[row]
    if errors is None:
        return None
    allowed = [(s, e) for s, e in zip(board.schemes, errors, strict=True) if e is not None and 0 < s.bits <= bits]
    return max(allowed, key=lambda pair: pair[1].sqnr_db, default=None)


def find_overflows(magnitudes: NDArray[np.float64], nonfinite: NDArray[np.int64] | None = None) -> tuple[Overflow, ...]:
    """What exceeds fp16 and e4m3 without scaling.

    Args:
        magnitudes: M_site of each site, NaN where unknown.
        nonfinite: NaN and infinities of each site; a site with any exceeds every format.
    """
    if nonfinite is not None:
        magnitudes = np.where(nonfinite > 0, np.inf, magnitudes)
    known = magnitudes[~np.isnan(magnitudes)]
    largest = float(known.max()) if known.size else math.nan
    return tuple(
        Overflow(
            name,
            limit,
            tuple(np.flatnonzero(magnitudes > limit).tolist()),
            _headroom(largest, limit),
        )
        for name, limit in LIMITS
    )


def _headroom(largest: float, limit: float) -> float:
    """log2(limit / largest); infinite for 0, -infinite for infinity, NaN for NaN."""
    if not 0 < largest < math.inf:
        return {0.0: math.inf, math.inf: -math.inf}.get(largest, math.nan)
    return math.log2(limit / largest)


def _summary(board: Board, column: int, sites: Collection[int] | None) -> SchemeSummary:
    rows = ((number, row) for number, row in enumerate(board.rows) if sites is None or number in sites)
    errors = ((number, row[column]) for number, row in rows if row is not None)
    found = [(number, error) for number, error in errors if error is not None and error.count]
    finite = [(number, error) for number, error in found if math.isfinite(error.sqnr_db)]
    worst = min(finite, key=lambda pair: pair[1].sqnr_db, default=None)
    weights = [error.count for _, error in found]
    if finite:
        sqnr = _mean([error.sqnr_db for _, error in finite], [error.count for _, error in finite])
    else:
        sqnr = math.inf if found else math.nan
    return SchemeSummary(
        scheme=board.schemes[column],
        sites=len(found),
        rel_rmse=_mean([error.rel_rmse for _, error in found], weights),
        rel_mae=_mean([error.rel_mae for _, error in found], weights),
        clip_rate=_mean([error.clip_rate for _, error in found], weights),
        sqnr_db=sqnr,
        infinite_sites=len(found) - len(finite),
        worst_site=worst[0] if worst else (found[0][0] if found else None),
        worst_sqnr_db=worst[1].sqnr_db if worst else sqnr,
        is_exact=all(error.is_exact for _, error in found),
    )


def _mean(values: Sequence[float], weights: Sequence[int]) -> float:
    total = sum(weights)
    return sum(v * w for v, w in zip(values, weights, strict=True)) / total if total else math.nan
