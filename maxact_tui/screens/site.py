"""One site, full screen: tokens, channels, distribution, samples, quantisers.

- `SiteScreen`  gives back the site it showed last
"""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.strip import Strip

from engine.analysis.lacking import not_measured
from engine.analysis.nonfinite import Alarm
from maxact_tui.keymap import actions
from maxact_tui.pages.header import carrier_words
from maxact_tui.pages.nonfinite import barren_lines, is_barren
from maxact_tui.pages.panes import site_lines
from maxact_tui.pages.sheets import Sheet
from maxact_tui.pages.sitetabs import (
    TABS,
    UNSORTED,
    categories_of,
    category_sheet,
    channel_sheet,
    distribution_page,
    sample_page,
    token_detail,
    token_sheet,
)
from maxact_tui.pages.waiting import until_read
from maxact_tui.screens.seeking import Seeking
from maxact_tui.screens.tunable import Tunable
from maxact_tui.screens.watched import WatchedScreen
from maxact_tui.terminal.palette import Look
from maxact_tui.texts.filtering import Value
from maxact_tui.texts.visible import visible
from maxact_tui.watching.snapshot import Snapshot, Wish
from maxact_tui.widgets.grid import make_grid, site_record
from maxact_tui.widgets.lines import Lines, Part, line
from maxact_tui.widgets.picker import MARK_CELLS, Picker
from maxact_tui.widgets.prompt import PromptLine

TOKENS, CHANNELS, DISTRIBUTION, SAMPLES, INT8 = range(5)


