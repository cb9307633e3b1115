"""A whole session in numbers and verdicts.

- `Address`       where a number was found, with its token and the text around it
- `ModelSummary`  everything the screens, the summary and the exports say about a model
- `analyse`       session -> summary; of an unfinished one, what its last checkpoint holds
- `has_hidden`    whether hidden states were to be measured
- `find_address`  an address with its token and the text around it
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.analysis.convergence import (
    Bootstrap,
    CategoryMaximum,
    Convergence,
    bootstrap,
    bootstrap_sizes,
    by_category,
    running_maximum,
)
from engine.analysis.coverage import LayerCoverage, expert_coverage
from engine.analysis.emergence import Emergence, find_emergence, hidden_profile, positive_profile
from engine.analysis.lacking import not_measured
from engine.analysis.maximum import Maximum, find_largest_input, find_maximum
from engine.analysis.nonfinite import Alarm, find_alarm
from engine.analysis.published import Standing, protocol_differences, standing
from engine.analysis.site import SiteSummary, summarise
from engine.analysis.structure import TopStructure, hot_sites, top_structure
from engine.analysis.threads import Level, Thread, find_threads
from engine.base.job import Job
from engine.session.costs import CHOICE, SPENT, SitesChoice, Spent
from engine.session.reader import SessionReader
from engine.session.records import Status
from engine.sites.site import HookPlan, headline_sites
from engine.statistics.totals import SiteTotals

CONTEXT_TOKENS = 8

Visit = Callable[[int, SiteTotals], None]


@dataclass(frozen=True, slots=True)
class Address:
    """Where a number was found.

    Attributes:
        sample, position, channel: the address.
        category: the sample's category.
        token_id: the token, -1 if the session does not hold the sample.
        piece: the bytes the token contributes to the text.
        before, after: the bytes of up to 8 tokens on either side. All bytes come from a corpus: treat as hostile.
    """

    sample: int
    position: int
    channel: int
    category: str
    token_id: int
    piece: bytes
    before: bytes
    after: bytes


@dataclass(frozen=True, slots=True)
class ModelSummary:
    """Everything measured on a model.

    Attributes:
        job: what was asked for.
        status: the engine's status now.
        is_partial: the run has not finished: every number is of the part measured so far.
        created: Unix time.
        provenance, corpus: as the session describes them.
        plan: the hook plan; None before the engine has looked at the model.
        dtype: activation dtype of the sites that `maximum` is over, or of the first where none of those has a finite
            element; empty before the first number.
        samples, tokens: measured by the last checkpoint.
        sites: one per site of the plan, None where nothing was seen.
        maximum: M, or the largest GEMM input of a run without the paper's sites; None before the first number.
        largest_input: the largest of the GEMM inputs; None where none was measured.
        input_peak: its address.
        signed_maximum: the element itself; NaN without one.
        peak: its address.
        passes_layer_median, passes_token_median: whether a hidden site passes Sun's criterion; None if unknown, as
            where none passes by its finite elements and one holds NaN or infinity.
        layer_median_sites, token_median_sites: numbers of the sites that pass, hidden or not.
        emergence, emergence_compat: from |x|, and from positive maxima alone.
        profile: (layer, a_l) of the hidden states.
        threads: largest first.
        threads_are_known: False where a hidden state holds NaN or infinity, so that there may be others, and where none
            was measured.
        convergence, categories, bootstrap: from the per-sample maxima of the sites that `maximum` is over.
        structure: of the five largest at M's site.
        hot_sites: numbers of the sites that reach 0.9 M.
        standing: among the published checkpoints; None without M.
        differences: what was measured differently from the paper.
        nonfinite_sites: numbers of the sites that saw NaN or infinity.
        alarm: the first of those elements in the order of a forward; None where all were finite.
        alarm_at: its address; None without one.
        experts: coverage of every tapped MoE layer; empty for dense models and for runs without expert sites.
        not_measured: what the session does not hold, as one of an earlier version does not: a few words each.
        choice: what `--sites auto` came to; None where the sites were named.
        spent: what the statistics took; None before a run's end, and in older sessions.
    """

    job: Job
    status: Status
    is_partial: bool
    created: float
    provenance: dict[str, Any]
    corpus: dict[str, Any]
    plan: HookPlan | None
    dtype: str
    samples: int
    tokens: int
    sites: tuple[SiteSummary | None, ...]
    maximum: Maximum | None
    largest_input: Maximum | None
    input_peak: Address | None
    signed_maximum: float
    peak: Address | None
    passes_layer_median: bool | None
    passes_token_median: bool | None
    layer_median_sites: tuple[int, ...]
    token_median_sites: tuple[int, ...]
    emergence: Emergence | None
    emergence_compat: Emergence | None
    profile: tuple[tuple[int, float], ...]
    threads: tuple[Thread, ...]
    threads_are_known: bool
    convergence: Convergence
    categories: tuple[CategoryMaximum, ...]
    bootstrap: tuple[Bootstrap, ...]
    structure: TopStructure | None
    hot_sites: tuple[int, ...]
    standing: Standing | None
    differences: tuple[str, ...]
    nonfinite_sites: tuple[int, ...]
    experts: tuple[LayerCoverage, ...]
    alarm: Alarm | None
    alarm_at: Address | None
    not_measured: tuple[str, ...]
    choice: SitesChoice | None
    spent: Spent | None


def analyse(reader: SessionReader, visit: Visit | None = None) -> ModelSummary:
    """The summary of a session, finished or not, as of its last checkpoint.

    `visit` is called with each site's number and totals, for what else is to be read off them in the same pass.
    """
    with reader.snapshot():
        meta = reader.meta()
        plan = meta.plan
        sites, levels, sample_max = _read_sites(reader, plan, visit)
        done = np.asarray(reader.samples_done(), np.int64)
        of_experts = reader.expert_totals()
        experts = expert_coverage(plan, of_experts) if plan else ()
        of_sites, parts = [s.not_measured for s in sites if s], reader.parts_lacking()
        lacking = not_measured(of_sites, [one.missing for one in of_experts.values()], *([one] for one in parts))
        labels = reader.sample_labels()
        status = reader.status()
        dtype = _dtype(plan, sites)
        excluded = sum(1 for s in sites if s and s.nonfinite and s.nonfinite.count)
        maximum = find_maximum(plan, _column(sites, "magnitude"), dtype, excluded) if plan else None
        entry = _peak_entry(sites, maximum)
        peak = find_address(reader, *entry[1:]) if entry else None
        alarm = _alarm(plan, sites)
        alarm_at = find_address(reader, alarm.sample, alarm.position, alarm.channel) if alarm else None
        largest_input = find_largest_input(plan, _column(sites, "magnitude"), dtype, excluded) if plan else None
        input_entry = _peak_entry(sites, largest_input)
        input_peak = find_address(reader, *input_entry[1:]) if input_entry else None
    tokens, categories = _by_number(labels, len(sample_max))
    magnitudes = _column(sites, "magnitude")
    profile = hidden_profile(plan, magnitudes) if plan else []
    return ModelSummary(
        job=meta.job,
        status=status,
        is_partial=status.phase != "finished",
        created=meta.created,
        provenance=meta.provenance,
        corpus=meta.corpus,
        plan=plan,
        dtype=dtype,
        samples=len(done),
        tokens=int(tokens[done].sum()),
        sites=tuple(sites),
        maximum=maximum,
        largest_input=largest_input,
        input_peak=input_peak,
        signed_maximum=entry[0] if entry else math.nan,
        peak=peak,
        passes_layer_median=_any_hidden(plan, sites, "sun_layer"),
        passes_token_median=_any_hidden(plan, sites, "sun_token"),
        layer_median_sites=tuple(i for i, s in enumerate(sites) if s and s.sun_layer.passes),
        token_median_sites=tuple(i for i, s in enumerate(sites) if s and s.sun_token.passes),
        emergence=find_emergence(profile),
        emergence_compat=find_emergence(positive_profile(plan, _column(sites, "max")) if plan else []),
        profile=tuple(profile),
        threads=find_threads(levels),
        threads_are_known=has_hidden(plan) and not _has_bad_hidden(plan, sites),
        convergence=running_maximum(done, sample_max, tokens),
        categories=by_category(done, sample_max, tokens, categories),
        bootstrap=bootstrap(sample_max[done], [categories[i] for i in done], bootstrap_sizes(len(done))),
        structure=_structure(sites, maximum),
        hot_sites=hot_sites(plan, magnitudes, maximum.magnitude) if plan and maximum else (),
        standing=standing(maximum.magnitude) if maximum and maximum.is_m else None,
        differences=protocol_differences(meta.job, maximum.dtype, len(done)) if maximum else (),
        nonfinite_sites=tuple(i for i, s in enumerate(sites) if s and s.nonfinite and s.nonfinite.count),
        experts=experts,
        alarm=alarm,
        alarm_at=alarm_at,
        not_measured=lacking,
        choice=SitesChoice.from_json(meta.raw[CHOICE]) if meta.raw.get(CHOICE) else None,
        spent=Spent.from_json(meta.raw[SPENT]) if meta.raw.get(SPENT) else None,
    )


def find_address(reader: SessionReader, sample: int, position: int, channel: int) -> Address:
    """The address with its token and the text around it."""
    record = reader.sample(sample)
    if record is None or not 0 <= position < len(record.token_ids):
        return Address(sample, position, channel, record.category if record else "", -1, b"", b"", b"")
    first = max(position - CONTEXT_TOKENS, 0)
    pieces = reader.pieces(record.token_ids[first : position + CONTEXT_TOKENS + 1])
    here = position - first
    return Address(
        sample,
        position,
        channel,
        record.category,
        int(record.token_ids[position]),
        pieces[here],
        b"".join(pieces[:here]),
        b"".join(pieces[here + 1 :]),
    )


def _read_sites(
    reader: SessionReader, plan: HookPlan | None, visit: Visit | None
) -> tuple[list[SiteSummary | None], list[Level], NDArray[np.float64]]:
    """Summaries of all sites, the hidden states' levels, and per-sample maxima over the sites that count for M."""
    sites: list[SiteSummary | None] = []
    levels: list[Level] = []
    headline = frozenset(headline_sites(plan)) if plan else frozenset()
    sample_max = np.full(max((row[0] + 1 for row in reader.sample_labels()), default=0), np.nan)
    for site, totals in zip(plan.sites if plan else (), reader.iter_totals(), strict=True):
        summary = summarise(totals) if totals is not None else None
        sites.append(summary)
        if totals is None or summary is None:
            continue
        if visit is not None:
            visit(len(sites) - 1, totals)
        if len(sites) - 1 in headline:
            sample_max = np.fmax(sample_max, _padded(totals, len(sample_max)))
        if site.component == "hidden" and site.layer is not None and totals.has("top"):
            levels.append(Level(site.layer, totals.top, summary.sun_layer.threshold))
    return sites, sorted(levels, key=lambda level: level.layer), sample_max


