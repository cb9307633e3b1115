"""The monitor: what a session measures, live or finished.

- `Spot`           where a user is in a session
- `MonitorScreen`  header, line of M, heatmap with a cursor, the site under it, events, keys
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.events import Resize

from engine.analysis.maximum import without_m
from engine.analysis.nonfinite import Alarm
from engine.fields.field import SiteField
from engine.session.records import BROKEN_OFF
from maxact_tui.keymap import actions
from maxact_tui.pages.cells import CellMaker, legend_line
from maxact_tui.pages.header import maximum_lines, sites_of, status_lines
from maxact_tui.pages.lastlines import last_lines
from maxact_tui.pages.measures import MEASURES
from maxact_tui.pages.waiting import waiting_lines
from maxact_tui.screens.narrowed import Narrowed
from maxact_tui.screens.panel import Paned, SitePanel
from maxact_tui.screens.roaming import Roaming
from maxact_tui.screens.watched import needing_rows
from maxact_tui.terminal.palette import Look
from maxact_tui.texts.filtering import EVERYTHING
from maxact_tui.watching.snapshot import Snapshot, Wish
from maxact_tui.widgets.grid import make_grid
from maxact_tui.widgets.heatmap import CELL_WIDTH, LABEL_WIDTH, Heatmap
from maxact_tui.widgets.lines import Lines, line
from maxact_tui.widgets.prompt import PromptLine

_NEEDING_ROWS = (needing_rows("monitor") | {"to_nonfinite"}) - {"app.browse", "app.other_session"}
PANEL_LEAST = 40  # cells the panel keeps, however many components there are
TOO_SMALL = "maxact-tui needs at least 60 columns and 16 rows; make the window larger, or q to leave."


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a user is in a session: the site under the cursor (None follows M), the measure, the pane."""

    site: int | None
    measure: SiteField
    linear: bool
    pane: int


