"""The tables of the readable reports: headings and rows of text, the same in every format.

- `Table`   a title, headings, rows
- `site_table`, `all_sites_table`, `layer_table`, `thread_table`, `category_table`, `token_table`, `scheme_tables`,
  `ranking_tables`, `bootstrap_table`, `published_table`, `protocol_table`

Cells are printable text, still to be escaped for the format.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from engine.analysis.components import largest_sites
from engine.analysis.published import published
from engine.base.naming import corpus_name
from engine.base.wording import UNKNOWN, decibels, exact, printable, share, short, written
from engine.fields.registry import of_component, shown
from engine.quantization.board import SchemeSummary
from engine.quantization.groups import GROUPS, Group
from engine.quantization.ranking import MEASURES, By, rank, split_lost
from engine.report.sentences import thread_line
from engine.report.source import Source
from engine.scheme_names import title_of

LISTED_THREADS = 12
HARMED = 10
_BY: Final[dict[By, str]] = {"nonfinite": MEASURES["nonfinite"], "damage": "damage", "rel_mae": "relative MAE"}


@dataclass(frozen=True, slots=True)
class Table:
    """A table of text. Columns from the second on hold numbers where `numeric` says so."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: bool = True


def site_table(source: Source) -> Table:
    """The largest site of each component; components without a finite element come first."""
    columns = shown("components")
    rows = [
        (one.name, *(written(of_component(field, one), field.style) for _, field in columns))
        for one in largest_sites(source.summary)
    ]
    title = "Largest site of each component (non-finite: at all of its sites)"
    return Table(title, ("Site", *(heading for heading, _ in columns)), tuple(rows))


def all_sites_table(source: Source) -> Table:
    """Every site."""
    plan, columns = source.summary.plan, shown("sites")
    rows = tuple(
        (site.name, *(written(field.of(site, found), field.style) for _, field in columns))
        for site, found in zip(plan.sites if plan else (), source.summary.sites, strict=True)
        if found is not None
    )
    return Table("All sites", ("Site", *(heading for heading, _ in columns)), rows)


def layer_table(source: Source) -> Table:
    """The hidden state after every block."""
    plan = source.summary.plan
    rows = []
    for site, found in zip(plan.sites if plan else (), source.summary.sites, strict=True):
        if found is None or site.component != "hidden" or site.layer is None or not found.top:
            continue
        first = found.top[0]
        rows.append(
            (
                str(site.layer),
                exact(found.magnitude),
                short(found.abs_median),
                short(found.sun_layer.ratio),
                short(found.sun_token.peak_ratio),
                {True: "yes", False: "no", None: "–"}[found.sun_layer.passes],
                str(first.channel),
                f"{first.sample}:{first.position}",
            )
        )
    headings = ("Layer", "max |x|", "median", "max / layer median", "max / token median", "massive", "channel", "token")
    return Table("Residual stream, layer by layer", headings, tuple(rows))


def thread_table(source: Source) -> Table:
    """The largest threads."""
    rows = tuple(thread_line(thread) for thread in source.summary.threads[:LISTED_THREADS])
    return Table("Threads", ("Sample:position", "Channel", "Lives from", "Peak"), rows)


def token_table(source: Source) -> Table:
    """The tokens that carry the largest elements at M's site."""
    rows = tuple(
        (
            exact(value),
            printable(where.piece, 24),
            printable(where.before, 400)[-40:] + "⟦" + printable(where.piece, 24) + "⟧" + printable(where.after, 40),
            f"{where.sample}:{where.position}",
            str(where.channel),
            printable(where.category, 24),
        )
        for value, where in source.contexts
    )
    headings = ("Value", "Token", "In context", "Sample:position", "Channel", "Category")
    return Table("Tokens that carry the largest elements", headings, rows, numeric=False)


def category_table(source: Source) -> Table:
    """M by category."""
    rows = tuple(
        (
            printable(one.category, 40),
            exact(one.convergence.magnitude),
            f"{one.convergence.samples:,}",
            f"{one.convergence.tokens:,}",
        )
        for one in source.summary.categories
    )
    return Table("By category", ("Category", _maximum_name(source), "Samples", "Tokens"), rows)


def _maximum_name(source: Source) -> str:
    return source.summary.maximum.name if source.summary.maximum is not None else "M"


def bootstrap_table(source: Source) -> Table:
    """M over subsets."""
    rows = tuple(
        (f"{one.size:,}", exact(round(one.mean, 3)), share(one.cv), f"{exact(one.low)} to {exact(one.high)}")
        for one in source.summary.bootstrap
    )
    title = f"{_maximum_name(source)} over random subsets (5 each)"
    return Table(title, ("Samples", "Mean", "Variation", "Range"), rows)