def _padded(totals: SiteTotals, samples: int) -> NDArray[np.float64]:
    found = np.full(samples, np.nan)
    found[: len(totals.sample_max)] = totals.sample_max[:samples]
    return found


def _alarm(plan: HookPlan | None, sites: Sequence[SiteSummary | None]) -> Alarm | None:
    if plan is None:
        return None
    found = [s.nonfinite if s else None for s in sites]
    counts = np.array([one.count if one else 0 for one in found])
    nan = np.array([one.nan if one else 0 for one in found])
    return find_alarm(plan, counts, nan, [(n.sample, n.position, n.channel) if n else (-1, -1, -1) for n in found])


def _dtype(plan: HookPlan | None, sites: Sequence[SiteSummary | None]) -> str:
    """Of most of the sites that M is over, else of the first; empty before the first number."""
    counted = [one.dtype for number in headline_sites(plan) if (one := sites[number])] if plan else []
    return Counter(counted).most_common(1)[0][0] if counted else next((s.dtype for s in sites if s), "")


def _peak_entry(sites: Sequence[SiteSummary | None], maximum: Maximum | None) -> tuple[float, int, int, int] | None:
    site = sites[maximum.site] if maximum else None
    if site is None or not site.top:
        return None
    first = site.top[0]
    return first.value, first.sample, first.position, first.channel


