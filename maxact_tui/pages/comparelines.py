"""The pages of the comparison screen as lines of text.

- `head_lines`     the sessions with M, and what is compared with what
- `alarm_lines`    which of them hold NaN or infinity
- `summary_lines`  what was different, what came out, which sites differ most
- `table_lines`    any table in a width: columns, or one block for each row where they do not fit
- `profile_lines`  hidden-state maxima of all sessions on one axis
- `legend_line`, `site_line`  below the heatmap of ratios
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence

import numpy as np
from textual.strip import Strip

from engine.analysis.compare import Comparison, SiteRow
from engine.base.wording import share
from engine.report.alarm import alarm_line
from engine.report.comparison import magnitude_texts, over_first
from engine.report.tables import Table
from maxact_tui.pages.cells import compact_bound
from maxact_tui.pages.comparing import LEVELS, ComparisonView
from maxact_tui.terminal.palette import Look
from maxact_tui.texts.numbers import compact, exact
from maxact_tui.texts.visible import cell_width, cut_middle, fitted, visible
from maxact_tui.widgets.lines import Part, line
from maxact_tui.widgets.plot import Series, draw

NAME_CELLS = 28
LEAST_CELLS = 8
MARKERS = ("hd", "o", "x", "+", "#", "@")


def letter(number: int) -> str:
    """A, B, C: what a session is called in a column's heading."""
    return chr(ord("A") + number) if number < 26 else str(number + 1)


def head_lines(view: ComparisonView, which: int, look: Look, width: int) -> list[Strip]:
    """One line for each session: letter, M (`!` where NaN or infinity are left out of it), ratio to the first, name.

    In the place of M, a run without the paper's sites has its largest GEMM input.
    """
    lines, found = [], view.comparison
    for number, name in enumerate(found.names):
        mark = "!" if number < len(view.alarms) and view.alarms[number] is not None else " "
        ratio = found.ratios[number]
        noise = " (noise)" if found.is_noise[number] else ""
        change = "" if number == 0 or math.isnan(ratio) else "the same" if ratio == 1 else f"x {compact(ratio)}{noise}"
        facts = f"M {exact(found.magnitudes[number]):>10}{mark} {change:<16}"
        if (largest := view.inputs[number] if number < len(view.inputs) else None) is not None:
            facts = f"no M; largest GEMM input {exact(largest.magnitude)}{mark} at {largest.label}"
        # Names of runs of one model differ at their end.
        whole, room = visible(name, space=" ", ascii_only=look.ascii_only), max(width - len(facts) - 6, LEAST_CELLS)
        shown = cut_middle(whole, room, ascii_only=look.ascii_only)
        here = "title" if number in (0, which) else "dim"
        lines.append(line(look, (f" {letter(number)} ", "key"), (f"{facts} ", "value"), (shown, here)))
    return lines


def alarm_lines(view: ComparisonView, look: Look, width: int) -> list[Strip]:
    """One red line: the sessions that hold NaN or infinity, and where the first of them begins; none without."""
    found = [(number, alarm) for number, alarm in enumerate(view.alarms) if alarm is not None]
    if not found:
        return []
    letters = ", ".join(letter(number) for number, _ in found)
    others = f" {letters} hold Inf/NaN; " if len(found) > 1 else " "
    head = f"{others}{letter(found[0][0])} "
    text = head + alarm_line(*found[0][1], room=width - len(head) - 1)
    return [line(look, (visible(text, width, space=" ", ascii_only=look.ascii_only), "bad"))]


def summary_lines(view: ComparisonView, look: Look, width: int) -> list[Strip]:
    """The tables of the summary under their titles, and what counts as noise."""
    lines: list[Strip] = []
    for table in view.summary:
        if table.rows:
            lines += [
                line(look, (table.title, "heading")),
                *table_lines(_lettered(table, view), look, width),
                line(look),
            ]
        elif table is view.summary[0]:
            lines += [line(look, ("The runs differ in nothing that is recorded.", "dim")), line(look)]
    if view.sites_note:
        lines = lines if not view.summary[-1].rows else lines[:-1]  # without the blank line: it belongs to the table
        lines += [*_wrapped(view.sites_note, look, width, ""), line(look)]
    return lines + _wrapped(view.note, look, width, "dim")


def page_lines(table: Table, view: ComparisonView, look: Look, width: int, empty: str) -> list[Strip]:
    """One table as a page."""
    if not table.rows:
        return [line(look, (part, "dim")) for part in textwrap.wrap(empty, max(width, 20))]
    return [line(look, (table.title, "heading")), *table_lines(_lettered(table, view), look, width)]


def table_lines(table: Table, look: Look, width: int) -> list[Strip]:
    """The table in columns; a table of words that does not fit has a block for each row."""
    widths = [max(cell_width(cell) for cell in column) for column in zip(table.headings, *table.rows, strict=True)]
    if sum(widths) + 2 * len(widths) > width:
        if not table.numeric:
            return _blocks(table, look, width)
        widths[0] = max(widths[0] - (sum(widths) + 2 * len(widths) - width), LEAST_CELLS)
    lines = [line(look, (_row(table.headings, widths, table.numeric, look), "title"))]
    return lines + [line(look, _row(row, widths, table.numeric, look)) for row in table.rows]


