"""What a summary says in words, the same in every readable report.

- `facts`       label and text of the findings, in the order one reads them
- `caveats`     what a reader must know before quoting a number
- `lacking`     what the session does not hold
- `paragraph`   the findings in a few sentences, for a model card
- `standing_lines`  where the model stands, and how its protocol differs
- `threads_words`  how many threads, as far as that is known
- `emergence`, `verdict`, `largest_step`  how the maximum grows over the depth
- `nonfinite`   the first NaN or infinity of the model
- `robustness`  what `maxact-tui stability` found
- `DEFINITIONS` where the definitions are published

Foreign text in them is printable, and still to be escaped for the format.
"""

from __future__ import annotations

import math

from engine.analysis.emergence import SUDDEN_RATIO, Emergence
from engine.analysis.maximum import Maximum, headroom_bits, without_m
from engine.analysis.model import ModelSummary, has_hidden
from engine.analysis.published import tier_range
from engine.analysis.stability import Stability
from engine.analysis.threads import Thread
from engine.base.wording import counted, exact, printable, share, short
from engine.formats import E4M3_LIMIT, FP16_LIMIT
from engine.report.alarm import alarm_line, excluded_words
from engine.report.costs import spent_words
from engine.report.headline import input_words, massive_words, no_m_words, title_of_maximum
from engine.report.source import Source

DEFINITIONS = (
    ("Measuring Maximum Activations in Open Large Language Models", "https://arxiv.org/abs/2605.15572"),
    ("Massive Activations in Large Language Models", "https://arxiv.org/abs/2402.17762"),
)


def facts(source: Source) -> list[tuple[str, str]]:
    """The findings, each a label and a text; empty before the first number."""
    summary, found = source.summary, source.summary.maximum
    first = [("Not finite", text)] if (text := nonfinite(summary)) else []
    if found is None:
        return first
    rows = [
        *first,
        (title_of_maximum(found), f"{exact(found.magnitude)} at {found.label}{_excluded(found)}"),
        ("Element", element(summary)),
        (
            "Massive activations by the layer median",
            massive_words(summary, summary.passes_layer_median, summary.layer_median_sites),
        ),
        (
            "Massive activations by the token median",
            massive_words(summary, summary.passes_token_median, summary.token_median_sites),
        ),
        ("Emergence", f"{emergence(summary.emergence)}{_of_finite(summary)}"),
        ("float16", headroom(found, FP16_LIMIT)),
        ("FP8 e4m3, unscaled", headroom(found, E4M3_LIMIT)),
        ("Channels", channels(summary, found)),
        ("Threads", f"{threads_words(summary)} (one token and channel massive through consecutive layers)"),
        ("Convergence", convergence(summary)),
        ("Robustness", robustness(source.stability)),
    ]
    if why := no_m_words(summary):
        rows.insert(len(first), ("M", why))
    elif beside := input_words(summary):
        rows.insert(len(first) + 1, ("Largest GEMM input", beside))
    if summary.standing is not None:
        rank = summary.standing
        tier = f"tier {rank.tier} ({tier_range(rank.tier)})"
        place = f"{rank.larger} of {rank.of} have a larger M; {tier}{_finite_only(summary)}"
        rows.append(("Published checkpoints", place))
    rows.append(("Measured on", f"{_amount(summary)}, {summary.dtype}"))
    if cost := spent_words(summary.spent, summary.choice) if summary.spent is not None else "":
        rows.append(("Cost of measuring", cost))
    return rows


def caveats(source: Source) -> list[str]:
    """What limits the numbers: an unfinished run, non-finite values, what was not measured, another protocol."""
    summary = source.summary
    lines = []
    if summary.is_partial:
        lines.append(f"Partial: the run is {summary.status.phase}; the numbers are of what was measured so far.")
    if summary.alarm and summary.plan:
        names = ", ".join(summary.plan.sites[i].name for i in summary.alarm.sites[:6])
        more = ", ..." if len(summary.alarm.sites) > 6 else ""
        sites = counted(len(summary.alarm.sites), "site")
        lines.append(f"Non-finite values at {sites} ({names}{more}); they are in no number.")
    lines += [
        f"Not measured: {m.component} ({printable(m.reason)})" for m in (summary.plan.missing if summary.plan else ())
    ]
    if summary.not_measured:
        lines.append(lacking(summary))
    if any(site is not None and not site.exact for site in summary.sites):
        lines.append("float32 data: quantiles, medians and quantiser errors are approximate (2^-7 relative).")
    lines += [f"Differs from the paper: {printable(line)}" for line in summary.differences]
    return lines