def _structure(sites: Sequence[SiteSummary | None], maximum: Maximum | None) -> TopStructure | None:
    site = sites[maximum.site] if maximum else None
    return top_structure([entry.value for entry in site.top]) if site else None


def _column(sites: Sequence[SiteSummary | None], field: str) -> NDArray[np.float64]:
    return np.array([math.nan if site is None else getattr(site, field) for site in sites], np.float64)


def _by_number(labels: Sequence[tuple[int, str, int]], samples: int) -> tuple[NDArray[np.int64], list[str]]:
    tokens, categories = np.zeros(samples, np.int64), [""] * samples
    for number, category, count in labels:
        tokens[number], categories[number] = count, category
    return tokens, categories


def _any_hidden(plan: HookPlan | None, sites: Sequence[SiteSummary | None], verdict: str) -> bool | None:
    if plan is None:
        return None
    found = [
        getattr(summary, verdict).passes
        for site, summary in zip(plan.sites, sites, strict=True)
        if summary and site.component == "hidden"
    ]
    if any(found):
        return True
    return None if not found or None in found or _has_bad_hidden(plan, sites) else False


def has_hidden(plan: HookPlan | None) -> bool:
    """Whether hidden states are among the sites of a run; taken for granted before it has a plan."""
    return plan is None or any(site.component == "hidden" for site in plan.sites)


def _has_bad_hidden(plan: HookPlan | None, sites: Sequence[SiteSummary | None]) -> bool:
    """Whether a hidden state holds NaN or infinity."""
    pairs = zip(plan.sites if plan else (), sites, strict=True)
    hidden = (one.nonfinite for site, one in pairs if one and site.component == "hidden")
    return any(one.count for one in hidden if one)
