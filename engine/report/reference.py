"""The two files of the code published with arXiv 2605.15572, for programs that read those.

- `activation_stats`  `<model>_activation_stats.json`: scalars per site
- `top5_stats`        `<model>_top5_stats.json`: the 100 largest per site (the name is historical)
- `missing_fields`    what a run lacks for every field
- `reference_name`    how the reference calls a site, None if it has no such site
- `moe_gate_name`     its second name for a router's output

Names, order and definitions are the reference's: quantiles of |x| from its 512 log10 bins, Sun's criterion by the
token median, the first exact maximum as the location, with its sign. Two things are mended: padding is never
counted, and a list of fewer than 100 is not filled up with zeros. What was not measured is left out: the means over
the ratios of all tokens need detail `compat`, so do float32's quantiles.

`layer_N_moe_gate` is what the reference calls the output of a router that is `mlp.gate` or `mlp.router` (Qwen, gpt-oss,
Ling). It holds the raw logits here, as `layer_N_router_logits` does; in the published files it holds the same for
gpt-oss, but probabilities for Qwen (older transformers overwrote the logits by their softmax), and indices of experts
for Ling; padding is counted in all of them. A file with that key says so in `notes`; so does a file of a model that
holds NaN or infinity, whose numbers are over finite elements. Other files have no `notes`, as the published ones.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from engine.analysis.nonfinite import session_alarm
from engine.base.job import Job
from engine.base.naming import corpus_name, without_folders
from engine.report.alarm import alarm_line
from engine.report.needs import Missing
from engine.session.reader import SessionMeta, SessionReader
from engine.sites.site import PAPER_COMPONENTS, Site
from engine.statistics.patterns import compat_quantiles, is_exact, moments
from engine.statistics.totals import SUN_MAGNITUDE, SUN_RATIO, SiteTotals

GLOBAL_TOP: Final = 100
POOLED_PER_SITE: Final = 5
_MOE_GATE: Final = re.compile(r"\.mlp\.(gate|router)$")
MOE_GATE_NOTE: Final = (
    "layer_N_moe_gate holds the router's raw logits; in the published files it holds them for gpt-oss, but"
    " probabilities for Qwen and indices of experts for Ling, with which these numbers cannot be compared;"
    " the published ones count padding, too"
)
_OUTSIDE: Final = {"embedding": "embedding_output", "final_norm": "final_layernorm"}
_LEVELS: Final = {
    "abs_median": 0.5, "abs_q25": 0.25, "abs_q75": 0.75, "abs_q90": 0.9, "abs_q99": 0.99, "abs_q999": 0.999,
}  # fmt: skip


def missing_fields(meta: SessionMeta) -> Missing | None:
    """The files are made of every run; only detail `compat` keeps what every field needs."""
    return None if meta.job.detail == "compat" else Missing("some fields need --detail compat")


def reference_name(site: Site) -> str | None:
    """`embedding_output`, `layer_3_hidden`, `final_layernorm`; None for sites the reference does not have."""
    if site.component in _OUTSIDE:
        return _OUTSIDE[site.component] if site.name == site.component else None
    plain = f"layer_{site.layer}_{site.component}"
    return plain if site.component in PAPER_COMPONENTS and site.name == plain else None


def moe_gate_name(site: Site) -> str | None:
    """`layer_3_moe_gate` for a router where the reference looks for one; None elsewhere."""
    is_router = site.component == "router_logits" and site.name == f"layer_{site.layer}_router_logits"
    return f"layer_{site.layer}_moe_gate" if is_router and _MOE_GATE.search(site.module) else None


def activation_stats(reader: SessionReader) -> dict[str, Any]:
    """The content of `<model>_activation_stats.json`."""
    with reader.snapshot():
        meta = reader.meta()
        head = _head(meta, len(reader.samples_done())) | _notes(reader, meta)
        sites: dict[str, dict[str, float]] = {}
        counted: dict[str, tuple[float, float]] = {}
        for name, site, totals in _sites(reader, meta):
            sites[name] = _scalars(site, totals, meta.job)
            if site.counts_for_m and "max" in sites[name]:
                counted[name] = (sites[name]["max"], sites[name]["min"])
    value, location = first_maximum(counted)
    return {**head, "global_max_activation": value, "global_max_location": location, "per_layer_stats": sites}


def top5_stats(reader: SessionReader) -> dict[str, Any]:
    """The content of `<model>_top5_stats.json`; the model's list pools the five largest of each site."""
    with reader.snapshot():
        meta = reader.meta()
        head = _head(meta, len(reader.samples_done())) | _notes(reader, meta, has_gates=False)
        tops = {
            name: totals.top["value"].tolist()
            for name, site, totals in _sites(reader, meta)
            if site.counts_for_m and totals.has("top")
        }
    pooled = pool_largest(list(tops.values()))
    return {
        **head,
        "global_top5_abs": [abs(value) for value in pooled],
        "global_top5_signed": pooled,
        "global_top5_abs_mean": _mean([abs(value) for value in pooled]),
        "per_layer_stats": {name: _largest(values) for name, values in tops.items()},
    }


def pool_largest(tops: Sequence[Sequence[float]]) -> list[float]:
    """The model's list: the 100 largest |x| among the five largest of each site, positive before negative."""
    pooled = sorted(((abs(x), x) for values in tops for x in values[:POOLED_PER_SITE]), reverse=True)
    return [value for _, value in pooled[:GLOBAL_TOP]]


