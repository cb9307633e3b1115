"""The panel beside the heatmap: the site in three or four lines, and one, two or four panes, as there is room.

- `SitePanel`  the site under the cursor, and its panes
- `Paned`      a screen with such a panel
"""

from __future__ import annotations

import time

from textual import work
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.geometry import Size
from textual.message import Message
from textual.strip import Strip

from maxact_tui.pages.nonfinite import barren_lines, is_barren
from maxact_tui.pages.panes import (
    PANES,
    DepthData,
    TokenData,
    channel_lines,
    depth_data,
    depth_lines,
    distribution_lines,
    site_lines,
    tab_line,
    token_data,
    token_lines,
)
from maxact_tui.pages.waiting import until_read
from maxact_tui.screens.watched import WatchedScreen
from maxact_tui.terminal.palette import Look
from maxact_tui.watching.snapshot import SiteView, Snapshot
from maxact_tui.widgets.grid import Grid
from maxact_tui.widgets.lines import Lines, line
from maxact_tui.widgets.plot import is_loaded, load

TOKENS, CHANNELS, DEPTH = 0, 1, 2
PLOT_SECONDS = 1.0
_TWO_FROM = (110, 32)
_FOUR_FROM = (170, 50)


class SitePanel(Vertical):
    """The site under the cursor.

    Args:
        look: what the terminal can show.
    """

    class PlotsLoaded(Message):
        """The plotting library has been loaded."""

    def __init__(self, look: Look, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._look = look
        self._active = 0
        self._partner = DEPTH  # the pane of the other half that was open last
        self._plotted_at = 0.0
        self._loads_plots = False
        self._room = 1
        self._late: tuple[Snapshot, Grid] | None = None
        self._shown: dict[int, tuple[Size, object]] = {}

    def compose(self) -> ComposeResult:
        """Site, tabs, and two rows of two panes."""
        yield Lines(self._look, id="site")
        yield Lines(self._look, id="tabs")
        with Horizontal(id="texts", classes="panes"):
            yield Lines(self._look, id="pane-0", classes="pane")
            yield Lines(self._look, id="pane-1", classes="pane")
        with Horizontal(id="plots", classes="panes"):
            yield Lines(self._look, id="pane-2", classes="pane")
            yield Lines(self._look, id="pane-3", classes="pane")

    def on_mount(self) -> None:
        """Show only the panes there is room for."""
        self._display()

    def fit_into(self, screen: Size) -> None:
        """Decide by the screen's size how many panes are open."""
        self._room = 1
        for panes, (width, height) in ((2, _TWO_FROM), (4, _FOUR_FROM)):
            if screen.width >= width and screen.height >= height:
                self._room = panes
        self._display()

    @property
    def open_panes(self) -> set[int]:
        """Numbers of the panes that are visible."""
        if self._room == 4:
            return {0, 1, 2, 3}
        return {self._active, self._partner} if self._room == 2 else {self._active}

    @property
    def active(self) -> int:
        """Number of the pane that was opened last."""
        return self._active

    @property
    def wants_model(self) -> bool:
        """Whether an open pane shows more of all sites than the live numbers."""
        return DEPTH in self.open_panes

    def forget(self) -> None:
        """Drop everything that belongs to the session that was shown."""
        self._late, self._plotted_at = None, 0.0
        self._shown.clear()

    def open_pane(self, number: int) -> None:
        """Open a pane; with room for two, one of text and one plot stay open."""
        if (number < DEPTH) != (self._active < DEPTH):
            self._partner = self._active
        self._active = number
        self._plotted_at = 0.0
        self._display()

    def next_pane(self, by: int) -> int:
        """Number of the pane after the active one."""
        return (self._active + by) % len(PANES)

    def show(self, snapshot: Snapshot, grid: Grid, *, by_data: bool) -> bool:
        """Show the focused site; plots at most once a second when it is data that changes them."""
        look, site = self._look, self._pane("site")
        changed = site.show(site_lines(snapshot, look, site.size.width))
        changed |= self._pane("tabs").show([tab_line(look, self.open_panes)])
        now = time.monotonic()
        plots = is_loaded() and (not by_data or now - self._plotted_at >= PLOT_SECONDS)
        if not is_loaded():
            self._load_plots_soon()
        elif plots:
            self._plotted_at = now
        elif self._late is None:
            # A run that has just ended sends no further snapshot that could bring the plots up to date.
            self.set_timer(self._plotted_at + PLOT_SECONDS - now, self._plot_late)
        self._late = None if plots else (snapshot, grid)
        for number in self.open_panes:
            if number < DEPTH or plots:
                changed |= self._show_pane(number, snapshot, grid)
        return changed

    def _show_pane(self, number: int, snapshot: Snapshot, grid: Grid) -> bool:
        """Make a pane's lines anew if what they show has changed."""
        pane = self._pane(f"pane-{number}")
        data = _data_of(number, snapshot, grid, self._look, pane.size.width)
        key = (pane.size, data)
        if key == self._shown.get(number):
            return False
        self._shown[number] = key
        return pane.show(_lines_of(number, data, self._look, pane.size))

    def _load_plots_soon(self) -> None:
        if not self._loads_plots:
            self._loads_plots = True
            self.call_after_refresh(self._load_plots)

    @work(thread=True)
    def _load_plots(self) -> None:
        load()
        self.post_message(self.PlotsLoaded())

    def on_site_panel_plots_loaded(self, event: PlotsLoaded) -> None:
        """Draw the plots that the first frame went without."""
        self._plot_late()

    def _plot_late(self) -> None:
        # A timer or a thread may come when the panes are gone already: the screen is made anew, or closed.
        if self._late is not None and self.is_attached and self.query(Lines):
            self.show(*self._late, by_data=False)

    def _pane(self, name: str) -> Lines:
        return self.query_one(f"#{name}", Lines)

    def _display(self) -> None:
        shown = self.open_panes
        for number in range(len(PANES)):
            self._pane(f"pane-{number}").display = number in shown
        self.query_one("#texts").display = bool(shown & {0, 1})
        self.query_one("#plots").display = bool(shown & {2, 3})


PaneData = TokenData | DepthData | SiteView | tuple[Strip, ...] | None


def _data_of(number: int, snapshot: Snapshot, grid: Grid, look: Look, width: int) -> PaneData:
    """What a pane shows, or its lines where the site has no number; equal data make an equal picture."""
    view = snapshot.view
    if number != DEPTH and view is not None and is_barren(view.summary):
        return tuple(barren_lines(snapshot, view, look, width))
    if number == TOKENS:
        return token_data(snapshot)
    if number != DEPTH and view is None:
        return (line(look, until_read(snapshot, snapshot.damages.view)),)
    return depth_data(snapshot, grid) if number == DEPTH else snapshot.view


def _lines_of(number: int, data: PaneData, look: Look, size: Size) -> list[Strip]:
    width, height = size
    if isinstance(data, tuple):
        return list(data)
    if isinstance(data, TokenData):
        return token_lines(data, look, width, height)
    if number == DEPTH:
        return depth_lines(data if isinstance(data, DepthData) else None, look, width, height)
    if not isinstance(data, SiteView):
        return []
    show = channel_lines if number == CHANNELS else distribution_lines
    return show(data, look, width, height)


class Paned(WatchedScreen):
    """A screen with the panel: the keys that open its panes."""

    @property
    def panel(self) -> SitePanel:
        """The panel beside the heatmap."""
        return self.query_one(SitePanel)

    def action_pane(self, number: int) -> None:
        """Open a pane."""
        self.panel.open_pane(number)
        self.ask()
        self.call_after_refresh(self.draw)

    def action_next_pane(self) -> None:
        """Open the next pane."""
        self.action_pane(self.panel.next_pane(1))

    def action_previous_pane(self) -> None:
        """Open the previous pane."""
        self.action_pane(self.panel.next_pane(-1))
