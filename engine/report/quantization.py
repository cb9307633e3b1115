"""The errors of quantisers for the exports of data: by site and scheme, and each scheme over all sites.

- `SiteError`          one quantiser's error on one site
- `site_errors`        all of them, site by site
- `quantization_summary`  the part `quantization` of the summary's JSON: whose elements, each scheme
- `quantization_dict`  that of the complete JSON: every site besides
- `ranking_dict`, `ranking_line`, `lost_in_words`  the sites that INT8 hurts most, as JSON and in one sentence
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from engine.base.wording import counted
from engine.quantization.board import Board, SchemeSummary, summarise_schemes
from engine.quantization.groups import Group, site_groups
from engine.quantization.metrics import QuantError
from engine.quantization.populations import SessionBoard
from engine.quantization.ranking import MEASURES, Ranked, damage_of, rank, split_lost
from engine.report.plain import number
from engine.schemes import Column
from engine.sites.site import HookPlan, Site
from engine.statistics.local_errors import LocalNumbers


@dataclass(frozen=True, slots=True)
class SiteError:
    """One quantiser's error on one site.

    Attributes:
        site, scheme, error: which, and how large.
        errors_over: the samples whose error it is: `evaluation` or `all`.
        damage: what it does to the stream behind the block; NaN where it was not measured.
    """

    site: Site
    scheme: Column
    error: QuantError
    errors_over: str
    damage: float


def site_errors(board: Board, plan: HookPlan | None) -> Iterator[SiteError]:
    """Every known error of a board, in the order of the plan's sites, then of the schemes."""
    for place, (site, row) in enumerate(zip(plan.sites if plan else (), board.rows, strict=False)):
        for scheme, error in zip(board.schemes, row or (), strict=False):
            if error is not None and error.count:
                damage = damage_of(board, place, scheme.name)
                yield SiteError(site, scheme, error, _errors_over(board, scheme), damage)


def quantization_dict(found: SessionBoard, plan: HookPlan | None) -> dict[str, Any] | None:
    """Quantiser errors by scheme and by site; None where none is known (detail `lean`, or nothing measured)."""
    known = quantization_summary(found, plan)
    if known is None:
        return None
    sites: dict[str, list[dict[str, Any]]] = {}
    for one in site_errors(found.board, plan):
        sites.setdefault(one.site.name, []).append(_error(one))
    local = {site.name: _local(found.board, number) for number, site in enumerate(plan.sites if plan else ())}
    listed = [{"name": name, "schemes": errors, "local": local[name]} for name, errors in sites.items()]
    return {**known, "sites": listed}


def quantization_summary(found: SessionBoard, plan: HookPlan | None) -> dict[str, Any] | None:
    """Quantiser errors by scheme, and the sites that INT8 hurts most; None where nothing is known of any site."""
    board = found.board
    if plan is None or not (board.lost or any(True for _ in site_errors(board, plan))):
        return None
    split = found.split
    return {
        "population": found.in_words,
        "errors_over": board.errors_over,
        "thresholds_from": board.thresholds_from,
        "calibration_samples": len(split.calibration) if split else None,
        "evaluation_samples": len(split.evaluation) if split else None,
        "is_complete": found.is_complete,
        "schemes": [
            _scheme(line, board, plan, group, sites)
            for group, sites in site_groups(plan).items()
            for line in summarise_schemes(board, frozenset(sites))
            if line.sites
        ],
        "ranking": ranking_dict(board, plan),
    }


def ranking_dict(board: Board, plan: HookPlan, scheme: str = "int8") -> list[dict[str, Any]]:
    """Every site of which anything is known under a scheme, group by group, the worst of each first."""
    return [
        {
            "name": plan.sites[one.site].name,
            "group": group,
            "scheme": scheme,
            "by": one.by,
            "value": number(one.value),
            "sqnr_db": number(one.sqnr_db),
            "is_harmful": one.is_harmful,
        }
        for group, sites in site_groups(plan).items()
        for one in rank(board, scheme, frozenset(sites))
    ]


