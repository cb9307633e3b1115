"""The summary of a session as tables on a terminal, for headless runs and `show`.

- `print_costs`    what quantisation costs, where it is known
- `print_summary`  everything a reader wants first: M and where, verdicts, layers, categories, what to doubt
"""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from engine.analysis.components import largest_sites
from engine.analysis.maximum import without_m
from engine.analysis.model import Address, ModelSummary, has_hidden
from engine.analysis.published import tier_range
from engine.base.naming import model_name
from engine.base.wording import counted
from engine.fields.registry import of_component, shown
from engine.formats import FP16_LIMIT
from engine.quantization.populations import read_session_board
from engine.report.alarm import alarm_line, excluded_words
from engine.report.costs import spent_words
from engine.report.headline import input_words, massive_words
from engine.report.quantization import ranking_line
from engine.report.sentences import threads_words
from engine.report.worst import costs_in_words
from engine.session.reader import SessionReader
from engine.session.records import Status
from maxact_tui.texts.numbers import compact, duration, exact, full, grouped, rate, size
from maxact_tui.texts.visible import visible

CONTEXT_CELLS = 24
LISTED_SITES = 8
LISTED_THREADS = 5


def print_summary(summary: ModelSummary, console: Console) -> None:
    """Print the summary; foreign text is made visible and never taken for markup."""
    for line in (*_alarm_lines(summary), _title(summary), *_maximum_lines(summary), *_verdict_lines(summary)):
        console.print(line, soft_wrap=True)
    console.print()
    console.print(_sites_table(summary))
    if summary.categories:
        console.print()
        console.print(_categories_table(summary))
    for line in _remarks(summary):
        console.print(line, soft_wrap=True)


def print_costs(reader: SessionReader, summary: ModelSummary, console: Console) -> None:
    """Print which sites INT8 hurts most, and what each quantiser costs; nothing where no threshold is known."""
    found = read_session_board(reader)
    for line in (ranking_line(found.board, summary.plan), *costs_in_words(found, summary.plan)):
        console.print(Text(visible(line, space=" ")), soft_wrap=True)


def _alarm_lines(summary: ModelSummary) -> list[Text]:
    """The headline of a model that holds NaN or infinity."""
    if summary.alarm is None or summary.plan is None:
        return []
    at = summary.alarm_at
    token = visible(at.piece) if at is not None and at.token_id >= 0 else ""
    return [Text(alarm_line(summary.alarm, summary.plan, token), "bold red")]


def _title(summary: ModelSummary) -> Text:
    status = summary.status
    text = Text(visible(model_name(summary.job.model), space=" "), "bold")
    seen = f"{counted(summary.samples, 'sample')}, {counted(summary.tokens, 'token')}"
    text.append(f"  {summary.dtype}, {seen}", "default")
    if not summary.is_partial:
        text.append(f", measured in {duration(status.running_seconds)} at {rate(status.rate, 'tok')}", "default")
    if status.peak_bytes:
        text.append(f", peak memory {size(status.peak_bytes)}", "default")
    if summary.is_partial:
        text.append(f"  PARTIAL: as of the last checkpoint; {_partial(status)}", "bold yellow")
    return text


def _partial(status: Status) -> str:
    words = {"gone": "the engine is gone", "failed": "the run failed", "stopped": "the run was stopped"}
    state = words.get(status.phase, f"the run is {status.phase}")
    return f"{state}, it had reached {status.samples_done} of {counted(status.samples_total, 'sample')}"


def _maximum_lines(summary: ModelSummary) -> list[Text]:
    maximum = summary.maximum
    if maximum is None:
        why = without_m(summary.plan, summary.job.sites) if summary.plan is not None else ""
        reason = Text(why, "yellow") if why else Text("M is not known: no finite element")
        return [reason if summary.alarm is not None else Text("nothing has been measured yet")]
    line = Text(f"{maximum.name} = ").append(exact(maximum.magnitude), "bold").append(f"  at {maximum.label}")
    headroom = f"{abs(maximum.fp16_headroom_bits):.1f} bits"
    if maximum.excluded_sites:
        line.append(f"; {excluded_words(maximum.excluded_sites)}", "bold red")
    else:
        limit = f"; {headroom} below fp16's {FP16_LIMIT:,.0f}"
        line.append(f"; overflows fp16 by {headroom}" if maximum.overflows_fp16 else limit)
    lines = [line]
    if summary.peak is not None:
        lines.append(_where(summary.peak, summary.signed_maximum))
    if why := without_m(summary.plan, summary.job.sites) if summary.plan is not None else "":
        lines.insert(0, Text(why, "yellow"))
    elif beside := input_words(summary):
        lines.append(Text(f"largest GEMM input: {beside}"))
    if summary.standing is not None:
        place = summary.standing
        larger = f"{place.larger} of the {place.of} published checkpoints have a larger M"
        only = "; both by its finite elements alone" if maximum.excluded_sites else ""
        lines.append(Text(f"tier {place.tier} ({tier_range(place.tier)}); {larger}{only}"))
    return lines


def _where(peak: Address, value: float) -> Text:
    before = visible(peak.before, space=" ")[-CONTEXT_CELLS:]
    line = Text(f"{exact(value)}: token \u2039").append(visible(peak.piece), "bold").append("\u203a")
    line.append(
        f" at position {peak.position}, channel {peak.channel}, sample {peak.sample} ({visible(peak.category)})"
    )
    line.append(f": …{before}" if before else ": ").append("\u2039").append(visible(peak.piece, space=" "), "bold")
    return line.append("\u203a" + visible(peak.after, CONTEXT_CELLS, space=" "))