def lacking(summary: ModelSummary) -> str:
    """What the session does not hold, in a sentence."""
    return f"Not measured: {'; '.join(summary.not_measured)} (the session does not hold them)."


def paragraph(source: Source) -> str:
    """The findings in a few sentences."""
    summary, found = source.summary, source.summary.maximum
    name = printable(source.name)
    begin = nonfinite(summary)
    if found is None and summary.not_measured:
        return f"M of {name} is not known. {lacking(summary)}"
    if found is None:
        nothing = f"Nothing finite was measured on {name}" if begin else f"Nothing has been measured on {name} yet"
        return f"{nothing}: {begin}." if begin else f"{nothing}."
    massive = {
        True: "It has massive activations in the sense of Sun et al. (layer median).",
        False: "It has no massive activations in the sense of Sun et al. (layer median).",
        None: "",
    }[summary.passes_layer_median]
    sign = ", a negative value" if summary.signed_maximum < 0 else ""
    begun = "Over the part measured so far, t" if summary.is_partial else "T"
    beside = input_words(summary)
    what = "largest activation" if found.is_m else "largest input of a matrix product"
    return " ".join(
        part
        for part in (
            f"{begun}he {what} of {name} is {'M = ' if found.is_m else ''}{exact(found.magnitude)}"
            f" ({found.label}){sign}, {place(summary)}{', of the finite ones' if begin else ''}.",
            "" if found.is_m or not summary.plan else f"{without_m(summary.plan, summary.job.sites)}.",
            f"The largest input of a matrix product is {beside}." if beside else "",
            massive,
            f"Emergence over the depth: {emergence(summary.emergence)}{_of_finite(summary)}.",
            f"It does not stay finite in {summary.dtype}: {begin}. M is over the finite elements." if begin else "",
            f"Against float16: {headroom(found, FP16_LIMIT)}.",
            f"Measured in {summary.dtype} on {_amount(summary)}, special tokens: {printable(summary.job.policy)}.",
            lacking(summary) if summary.not_measured else "",
        )
        if part
    )


def standing_lines(source: Source) -> list[str]:
    """Where the model stands among the published checkpoints, and what was measured differently from them."""
    summary = source.summary
    if summary.standing is None:
        return []
    rank = summary.standing
    lines = [
        f"Of the {rank.of} published checkpoints {rank.larger} have a larger M; this is tier {rank.tier},"
        f" {tier_range(rank.tier)}{_finite_only(summary)}."
    ]
    differences = "; ".join(printable(line) for line in summary.differences)
    return lines + ([f"Measured differently from them: {differences}."] if differences else [])


def element(summary: ModelSummary) -> str:
    """The element M, with its token and address."""
    if summary.peak is None:
        return place(summary)
    return f"{exact(summary.signed_maximum)} {place(summary)}"


def place(summary: ModelSummary) -> str:
    """Where M is: its token and address."""
    peak = summary.peak
    if peak is None:
        return "not located"
    token = f"token “{printable(peak.piece, 40)}”" if peak.token_id >= 0 else "a token"
    address = f"position {peak.position} of sample {peak.sample} ({printable(peak.category, 40)})"
    return f"on {token} at {address}, channel {peak.channel}"


def emergence(found: Emergence | None) -> str:
    """The verdict with its first step of ten times, and the largest step where that is another."""
    if found is None or found.layer == found.largest_layer:
        return verdict(found)
    return f"{verdict(found)}; the largest step is {largest_step(found)}"


def verdict(found: Emergence | None) -> str:
    """Sudden or gradual, by the first step of ten times."""
    if found is None:
        return "not known"
    if found.kind == "sudden":
        return f"sudden, a step of {short(found.ratio)} times into layer {found.layer}"
    return f"gradual, no step of {SUDDEN_RATIO:g} times"


