"""What the readable reports are made from, gathered in one pass over the session.

- `Source`   the summary, the quantiser board, contexts of the largest elements
- `gather`   session -> source
"""

from __future__ import annotations

from dataclasses import dataclass

from engine.analysis.model import Address, ModelSummary, analyse, find_address
from engine.analysis.stability import Stability, read_stability
from engine.effect.results import Effect, read_effects
from engine.quantization.board import Board, SchemeSummary, summarise_schemes
from engine.quantization.groups import Group, site_groups
from engine.quantization.populations import BoardBuilder
from engine.report.reference import reference_model_name
from engine.session.reader import SessionReader

CONTEXTS = 12


@dataclass(frozen=True, slots=True)
class Source:
    """One session, read for a report.

    Attributes:
        name: the model's name.
        summary: everything about the model.
        board: quantiser errors of every site.
        populations: over which samples they are, in words.
        groups: numbers of the sites by the groups in which they are judged, the GEMM inputs first.
        schemes: the board by group, a line per scheme.
        contexts: the largest elements at M's site, one per token, with the text around them.
        sample_labels: (number, category, tokens) of every sample.
        stability: what a rerun of the peak samples has shown; None without one.
        effects: what changed activations do to predictions, oldest first.
    """

    name: str
    summary: ModelSummary
    board: Board
    populations: str
    groups: dict[Group, tuple[int, ...]]
    schemes: dict[Group, tuple[SchemeSummary, ...]]
    contexts: tuple[tuple[float, Address], ...]
    sample_labels: tuple[tuple[int, str, int], ...]
    stability: Stability | None
    effects: tuple[Effect, ...]

    @property
    def has_numbers(self) -> bool:
        """Whether anything has been measured."""
        return self.summary.maximum is not None


def gather(reader: SessionReader) -> Source:
    """Read a session for a report."""
    with reader.snapshot():
        builder = BoardBuilder(reader)
        summary = analyse(reader, builder.add)
        found = builder.finish(len(summary.sites))
        contexts = _contexts(reader, summary)
        labels = tuple(reader.sample_labels())
        stability, effects = read_stability(reader), read_effects(reader)
    board, words = found.board, found.in_words
    name, groups = reference_model_name(summary.job), site_groups(summary.plan)
    schemes = {group: summarise_schemes(board, frozenset(sites)) for group, sites in groups.items()}
    return Source(name, summary, board, words, groups, schemes, contexts, labels, stability, effects)


def _contexts(reader: SessionReader, summary: ModelSummary) -> tuple[tuple[float, Address], ...]:
    site = summary.sites[summary.maximum.site] if summary.maximum else None
    found: dict[tuple[int, int], tuple[float, Address]] = {}
    for entry in site.top if site else ():
        token = (entry.sample, entry.position)
        if token not in found and len(found) < CONTEXTS:
            found[token] = (entry.value, find_address(reader, entry.sample, entry.position, entry.channel))
    return tuple(found.values())
