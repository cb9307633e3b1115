"""Tokens down, layers across: where in the model and in the text activations are large.

- `TokenMap`
- `slider_lines`  the layers of one component in a row, with the chosen one marked
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isnan

import numpy as np
from numpy.typing import NDArray
from rich.style import Style
from textual.events import Click
from textual.strip import Strip

from maxact_tui.terminal.palette import Look
from maxact_tui.texts.numbers import signed
from maxact_tui.texts.pieces import token_name, whole_text
from maxact_tui.texts.visible import fitted
from maxact_tui.widgets.layertokens import BAD, LayerTokens
from maxact_tui.widgets.lines import Part, line
from maxact_tui.widgets.tokenview import CURSOR_STYLE, MASSIVE_STYLE, TokenCursor, TokenView, scrolled, shown_text

HEAD_ROWS = 2
POSITION_CELLS = 6
LABEL_LEAST, LABEL_MOST = 10, 28
TAIL_CELLS = 9
NAME_CELLS = 4  # of the blanks after the last layer, for the name of what comes after the blocks
WIDEST_CELL = 3


@dataclass(frozen=True, slots=True)
class Shape:
    """How a width is shared out: cells of a token's label and of a layer, and the visible layers [first, end)."""

    label: int
    cell: int
    first: int
    end: int


