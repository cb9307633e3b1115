"""What the readable reports are made from, gathered in one pass over the session.

- `Source`   the summary, the quantiser board, contexts of the largest elements
- `gather`   session -> source
"""

from __future__ import annotations

from dataclasses import dataclass

from engine.analysis.model import Address, ModelSummary, analyse, find_address
from engine.quantization.board import Board, SchemeSummary, compute_board, summarise_schemes
from engine.quantization.distribution import Distribution
from engine.report.reference import reference_model_name
from engine.session.reader import SessionReader
from engine.statistics.totals import SiteTotals

CONTEXTS = 12


@dataclass(frozen=True, slots=True)
class Source:
    """One session, read for a report.

    Attributes:
        name: the model's name.
        summary: everything about the model.
        board: quantiser errors of every site, thresholds and errors over all samples measured.
        schemes: the board, a line per scheme.
        contexts: the largest elements at M's site, one per token, with the text around them.
        sample_labels: (number, category, tokens) of every sample.
    """

    name: str
    summary: ModelSummary
    board: Board
    schemes: tuple[SchemeSummary, ...]
    contexts: tuple[tuple[float, Address], ...]
    sample_labels: tuple[tuple[int, str, int], ...]

    @property
    def has_numbers(self) -> bool:
        """Whether anything has been measured."""
        return self.summary.maximum is not None


def gather(reader: SessionReader) -> Source:
    """Read a session for a report."""
    distributions: dict[int, Distribution | None] = {}

    def visit(number: int, totals: SiteTotals) -> None:
        distributions[number] = Distribution.of(totals)

    with reader.snapshot():
        summary = analyse(reader, visit)
        contexts = _contexts(reader, summary)
        labels = tuple(reader.sample_labels())
    board = compute_board([distributions.get(number) for number in range(len(summary.sites))])
    return Source(reference_model_name(summary.job), summary, board, summarise_schemes(board), contexts, labels)


def _contexts(reader: SessionReader, summary: ModelSummary) -> tuple[tuple[float, Address], ...]:
    site = summary.sites[summary.maximum.site] if summary.maximum else None
    found: dict[tuple[int, int], tuple[float, Address]] = {}
    for entry in site.top if site else ():
        token = (entry.sample, entry.position)
        if token not in found and len(found) < CONTEXTS:
            found[token] = (entry.value, find_address(reader, entry.sample, entry.position, entry.channel))
    return tuple(found.values())
