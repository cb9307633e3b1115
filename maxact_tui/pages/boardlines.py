"""The board around its table, as lines of text: whose numbers, their order, the model in one line per quantity.

- `head_lines`      title and state, whose elements, the order and the colours
- `group_line`      the quantiser above the columns that share it
- `sum_lines`       all sites together, under every scheme on the screen
- `overflow_lines`  what exceeds fp16 and e4m3, in sentences
- `headroom_lines`  the site under the cursor against either format
- `detail_lines`    the site under the cursor under the scheme under the cursor
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Sequence

import numpy as np
from textual.strip import Strip

from engine.base.wording import counted
from engine.quantization.board import LIMITS, Overflow, SchemeSummary
from engine.quantization.groups import site_groups
from engine.quantization.metrics import QuantError
from engine.quantization.ranking import rank, split_lost
from engine.report.quantization import lost_in_words
from engine.sites.site import HookPlan
from engine.statistics.totals import TOP_K
from maxact_tui.pages.boardsheet import LABEL_CELLS, BoardSheet, Order, site_label
from maxact_tui.pages.cells import decibel_text
from maxact_tui.pages.header import status_lines
from maxact_tui.pages.int8page import BEST, best_words, bounded_text, error_text, short_name
from maxact_tui.pages.tuning import Tuned, Tuner, Tuning
from maxact_tui.pages.waiting import until_read
from maxact_tui.terminal.palette import Look
from maxact_tui.texts.numbers import bits, compact, exact_short, grouped, share_text
from maxact_tui.texts.visible import cell_width, visible
from maxact_tui.watching.boardview import BoardView
from maxact_tui.watching.snapshot import Snapshot
from maxact_tui.widgets.heatmap import CELL_WIDTH
from maxact_tui.widgets.lines import Part, line


def head_lines(
    snapshot: Snapshot, order: Order, counts: tuple[int, int], look: Look, width: int, *, is_limits: bool
) -> list[Strip]:
    """Three lines.

    Args:
        snapshot: what is shown.
        order: of the rows.
        counts: sites shown, of how many.
        look: what the terminal can show.
        width: cells there are.
        is_limits: whether the section of the formats is shown.
    """
    title, view = status_lines(snapshot, look, width)[0], snapshot.board
    if view is None:
        return [title, line(look, " ", until_read(snapshot, snapshot.damages.board))]
    barren = all(row is None for row in view.board.rows) and bool(view.nonfinite.any())
    whose = "no site has a finite element: nothing to quantise" if barren else view.population
    if not barren and not view.has_histograms and all(row is None for row in view.board.rows):
        is_lean = snapshot.meta is not None and snapshot.meta.job.detail == "lean"
        whose = "lean detail keeps no histograms: no quantiser was judged" if is_lean else "no quantiser was judged"
    facts = [whose, f"as of {counted(view.tokens, 'token')}, {counted(view.samples, 'sample')}"]
    if view.summaries and not all(one.is_exact for one in view.summaries):
        facts.insert(1, "approximate (float32)")
    said = _joined(facts, width)
    shown, of = counts
    sites = counted(of, "site") if shown == of else f"{shown} of {counted(of, 'site')}"
    ramp: list[Part] = [(look.level_glyphs[level], look.ramp[level]) for level in range(look.levels)]
    low, high, others = _scale_words(view, is_limits=is_limits)
    parts: list[Part] = [(f" {sites} {_order_words(order)}", "title"), (f"  {low} ", "dim"), *ramp, (f" {high}", "dim")]
    used = sum(len(part if isinstance(part, str) else part[0]) for part in parts)
    parts.append((others if used + len(others) <= width else "", "dim"))
    return [title, line(look, visible(said, width, space=" ")), line(look, *parts)]


def _joined(facts: Sequence[str], width: int) -> str:
    """As many facts as fit whole after the first."""
    said = f" {facts[0]}"
    for fact in facts[1:]:
        if cell_width(f"{said}; {fact}") > width:
            break
        said += f"; {fact}"
    return said


def _scale_words(view: BoardView, *, is_limits: bool) -> tuple[str, str, str]:
    """What the colours mean: quantity and cool end, hot end, and what cells have that the quantity is not known of."""
    if is_limits:
        return "bits 8", "0", ""
    return ("damage 0.3%", "30%", "  else rel. mae 1% to 100%") if view.damaging else ("rel. mae 1%", "100%", "")


def _order_words(order: Order) -> str:
    if order.column is None:
        return "as the model computes" + (", last first" if order.is_reversed else "")
    return f"by {order.column}, {'best' if order.is_reversed else 'worst'} first"


def group_line(sheet: BoardSheet, columns: Sequence[int], look: Look) -> Strip:
    """The quantiser's name above the first of its columns."""
    text, before = " " * LABEL_CELLS, None
    for number in columns:
        group = sheet.columns[number].group
        text += f"{'' if group == before else group[: CELL_WIDTH - 1]:>{CELL_WIDTH - 1}} "
        before = group
    return line(look, (text, "title"))