def _verdict_lines(summary: ModelSummary) -> list[Text]:
    by_layer = massive_words(summary, summary.passes_layer_median, summary.layer_median_sites)
    by_token = massive_words(summary, summary.passes_token_median, summary.token_median_sites)
    is_there = has_hidden(summary.plan)
    both = f"{by_layer} by layer median, {by_token} by token median" if is_there else f"{by_layer} (by layer median)"
    lines = [Text(f"massive activations (Sun et al.): {both}")]
    found = summary.emergence
    if found is not None:
        jump = f"x{compact(found.ratio)} into L{found.layer}" if found.kind == "sudden" else "no step of x10"
        largest = f"largest step x{compact(found.largest_ratio)} into L{found.largest_layer}"
        only = ", by finite elements alone" if summary.alarm else ""
        lines.append(Text(f"emergence: {found.kind}, {jump}; {largest}{only}"))
    if is_there and not summary.threads_are_known:
        lines.append(Text(f"threads: {threads_words(summary)}"))
    for thread in summary.threads[:LISTED_THREADS]:
        end = "to the end" if thread.death is None else f"to L{thread.death - 1}"
        lines.append(
            Text(
                f"thread: channel {thread.channel}, sample {thread.sample} position {thread.position}, "
                f"L{thread.birth} {end}, peak {exact(thread.peak)} at L{thread.peak_layer}"
            )
        )
    return lines


def _sites_table(summary: ModelSummary) -> Table:
    """The largest site of every component."""
    has_bad = any(site is not None and site.nonfinite and site.nonfinite.count for site in summary.sites)
    title = "largest site of each component" + (" (non-finite: at all of its sites)" if has_bad else "")
    table = Table(box=None, pad_edge=False, header_style="bold", title=title, title_justify="left")
    table.add_column("site", no_wrap=True)
    columns = shown("components")
    for heading, _ in columns:
        table.add_column(heading, justify="right", no_wrap=True)
    for one in largest_sites(summary):
        table.add_row(Text(one.name), *(full(of_component(field, one), field.style) for _, field in columns))
    return table


def _categories_table(summary: ModelSummary) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("category")
    name = "M" if summary.maximum is None or summary.maximum.is_m else "largest input"
    for heading in ("samples", "tokens", name):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in summary.categories:
        rises = one.convergence.points
        table.add_row(
            Text(visible(one.category)),
            grouped(one.convergence.samples),
            grouped(one.convergence.tokens),
            exact(rises[-1].magnitude) if rises else "-",
        )
    return table


def _remarks(summary: ModelSummary) -> list[Text]:
    lines = []
    rises = summary.convergence.points
    if rises:
        name = summary.maximum.name if summary.maximum else "M"
        grew = f"{name} last grew after {grouped(rises[-1].tokens)} of {counted(summary.convergence.tokens, 'token')}"
        lines.append(Text(grew + ("; not converged: there is Inf/NaN beyond it" if summary.alarm else "")))
    if cost := spent_words(summary.spent, summary.choice) if summary.spent is not None else "":
        lines.append(Text(f"cost: {cost}"))
    lines += _expert_lines(summary)
    if summary.not_measured:
        words = "; ".join(summary.not_measured)
        lines.append(Text(f"not measured: {words} (the session does not hold them)", "yellow"))
    if summary.alarm is not None and summary.plan is not None:
        names = ", ".join(summary.plan.sites[i].name for i in summary.alarm.sites[:LISTED_SITES])
        more = ", ..." if len(summary.alarm.sites) > LISTED_SITES else ""
        sites = counted(len(summary.alarm.sites), "site")
        lines.append(Text(f"NON-FINITE values at {sites}: {names}{more}; they are in no number", "bold red"))
    problems = summary.corpus.get("problems", [])
    if problems:
        lines.append(
            Text(
                f"corpus: {counted(len(problems), 'line')} skipped, the first: {visible(problems[0], space=' ')}",
                "yellow",
            )
        )
    if summary.corpus.get("cut"):
        lines.append(Text(f"corpus: cut to the length allowed: {counted(summary.corpus['cut'], 'text')}"))
    if summary.differences:
        lines.append(Text("differs from the paper's protocol: " + "; ".join(summary.differences)))
    return [Text(), *lines] if lines else []


def _expert_lines(summary: ModelSummary) -> list[Text]:
    """What the corpus reached of a mixture of experts."""
    if not summary.experts:
        return []
    total, unseen = sum(one.experts for one in summary.experts), [one for one in summary.experts if one.never_hit]
    fewest = [one.fewest for one in summary.experts if one.fewest is not None]
    most = [one.most for one in summary.experts if one.most is not None]
    seen = (
        f"an expert saw {grouped(min(fewest))} to {counted(max(most), 'token')}"
        if most
        else "their tokens: not measured"
    )
    lines = [Text(f"experts: {counted(len(summary.experts), 'layer')}; {seen}")]
    if unseen:
        missed = sum(len(one.never_hit) for one in unseen)
        where = ", ".join(f"L{one.layer}: {len(one.never_hit)}" for one in unseen[:LISTED_SITES])
        lines.append(Text(f"{missed} of {total} experts saw no token ({where}): nothing is known of them", "yellow"))
    return lines
