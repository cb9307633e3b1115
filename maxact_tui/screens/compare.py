"""Sessions side by side: summary, sites, profiles, threads, INT8.

- `ComparisonScreen`
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.strip import Strip

from engine.report.errors import ReportError
from engine.session.schema import SessionError
from maxact_tui.keymap import actions
from maxact_tui.pages.comparelines import (
    alarm_lines,
    head_lines,
    legend_line,
    letter,
    page_lines,
    profile_lines,
    site_line,
    summary_lines,
)
from maxact_tui.pages.comparing import ComparisonView, diverging, read_comparison
from maxact_tui.pages.footer import footer_line
from maxact_tui.screens.alarmed import Alarmed
from maxact_tui.terminal.palette import Look
from maxact_tui.texts.visible import visible
from maxact_tui.widgets.grid import make_grid
from maxact_tui.widgets.heatmap import Heatmap
from maxact_tui.widgets.lines import Lines, Part, line
from maxact_tui.widgets.scroller import Scroller

TABS = ("Summary", "Sites", "Profile", "Threads", "INT8")
SUMMARY, SITES, PROFILE, THREADS, INT8 = range(5)
NO_THREADS = "no threads in common: none, or the tokens of the sessions differ, so that addresses mean other things"


class ComparisonScreen(Alarmed[None]):
    """Compares sessions; it reads them once, as they are now.

    Args:
        look: what the terminal can show.
        sessions: two or more; the first is what the others are compared with.
    """

    CSS_PATH = "compare.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [*actions.bindings("compare")]

    class SessionsRead(Message):
        """The sessions were read, or could not be."""

        def __init__(self, view: ComparisonView | None, problem: str = "") -> None:
            super().__init__()
            self.view, self.problem = view, problem

    def __init__(self, look: Look, sessions: Sequence[Path]) -> None:
        super().__init__()
        self.look, self._sessions = look, tuple(sessions)
        self._colours = diverging(look)
        self._view: ComparisonView | None = None
        self._map: Heatmap | None = None
        self._waiting = f"reading {len(self._sessions)} sessions ..."
        self._tab, self._which = SUMMARY, 1
        self._is_new = False

    def parts(self) -> ComposeResult:
        """Sessions, tabs, a page or the heatmap, keys."""
        with Vertical():
            yield Lines(self.look, id="compare-head")
            yield Lines(self.look, id="compare-tabs")
            yield Scroller(self.look, id="compare-page")
            yield Vertical(id="compare-map")
            yield Lines(self.look, id="compare-legend")
            yield Lines(self.look, id="compare-site")
            yield Lines(self.look, id="compare-keys")

    def on_mount(self) -> None:
        """Read the sessions without holding up the keys."""
        self._lines("head").styles.height = min(len(self._sessions), 6)
        self._read()
        self.draw()

    def on_heatmap_cursor_moved(self, event: Heatmap.CursorMoved) -> None:
        """Tell about the site under the cursor."""
        event.stop()
        self._draw_site()

    def action_tab(self, by: int) -> None:
        """Open the tab beside this one."""
        self.action_tab_at((self._tab + by) % len(TABS))

    def action_tab_at(self, number: int) -> None:
        """Open a tab by its number."""
        if number != self._tab:
            self._tab, self._is_new = number, True
            self.draw()

    def action_other(self) -> None:
        """The ratios of the next session."""
        self._which = self._which % (len(self._sessions) - 1) + 1
        self.draw()

    def action_cursor(self, rows: int, columns: int) -> None:
        """Move the cursor of the heatmap, or scroll the page."""
        if self._tab == SITES and self._map is not None:
            self._map.move(rows, columns)
        else:
            self._page.move(rows)

    def action_page(self, direction: int) -> None:
        """One page."""
        (self._map if self._tab == SITES and self._map is not None else self._page).page(direction)

    def action_edge(self, direction: int) -> None:
        """To an end."""
        (self._map if self._tab == SITES and self._map is not None else self._page).edge(direction)

    def action_back(self) -> None:
        """Back to the session."""
        self.dismiss(None)

    def _draw(self, *, by_data: bool = False) -> bool:
        """Bring every widget up to date."""
        width, view = self.size.width, self._view
        head = [] if view is None else head_lines(view, self._which, self.look, width)
        self._lines("head").show(head)
        self._lines("tabs").show([self._tab_line()])
        self._lines("keys").show([footer_line(self.look, width, "compare")])
        for name in ("map", "legend", "site"):
            self.query_one(f"#compare-{name}").display = self._tab == SITES
        self._page.display = self._tab != SITES
        if view is None:
            shown = visible(self._waiting, space=" ", ascii_only=self.look.ascii_only)
            self._page.fill([line(self.look, part) for part in textwrap.wrap(shown, max(width - 2, 20))])
        elif self._tab == SITES:
            self._draw_map(view)
        else:
            self._page.fill(self._page_lines(view), from_top=self._is_new)
            self._is_new = False
        return True

    @work(thread=True, exclusive=True)
    def _read(self) -> None:
        try:
            self.post_message(self.SessionsRead(read_comparison(self._sessions)))
        except (SessionError, ReportError, OSError) as error:
            self.post_message(self.SessionsRead(None, str(error)))

    def on_comparison_screen_sessions_read(self, event: SessionsRead) -> None:
        """Show them, the cursor on the site that differs most, or say why not."""
        if not self.can_draw:  # it was closed while they were read
            return
        found = event.view
        self._view, self._waiting = found, event.problem
        if found is not None and found.plan is not None and found.plan.sites:
            self._map = Heatmap(self._colours, make_grid(found.plan), id="compare-ratios")
            self.query_one("#compare-map").mount(self._map)
            rows = found.rows()
            worst = max(rows, key=lambda number: rows[number].distance, default=None)
            if worst is not None:
                self._map.place(worst)
        self.draw()

    def _page_lines(self, view: ComparisonView) -> list[Strip]:
        width, height = max(self._page.size.width, 20), self._page.size.height
        if self._tab == SUMMARY:
            return summary_lines(view, self.look, width)
        if self._tab == PROFILE:
            return profile_lines(view.comparison, self.look, width, height)
        if self._tab == THREADS:
            return page_lines(view.threads, view, self.look, width, NO_THREADS)
        return page_lines(view.quantisers, view, self.look, width, "no distributions were kept (--detail lean)")

    def _draw_map(self, view: ComparisonView) -> None:
        if self._map is None:
            self._lines("legend").show([line(self.look, ("no site was measured in both", "dim"))])
            return
        self._map.show(view.cells(self._which))
        self._lines("legend").show([legend_line(view, self._which, self.look, self._colours)])
        self._draw_site()

    def _draw_site(self) -> None:
        if self._view is not None and self._map is not None:
            row = self._view.rows().get(self._map.site)
            self._lines("site").show([site_line(row, self._view.comparison, self.look)])

    def _tab_line(self) -> Strip:
        parts: list[Part] = [" "]
        for number, title in enumerate(TABS):
            is_open = number == self._tab
            shown = f"[{title}]" if is_open else f" {title} "
            parts += [(f"{number + 1}", "key"), (shown, "heading" if is_open else "dim")]
        if len(self._sessions) > 2 and self._tab == SITES:
            parts.append((f"   {letter(self._which)} over {letter(0)}", "title"))
        return line(self.look, *parts)

    def alarm(self, width: int) -> Sequence[Strip]:
        """Which of the sessions hold NaN or infinity, and where the first of them begins."""
        return alarm_lines(self._view, self.look, width) if self._view is not None else []

    @property
    def _page(self) -> Scroller:
        return self.query_one("#compare-page", Scroller)

    def _lines(self, name: str) -> Lines:
        return self.query_one(f"#compare-{name}", Lines)