def sum_lines(view: BoardView, schemes: Sequence[int | None], look: Look) -> list[Strip]:
    """Means over all sites, weighted by their elements, and the worst site, which the mean hides.

    Args:
        view: the board.
        schemes: of each column on the screen; None for one without a mean.
        look: what the terminal can show.
    """
    chosen = [view.summaries[number] if number is not None else None for number in schemes]

    def row(text: Callable[[SchemeSummary], str]) -> list[str]:
        return [text(one) if one is not None else "" for one in chosen]

    rows: list[tuple[str, list[str], str]] = [
        ("mean dB", row(lambda one: decibel_text(one.sqnr_db, look)), "value"),
        ("rel. rmse", row(lambda one: _share_cell(one.rel_rmse)), ""),
        ("clipped", row(lambda one: _share_cell(one.clip_rate)), ""),
        ("worst dB", row(lambda one: decibel_text(one.worst_sqnr_db, look)), "warn"),
        ("rel. mae", row(lambda one: _share_cell(one.rel_mae)), ""),  # the last: short windows leave it out
    ]
    return [
        line(look, (f"{name:>{LABEL_CELLS - 1}} ", "dim"), (_cells_of(texts), style)) for name, texts, style in rows
    ]


def overflow_lines(view: BoardView, plan: HookPlan, look: Look, width: int) -> list[Strip]:
    """What exceeds a format's largest number without a scale, and where that begins."""
    lines: list[Strip] = []
    for overflow in view.overflows:
        words = textwrap.wrap(overflow_words(overflow, view, plan), max(width - 2, 30))
        style = "bad" if overflow.sites else "good"
        lines += [line(look, (f" {row}", style if number == 0 else "")) for number, row in enumerate(words[:2])]
    return lines


def overflow_words(overflow: Overflow, view: BoardView, plan: HookPlan) -> str:
    """One sentence: `fp16 (65,504): every site fits, 1.2 bits left at L11 mlp`."""
    name = f"{overflow.name} ({grouped(int(overflow.limit))})"
    if math.isnan(overflow.headroom_bits):
        return f"{name}: nothing measured yet."
    bad = int((view.nonfinite > 0).sum())
    if bad:
        place = min(np.flatnonzero(view.nonfinite).tolist(), key=lambda site: plan.places[site])
        over = len(overflow.sites) - bad
        more = f"; {counted(over, 'further site')} exceed{'s' if over == 1 else ''} it" if over > 0 else ""
        sites, hold = counted(bad, "site"), "holds" if bad == 1 else "hold"
        return f"{name}: does not fit, {sites} {hold} Inf/NaN, first {site_label(plan.sites[place])}{more}."
    known = [(m, number) for number, m in enumerate(view.magnitudes.tolist()) if not math.isnan(m)]
    largest = site_label(plan.sites[max(known, key=lambda one: (one[0], -one[1]))[1]])
    if not overflow.sites:
        spare = "no end of bits" if math.isinf(overflow.headroom_bits) else bits(overflow.headroom_bits)
        return f"{name}: every site fits, {spare} left at {largest}."
    first = site_label(plan.sites[overflow.sites[0]])
    exceed = "exceeds" if len(overflow.sites) == 1 else "exceed"
    count = f"{len(overflow.sites)} of {counted(len(known), 'site')} {exceed} it without a scale"
    return f"{name}: {count}, first {first}, by up to {bits(-overflow.headroom_bits)} at {largest}."