def first_maximum(extremes: Mapping[str, tuple[float, float]]) -> tuple[float, str]:
    """The signed element of largest |x| and where it is, the first of equals, from each site's (max, min)."""
    value, location = 0.0, ""
    for name, ends in extremes.items():
        for end, found in zip(("max", "min"), ends, strict=True):
            if abs(found) > abs(value):
                value, location = found, f"{name} ({end})"
    return value, location


def reference_model_name(job: Job) -> str:
    """The last part of the model's id or path."""
    return Path(job.model).name.removesuffix(".gguf")


def _head(meta: SessionMeta, samples: int) -> dict[str, Any]:
    plan = meta.plan
    tokenizer = meta.raw.get("tokenizer", {})
    return {
        "model_name": reference_model_name(meta.job),
        # A path on this machine says nothing elsewhere, and more than the user may want to publish.
        "model_path": without_folders(meta.job.model, meta.job.model),
        "model_type": plan.family if plan else "unknown",
        "num_hidden_layers": plan.layers if plan else 0,
        "hidden_size": plan.hidden_size if plan else 0,
        "data_path": corpus_name(meta.job.corpus),
        "num_samples": samples,
        "max_seq_len": tokenizer.get("max_length") or meta.job.max_length or 0,
    }


def _notes(reader: SessionReader, meta: SessionMeta, *, has_gates: bool = True) -> dict[str, list[str]]:
    """What must be known of the numbers, under `notes`; nothing where they mean what they mean in published files."""
    plan, alarm = meta.plan, session_alarm(reader)
    routers = [site for site in plan.sites if moe_gate_name(site)] if plan is not None and has_gates else []
    notes = [MOE_GATE_NOTE] if routers else []
    if alarm is not None and plan is not None:
        notes.append(f"not finite: {alarm_line(alarm, plan)}; every number is over finite elements")
        lost = [plan.sites[n].name for n in alarm.sites if (one := reader.totals(n)) is not None and not one.finite]
        notes += [f"left out, without a finite element: {', '.join(lost)}"] if lost else []
    return {"notes": notes} if notes else {}


def _sites(reader: SessionReader, meta: SessionMeta) -> Iterator[tuple[str, Site, SiteTotals]]:
    for site, totals in zip(meta.plan.sites if meta.plan else (), reader.iter_totals(), strict=True):
        for name in (reference_name(site), moe_gate_name(site)):
            if name is not None and totals is not None and totals.finite:
                yield name, site, totals


def _scalars(site: Site, totals: SiteTotals, job: Job) -> dict[str, float]:
    found = moments(totals)
    entry: dict[str, float] = {}
    if found is not None:
        entry |= {"mean": found.mean, "std": found.std, "abs_mean": found.abs_mean, "rms": found.rms}
    if totals.has("extremes"):
        entry |= {"max": float(totals.extremes[0]), "min": float(totals.extremes[1])}
    entry |= {"count": float(totals.finite)}
    if not site.counts_for_m:
        return entry
    entry |= _sun(totals, job)
    if found is not None and (is_exact(totals.dtype) or totals.log_histogram.any()):
        entry |= dict(zip(_LEVELS, compat_quantiles(totals, list(_LEVELS.values())).tolist(), strict=True))
        entry |= {"abs_hist_count": float(found.count), "abs_hist_zero_frac": found.zeros / found.count}
    return entry


def _sun(totals: SiteTotals, job: Job) -> dict[str, float]:
    peak = float(np.abs(totals.extremes).max())
    entry = {"sun_peak_abs": peak} if totals.has("extremes") else {}
    median = float(totals.peak_median)
    if not math.isnan(median) and totals.has("extremes"):
        entry |= {"sun_peak_token_median": median, "sun_peak_token_ratio": peak / median if median > 0 else 0.0}
    if job.detail == "compat" and totals.sun_ratio[0] >= 0:
        count, total, squares = totals.ratio_sums.tolist()
        mean = total / count if count else 0.0
        entry |= {
            "sun_max_ratio": _float32_ratio(*totals.sun_ratio[1:3].tolist()),
            "sun_max_ratio_abs": float(totals.sun_ratio[1]),
            "sun_max_ratio_median": float(totals.sun_ratio[2]),
        }
        if totals.has("ratio_sums"):
            deviation = math.sqrt(max(0.0, squares / count - mean**2)) if count else 0.0
            entry |= {"sun_mean_ratio": mean, "sun_std_ratio": deviation}
    if totals.has_histogram:
        if totals.has("tokens", "sun_tokens"):
            entry |= {"sun_n_tokens": float(totals.tokens), "sun_n_pass": float(totals.sun_tokens)}
        entry |= {"sun_t_val": SUN_MAGNITUDE, "sun_t_ratio": SUN_RATIO}
    return entry


def _float32_ratio(magnitude: float, median: float) -> float:
    """The quotient in float32, over a zero median by the smallest normal number, as the reference; never infinite."""
    smallest, largest = np.finfo(np.float32).tiny, np.finfo(np.float32).max
    with np.errstate(over="ignore"):
        quotient = np.float32(magnitude) / max(np.float32(median), smallest)
    return float(min(quotient, largest))


def _largest(values: list[float]) -> dict[str, Any]:
    magnitudes = [abs(x) for x in values]
    five, signed = magnitudes[:POOLED_PER_SITE], values[:POOLED_PER_SITE]
    return {
        "topk_abs": magnitudes,
        "topk_signed": values,
        "top5_abs": five,
        "top5_signed": signed,
        "top5_abs_mean": _mean(five),
        "top5_signed_mean": _mean(signed),
    }


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0