class SiteScreen(Tunable, Seeking, WatchedScreen):
    """Everything about one site.

    Args:
        look: what the terminal can show.
        snapshot: what to show first; its plan is known.
        site: the site's number.
        tab: which tab is open first.
    """

    CSS_PATH = "site.tcss"
    PLACES = ("site", "tuning")
    BINDINGS: ClassVar[list[BindingType]] = [*actions.bindings("site"), *actions.bindings("tuning")]

    def __init__(self, look: Look, snapshot: Snapshot, site: int, tab: int = TOKENS) -> None:
        super().__init__(look, snapshot)
        self.site, self._tab = site, tab
        self._notice = ""

    def parts(self) -> ComposeResult:
        """Site, tabs, page, detail, keys."""
        with Vertical():
            yield Lines(self.look, id="site-head")
            yield Lines(self.look, id="site-tabs")
            yield Picker(self.look, id="site-list")
            yield Lines(self.look, id="site-page")
            yield Lines(self.look, id="site-detail")
            yield Lines(self.look, id="site-effect")
            yield PromptLine(self.look, id="site-keys")

    def on_mount(self) -> None:
        """Ask for the site's arrays and show what is known."""
        self.ask()
        self._open(self._tab)

    def on_picker_picked(self, event: Picker.Picked) -> None:
        """Show the detail of the selected entry."""
        event.stop()
        self.is_at_alarm = False
        self.draw()

    def wish(self) -> Wish:
        """This site."""
        return Wish(self.site, model=False)

    def notice(self, text: str) -> None:
        """Show a short answer in place of the keys."""
        self._notice = text
        self._draw_keys()

    def _draw(self, *, by_data: bool = False) -> bool:
        """Bring every widget up to date."""
        width = self.size.width
        changed = self._lines("head").show(self._head(width))
        changed |= self._lines("tabs").show([self._tab_line()])
        changed |= self._draw_keys()
        changed |= self.draw_effect(self._lines("effect"), is_wanted=self._tab == INT8)
        view = self.snapshot.view
        if view is None or view.site != self.site:
            self._show_list(False)
            waiting = line(self.look, " ", until_read(self.snapshot, self.snapshot.damages.view))
            return self._lines("page").show([waiting]) or changed
        if is_barren(view.summary) and self._tab != SAMPLES:
            self._show_list(False)
            return self._lines("page").show(barren_lines(self.snapshot, view, self.look, width - 2)) or changed
        self._show_list(self._tab in (TOKENS, CHANNELS))
        if self._tab == TOKENS:
            changed |= self.offer(token_sheet(view, self._record(), self.look, width - MARK_CELLS))
            self.select_sought(view)
            detail = [] if self.chosen is None else token_detail(view, self.chosen, self.look, width - 2)
            return self._lines("detail").show(detail) or changed
        if self._tab == CHANNELS:
            return self.offer(channel_sheet(view, self._record(), self.look, width - MARK_CELLS)) or changed
        page = self._lines("page")
        if self._tab == DISTRIBUTION:
            return page.show(distribution_page(view, self.look, page.size.width, page.size.height)) or changed
        room = page.size
        if self._tab == INT8:
            return page.show(self.tuned_page(room.width, room.height, has_list=True) or []) or changed
        shown = sample_page(self.snapshot, view, self.look, room.width, room.height, self.kept, self.sorting)
        return page.show(shown) or changed

    def sheet(self) -> Sheet | None:
        """The table of the open tab."""
        view, width = self.snapshot.view, self.size.width - MARK_CELLS
        if view is None or view.site != self.site or self._tab in (DISTRIBUTION, INT8):
            return None
        if self._tab == SAMPLES:
            return category_sheet(categories_of(self.snapshot, view), self.look, width)
        make = token_sheet if self._tab == TOKENS else channel_sheet
        return make(view, self._record(), self.look, width)

    def action_tab(self, by: int) -> None:
        """Open the tab beside this one."""
        self._open((self._tab + by) % len(TABS))

    def action_sideways(self, by: int) -> None:
        """Move the threshold on the INT8 tab, else open the tab beside this one."""
        if self._tab == INT8:
            self.action_tune(by)
        else:
            self.action_tab(by)

    def action_tab_at(self, number: int) -> None:
        """Open a tab by its number."""
        self._open(number)

    def action_scroll(self, lines: int) -> None:
        """Move the selection; on the INT8 tab among the quantisers."""
        if self._tab == INT8:
            self.step_column(lines)
        else:
            super().action_scroll(lines)

    def action_scroll_page(self, direction: int) -> None:
        """Move the selection by a page; on the INT8 tab the threshold by half an octave, PgUp up."""
        if self._tab == INT8:
            self.action_tune(-16 * direction)
        else:
            super().action_scroll_page(direction)

    def action_scroll_edge(self, direction: int) -> None:
        """Select the first or last entry."""
        if self._tab == INT8:
            self.step_column(direction * len(self.columns))
        else:
            super().action_scroll_edge(direction)

    @property
    def tuned_site(self) -> int | None:
        """The site."""
        return self.site

    @property
    def elsewhere(self) -> str:
        """Only the INT8 tab shows thresholds."""
        return "" if self._tab == INT8 else f"tab {INT8 + 1}, INT8, shows what this changes"

    def awaits(self, action: str) -> bool:
        """The rows of a tab, and what can be tuned, are read when the site is opened."""
        view = self.snapshot.view
        is_here = self.snapshot.checkpoint == 0 or (view is not None and view.site == self.site)
        is_here = is_here or bool(self.snapshot.damages.view)  # then none will come
        works_on_rows = action in ("app.sample", "sort", "reverse", "copy") or action.startswith("scroll")
        return self.awaits_tuner(action) or (works_on_rows and not is_here)

    def tuning_changed(self) -> None:
        """Show the new threshold."""
        self.draw()

    def action_neighbour(self, by: int) -> None:
        """Show the same component one layer further."""
        plan = self.snapshot.plan
        if plan is None:
            return
        grid = make_grid(plan)
        cell = grid.cell_of(self.site)
        column = grid.column_sites(cell[1]) if cell is not None else [self.site]
        place = column.index(self.site) + by
        if 0 <= place < len(column):
            self.go(column[place])

    def go(self, site: int) -> None:
        """Show another site."""
        self.site, self.is_at_alarm = site, False
        self.ask()
        self.draw()

    def to_nonfinite(self, alarm: Alarm) -> None:
        """Show the first site, in the order of a forward, that holds NaN or infinity."""
        self.go(alarm.site)
        self.arrived(alarm)

    def sample_place(self) -> tuple[int, int] | None:
        """Where the selected value is; on the other tabs the site's largest. Once gone to, the alarm."""
        view = self.snapshot.view
        number = self.chosen if self._tab == TOKENS else 0
        is_listed = view is not None and view.site == self.site and not self.is_at_alarm
        if view is None or not is_listed or number is None or number >= len(view.summary.top):
            return self.place_of(self.site)
        return view.summary.top[number].sample, view.summary.top[number].position

    def action_back(self) -> None:
        """Back, with the site that was shown last; with a filter first back to every row."""
        if not self.clear_filter():
            self.dismiss(self.site)

    def _open(self, tab: int) -> None:
        self._tab, self.sorting, self.is_at_alarm = tab, UNSORTED, False
        self.picker.selected = 0
        self.draw()

    def _head(self, width: int) -> list[Strip]:
        shown = self.snapshot
        plan = shown.plan
        if plan is None:
            return []
        site = plan.sites[self.site]
        lines = [Strip.join([line(self.look, " "), one]) for one in _for_site(shown, self.site, self.look, width - 2)]
        note = f"  {site.note}" if site.note else ""
        bad = shown.bad_of(self.site)
        alarm = f" first Inf/NaN: sample {bad[0]}, position {bad[1]}, channel {bad[2]} " if bad is not None else ""
        where = visible(f" {site.capture} of {site.module or 'the model'}  {site.kind}{note}", width, space=" ")
        carrier = carrier_words(shown, self.site, width - lines[0].cell_length - 3)
        lines[0] = Strip.join([lines[0], line(self.look, (f"  {carrier}" if carrier else "", "dim"))])
        view = shown.view if shown.view is not None and shown.view.site == self.site else None
        lacking = "; ".join(not_measured([view.summary.not_measured])) if view is not None else ""
        warning = visible(f" not measured: {lacking}", width, space=" ") if lacking else ""
        told: list[Part] = [(alarm, "bad"), (warning, "warn")]
        room = width - len(alarm) - len(warning)
        return [lines[0], line(self.look, *told, (visible(where, max(room, 0), space=" "), "dim")), *lines[1:]]

    def _tab_line(self) -> Strip:
        parts: list[Part] = [" "]
        for number, title in enumerate(TABS):
            is_open = number == self._tab
            shown = f"[{title}]" if is_open else f" {title} "
            parts += [(f"{number + 1}", "key"), (shown, "heading" if is_open else "dim")]
        return line(self.look, *parts)

    def _draw_keys(self) -> bool:
        places: tuple[actions.Place, ...] = ("tuning", "site") if self._tab == INT8 else ("site",)
        return self.show_keys(self._notice, *places)

    def _record(self) -> dict[str, Value]:
        """What a filter can ask of the site itself."""
        return site_record(self.snapshot.plan.sites[self.site]) if self.snapshot.plan is not None else {}

    def _show_list(self, is_list: bool) -> None:
        self.picker.display = is_list
        self._lines("page").display = not is_list
        self._lines("detail").display = is_list and self._tab == TOKENS

    @property
    def picker(self) -> Picker:
        """The tokens, or the channels."""
        return self.query_one(Picker)

    @property
    def prompt(self) -> PromptLine:
        """The line of keys."""
        return self.query_one(PromptLine)

    def _lines(self, name: str) -> Lines:
        return self.query_one(f"#site-{name}", Lines)


def _for_site(snapshot: Snapshot, site: int, look: Look, width: int) -> list[Strip]:
    """The site's three lines, also while the snapshot still has another focus."""
    from dataclasses import replace

    if snapshot.focus == site:
        return site_lines(snapshot, look, width)
    return site_lines(replace(snapshot, focus=site, view=None), look, width)