class TokenMap(TokenView):
    """A heatmap of one component over a text, with the digit of the power of ten in every cell."""

    DEFAULT_CSS = "TokenMap { width: 1fr; height: 1fr; }"

    _top: int = 0
    _left: int = 0

    @property
    def page_rows(self) -> int:
        """How many tokens are visible."""
        return max(self.size.height - HEAD_ROWS, 1)

    def picture(self) -> bool:
        """Draw the headings and the visible tokens."""
        tokens, layers = self._tokens, self._layers
        if tokens is None or layers is None:
            return self.show([])
        shape = self._shape(layers)
        self._left = shape.first
        self._top = scrolled(self._top, self._cursor.token, self.page_rows, len(tokens))
        blank = " " * (POSITION_CELLS + shape.label)
        names = _label_parts(layers, shape, self._cursor.layer, NAME_CELLS)
        head = line(self.look, blank, *names, (f"{'max':>{TAIL_CELLS - NAME_CELLS - 1}} ", "dim"))
        rows = [head, self._summary(layers, shape)]
        rows += [
            self._row(layers, shape, token) for token in range(self._top, min(self._top + self.page_rows, len(tokens)))
        ]
        return self.show(rows)

    def step(self, rows: int, columns: int) -> TokenCursor:
        """Up and down go through the tokens, left and right through the layers."""
        return self._at(self._cursor.token + rows, self._cursor.layer + columns)

    def page(self, direction: int) -> TokenCursor:
        """A page of tokens up or down."""
        return self._at(self._cursor.token + direction * max(self.page_rows - 1, 1))

    def on_click(self, event: Click) -> None:
        """Point at the clicked token and layer."""
        if self._layers is None or event.y < HEAD_ROWS:
            return
        shape = self._shape(self._layers)
        layer = shape.first + (event.x - POSITION_CELLS - shape.label) // shape.cell
        inside = shape.first <= layer < shape.end
        self.post_message(self.Pointed(self._at(self._top + event.y - HEAD_ROWS, layer if inside else None)))

    def _shape(self, layers: LayerTokens) -> Shape:
        count = len(layers.labels)
        room = max(self.size.width - POSITION_CELLS - LABEL_LEAST - TAIL_CELLS, 1)
        cell = min(max(room // count, 1), WIDEST_CELL)
        shown = min(room // cell, count)
        label = min(LABEL_LEAST + room - cell * shown, LABEL_MOST)
        first = scrolled(self._left, self._cursor.layer, shown, count)
        return Shape(label, cell, first, first + shown)

    def _summary(self, layers: LayerTokens, shape: Shape) -> Strip:
        """The largest |x| of every layer over the whole text."""
        title = fitted("all tokens", shape.label - 1)
        parts: list[Part] = [(" " * POSITION_CELLS + title + " ", "dim")]
        parts += _cells(self.look, *layer_maxima(layers), shape, self._cursor.layer)
        largest = "" if isnan(layers.largest) else signed(layers.largest)
        mark = BAD if layers.bad.any() else " "
        return line(self.look, *parts, (f"  {largest:>6}", "dim"), (mark, "bad")).simplify()

    def _row(self, layers: LayerTokens, shape: Shape, token: int) -> Strip:
        assert self._tokens is not None
        here = token == self._cursor.token
        piece = self._tokens.shown[token]
        text = shown_text(piece, self.look, "·")
        if piece.is_part:
            whole = whole_text(self._tokens.pieces, piece)
            text = token_name(whole, piece.part(token), shape.label - 1, ascii_only=self.look.ascii_only)
        label = fitted(text, shape.label - 1, ascii_only=self.look.ascii_only)
        parts: list[Part] = [
            (f"{token:>{POSITION_CELLS - 1}} ", "title" if here else "dim"),
            (f"{label} ", "title" if here else "dim" if piece.continues else ""),
        ]
        chosen = self._cursor.layer if here else None
        massive = layers.massive[:, token]
        parts += _cells(self.look, layers.levels[:, token], layers.digits[:, token], massive, shape, chosen)
        is_massive, is_bad = bool(massive.any()), bool(layers.bad[:, token].any())
        value = layers.peak_value(token)
        mark = "" if is_bad else "*" if is_massive else " "
        text = f"{'' if isnan(value) else signed(value):>6}{mark}"
        parts += ["  ", (text, MASSIVE_STYLE if is_massive else Style(bold=here)), (BAD if is_bad else "", "bad")]
        return line(self.look, *parts).simplify()


def slider_lines(look: Look, layers: LayerTokens, layer: int, width: int) -> list[Strip]:
    """Two lines: the layers' names, and below them the largest |x| of each over the whole text."""
    count = len(layers.labels)
    lead, below = " layer  ", " max|x| "
    room = max(width - len(lead) - 1, 1)
    cell = min(max(room // count, 1), WIDEST_CELL)
    shown = min(room // cell, count)
    first = scrolled(0, layer, shown, count)
    shape = Shape(0, cell, first, first + shown)
    spare = min(max(width - len(lead) - cell * shown, 0), NAME_CELLS)
    names = line(look, (lead, "dim"), *_label_parts(layers, shape, layer, spare))
    return [names, line(look, (below, "dim"), *_cells(look, *layer_maxima(layers), shape, layer)).simplify()]


def layer_maxima(layers: LayerTokens) -> tuple[NDArray[np.int64], NDArray[np.str_], NDArray[np.bool_]]:
    """(levels, digits, massive or not) of the largest |x| of each layer over the whole text; NaN is larger than any."""
    places = np.arange(len(layers.labels)), layers.layer_peaks
    return layers.levels[places], layers.digits[places], layers.massive[places]


def _label_parts(layers: LayerTokens, shape: Shape, chosen: int, spare: int) -> list[Part]:
    """Names of the layers above their cells, as many as there is room for.

    The chosen one always; then what is outside the blocks, because no number beside it tells its place; then numbers.

    Args:
        layers: the layers.
        shape: which of them are visible, and how wide.
        chosen: the layer under the cursor.
        spare: blank cells after the last layer that a name may reach into.
    """
    names = {layer: layers.labels[layer].removeprefix("L") for layer in range(shape.first, shape.end)}
    row = _Labels(shape.cell * (shape.end - shape.first) + spare)
    own = names.pop(chosen, "")
    start = row.put((chosen - shape.first) * shape.cell, own)
    outside = [layer for layer, name in names.items() if not name.isdigit()]
    for layer in outside:
        row.put_where_free((layer - shape.first) * shape.cell, names[layer], names[layer][:1])
    numbers = {layer: name for layer, name in names.items() if name.isdigit()}
    wide = max((len(name) for name in numbers.values()), default=0) + 1
    least = max(-(-wide // shape.cell), 1)
    every = next((nice for nice in (1, 2, 5, 10, 20) if nice >= least), least)
    for layer, name in numbers.items():
        if int(name) % every == 0:
            row.put_where_free((layer - shape.first) * shape.cell, name)
    return [(row.text[:start], "dim"), (own, "title"), (row.text[start + len(own) :], "dim")]


class _Labels:
    """A row of cells that names are written into, with a blank between any two."""

    def __init__(self, width: int) -> None:
        self.text = " " * width

    def put(self, place: int, name: str) -> int:
        """Write a name at a place, or before it where it would not fit; gives back where it begins."""
        start = min(place, max(len(self.text) - len(name), 0))
        self.text = self.text[:start] + name + self.text[start + len(name) :]
        return start

    def put_where_free(self, place: int, *names: str) -> None:
        """Write the first of some names that touches no other."""
        for name in names:
            end = place + len(name)
            if end <= len(self.text) and not self.text[max(place - 1, 0) : end + 1].strip():
                self.put(place, name)
                return


def _cells(
    look: Look,
    levels: NDArray[np.int64],
    digits: NDArray[np.str_],
    massive: NDArray[np.bool_],
    shape: Shape,
    chosen: int | None,
) -> list[Part]:
    """The visible layers of one row, massive ones underlined; neighbours of one style become one part."""
    parts: list[Part] = []
    text, style = "", Style()
    for layer in range(shape.first, shape.end):
        level = int(levels[layer])
        own = look.styles["bad"] if digits[layer] == BAD else look.ramp[level] if level >= 0 else Style()
        if layer == chosen:
            own = CURSOR_STYLE
        elif massive[layer]:
            own += MASSIVE_STYLE
        if own is not style and text:
            parts.append((text, style))
            text = ""
        text, style = text + str(digits[layer]).center(shape.cell), own
    return [*parts, (text, style)]
