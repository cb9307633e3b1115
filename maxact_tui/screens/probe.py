"""A text with the values of every site at every token: what the sample view and the prompt probe have in common.

- `ProbeScreen`
"""

from __future__ import annotations

import textwrap
from abc import abstractmethod
from typing import ClassVar

import numpy as np
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.strip import Strip

from maxact_tui.keymap import actions
from maxact_tui.pages.footer import footer_line
from maxact_tui.pages.probelines import component_line, cursor_lines, legend_line, maximum_line, text_maximum
from maxact_tui.pages.sheets import as_tsv
from maxact_tui.screens.asking import AskingScreen
from maxact_tui.screens.watched import Pointed, needing_rows
from maxact_tui.terminal.palette import Look
from maxact_tui.texts.visible import visible
from maxact_tui.watching.probes import ProbeView, Tokens, peak_token
from maxact_tui.watching.snapshot import Snapshot, Wish
from maxact_tui.widgets.grid import Grid, make_grid
from maxact_tui.widgets.layertokens import LayerTokens, make_layers, massive_tokens, thresholds_of, token_records
from maxact_tui.widgets.lines import Lines, line
from maxact_tui.widgets.tokenmap import TokenMap, slider_lines
from maxact_tui.widgets.tokentext import TokenText
from maxact_tui.widgets.tokenview import TokenCursor, TokenView

HEAD_ROWS = 3
MOST_ROWS = 4  # of what went wrong
_NEEDING_VALUES = needing_rows("probe") - {"view"}


