"""What quantisation costs, in a few lines: schemes over the inputs of matrix products, and the dearest sites of each.

- `SchemeCost`              one scheme
- `scheme_costs`            the schemes a reader asks for first
- `costs_in_words`          lines for a terminal
- `costs_list`              for JSON
- `summary_document`        the whole summary as JSON: model, effects, quantisation
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from engine.analysis.model import ModelSummary
from engine.base.wording import counted
from engine.quantization.board import Board
from engine.quantization.populations import SessionBoard, read_session_board
from engine.quantization.ranking import MEASURES, Ranked, rank, split_lost
from engine.report.effects import effects_list
from engine.report.plain import number
from engine.report.quantization import quantization_summary
from engine.report.summary import summary_dict
from engine.schemes import DEFAULT_SCHEMES, FULL_SCHEMES, SMOOTH_SCHEMES, Column, Scheme
from engine.session.reader import SessionReader
from engine.sites.site import QUANTISED_COMPONENTS, HookPlan

WORST: Final = 5
# What INT8, FP8 and FP4 kernels do; those that no session of this kind knows are left out.
_FIRST: Final = ("int8", "int8-token", f"{SMOOTH_SCHEMES[2].name}", "e4m3", "nvfp4")


@dataclass(frozen=True, slots=True)
class SchemeCost:
    """One scheme.

    Attributes:
        scheme: its name.
        population: what the sites are, in the plural.
        sites: how many.
        rel_mae: mean over them of mean |error| / mean |x|.
        worst: by the board's own order: every one without a finite element, then the dearest.
    """

    scheme: str
    population: str
    sites: int
    rel_mae: float
    worst: tuple[Ranked, ...]


def scheme_costs(board: Board, plan: HookPlan | None) -> tuple[SchemeCost, ...]:
    """The costs over the inputs of matrix products; over all sites where none was measured."""
    sites = plan.sites if plan is not None else ()
    inputs = {n for n, site in enumerate(sites) if site.component in QUANTISED_COMPONENTS}
    population = "GEMM inputs" if inputs else "sites"
    found = []
    for column, scheme in enumerate(board.schemes):
        if scheme.name not in _FIRST and not _is_chosen(scheme):
            continue
        rows = ((place, row[column]) for place, row in enumerate(board.rows) if row is not None)
        errors = {
            place: one for place, one in rows if one is not None and one.count and (place in inputs or not inputs)
        }
        if errors:
            mean = sum(one.rel_mae for one in errors.values()) / len(errors)
            lost, known = split_lost(rank(board, scheme.name, {*errors, *(inputs or board.lost)}))
            found.append(SchemeCost(scheme.name, population, len(errors), mean, (*lost, *known[:WORST])))
    return tuple(found)


def _is_chosen(scheme: Column) -> bool:
    """Whether the run was asked for this very quantiser."""
    if isinstance(scheme, Scheme) and scheme.policy == "reference_quantile":
        return False  # the usual column under the paper's protocol
    return scheme not in DEFAULT_SCHEMES and scheme not in FULL_SCHEMES


def costs_in_words(found: SessionBoard, plan: HookPlan | None) -> list[str]:
    """A line for each scheme, below one that says of what; empty where nothing is known."""
    costs = scheme_costs(found.board, plan)
    if not costs:
        return []
    first = costs[0]
    what = counted(first.sites, first.population.removesuffix("s"))
    lost = len(split_lost(first.worst)[0])
    beside = f", beside {lost} without a finite element" if lost else ""
    lines = [f"quantisation of {what}{beside}, mean |error| over mean |x| ({found.in_words}):"]
    sites = plan.sites if plan is not None else ()
    width = max(len(one.scheme) for one in costs)
    for one in costs:
        _, known = split_lost(one.worst)
        worst = ", ".join(f"{sites[site.site].name} {site.value:.1%}" for site in known[:3])
        by = MEASURES[known[0].by].partition(" (")[0]
        lines.append(f"  {one.scheme:<{width}}  {one.rel_mae:6.1%}  worst, by {by}: {worst}")
    return lines


def costs_list(board: Board, plan: HookPlan | None) -> list[dict[str, Any]]:
    """The same for strict JSON, with the five dearest sites of each scheme after those without a finite element."""
    return [
        {
            "scheme": one.scheme,
            "over": one.population,
            "sites": one.sites,
            "rel_mae": number(one.rel_mae),
            "worst": [
                {
                    "name": plan.sites[site.site].name,
                    "by": site.by,
                    "value": number(site.value),
                    "sqnr_db": number(site.sqnr_db),
                }
                for site in one.worst
                if plan is not None
            ],
        }
        for one in (scheme_costs(board, plan) if plan is not None else ())
    ]


def summary_document(reader: SessionReader, summary: ModelSummary) -> dict[str, Any]:
    """The summary with the effects that were measured and what quantisation costs, for strict JSON."""
    found = read_session_board(reader)
    known = quantization_summary(found, summary.plan)
    if known is not None:
        known["costs"] = costs_list(found.board, summary.plan)
    return {**summary_dict(summary), "effects": effects_list(reader), "quantization": known}
