"""The summary of a model as a plain dict, ready for strict JSON (`--json`).

- `FORMAT`, `VERSION`  what the dict says of itself; keys are only ever added within a version
- `summary_dict`       ModelSummary -> dict
- `nonfinite_dict`     counts of NaN and infinities, and the address of the first

Unknown numbers are null, infinite ones the string `infinity`; sites are named as in the hook plan; magnitudes are
|x|, shares lie between 0 and 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Final

from engine.analysis.convergence import CategoryMaximum, Convergence
from engine.analysis.maximum import Maximum
from engine.analysis.model import Address, ModelSummary
from engine.analysis.published import Checkpoint
from engine.analysis.site import NonFinite
from engine.base.naming import corpus_name, model_name
from engine.report.headline import no_m_words
from engine.report.plain import fields, number, text
from engine.session.costs import Trial

FORMAT: Final = "maxact-tui/summary"
VERSION: Final = 1


def summary_dict(summary: ModelSummary) -> dict[str, Any]:
    """Everything about the model; per-site numbers are in `engine.report.complete`."""
    names = _names(summary)
    return {
        "format": FORMAT,
        "version": VERSION,
        "model": _model(summary),
        "run": _run(summary),
        "protocol": {
            "corpus": corpus_name(summary.job.corpus),
            "corpus_hash": summary.corpus.get("hash"),
            "policy": summary.job.policy,
            "detail": summary.job.detail,
            "seed": summary.job.seed,
            "differences": list(summary.differences),
        },
        "maximum": _maximum(_m(summary), summary.peak, summary, names),
        "largest_input": _maximum(summary.largest_input, summary.input_peak, summary, names),
        "site_set": _sites(summary),
        "massive_activations": {
            "layer_median": summary.passes_layer_median,
            "token_median": summary.passes_token_median,
            "layer_median_sites": _named(names, summary.layer_median_sites),
            "token_median_sites": _named(names, summary.token_median_sites),
        },
        "emergence": fields(summary.emergence),
        "emergence_compat": fields(summary.emergence_compat),
        "profile": [{"layer": layer, "magnitude": number(value)} for layer, value in summary.profile],
        "threads": fields(summary.threads),
        "threads_known": summary.threads_are_known,
        "convergence": _convergence(summary.convergence),
        "categories": [_category(one) for one in summary.categories],
        "bootstrap": fields(summary.bootstrap),
        "structure": fields(summary.structure),
        "hot_sites": _named(names, summary.hot_sites),
        "standing": _standing(summary),
        "experts": fields(summary.experts),
        "nonfinite": [
            {"site": names[i], **nonfinite_dict(site.nonfinite)}
            for i in summary.nonfinite_sites
            if (site := summary.sites[i]) is not None and site.nonfinite is not None
        ],
        "first_nonfinite": _first_nonfinite(summary, names),
        **({"not_measured": list(summary.not_measured)} if summary.not_measured else {}),
    }


def nonfinite_dict(alarm: NonFinite) -> dict[str, Any]:
    """Counts of NaN and infinities, and the address of the first, null if there is none."""
    first = {"sample": alarm.sample, "position": alarm.position, "channel": alarm.channel}
    return {
        "nan": alarm.nan,
        "positive_infinity": alarm.positive_infinity,
        "negative_infinity": alarm.negative_infinity,
        "first": first if alarm.count else None,
    }


def _first_nonfinite(summary: ModelSummary, names: list[str]) -> dict[str, Any] | None:
    """The first non-finite element in the order of a forward, with its token; null where all are finite."""
    alarm = summary.alarm
    if alarm is None or summary.alarm_at is None:
        return None
    sites = {"sites": len(alarm.sites), "sites_after": alarm.after}
    return {"site": names[alarm.site], "kind": alarm.kind, **sites, "at": _address(summary.alarm_at)}


def _model(summary: ModelSummary) -> dict[str, Any]:
    plan = summary.plan
    return {
        "name": model_name(summary.job.model),
        "revision": summary.job.revision,
        "family": plan.family if plan else None,
        "layers": plan.layers if plan else None,
        "hidden_size": plan.hidden_size if plan else None,
        "dtype": summary.dtype or None,
    }


def _run(summary: ModelSummary) -> dict[str, Any]:
    status = summary.status
    return {
        "partial": summary.is_partial,
        "phase": status.phase,
        "created": summary.created,
        "seconds": status.running_seconds,
        "tokens_per_second": status.rate,
        "samples": summary.samples,
        "samples_total": status.samples_total,
        "tokens": summary.tokens,
        "tokens_total": status.tokens_total,
        "peak_bytes": status.peak_bytes,
    }


def _names(summary: ModelSummary) -> list[str]:
    return [site.name for site in summary.plan.sites] if summary.plan else []


def _named(names: list[str], sites: Iterable[int]) -> list[str]:
    return [names[i] for i in sites]


def _sites(summary: ModelSummary) -> dict[str, Any]:
    """Which sites were measured, why, and what their statistics cost: estimated before the run, and spent in it."""
    choice, spent = summary.choice, summary.spent
    return {
        "name": summary.job.sites,
        "asked": "auto" if choice is not None else summary.job.sites,
        "count": sum(site is not None for site in summary.sites),
        "no_m": no_m_words(summary) or None,
        "estimated": _trial(choice.trial) if choice is not None else None,
        "refused": _trial(choice.refused) if choice is not None else None,
        "spent": None
        if spent is None
        else {
            "slowdown": number(spent.slowdown),
            "model_seconds": spent.model,
            "statistics_seconds": spent.statistics,
            "bookkeeping_seconds": spent.bookkeeping,
            "damage_seconds": spent.damage,
        },
    }


def _trial(one: Trial | None) -> dict[str, Any] | None:
    if one is None:
        return None
    amounts = {"sites": one.sites, "tokens": one.tokens}
    return {
        **amounts,
        "slowdown": number(one.slowdown),
        "added_seconds": number(one.added_seconds),
        "damage_seconds": number(one.damage_seconds),
    }


def _m(summary: ModelSummary) -> Maximum | None:
    """M; None where the paper's sites were not measured."""
    return summary.maximum if summary.maximum is not None and summary.maximum.is_m else None


