"""Channels across layers: the largest channels of one component, layer by layer.

- `ChannelsScreen`
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.strip import Strip

from engine.analysis.channelmap import ChannelMap, channel_map
from engine.analysis.nonfinite import Alarm
from engine.session.reader import SessionReader
from maxact_tui.bugs import in_words
from maxact_tui.keymap import actions
from maxact_tui.pages.channelcells import (
    ChannelPlace,
    channel_cells,
    channel_grid,
    channel_legend,
    channel_records,
    channel_title,
    nearest_row,
    place_lines,
    place_of,
)
from maxact_tui.pages.footer import footer_line
from maxact_tui.pages.probelines import component_line
from maxact_tui.pages.sheets import as_tsv
from maxact_tui.screens.roaming import Roaming
from maxact_tui.screens.watched import Pointed, WatchedScreen, needing_rows
from maxact_tui.terminal.palette import Look
from maxact_tui.texts.visible import visible
from maxact_tui.watching.places import Places, TokenPlace
from maxact_tui.watching.snapshot import Snapshot, Wish
from maxact_tui.widgets.grid import Grid, make_grid
from maxact_tui.widgets.heatmap import Heatmap
from maxact_tui.widgets.lines import Lines, line

CHANNELS = 32
Address = tuple[int, int]
_NEEDING_CELLS = needing_rows("channels")


class ChannelsScreen(Roaming, WatchedScreen):
    """Layers down, the largest channels across.

    Args:
        look: what the terminal can show.
        snapshot: what to show first.
        site: where the cursor is first; its component is shown.
    """

    CSS_PATH = "channels.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [*actions.bindings("channels")]
    PLACES: ClassVar[tuple[actions.Place, ...]] = ("channels",)

    class MapRead(Message):
        """The channels of a column of the grid were read, as of a checkpoint."""

        def __init__(self, column: int, checkpoint: int, found: ChannelMap) -> None:
            super().__init__()
            self.column, self.checkpoint, self.found = column, checkpoint, found

    class TokenRead(Message):
        """The token at an address was read."""

        def __init__(self, address: Address, token: TokenPlace | None) -> None:
            super().__init__()
            self.address, self.token = address, token

    class Failed(Message):
        """Something could not be read."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    def __init__(self, look: Look, snapshot: Snapshot, site: int | None) -> None:
        super().__init__(look, snapshot)
        self._site = site
        self._grid: Grid | None = None
        self._column = 0
        self._found: ChannelMap | None = None
        self._read_at = (-1, -1)
        self._shown_column = -1
        self._heatmap: Heatmap | None = None
        self._drawn: tuple[object, ...] = ()
        self._tokens: dict[Address, TokenPlace | None] = {}
        self._notice = self._problem = ""

    def parts(self) -> ComposeResult:
        """Heads, the heatmap's place, legend, detail, keys."""
        with Vertical():
            yield Lines(self.look, id="channels-head")
            yield Vertical(id="channels-map")
            yield Lines(self.look, id="channels-legend")
            yield Lines(self.look, id="channels-detail")
            yield Lines(self.look, id="channels-keys")

    def on_mount(self) -> None:
        """Ask for the model's numbers and read the channels."""
        self.ask()
        self.draw()

    def wish(self) -> Wish:
        """The whole model: signs, tokens and kinds of channels."""
        return Wish(self.snapshot.focus, model=True)

    def notice(self, text: str) -> None:
        """Show a short answer in place of the keys."""
        self._notice = text
        self._draw_keys()

    async def restyle(self, look: Look) -> None:
        """Show the same in another look; the heatmap is made anew."""
        here = self._here()
        self._site = here.site if here is not None else self._site
        self._heatmap, self._found, self._read_at, self._shown_column = None, None, (-1, -1), -1
        await super().restyle(look)

    def _draw(self, *, by_data: bool = False) -> bool:
        """Bring every widget up to date."""
        self._read_if_new()
        changed = self._lines("head").show(self._head(self.size.width))
        if self._found is not None and self._heatmap is not None and self._heatmap.is_mounted:
            changed |= self._draw_cells(self._found, self._heatmap)
            changed |= self._lines("legend").show(
                [channel_legend(self._found, self.snapshot, self.look, self.size.width)]
            )
            changed |= self._draw_detail()
        return self._draw_keys() or changed

    async def on_channels_screen_map_read(self, event: MapRead) -> None:
        """Show the channels; columns are made anew only where they are others."""
        if event.column != self._column or not self.query("#channels-map"):
            return
        before, self._problem = self._found, ""
        if not event.found.channels.size:
            self._problem = "no channel of this component was seen yet"
        elif before is not None and before.sites == event.found.sites and before.holds_the_same(event.found):
            self._found = event.found.in_order_of(before)
        else:
            self._found = event.found
            await self._mount_heatmap(event.found)
        self._shown_column = event.column
        self.draw()

    def on_channels_screen_token_read(self, event: TokenRead) -> None:
        """Show the token of the channel under the cursor."""
        self._tokens[event.address] = event.token
        self.draw()

    def on_channels_screen_failed(self, event: Failed) -> None:
        """Say what is wrong."""
        self._problem = event.text
        self.draw()

    def on_heatmap_cursor_moved(self, event: Heatmap.CursorMoved) -> None:
        """Show the channel under the cursor."""
        event.stop()
        self._notice = ""
        self._draw_detail()
        self._draw_keys()

    def copied(self, *, whole: bool) -> str:
        """max|x| of every channel at the layer under the cursor, or at all layers."""
        here = self._here()
        if self._found is None or self._heatmap is None or here is None:
            return ""
        records = channel_records(self._found, self._heatmap.grid.rows)
        return as_tsv(records if whole else [records[self._found.sites.index(here.site)]])

    def action_component(self, by: int) -> None:
        """Show the channels of another component."""
        if self._grid is not None:
            here = self._here()
            self._site = here.site if here is not None else self._site
            self._column = (self._column + by) % len(self._grid.columns)
            self.draw()

    def awaits(self, action: str) -> bool:
        """The channels of a component are read when it is turned to."""
        is_here = not self.snapshot.checkpoint or bool(self._problem) or self._shown_column == self._column
        return not is_here and action in _NEEDING_CELLS

    def to_nonfinite(self, alarm: Alarm) -> None:
        """Put the cursor on the first site, in the order of a forward, that holds NaN or infinity."""
        self.point_at(alarm.site)
        self.draw()
        self.arrived(alarm)

    def pointed(self) -> Pointed | None:
        """The site under the cursor, and the channel's largest element there."""
        here = self._here()
        if here is None:
            return None
        entry = here.entry
        return Pointed(here.site, (entry.sample, entry.position, here.channel) if entry is not None else None)

    def point_at(self, site: int | None) -> None:
        """Put the cursor on a site's row; the columns are those of its component."""
        self._site, cell = site, self._grid.cell_of(site) if self._grid is not None and site is not None else None
        if cell is None or self._heatmap is None or self._found is None:
            return
        self._column = cell[1]
        if self._column == self._shown_column:
            row, column = nearest_row(self._found, self.snapshot.plan, site), self._heatmap.cursor[1]
            self._heatmap.place(row * len(self._found.channels) + column)

    def action_back(self) -> None:
        """Back to where the user came from."""
        self.dismiss(None)

    def _read_if_new(self) -> None:
        """Read the channels of the shown component when there is a newer checkpoint, or another component."""
        snapshot = self.snapshot
        if self._grid is None and snapshot.plan is not None and snapshot.plan.sites:
            self._grid = make_grid(snapshot.plan)
            cell = self._grid.cell_of(self._site) if self._site is not None else None
            self._column = cell[1] if cell is not None else len(self._grid.columns) - 1
        wanted = (self._column, snapshot.checkpoint)
        if self._grid is not None and snapshot.checkpoint and self._read_at != wanted:
            self._read_at = wanted
            self._read_map(snapshot.path, self._column, snapshot.checkpoint, self._grid.column_sites(self._column))

    async def _mount_heatmap(self, found: ChannelMap) -> None:
        """A heatmap of these channels, with the cursor on the same channel and layer as before, if they are there."""
        assert self._grid is not None
        channel = self._here_channel()
        rows = [self._grid.rows[row] for row in range(len(self._grid.rows)) if self._grid.sites[row, self._column] >= 0]
        old, self._heatmap = self._heatmap, Heatmap(self.look, channel_grid(found, rows))
        with self.app.batch_update():
            if old is not None:
                await old.remove()
            await self.query_one("#channels-map").mount(self._heatmap)
        row = nearest_row(found, self.snapshot.plan, self._site)
        columns = found.channels.tolist()
        column = columns.index(channel) if channel in columns else 0
        self._heatmap.place(row * len(columns) + column)

    def _draw_cells(self, found: ChannelMap, heatmap: Heatmap) -> bool:
        """Cells change with the channels that were read, and with the summary that tells their signs and kinds."""
        key = (found, heatmap, self.snapshot.model_at, self.snapshot.alarm)
        if key == self._drawn:
            return False
        self._drawn = key
        return heatmap.show(channel_cells(found, self.snapshot, self.look))

    def _here_channel(self) -> int | None:
        return int(self._heatmap.grid.columns[self._heatmap.cursor[1]]) if self._heatmap is not None else None

    def _here(self) -> ChannelPlace | None:
        if self._found is None or self._heatmap is None or not self._found.channels.size:
            return None
        return place_of(self._found, self.snapshot, self._heatmap.site)

    def _draw_detail(self) -> bool:
        here, plan = self._here(), self.snapshot.plan
        if here is None or plan is None:
            return self._lines("detail").show([])
        address = (here.entry.sample, here.entry.position) if here.entry is not None else None
        if address is not None and address not in self._tokens:
            self._tokens[address] = None
            self._read_token(self.snapshot.path, address)
        token = self._tokens.get(address) if address is not None else None
        shown = place_lines(here, plan.sites[here.site], token, self.look, self.size.width - 2)
        return self._lines("detail").show(shown)

    def _head(self, width: int) -> list[Strip]:
        component = self._grid.columns[self._column] if self._grid is not None else ""
        lines = [channel_title(self._found, self.snapshot, component, self.look, width)]
        if self._problem:
            return [*lines, line(self.look, (f" {visible(self._problem, width - 2, space=' ')}", "bad"))]
        if self._grid is None or not self.snapshot.checkpoint:
            return [*lines, line(self.look, (" comes with the first checkpoint", "dim"))]
        return [*lines, component_line(self._grid, self._column, self.look, width)]

    def _draw_keys(self) -> bool:
        keys = self._lines("keys")
        if self._notice:
            return keys.show([line(self.look, (f" {visible(self._notice, space=' ')}", "key"))])
        return keys.show([footer_line(self.look, self.size.width, *self.PLACES)])

    def _lines(self, name: str) -> Lines:
        return self.query_one(f"#channels-{name}", Lines)

    @work(thread=True, group="map")
    def _read_map(self, path: Path, column: int, checkpoint: int, sites: list[int]) -> None:
        try:
            with SessionReader(path) as reader:
                self.post_message(self.MapRead(column, checkpoint, channel_map(reader, sites, CHANNELS)))
        except Exception as error:  # noqa: BLE001  # the last boundary of a thread
            self.post_message(self.Failed(in_words(error)))

    @work(thread=True, group="token")
    def _read_token(self, path: Path, address: Address) -> None:
        try:
            with SessionReader(path) as reader:
                self.post_message(self.TokenRead(address, Places(reader).at(*address)))
        except Exception as error:  # noqa: BLE001  # the last boundary of a thread
            self.post_message(self.Failed(in_words(error)))
