"""The board: every site under every quantiser.

- `BoardScreen`  gives back the site under its cursor
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.events import Resize
from textual.strip import Strip

from engine.analysis.nonfinite import Alarm
from maxact_tui.keymap import actions
from maxact_tui.pages.boardlines import detail_lines, group_line, head_lines, headroom_lines, overflow_lines, sum_lines
from maxact_tui.pages.boardsheet import LABEL_CELLS, sheet_records
from maxact_tui.pages.boardtable import LIMITS, SCHEMES, BoardTable
from maxact_tui.pages.sheets import as_tsv
from maxact_tui.pages.tuning import Tuning
from maxact_tui.screens.filterable import Filterable
from maxact_tui.screens.roaming import Roaming
from maxact_tui.screens.tunable import Tunable
from maxact_tui.screens.watched import WatchedScreen, needing_rows
from maxact_tui.terminal.palette import Look
from maxact_tui.texts.filtering import Record
from maxact_tui.watching.snapshot import Snapshot, Wish
from maxact_tui.widgets.grid import site_record
from maxact_tui.widgets.heatmap import CELL_WIDTH, Heatmap
from maxact_tui.widgets.lines import Lines
from maxact_tui.widgets.prompt import PromptLine

PAGE_CELLS = 72
_NEEDING_ROWS = needing_rows("board", "tuning")


class BoardScreen(Roaming, Filterable, Tunable, WatchedScreen):
    """Sites down, schemes across; a second section tells what exceeds fp16 and e4m3.

    Args:
        look: what the terminal can show.
        snapshot: what to show first.
        site: where the cursor stands at first; None for the worst site.
    """

    CSS_PATH = "board.tcss"
    PLACES = ("board", "tuning")
    BINDINGS: ClassVar[list[BindingType]] = [*actions.bindings("board"), *actions.bindings("tuning")]
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (170, "-wide")]  # noqa: RUF012
    VERTICAL_BREAKPOINTS = [(0, "-short"), (32, "-tall"), (50, "-high")]  # noqa: RUF012

    def __init__(self, look: Look, snapshot: Snapshot, site: int | None = None) -> None:
        super().__init__(look, snapshot)
        self.table = BoardTable(site)
        self._heatmap: Heatmap | None = None
        self._has_moved = False
        self._notice = ""

    def parts(self) -> ComposeResult:
        """Head, table beside the page of its site, the model's line, detail, keys."""
        with Vertical():
            yield Lines(self.look, id="board-head")
            yield Lines(self.look, id="board-groups")
            with Horizontal(id="board-body"):
                yield Vertical(id="board-map")
                yield Lines(self.look, id="board-page")
            yield Lines(self.look, id="board-sums")
            yield Lines(self.look, id="board-detail")
            yield Lines(self.look, id="board-effect")
            yield PromptLine(self.look, id="board-keys")

    def on_mount(self) -> None:
        """Ask for all sites and show what is known."""
        self.ask()
        self.draw()

    def on_resize(self, event: Resize) -> None:
        """Lay out at the new size."""
        self._arrange()
        self.call_after_refresh(self.draw)

    def wish(self) -> Wish:
        """All sites, and the arrays of the one under the cursor."""
        return Wish(self.table.site, model=False, board=True)

    def notice(self, text: str) -> None:
        """Show a short answer in place of the keys."""
        self._notice = text
        self._draw_keys()

    async def restyle(self, look: Look) -> None:
        """Show the same in another look."""
        self._heatmap = None
        await super().restyle(look)

    def _draw(self, *, by_data: bool = False) -> bool:
        """Bring every widget up to date."""
        changed = self._draw_keys() | self.draw_effect(self._lines("effect"))
        self._take_board()
        counts, is_limits = self.filter_counts(), self.table.section == LIMITS
        head = head_lines(self.snapshot, self.table.order, counts, self.look, self.size.width, is_limits=is_limits)
        changed |= self._lines("head").show(head)
        if self._heatmap is None:
            return changed
        return self._draw_cursor() or changed

    @property
    def prompt(self) -> PromptLine:
        """The line of keys."""
        return self.query_one(PromptLine)

    @property
    def idle_actions(self) -> Collection[str]:
        """The run with the GEMM inputs is offered where they are missing."""
        plan = self.snapshot.plan
        return ("app.gemm_run",) if plan is not None and any(site.is_input for site in plan.sites) else ()

    @property
    def tuned_site(self) -> int | None:
        """The site under the cursor."""
        return self.table.site

    @property
    def elsewhere(self) -> str:
        """The section of the formats says nothing of thresholds, unless the site's page stands beside it."""
        is_hidden = self.table.section == LIMITS and not self.has_class("-wide")
        return "w shows the quantisers, whose thresholds this moves" if is_hidden else ""

    def awaits(self, action: str) -> bool:
        """Rows, and the arrays of the site under the cursor, are read when the board is opened."""
        has_rows = self.table.sheet is not None or self.snapshot.checkpoint == 0
        return self.awaits_tuner(action) or (not has_rows and action in _NEEDING_ROWS)

    def tuning_changed(self) -> None:
        """Show the new threshold."""
        self._draw_cursor()

    def filter_changed(self) -> None:
        """Show the rows the filter keeps."""
        self._arrange_rows()
        self.draw()

    def filter_counts(self) -> tuple[int, int]:
        """How many sites are kept, of how many."""
        plan = self.snapshot.plan
        return len(self.table.sites), len(plan.sites) if plan is not None else 0

    def example(self) -> Record | None:
        """The first site."""
        return self._record(0) if self.snapshot.plan is not None else None

    def copied(self, *, whole: bool) -> str:
        """The site under the cursor, or every site that is shown in its order, as tab-separated text."""
        plan, table = self.snapshot.plan, self.table
        if plan is None or table.sheet is None or table.site is None:
            return ""
        return as_tsv(sheet_records(table.sheet, table.sites if whole else [table.site], plan))

    def on_heatmap_cursor_moved(self, event: Heatmap.CursorMoved) -> None:
        """Another site or another scheme was clicked."""
        event.stop()
        self._take_cursor()

    def on_heatmap_scrolled(self, event: Heatmap.Scrolled) -> None:
        """What stands above and below the columns goes with them."""
        event.stop()
        self._draw_cursor()

    def cursor_went(self) -> None:
        """Follow the heatmap's cursor at once."""
        self._take_cursor()

    def action_sort(self) -> None:
        """Sort by the cursor's column, worst first; again as the model computes."""
        self.table.sort()
        self._arrange_rows()
        self.draw()

    def action_reverse(self) -> None:
        """Turn the order round."""
        self.table.reverse()
        self._arrange_rows()
        self.draw()

    def action_section(self) -> None:
        """The other section: SQNR, or what exceeds fp16 and e4m3."""
        self.table.turn()
        self.draw()

    def action_back(self) -> None:
        """Back, with the site the user chose, if any; with a filter first back to every site."""
        if not self.clear_filter():
            self.dismiss(self.table.site if self._has_moved else None)

    def place(self, site: int, tuning: Tuning) -> None:
        """Put the cursor on a site and a quantiser, as they were left on the site's own screen."""
        self.tuning, self.table.site = tuning, site
        self.table.show_scheme(tuning.column)
        self._arrange_rows()
        self.ask()
        self.draw()

    def to_nonfinite(self, alarm: Alarm) -> None:
        """Put the cursor on the first site, in the order of a forward, that holds NaN or infinity."""
        self.clear_filter()
        self._has_moved = True
        self.place(alarm.site, self.tuning)
        self.arrived(alarm)

    def _take_cursor(self) -> None:
        """Follow the heatmap's cursor at once: the next key may already open what is under it."""
        if self._heatmap is None or self._heatmap.cursor == (self.table.row, self.table.column):
            return
        self._has_moved = True
        row, self.table.column = self._heatmap.cursor
        if self.table.section == SCHEMES and self.table.scheme is not None:
            self.choose_column(self.table.scheme)
        site = self.table.site_at(row)
        if site is not None and site != self.table.site:
            self.table.site = site
            self.forget_threshold()
            self.ask()
        self._draw_cursor()

    def _take_board(self) -> None:
        """Make the table anew where the numbers or the section have changed."""
        view, plan, table = self.snapshot.board, self.snapshot.plan, self.table
        if view is None or plan is None:
            return
        is_new = table.take(view, plan, self.look)
        if self._heatmap is None or (table.sheet is not None and self._heatmap.grid.columns != table.sheet.names):
            if self._heatmap is not None:
                self._heatmap.remove()
            self._heatmap = Heatmap(self.look, table.grid, label_width=LABEL_CELLS)
            self.query_one("#board-map").mount(self._heatmap)
            self._arrange()
            is_new = True
        if is_new:
            self._arrange_rows()

    def _arrange_rows(self) -> None:
        """Filter and sort; the cursor stays on its site, or goes to the first."""
        if self._heatmap is None:
            return
        key = actions.key_of("board", "app.gemm_run", self.look.keys)
        hint = f"; {key} runs with them" if key else ""
        self.table.arrange(lambda site: self.kept.holds(self._record(site)), hint)
        self.ask()
        self._heatmap.reorder(self.table.grid, (self.table.row, self.table.column))
        self._heatmap.show(self.table.cells)

    def _arrange(self) -> None:
        """Give the table whole columns, as many as leave room for the page where there is one."""
        room = self.size.width - (PAGE_CELLS if self.has_class("-wide") else 0)
        if self._heatmap is not None:
            columns = min(len(self._heatmap.grid.columns), max(room - LABEL_CELLS - 1, CELL_WIDTH) // CELL_WIDTH)
            self.query_one("#board-map").styles.width = LABEL_CELLS + CELL_WIDTH * columns + 1

    def _draw_cursor(self) -> bool:
        """Everything that depends on where the cursor is."""
        view, plan, sheet, heatmap = self.snapshot.board, self.snapshot.plan, self.table.sheet, self._heatmap
        if view is None or plan is None or sheet is None or heatmap is None:
            return False
        columns, width = heatmap.visible_columns, self.size.width
        changed = self._lines("groups").show([group_line(sheet, columns, self.look)])
        site = self.table.site if self.table.site is not None else -1
        if self.table.section == LIMITS:
            sums = overflow_lines(view, plan, self.look, width)
            details = headroom_lines(view, plan, site, self.look)
        else:
            sums = sum_lines(view, [sheet.columns[number].scheme for number in columns], self.look)
            details = detail_lines(self.snapshot, site, self.tuner, self.tuning, self.look, width)
        changed |= self._lines("sums").show(sums)
        changed |= self._lines("detail").show(details)
        return self._draw_page() or changed

    def _draw_page(self) -> bool:
        page = self._lines("page")
        if not self.has_class("-wide"):
            return False
        shown: Sequence[Strip] | None = self.tuned_page(page.size.width, page.size.height, has_list=False)
        return page.show(shown or [])

    def _draw_keys(self) -> bool:
        return self.show_keys(self._notice, "board", "tuning")

    def _record(self, site: int) -> Record:
        plan, view = self.snapshot.plan, self.snapshot.board
        record = dict(site_record(plan.sites[site])) if plan is not None else {}
        if view is not None:
            record["value"] = float(view.magnitudes[site])
        return record

    def _lines(self, name: str) -> Lines:
        return self.query_one(f"#board-{name}", Lines)