def _maximum(
    found: Maximum | None, at: Address | None, summary: ModelSummary, names: list[str]
) -> dict[str, Any] | None:
    """M or the largest GEMM input, with its address."""
    if found is None:
        return None
    site = summary.sites[found.site]
    return {
        "magnitude": number(found.magnitude),
        "value": number(site.top[0].value if site is not None and site.top else math.nan),
        "label": found.label,
        "site": names[found.site],
        "plateau": _named(names, found.plateau),
        "bf16_step": number(found.step),
        "fp16_headroom_bits": number(found.fp16_headroom_bits),
        "overflows_fp16": found.overflows_fp16,
        "e4m3_headroom_bits": number(found.e4m3_headroom_bits),
        "overflows_e4m3": found.overflows_e4m3,
        "excluded_sites": found.excluded_sites,
        "at": None if at is None else _address(at),
    }


def _address(peak: Address) -> dict[str, Any]:
    return {
        "sample": peak.sample,
        "position": peak.position,
        "channel": peak.channel,
        "category": peak.category,
        "token_id": peak.token_id if peak.token_id >= 0 else None,
        "token": text(peak.piece),
        "before": text(peak.before),
        "after": text(peak.after),
    }


def _convergence(found: Convergence) -> dict[str, Any]:
    return {
        "samples": found.samples,
        "tokens": found.tokens,
        "last_increase_tokens": found.points[-1].tokens if found.points else None,
        "last_increase_share": number(found.last_increase_share),
        "points": fields(found.points),
    }


def _category(one: CategoryMaximum) -> dict[str, Any]:
    return {
        "category": one.category,
        "samples": one.convergence.samples,
        "tokens": one.convergence.tokens,
        "magnitude": number(one.convergence.magnitude),
    }


def _standing(summary: ModelSummary) -> dict[str, Any] | None:
    found = summary.standing
    if found is None:
        return None
    return {
        "finite_only": summary.alarm is not None,
        "tier": found.tier,
        "larger": found.larger,
        "of": found.of,
        "next_above": _neighbour(found.next_above),
        "next_below": _neighbour(found.next_below),
    }


def _neighbour(row: Checkpoint | None) -> dict[str, Any] | None:
    return None if row is None else {"name": row.name, "magnitude": row.magnitude}
