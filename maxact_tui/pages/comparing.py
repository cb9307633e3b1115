"""Sessions side by side as the comparison screen shows them.

- `ComparisonView`  the comparison, its tables, and one session's ratios over the first as cells of a heatmap
- `read_comparison` sessions -> view
- `diverging`       a look whose ramp goes from smaller over equal to larger
- `RatioScale`      ratios to levels of that ramp
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from rich.style import Style

from engine.analysis.compare import Comparison, SiteRow
from engine.analysis.maximum import Maximum
from engine.analysis.model import ModelSummary
from engine.analysis.nonfinite import Alarm
from engine.report.comparison import comparison_tables, gather_sides, note, site_table, sites_note
from engine.report.tables import Table
from engine.session.reader import SessionReader
from engine.sites.site import HookPlan
from maxact_tui.terminal.palette import Look
from maxact_tui.texts.numbers import compact
from maxact_tui.widgets.heatmap import Cell

LEVELS = 9
MIDDLE = LEVELS // 2
_CUBE = (20, 26, 68, 110, None, 216, 209, 203, 160)
_DARK = frozenset({20, 26, 68, 203, 160})  # these take white text
_BASIC = ("blue", "blue", "cyan", "cyan", None, "yellow", "yellow", "red", "red")
_GLYPHS, _ASCII_GLYPHS = "▼▼▾▾ ▴▴▲▲", "vv-- ++^^"
_BOUNDS = (1.1, 1.25, 1.5, 2.0, 4.0, 10.0, 100.0)


@dataclass(frozen=True, slots=True)
class RatioScale:
    """Ratios to levels, symmetrical about 1 on a log axis; `bound` and 1 / `bound` are its ends."""

    bound: float

    def level(self, ratio: float, *, is_noise: bool = False) -> int:
        """0 for the bound's inverse and below, `LEVELS` - 1 for the bound and above; the middle is for noise alone.

        -1 for unknown.
        """
        if math.isnan(ratio):
            return -1
        if is_noise or ratio == 1:
            return MIDDLE
        place = 1.0 if math.isinf(ratio) else -1.0 if ratio <= 0 else math.log(ratio) / math.log(self.bound)
        steps = min(max(math.ceil(abs(place) * MIDDLE), 1), MIDDLE)
        return MIDDLE + (steps if ratio > 1 else -steps)


@dataclass(frozen=True, slots=True)
class ComparisonView:
    """What the screen shows.

    Attributes:
        comparison: the sessions, the first is what the others are compared with.
        plan: of the first session; None before the engine has looked at its model.
        summary: differences, findings, and the sites that differ most.
        sites_note: how close the other sites are.
        threads, quantisers: tables.
        note: what counts as noise.
        alarms: of each session its first NaN or infinity, with its plan; None without any.
        bad_sites: per session, names of the sites that hold NaN or infinity.
        inputs: per session without the paper's sites, and so without M, the largest GEMM input; None for every other.
    """

    comparison: Comparison
    plan: HookPlan | None
    summary: tuple[Table, ...]
    sites_note: str
    threads: Table
    quantisers: Table
    note: str
    alarms: tuple[tuple[Alarm, HookPlan] | None, ...] = ()
    bad_sites: tuple[frozenset[str], ...] = ()
    inputs: tuple[Maximum | None, ...] = ()

    def rows(self) -> dict[int, SiteRow]:
        """The compared sites by their number in the first session's plan."""
        numbers = {site.name: number for number, site in enumerate(self.plan.sites)} if self.plan else {}
        return {numbers[row.name]: row for row in self.comparison.sites if row.name in numbers}

    def scale(self, which: int) -> RatioScale:
        """A scale whose round bound takes in nineteen of twenty ratios of a session."""
        known = sorted(
            abs(math.log(row.ratios[which]))
            for row in self.comparison.sites
            if not row.is_noise[which] and 0 < row.ratios[which] < math.inf
        )
        wanted = math.exp(known[int(0.95 * (len(known) - 1))]) if known else _BOUNDS[0]
        return RatioScale(next((bound for bound in _BOUNDS if bound >= wanted), _BOUNDS[-1]))

    def cells(self, which: int) -> dict[int, Cell]:
        """Ratios of one session over the first by site number; what noise explains has no colour."""
        scale, cells = self.scale(which), {}
        for number, row in self.rows().items():
            ratio = row.ratios[which]
            text = "=" if ratio == 1 else compact(ratio)
            is_bad = any(row.name in self.bad_sites[one] for one in (0, which) if one < len(self.bad_sites))
            shown = "" if is_bad and math.isnan(ratio) else text
            cells[number] = Cell(shown, scale.level(ratio, is_noise=row.is_noise[which]), "!" if is_bad else " ")
        return cells


def read_comparison(paths: Sequence[Path]) -> ComparisonView:
    """Read the sessions and set them side by side; takes a second or more for large ones.

    Raises:
        SessionError, ReportError: one cannot be read, or there are fewer than two.
    """
    with ExitStack() as stack:
        readers = [stack.enter_context(SessionReader(path)) for path in paths]
        found, sources = gather_sides(readers)
    differences, findings, threads, quantisers = comparison_tables(found, sources)
    summary = (differences, findings, site_table(found))
    plan = sources[0].summary.plan
    summaries = [source.summary for source in sources]
    return ComparisonView(
        comparison=found,
        plan=plan,
        summary=summary,
        sites_note=sites_note(found),
        threads=threads,
        quantisers=quantisers,
        note=note(found),
        alarms=tuple(_alarm_of(one) for one in summaries),
        bad_sites=tuple(_bad_sites(one) for one in summaries),
        inputs=tuple(s.maximum if s.maximum is not None and not s.maximum.is_m else None for s in summaries),
    )


def _alarm_of(summary: ModelSummary) -> tuple[Alarm, HookPlan] | None:
    alarm, plan = summary.alarm, summary.plan
    return (alarm, plan) if alarm is not None and plan is not None else None


def _bad_sites(summary: ModelSummary) -> frozenset[str]:
    sites = summary.plan.sites if summary.plan is not None else ()
    return frozenset(sites[number].name for number in summary.nonfinite_sites)


def diverging(look: Look) -> Look:
    """The look with a ramp for ratios: cold below 1, none at 1, warm above; glyphs where colours are few."""
    glyphs = _ASCII_GLYPHS if look.ascii_only else _GLYPHS
    if not any(style.bgcolor for style in look.ramp):
        return replace(look, ramp=(Style(),) * LEVELS, level_glyphs=glyphs)
    if all(glyph == " " for glyph in look.level_glyphs):
        cube = tuple(Style() if number is None else _on(number) for number in _CUBE)
        return replace(look, ramp=cube, level_glyphs=" " * LEVELS)
    basic = tuple(
        Style() if name is None else Style(color="black" if name in ("cyan", "yellow") else "white", bgcolor=name)
        for name in _BASIC
    )
    return replace(look, ramp=basic, level_glyphs=glyphs)


def _on(number: int) -> Style:
    return Style(color="color(231)" if number in _DARK else "color(16)", bgcolor=f"color({number})")