def headroom_lines(view: BoardView, plan: HookPlan, site: int, look: Look) -> list[Strip]:
    """The site under the cursor against each format."""
    if not 0 <= site < len(plan.sites):
        return []
    magnitude, bad = float(view.magnitudes[site]), int(view.nonfinite[site])
    if math.isnan(magnitude):
        why = (f"  no finite element: {grouped(bad)} Inf/NaN", "bad") if bad else ("  nothing was seen", "")
        return [line(look, (f" {plan.sites[site].name}", "title"), why)]
    alarm = f"  fits neither: {counted(bad, 'element')} Inf/NaN, in no number" if bad else ""
    head: list[Part] = [(f" {plan.sites[site].name}", "title"), f"  max|x| {exact_short(magnitude)}", (alarm, "bad")]
    words = [line(look, *head)]
    for number, (name, limit) in enumerate(LIMITS):
        over = float(view.beyond[site, number])
        spare = math.log2(limit / magnitude) if magnitude > 0 else math.inf
        if spare >= 0:
            left = bits(spare) if math.isfinite(spare) else f"{decibel_text(spare, look)} bits"
            said: Part = (f" {name}: {left} left", "dim") if bad else (f" {name}: fits, {left} left", "good")
        else:
            count = (
                "how many elements is not known"
                if math.isnan(over)
                else f"{counted(int(over), 'element')} {'does' if over == 1 else 'do'}"
            )
            said = (f" {name}: exceeds it by {bits(-spare)}; {count}", "bad")
        words.append(line(look, said))
    return words


def detail_lines(
    snapshot: Snapshot, site: int, tuner: Tuner | None, tuning: Tuning, look: Look, width: int
) -> list[Strip]:
    """The cell under the cursor in words: most important first, one sentence a line."""
    view, plan = snapshot.board, snapshot.plan
    if view is None or plan is None or not 0 <= site < len(plan.sites):
        return []
    row, name = view.board.rows[site], plan.sites[site].name
    if row is None:
        is_lean = snapshot.meta is not None and snapshot.meta.job.detail == "lean"
        bad, is_unseen = int(view.nonfinite[site]), math.isnan(view.magnitudes[site])
        why = "lean detail keeps no histogram" if is_lean else "not measured: what its errors follow from is not here"
        if is_unseen:
            why = f"no finite element: {grouped(bad)} Inf/NaN" if bad else "nothing was seen"
        return [line(look, (f" {name}", "title"), (f"  {why}", "bad" if is_unseen and bad else ""))]
    scheme = view.board.schemes[tuning.column]
    error = row[tuning.column]
    head: list[Part] = [(f" {name}", "title"), f"  {short_name(scheme)} {error_text(error, look)} dB"]
    if error is not None:
        facts = [] if math.isnan(error.threshold) else [f"T {exact_short(error.threshold)}"]
        facts += [f"clips {share_text(error.clip_rate)}", f"rel. rmse {share_text(error.rel_rmse)}"]
        lost = f"  {grouped(error.nonfinite)} non-finite left out" if error.nonfinite else ""
        room = width - sum(len(part if isinstance(part, str) else part[0]) for part in head) - len(lost)
        head += [whole_facts(facts, room), (lost, "bad")]
    best = visible(
        best_words(view.board, site, look), max(width - len(BEST) - 1, 10), space=" ", ascii_only=look.ascii_only
    )
    tuned = tuner.tune(tuning) if tuner is not None else None
    set_by_user = _changed_words(tuned, look) if tuned is not None else []
    masked = [line(look, " ", whole_facts(_unmasked(view, site, scheme.name, error, look), width).removeprefix(", "))]
    words = [line(look, *head), *_rows(set_by_user, look, width), *masked, line(look, (f" {BEST}", "dim"), best)]
    if tuned is not None:
        words += _rows([_error_words(tuned)], look, width)
    worst = _worst(view, tuning.column, plan, look)
    return [*words, line(look, (f" {worst}", "dim"))]