def ranking_line(board: Board, plan: HookPlan | None, most: int = 5) -> str:
    """`INT8 hurts most, by damage: layer_11_down_proj_input 24.8 % (SQNR 29.5 dB), ...`; empty where nothing is known.

    Of the GEMM inputs, which W8A8 quantises; of the other sites only where no input was measured. Sites without a
    finite element come first.
    """
    if plan is None:
        return ""
    ranked = (rank(board, sites=frozenset(sites)) for sites in site_groups(plan).values())
    lost, known = split_lost(next((one for one in ranked if one), []))
    sites = [f"{plan.sites[one.site].name} {100 * one.value:.3g} % (SQNR {one.sqnr_db:.1f} dB)" for one in known[:most]]
    words = f"INT8 per tensor hurts most, by {MEASURES[known[0].by]}: {', '.join(sites)}" if known else ""
    return "; ".join(part for part in (lost_in_words(lost, plan), words) if part)


def lost_in_words(lost: Sequence[Ranked], plan: HookPlan, most: int = 5) -> str:
    """`no finite element at 9 sites: layer_1_attn_input, ...`; empty without any."""
    if not lost:
        return ""
    names = ", ".join(plan.sites[one.site].name for one in lost[:most]) + (", ..." if len(lost) > most else "")
    return f"no finite element at {counted(len(lost), 'site')}: {names}"


def _errors_over(board: Board, scheme: Column) -> str:
    return "evaluation" if scheme.source == "in pass" else board.errors_over


def _scheme(line: SchemeSummary, board: Board, plan: HookPlan, group: Group, sites: Sequence[int]) -> dict[str, Any]:
    worst = next(iter(rank(board, line.scheme.name, frozenset(sites))), None)
    return {
        "name": line.scheme.name,
        "group": group,
        "source": line.scheme.source,
        "bits": line.scheme.bits,
        "errors_over": _errors_over(board, line.scheme),
        "sites": line.sites,
        "rel_rmse": number(line.rel_rmse),
        "rel_mae": number(line.rel_mae),
        "sqnr_db": number(line.sqnr_db),
        "infinite_sites": line.infinite_sites,
        "clip_rate": number(line.clip_rate),
        "worst_site": None if worst is None else plan.sites[worst.site].name,
        "worst_by": None if worst is None else worst.by,
        "worst_value": None if worst is None else number(worst.value),
        "worst_sqnr_db": None if worst is None else number(worst.sqnr_db),
        "is_exact": line.is_exact,
    }


def _error(one: SiteError) -> dict[str, Any]:
    error = one.error
    return {
        "name": one.scheme.name,
        "count": error.count,
        "sqnr_db": number(error.sqnr_db),
        "rel_rmse": number(error.rel_rmse),
        "rel_mae": number(error.rel_mae),
        "clip_rate": number(error.clip_rate),
        "zeroed": number(error.zeroed),
        "bulk_db": number(error.bulk_db),
        "below_top_db": number(error.below_top_db),
        "threshold": number(error.threshold),
        "is_exact": error.is_exact,
    }


def _local(board: Board, site: int) -> list[dict[str, Any]]:
    """What each scheme that was tried at this site alone did to a few tokens; empty where none was."""
    found = board.local[site] if site < len(board.local) else None
    known = [(name, found.numbers(name)) for name in found.names] if found is not None else []
    return [_local_numbers(name, one) for name, one in known if one is not None]


def _local_numbers(name: str, one: LocalNumbers) -> dict[str, Any]:
    return {
        "name": name,
        "damage": number(one.damage),
        "tokens": one.tokens,
        "token_median": number(one.token_median),
        "token_q90": number(one.token_q90),
        "token_worst": number(one.token_worst),
        "zeroed": number(one.zeroed),
        "bulk_db": number(one.bulk_db),
        "rel_mae": number(one.rel_mae),
    }