class ProbeScreen(AskingScreen):
    """A text, its values, and a cursor on one token and one layer.

    Args:
        look: what the terminal can show.
        snapshot: what to show first.
        site: where the cursor is first, None for M's site.
        may_ask: whether the engine may be asked.
        as_map: begin with the heatmap instead of the text.
    """

    CSS_PATH = "probe.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [*actions.bindings("probe")]
    PLACES: ClassVar[tuple[actions.Place, ...]] = ("probe",)

    def __init__(
        self, look: Look, snapshot: Snapshot, site: int | None, *, may_ask: bool, as_map: bool = False
    ) -> None:
        super().__init__(look, snapshot, may_ask=may_ask)
        self._site, self._as_map = site, as_map
        self.tokens: Tokens | None = None
        self.view: ProbeView | None = None
        self.cursor = TokenCursor()
        self._column = 0
        self._grid: Grid | None = None
        self._layers: LayerTokens | None = None
        self._layers_of: tuple[object, ...] = ()
        self._maximum: tuple[object, Strip] = (None, Strip([]))
        self._notice = ""

    @property
    def site(self) -> int | None:
        """The site under the cursor."""
        return self._layers.sites[self.cursor.layer] if self._layers is not None else self._site

    @abstractmethod
    def title_line(self, width: int) -> Strip:
        """What text this is."""

    @abstractmethod
    def empty_words(self) -> str:
        """What is said while there is no text."""

    def parts(self) -> ComposeResult:
        """Heads, the layers, the text or the heatmap, legend, detail, keys."""
        with Vertical():
            yield Lines(self.look, id="probe-head")
            yield Lines(self.look, id="probe-slider")
            yield TokenText(self.look, id="probe-text")
            yield TokenMap(self.look, id="probe-map")
            yield Lines(self.look, id="probe-legend")
            yield Lines(self.look, id="probe-detail")
            yield Lines(self.look, id="probe-keys")

    def on_mount(self) -> None:
        """Show what is known."""
        self.ask()
        self.draw()

    def wish(self) -> Wish:
        """The whole model, for the medians that make a token massive."""
        return Wish(self.snapshot.focus, model=True)

    def notice(self, text: str) -> None:
        """Show a short answer in place of the keys."""
        self._notice = text
        self._draw_keys()

    def _draw(self, *, by_data: bool = False) -> bool:
        """Bring every widget up to date."""
        self._place()
        width, layers = self.size.width, self._make_layers()
        changed = self._draw_head(width, layers)
        is_map = self._as_map and layers is not None
        self._show_views(is_map, layers is not None)
        if layers is not None:
            changed |= self._lines("slider").show(slider_lines(self.look, layers, self.cursor.layer, width))
        else:
            changed |= self._lines("slider").show([])
        detail: list[Strip] = []
        legend: list[Strip] = []
        if self.tokens is not None:
            legend = [legend_line(self.look, self.tokens, layers, width, is_map=is_map)]
            changed |= self._shown.offer(self.tokens, layers, self.cursor)
            detail = cursor_lines(self.tokens, layers, self.snapshot.plan, self.cursor, self.look, width - 2)
        changed |= self._lines("legend").show(legend) | self._lines("detail").show(detail)
        return self._draw_keys() | changed

    def take(self, view: ProbeView) -> None:
        """Show a text with its values."""
        self.view, self.tokens = view, view.tokens
        self.draw()

    def copied(self, *, whole: bool) -> str:
        """The token under the cursor, or all of them, with their values at the chosen layer."""
        if self.tokens is None or not len(self.tokens):
            return ""
        records = token_records(self.tokens, self._layers, self.cursor.layer)
        return as_tsv(records if whole else [records[self.cursor.token]])

    def to_maximum(self) -> None:
        """Put the cursor on the text's M, in the residual stream where that is tied with another site."""
        plan, maximum = self.snapshot.plan, text_maximum(self.view, self.snapshot) if self.view is not None else None
        if plan is None or maximum is None or self.view is None:
            return
        streams = [site for site in maximum.plateau if plan.sites[site].component == "hidden"]
        site = streams[0] if streams else maximum.site
        self.cursor = TokenCursor(peak_token(self.view.maxima[site]), self.cursor.layer)
        self._place()
        self._to_site(site)

    def on_token_view_pointed(self, event: TokenView.Pointed) -> None:
        """Move the cursor to where the user clicked."""
        event.stop()
        self._go(event.cursor)

    def action_cursor(self, rows: int, columns: int) -> None:
        """Move the cursor: in the text from token to token, in the heatmap also from layer to layer."""
        self._go(self._shown.step(rows, columns))

    def action_page(self, direction: int) -> None:
        """Move the cursor by a page."""
        self._go(self._shown.page(direction))

    def action_edge(self, direction: int) -> None:
        """Move the cursor to the first or last token."""
        self._go(self._shown.edge(direction))

    def action_layer(self, by: int) -> None:
        """Look at another layer."""
        if self._layers is not None:
            layer = min(max(self.cursor.layer + by, 0), len(self._layers.labels) - 1)
            self._go(TokenCursor(self.cursor.token, layer))

    def action_component(self, by: int) -> None:
        """Look at another component of the same layer."""
        grid, site = self._grid, self.site
        if grid is None or site is None:
            return
        row = (grid.cell_of(site) or (0, 0))[0]
        self._column = (self._column + by) % len(grid.columns)
        rows = [r for r in range(len(grid.rows)) if grid.sites[r, self._column] >= 0]
        nearest = min(range(len(rows)), key=lambda i: abs(rows[i] - row))
        self._go(TokenCursor(self.cursor.token, nearest))

    def action_massive(self, by: int) -> None:
        """Go to the next massive token of this layer, or to the one before."""
        layers, here = self._layers, self.cursor.token
        if layers is None:
            self.say("massive tokens are known when the engine has answered")
            return
        found = massive_tokens(layers, self.cursor.layer)
        there = [t for t in found if (t > here if by > 0 else t < here)]
        if there:
            self._go(TokenCursor(there[0 if by > 0 else -1], self.cursor.layer))
        else:
            where = f"{layers.labels[self.cursor.layer]} {layers.component}"
            unknown = layers.thresholds[self.cursor.layer] != layers.thresholds[self.cursor.layer]
            none = (
                "the layer's median is not known yet" if unknown else f"no massive token at {where}; [ ] other layers"
            )
            self.notice(f"no massive token {'after' if by > 0 else 'before'} this one at {where}" if found else none)

    @property
    def alarm_key(self) -> str:
        """The key works on the text: the red line is of the session."""
        return ""

    def seek_nonfinite(self) -> None:
        """Put the cursor on the text's first NaN or infinity, in the order of a forward."""
        view, plan = self.view, self.snapshot.plan
        if view is None or plan is None or len(view.maxima) != len(plan.sites):
            self.say("the values of this text are known when the engine has answered")
            return
        found = np.flatnonzero(view.bad.any(axis=1)).tolist()
        if not found:
            self.say("no NaN or infinity is known in this text")
            return
        site = min(found, key=lambda number: plan.places[number])
        self.cursor = TokenCursor(int(view.bad[site].argmax()), self.cursor.layer)
        self._place()
        self._to_site(site)
        self.draw()

    def action_view(self) -> None:
        """The text, or the heatmap of tokens and layers."""
        self._as_map = not self._as_map
        self.draw()

    def awaits(self, action: str) -> bool:
        """What the session holds is read when the screen is opened; the engine's answers take longer than keys wait."""
        return self.is_reading and action in _NEEDING_VALUES

    def pointed(self) -> Pointed | None:
        """The site under the cursor."""
        return Pointed(self.site) if self.site is not None else None

    def action_back(self) -> None:
        """Back to where the user came from."""
        self.dismiss(None)

    @property
    def _shown(self) -> TokenView:
        return self.query_one(TokenMap) if self._as_map and self._layers is not None else self.query_one(TokenText)

    def _go(self, cursor: TokenCursor) -> None:
        self.cursor, self._notice = cursor, ""
        self.draw()

    def _place(self) -> None:
        """Put the cursor on its first site as soon as there is a plan."""
        plan = self.snapshot.plan
        if self._grid is not None or plan is None or not plan.sites:
            return
        self._grid = make_grid(plan)
        maximum = self.snapshot.maximum
        site = self._site if self._site is not None else maximum.site if maximum is not None else 0
        self._to_site(site)

    def _to_site(self, site: int) -> None:
        cell = self._grid.cell_of(site) if self._grid is not None else None
        if cell is not None and self._grid is not None:
            self._column = cell[1]
            layer = self._grid.column_sites(cell[1]).index(site)
            self.cursor = TokenCursor(self.cursor.token, layer)

    def _make_layers(self) -> LayerTokens | None:
        """The layers of the chosen component, made anew when the text, the component or the medians change."""
        if self.view is None or self._grid is None:
            self._layers, self._layers_of = None, ()
            return None
        key = (self.view, self._column, self.snapshot.model_at, self.look)
        if self._layers_of != key:
            limits = thresholds_of(self.snapshot)
            self._layers = make_layers(self.view, self._grid, self._column, limits, self.look)
            self._layers_of = key
        return self._layers

    def _draw_head(self, width: int, layers: LayerTokens | None) -> bool:
        """The head takes more rows only as long as it says why there is no answer."""
        lines = self._head(width, layers)
        head = self._lines("head")
        head.styles.height = max(len(lines), HEAD_ROWS)
        return head.show(lines)

    def _head(self, width: int, layers: LayerTokens | None) -> list[Strip]:
        lines = [self.title_line(width)]
        if self.answer is not None and self.answer.has_failed:
            said = visible(self.answer.text, space=" ", ascii_only=self.look.ascii_only)
            rows = textwrap.wrap(said, max(width - 2, 10), max_lines=MOST_ROWS, placeholder=" …")
            lines += [line(self.look, " ", (row, "bad")) for row in rows]
        elif self.answer is not None:
            said = self.waiting_words or self.answer.text
            lines.append(line(self.look, " ", (visible(said, width - 2, space=" "), "key")))
        elif self.view is not None:
            key = (self.view, self.look, width)
            if self._maximum[0] != key:  # every snapshot of a run comes by here, and the text has many values
                self._maximum = (key, maximum_line(self.view, self.snapshot, self.look, width))
            lines.append(self._maximum[1])
        elif self.tokens is None:
            lines.append(line(self.look, " ", (visible(self.empty_words(), width - 2, space=" "), "dim")))
        if layers is not None and self._grid is not None:
            while len(lines) < 2:
                lines.append(line(self.look))
            lines.append(component_line(self._grid, self._column, self.look, width))
        return lines

    def _show_views(self, is_map: bool, has_values: bool) -> None:
        self.query_one(TokenMap).display = is_map
        self.query_one(TokenText).display = not is_map
        self._lines("slider").display = has_values and not is_map

    def _draw_keys(self) -> bool:
        keys = self._lines("keys")
        if self._notice:
            return keys.show([line(self.look, (f" {visible(self._notice, space=' ')}", "key"))])
        return keys.show([footer_line(self.look, self.size.width, *self.PLACES)])

    def _lines(self, name: str) -> Lines:
        return self.query_one(f"#probe-{name}", Lines)