def _unmasked(view: BoardView, site: int, scheme: str, error: QuantError | None, look: Look) -> list[str]:
    """What a few large elements cannot mask, the most telling first."""
    local = view.board.local_numbers(site, scheme)
    is_known = local is not None and not math.isnan(local.damage)
    facts = [f"damage {share_text(local.damage)}" if local is not None and is_known else "damage not measured"]
    zeroed = local.zeroed if local is not None else math.nan
    if error is not None and not math.isnan(error.zeroed):
        zeroed = error.zeroed
    if not math.isnan(zeroed):
        facts.append(f"{share_text(zeroed)} become 0")
    if error is not None and not math.isnan(error.below_top_db):
        facts.append(f"bulk {decibel_text(error.bulk_db, look)} dB")
        facts.append(f"less top {TOP_K} {decibel_text(error.below_top_db, look)} dB")
    if local is not None and local.tokens:
        facts.append(f"tokens {share_text(local.token_median)}, worst {share_text(local.token_worst)}")
    return facts


def whole_facts(facts: Sequence[str], room: int) -> str:
    """`, T 23.2k, clips 0.01 %`: the facts that fit whole; half a number would be a wrong one."""
    said = ""
    for fact in facts:
        if len(said) + len(fact) + 2 > room:
            break
        said += f", {fact}"
    return said


def _rows(sentences: Sequence[str], look: Look, width: int) -> list[Strip]:
    return [line(look, visible(f" {row}", width, space=" ")) for row in sentences]


def _changed_words(tuned: Tuned, look: Look) -> list[str]:
    """What the user's own threshold does, and what leaving parts out does; a short window has room for one line."""
    said = []
    if tuned.what_if is not None:
        what = tuned.what_if
        kept = f"{counted(len(what.channels), 'channel')} in bf16" if what.channels else ""
        dropped = "without position 0" if math.isnan(what.whole_db) else ""
        left_out = " and ".join(part for part in (dropped, kept) if part)
        said.append(
            f"{left_out}: what remains {bounded_text(what.before, look)}, then {bounded_text(what.after, look)}"
        )
    if tuned.threshold != tuned.policy_threshold:
        said.append(
            f"moved to T {exact_short(tuned.threshold)}: {error_text(tuned.error, look)} dB, "
            f"clips {share_text(tuned.error.clip_rate)}"
        )
    return said


def _error_words(tuned: Tuned) -> str:
    """Who carries the site's squared error."""
    carriers, clipping = tuned.carriers, share_text(tuned.error.clipping_share)
    error = f"of the squared error: clipping {clipping}, the {carriers.elements} largest |x| "
    error += share_text(carriers.listed)
    if carriers.channels:
        first = carriers.channels[0]
        error += f", channel {first.address[0]} {share_text(first.share)}"
    return error


def _worst(view: BoardView, column: int, plan: HookPlan, look: Look) -> str:
    """The worst site under a scheme, of the first group: without a finite element, else by damage where it is known."""
    one = view.summaries[column]
    scheme, groups = short_name(one.scheme), site_groups(plan).values()
    ranked = (rank(view.board, one.scheme.name, sites) for sites in groups)
    lost, known = split_lost(next((found for found in ranked if found), []))
    if lost:
        return f"worst under {scheme}: {lost_in_words(lost, plan, 1)}"
    if known and known[0].by == "damage":
        return f"worst under {scheme}: {plan.sites[known[0].site].name}, damage {share_text(known[0].value)}"
    if one.worst_site is None:
        return f"{short_name(one.scheme)}: no site has a number"
    text = f"worst under {short_name(one.scheme)}: {plan.sites[one.worst_site].name}"
    text += f", {decibel_text(one.worst_sqnr_db, look)} dB"
    if one.infinite_sites:
        verb = "is" if one.infinite_sites == 1 else "are"
        text += f"; {counted(one.infinite_sites, 'site')} without any error {verb} not in the mean"
    return text


def _share_cell(share: float) -> str:
    """A share in at most six cells: `0.10%`, `12.3%`, `<.01%`."""
    if math.isnan(share):
        return "-"
    points = 100 * share
    if points < 0.01:
        return "<.01%" if points > 0 else "0"
    return f"{points:.2f}%" if points < 10 else f"{points:.1f}%" if points < 1000 else f"{compact(points, 2)}%"


def _cells_of(texts: Sequence[str]) -> str:
    return "".join(f" {text:>{CELL_WIDTH - 2}} " for text in texts)