def scheme_tables(source: Source) -> list[Table]:
    """Quantisers, a line each; a table for each group of sites, the GEMM inputs first."""
    return [_scheme_table(source, group, lines) for group, lines in source.schemes.items()]


def _scheme_table(source: Source, group: Group, lines: Sequence[SchemeSummary]) -> Table:
    plan = source.summary.plan
    rows = []
    for one in lines:
        if not one.sites or plan is None:
            continue
        worst = next(iter(rank(source.board, one.scheme.name, source.groups[group])), None)
        rows.append(
            (
                title_of(one.scheme.name) + ("" if one.is_exact else " (approx.)"),
                decibels(one.sqnr_db),
                short(one.rel_rmse),
                share(one.clip_rate),
                plan.sites[worst.site].name if worst is not None else UNKNOWN,
                UNKNOWN
                if worst is None
                else _BY[worst.by]
                if worst.is_lost
                else f"{_BY[worst.by]} {share(worst.value)}",
                decibels(worst.sqnr_db) if worst is not None else UNKNOWN,
                one.scheme.source,
            )
        )
    headings = ("Scheme", "SQNR, dB", "rel. RMSE", "clipped", "worst site", "by", "its SQNR, dB", "computed")
    return Table(f"Quantisation of {GROUPS[group]}, mean over sites ({source.populations})", headings, tuple(rows))


def ranking_tables(source: Source) -> list[Table]:
    """The sites that INT8 per tensor hurts most, of each group, the GEMM inputs first."""
    return [_ranking_table(source, group, sites) for group, sites in source.groups.items()]


def _ranking_table(source: Source, group: Group, sites: Sequence[int]) -> Table:
    plan, (lost, known) = source.summary.plan, split_lost(rank(source.board, sites=sites))
    names = [site.name for site in plan.sites] if plan is not None else []
    rows = [(names[one.site], MEASURES["nonfinite"], UNKNOWN) for one in lost[:HARMED]]
    if len(lost) > HARMED:
        rows.append((f"{len(lost) - HARMED} further sites", MEASURES["nonfinite"], UNKNOWN))
    rows += [(names[one.site], share(one.value), decibels(one.sqnr_db)) for one in known[:HARMED]]
    measure = MEASURES[known[0].by] if known else ""
    return Table(f"What INT8 per tensor hurts most of the {GROUPS[group]}", ("Site", measure, "SQNR, dB"), tuple(rows))


def published_table(source: Source) -> Table:
    """This model among the published checkpoints, by descending M."""
    if source.summary.standing is None:  # nothing measured, or no M
        return Table("Among the published checkpoints", (), ())
    words = {True: "yes", False: "no", None: "–"}
    rows: list[tuple[float, str, str, str, bool | None]] = [
        (row.magnitude, row.name, row.location, row.tier, row.passes_layer_median) for row in published()
    ]
    if source.summary.maximum is not None and source.summary.standing is not None:
        mine = source.summary.maximum
        finite = ", finite elements alone" if source.summary.alarm else ""
        name = f"→ {printable(source.name, 60)}{finite}"
        verdict = source.summary.passes_layer_median
        rows.append((mine.magnitude, name, mine.label, source.summary.standing.tier, verdict))
    ordered = sorted(rows, key=lambda row: -row[0])
    return Table(
        "Among the published checkpoints",
        ("Checkpoint", "M", "Location", "Tier", "Massive"),
        tuple((name, exact(m), place, tier, words[massive]) for m, name, place, tier, massive in ordered),
    )


def protocol_table(source: Source) -> Table:
    """What was run, for whoever wants the same numbers."""
    summary = source.summary
    job, provenance = summary.job, summary.provenance
    rows = [
        ("Model", printable(source.name)),
        ("Revision", printable(str(provenance.get("commit") or provenance.get("revision") or "–"))),
        ("Weights", printable(str(provenance.get("weight_hash") or "–"))),
        ("Checkpoint's quantisation", printable(str(provenance.get("quantization") or "none"))),
        ("Activations", summary.dtype),
        ("Corpus", printable(corpus_name(job.corpus))),
        ("Corpus hash", printable(str(summary.corpus.get("hash", "–")))),
        ("Special tokens", printable(job.policy)),
        ("Samples, tokens", f"{summary.samples:,}, {summary.tokens:,}"),
        ("Seed", str(job.seed)),
        ("Detail", printable(job.detail)),
        ("Versions", printable(", ".join(f"{k} {v}" for k, v in (provenance.get("versions") or {}).items()) or "–")),
        ("Sites", f"{sum(s is not None for s in summary.sites)} measured (--sites {printable(job.sites)})"),
    ]
    return Table("Protocol", ("What", "Value"), tuple(rows), numeric=False)