class MonitorScreen(Roaming, Paned, Narrowed):
    """The heatmap and the site under its cursor.

    Args:
        look: what the terminal can show.
        snapshot: what to show first.
    """

    BINDINGS: ClassVar[list[BindingType]] = [*actions.bindings("monitor")]
    HORIZONTAL_BREAKPOINTS = [(0, "-tiny"), (60, "-narrow"), (110, "-normal"), (170, "-wide")]  # noqa: RUF012
    VERTICAL_BREAKPOINTS = [(0, "-flat"), (16, "-short"), (32, "-tall"), (50, "-high")]  # noqa: RUF012

    def __init__(self, look: Look, snapshot: Snapshot) -> None:
        super().__init__(look, snapshot)
        self._maker = CellMaker(look)
        self._heatmap: Heatmap | None = None
        self._follows = True
        self._notice = ""
        self._left_at: int | None = None

    def parts(self) -> ComposeResult:
        """Header, body, events, keys; and the sentence for windows that are too small."""
        with Vertical(id="main"):
            yield Lines(self.look, id="status")
            yield Lines(self.look, id="maximum")
            with Horizontal(id="body"):
                yield Lines(self.look, id="waiting")
                with Vertical(id="map"):
                    yield Lines(self.look, id="legend")
                yield SitePanel(self.look, id="panel")
            yield Lines(self.look, id="events")
            yield PromptLine(self.look, id="keys")
        yield Lines(self.look, id="small")

    def on_mount(self) -> None:
        """Draw what is known."""
        self._mount_heatmap()
        self.call_after_refresh(self.draw)

    def on_resize(self, event: Resize) -> None:
        """Lay out and draw at the new size."""
        self._arrange()
        if self._heatmap is not None:
            self.ask()
        self.call_after_refresh(self.draw)

    def show(self, snapshot: Snapshot) -> bool:
        """Show a newer snapshot; returns whether anything visible changed."""
        self.snapshot = snapshot
        if not self.can_draw:
            return False
        if self._heatmap is None and self._mount_heatmap():
            self.call_after_refresh(self.draw)
            return True
        return self.draw(by_data=True)

    @property
    def spot(self) -> Spot:
        """Where the user is."""
        return Spot(
            None if self._follows else self.site,
            self._maker.measure,
            self._maker.linear,
            self.panel.active,
        )

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """No action before there is anything to act on: keys may be typed ahead of the first frame."""
        return super().check_action(action, parameters) if self.can_draw else False

    def awaits(self, action: str) -> bool:
        """Keys may be typed ahead of the first frame, of the first look at the session, and of its heatmap."""
        has_sites = self.snapshot.plan is not None and bool(self.snapshot.plan.sites)
        is_coming = has_sites and (self._heatmap is None or not self._heatmap.is_mounted)
        is_unread = is_coming or (self.snapshot.status is None and not self.snapshot.problem)
        return not self.can_draw or (is_unread and action in _NEEDING_ROWS)

    def start_over(self, snapshot: Snapshot, spot: Spot | None = None) -> None:
        """Forget the session that was shown, for another one, with the cursor where it was left."""
        self.snapshot = snapshot
        if self._heatmap is not None:
            self._heatmap.remove()
        self._heatmap, self._grid, self._follows, self._notice = None, None, True, ""
        self.is_at_alarm = False
        self.kept, self._kept_sites = EVERYTHING, set()
        self._maker = CellMaker(self.look, self._maker.measure, linear=self._maker.linear)
        self.remove_class("-measuring")
        self.panel.forget()
        self._take(spot)

    async def restyle(self, look: Look) -> None:
        """Show the same in another look; cursor, pane and measure stay."""
        spot = self.spot
        self.look, self._heatmap = look, None
        await self.recompose()
        self._take(spot)
        self._mount_heatmap()
        self.call_after_refresh(self.draw)

    def _take(self, spot: Spot | None) -> None:
        """Go where the user was; the site waits until there is a heatmap."""
        self._left_at = spot.site if spot is not None else None
        if spot is not None:
            self._maker = CellMaker(self.look, spot.measure, linear=spot.linear)
            self.panel.open_pane(spot.pane)

    def notice(self, text: str) -> None:
        """Show a short answer to the user in place of the events; an empty text brings those back."""
        self._notice = text
        self._draw_events()

    @property
    def site(self) -> int | None:
        """The site under the cursor."""
        return self._heatmap.site if self._heatmap is not None else None

    def _draw(self, *, by_data: bool = False) -> bool:
        """Bring every widget up to date; `by_data` keeps plots to one drawing a second."""
        snapshot, width = self.snapshot, self.size.width
        changed = self._lines("status").show(status_lines(snapshot, self.look, width))
        changed |= self._lines("maximum").show(maximum_lines(snapshot, self.look, width))
        changed |= self._narrow()
        changed |= self.show_keys("", "monitor")
        self._lines("small").show([line(self.look, row) for row in textwrap.wrap(TOO_SMALL, max(width, 10))])
        if self._heatmap is None:
            changed |= self._lines("waiting").show(
                waiting_lines(snapshot, self.look, width, self._lines("waiting").size.height)
            )
        else:
            changed |= self._draw_heatmap(self._heatmap)
            changed |= self.panel.show(snapshot, self._grid or self._heatmap.grid, by_data=by_data)
        return self._draw_events() or changed

    def action_to_maximum(self) -> None:
        """Jump to M's first site, or from one of its sites to the next."""
        if self._heatmap is None or self.snapshot.maximum is None:
            begun = self.snapshot.checkpoint > 0 or self.snapshot.has_ended
            self.say("no site has a finite number" if begun else "M is known after the first batch")
            return
        plan, plateau = self.snapshot.plan, self.snapshot.maximum.plateau
        if plan is not None and (why := without_m(plan, sites_of(self.snapshot))):
            self.say(f"{why}; this is the largest GEMM input")
        plateau = tuple(site for site in plateau if not self._kept_sites or site in self._kept_sites)
        if not plateau:
            self.say("the filter hides the site of M; esc clears it")
            return
        here = plateau.index(self._heatmap.site) if self._heatmap.site in plateau else -1
        self._heatmap.place(plateau[(here + 1) % len(plateau)])
        self._cursor_moved()

    def to_nonfinite(self, alarm: Alarm) -> None:
        """Put the cursor on the first site, in the order of a forward, that holds NaN or infinity."""
        self.place(alarm.site)
        self.arrived(alarm)

    def action_measure(self, by: int) -> None:
        """Show another measure in the heatmap."""
        place = MEASURES.index(self._maker.measure)
        self._maker = CellMaker(self.look, MEASURES[(place + by) % len(MEASURES)], linear=self._maker.linear)
        self.ask()
        self.draw()

    def action_axis(self) -> None:
        """Colours on a linear axis, or on a logarithmic one again."""
        self._maker = CellMaker(self.look, self._maker.measure, linear=not self._maker.linear)
        self.draw()

    def on_heatmap_cursor_moved(self, event: Heatmap.CursorMoved) -> None:
        """From the first move on the cursor belongs to the user and follows M no more."""
        event.stop()
        self.cursor_went()

    def cursor_went(self) -> None:
        """As after a click, at once, even where the key leaves the cursor in its place: M must not take it again."""
        self._origin = None
        self._cursor_moved()

    async def on_heatmap_opened(self, event: Heatmap.Opened) -> None:
        """What enter does."""
        event.stop()
        await self.app.run_action("app.open_site")

    def place(self, site: int) -> None:
        """Put the cursor on a site; a filter that hides it is cleared."""
        if self._kept_sites and site not in self._kept_sites:
            self.clear_filter()
        if self._heatmap is not None:
            self._heatmap.place(site)
            self._cursor_moved()

    def sample_place(self) -> tuple[int, int] | None:
        """Where the largest value of the site under the cursor is; of the alarm's site, once gone to, the alarm."""
        return self.place_of(self.site) if self.site is not None else None

    def _cursor_moved(self) -> None:
        self._follows = self.is_at_alarm = False
        self.ask()

    def wish(self) -> Wish:
        """The site under the cursor, or M's as long as the cursor follows it."""
        focus = None if self._follows or self._heatmap is None else self._heatmap.site
        measure = self._maker.measure
        board = measure.got == "quantiser"
        model = not (measure.is_live or board) or self.panel.wants_model
        return Wish(focus, model, board)

    def _lines(self, name: str) -> Lines:
        return self.query_one(f"#{name}", Lines)

    def _mount_heatmap(self) -> bool:
        plan = self.snapshot.plan
        if plan is None or not plan.sites:
            return False
        self._grid = make_grid(plan)
        self._heatmap = Heatmap(self.look, self._grid)
        self.query_one("#map").mount(self._heatmap, before="#legend")
        self.add_class("-measuring")
        self._arrange()
        if self._left_at is not None:
            self.place(self._left_at)
        self.ask()
        return True

    def _arrange(self) -> None:
        """Give the heatmap whole columns, as many as leave room for the panel."""
        if self._heatmap is None:
            return
        room = max(self.size.width - PANEL_LEAST - LABEL_WIDTH, CELL_WIDTH)
        columns = min(len(self._heatmap.grid.columns), room // CELL_WIDTH)
        self.query_one("#map").styles.width = LABEL_WIDTH + CELL_WIDTH * max(columns, 1) + 1
        self.panel.fit_into(self.size)

    def _draw_heatmap(self, heatmap: Heatmap) -> bool:
        changed = heatmap.show(self._maker.make(self.snapshot))
        if self._follows and self.snapshot.focus is not None:
            changed |= heatmap.place(self.snapshot.focus)
        return (
            self._lines("legend").show([legend_line(self.look, self._maker, self._lines("legend").size.width)])
            or changed
        )

    def _draw_events(self) -> bool:
        lines, status = self._lines("events"), self.snapshot.status
        is_broken = self._heatmap is not None and status is not None and status.phase in BROKEN_OFF
        self.set_class(is_broken, "-broken")
        width, height = self.size.width, lines.size.height
        return lines.show(last_lines(self.snapshot, self.look, width, height, answer=self._notice, tells_end=is_broken))