def largest_step(found: Emergence | None) -> str:
    """How large, and into which layer."""
    return "not known" if found is None else f"{short(found.largest_ratio)} times into layer {found.largest_layer}"


def nonfinite(summary: ModelSummary) -> str:
    """The first NaN or infinity of the model, in the order of a forward; empty where there is none."""
    if summary.alarm is None or summary.plan is None:
        return ""
    at = summary.alarm_at
    return alarm_line(summary.alarm, summary.plan, printable(at.piece, 40) if at and at.token_id >= 0 else "")


def _excluded(found: Maximum) -> str:
    return f" ({excluded_words(found.excluded_sites)})" if found.excluded_sites else ""


def headroom(found: Maximum, limit: float) -> str:
    """How far M is from a format's largest number; NaN and infinity are beyond every one."""
    if found.excluded_sites:
        sites = counted(found.excluded_sites, "site")
        return f"overflows: {sites} {'holds' if found.excluded_sites == 1 else 'hold'} Inf/NaN"
    bits = headroom_bits(found.magnitude, limit)
    side = "above" if bits < 0 else "below"
    return f"{short(abs(bits))} bits {side} {limit:,.0f}" + ("; overflows" if bits < 0 else "")


def channels(summary: ModelSummary, found: Maximum) -> str:
    """The channels that stand out at M's site."""
    site = summary.sites[found.site]
    if site is None or site.channels is None:
        return "not counted"
    named = [f"{c.channel} ({c.kind})" for c in site.channels[:6]]
    more = f" and {len(site.channels) - 6} more" if len(site.channels) > 6 else ""
    return (", ".join(named) + more) if named else "none stands out"


def _finite_only(summary: ModelSummary) -> str:
    return "; both by its finite elements alone, which are not all" if summary.alarm else ""


def _of_finite(summary: ModelSummary) -> str:
    return ", by finite elements alone" if summary.alarm and summary.emergence is not None else ""


def threads_words(summary: ModelSummary) -> str:
    """How many threads there are; `not known` where only some could be seen."""
    if summary.threads_are_known:
        return f"{len(summary.threads):,}"
    if not has_hidden(summary.plan):
        return "not known: hidden states were not measured"
    found = f"{len(summary.threads):,} by finite elements alone" if summary.threads else "not known"
    return f"{found}: hidden states hold Inf/NaN"


def _amount(summary: ModelSummary) -> str:
    return f"{counted(summary.samples, 'sample')}, {counted(summary.tokens, 'token')}"


def convergence(summary: ModelSummary) -> str:
    """When M last grew."""
    points = summary.convergence.points
    if not points:
        return "not known"
    when = share(summary.convergence.last_increase_share)
    but = "; not converged: there is Inf/NaN beyond it" if summary.alarm else ""
    name = summary.maximum.name if summary.maximum is not None else "M"
    return f"{name} last grew after {counted(points[-1].tokens, 'token')} ({when} of the run){but}"


def robustness(found: Stability | None) -> str:
    """How much batch composition and dtype move the maxima."""
    if found is None:
        return "not measured (maxact-tui stability SESSION)"
    text = (
        f"peak samples run alone: within {share(found.batch_limit)} at 95 % of {counted(found.sites, 'site')}"
        f" ({counted(len(found.samples), 'sample')})"
    )
    own, alone, other = found.maximum
    if found.other_dtype:
        text += f"; in {found.other_dtype}: within {share(found.dtype_limit)}"
    if not math.isnan(own):
        text += f"; M {exact(alone)} alone" + (f", {exact(other)} in {found.other_dtype}" if found.other_dtype else "")
    text += f"; {found.nonfinite_words}" if found.nonfinite_words else ""
    return text + (f"; no second rerun: {printable(found.skipped, 200)}" if found.skipped else "")


def thread_line(thread: Thread) -> tuple[str, str, str, str]:
    """Sample and position, channel, life, peak of a thread."""
    end = "the last layer" if thread.death is None else f"layer {thread.death - 1}"
    unsure = "" if thread.birth_certain and thread.death_certain else " (ends hidden behind larger elements)"
    return (
        f"{thread.sample}:{thread.position}",
        str(thread.channel),
        f"layer {thread.birth} to {end}{unsure}",
        f"{exact(thread.peak)} in layer {thread.peak_layer}",
    )