def profile_lines(found: Comparison, look: Look, width: int, height: int) -> list[Strip]:
    """Largest |x| of the hidden state by depth, a curve for each session, and which is which."""
    profiles = [(n, points) for n, points in enumerate(found.profiles) if any(v > 0 for _, v in points)]
    if not profiles:
        return [line(look, ("no hidden states were measured", "dim"))]
    alike = len({points[-1][0] for _, points in profiles}) == 1
    series = []
    for number, points in profiles:
        values = np.array([v for _, v in points], np.float64)
        x = [float(layer) for layer, _ in points] if alike else list(found.relative_depths[number])
        with np.errstate(divide="ignore"):
            series.append(Series(np.array(x), np.log10(values), MARKERS[number % len(MARKERS)], joined=number == 0))
    logs = np.concatenate([one.y[np.isfinite(one.y)] for one in series])
    low, high = math.floor(logs.min()), math.ceil(logs.max() + 1e-9)
    ticks = [(float(n), compact_bound(10.0**n)) for n in range(low, high + 1)]
    rows = draw(
        series,
        width,
        height - 1,
        x_ticks=_depth_ticks(max(points[-1][0] for _, points in profiles) if alike else 0),
        y_ticks=ticks,
        y_range=(float(low), float(high)),
        ascii_only=look.ascii_only,
    )
    axis = "by layer" if alike else "by depth, from the first block (0) to the last (1)"
    parts: list[Part] = [(f"hidden max |x| {axis}", "heading")]
    for number, _ in profiles:
        mark = "line" if number == 0 else f"* ({letter(number)})" if look.ascii_only else MARKERS[number % len(MARKERS)]
        parts += ["   ", (letter(number), "key"), f" {mark}"]
    return [line(look, *parts), *(line(look, row) for row in rows)] if rows else [line(look, *parts)]


def legend_line(view: ComparisonView, which: int, look: Look, colours: Look) -> Strip:
    """What the colours of the ratios mean."""
    bound = view.scale(which).bound
    ramp: list[Part] = [(f"{colours.level_glyphs[n]} ", colours.ramp[n]) for n in range(LEVELS)]
    title = f"max|x| of {letter(which)} / {letter(0)}"
    limit = f"  no colour: noise, {share(view.comparison.limits[which].value)}"
    return line(look, (title, "title"), f"  {1 / bound:.2g} ", *ramp, f" {bound:g}", (limit, "dim"))


def site_line(row: SiteRow | None, found: Comparison, look: Look) -> Strip:
    """The site under the cursor in all sessions."""
    if row is None:
        return line(look, ("not measured in both", "dim"))
    parts: list[Part] = [(row.name, "title")]
    for number, value in enumerate(magnitude_texts(row)):
        parts += ["   ", (letter(number), "key"), f" {value}"]
        if number and not math.isnan(ratio := row.ratios[number]):
            limit = share(found.limits[number].value)
            parts.append((f"  x {ratio:.4g}" + (f" (noise: within {limit})" if row.is_noise[number] else ""), "dim"))
    return line(look, *parts)


def _depth_ticks(last: int) -> list[tuple[float, str]]:
    """Layers in steps of one or of fives, at most nine of them; quarters of the depth without a last layer."""
    if not last:
        return [(n / 4, f"{n / 4:g}") for n in range(5)]
    step = 1 if last <= 8 else 5 * math.ceil(last / 40)
    return [(float(n), str(n)) for n in range(0, last + 1, step)]


def _lettered(table: Table, view: ComparisonView) -> Table:
    """Letters instead of the sessions' names, which may be long; the head says whose they are."""
    names = view.comparison.names
    short = {name: letter(number) for number, name in enumerate(names)}
    short |= {f"{name} / {names[0]}": f"{letter(number)}/{letter(0)}" for number, name in enumerate(names)}
    headings = (table.headings[0], *(short.get(heading, heading) for heading in table.headings[1:]))
    over = over_first(view.comparison)
    rows = tuple((f"M over {letter(0)}" if row[0] == over else row[0], *row[1:]) for row in table.rows)
    return Table(table.title, headings, rows, table.numeric)


def _wrapped(text: str, look: Look, width: int, style: str) -> list[Strip]:
    shown = visible(text, space=" ", ascii_only=look.ascii_only)
    return [line(look, (row, style)) for row in textwrap.wrap(shown, max(width, 20))]


def _row(cells: Sequence[str], widths: Sequence[int], numeric: bool, look: Look) -> str:
    shown = [
        fitted(visible(cell, space=" ", ascii_only=look.ascii_only), width, right=numeric and place > 0)
        for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return "  ".join(shown).rstrip()


def _blocks(table: Table, look: Look, width: int) -> list[Strip]:
    lines: list[Strip] = []
    for row in table.rows:
        lines.append(line(look, (visible(row[0], width, space=" "), "title")))
        for heading, cell in zip(table.headings[1:], row[1:], strict=True):
            shown = visible(cell, space=" ", ascii_only=look.ascii_only)
            for number, part in enumerate(textwrap.wrap(shown, max(width - 5, LEAST_CELLS)) or [""]):
                lines.append(line(look, (f"  {heading if number == 0 else '':<3}", "key"), part))
    return lines
