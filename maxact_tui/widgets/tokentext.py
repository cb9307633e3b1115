"""A text as people read it, each token coloured by its activation in one layer.

- `TokenText`
- `lay_out`    tokens as rows of a width
"""

from __future__ import annotations

from dataclasses import dataclass

from rich.style import Style
from textual.events import Click
from textual.strip import Strip

from maxact_tui.terminal.palette import STYLES, Look
from maxact_tui.texts.visible import cell_width
from maxact_tui.watching.probes import Tokens
from maxact_tui.widgets.lines import Part, line
from maxact_tui.widgets.tokenview import (
    CURSOR_STYLE,
    MASSIVE_STYLE,
    TokenCursor,
    TokenView,
    scrolled,
    shown_text,
    token_styles,
)


@dataclass(frozen=True, slots=True)
class Run:
    """Part of a token within a row: the token's number, where it begins in cells, and what is shown."""

    token: int
    start: int
    text: str


Row = tuple[Run, ...]


class TokenText(TokenView):
    """The text, wrapped at words; the cursor is on one token."""

    DEFAULT_CSS = "TokenText { width: 1fr; height: 1fr; }"

    _top: int = 0
    _rows: tuple[Row, ...] = ()
    _rows_of: tuple[Tokens, int] | None = None

    def picture(self) -> bool:
        """Draw the visible rows."""
        rows = self._laid_out()
        height = max(self.size.height, 1)
        self._top = scrolled(self._top, self._row_of(self._cursor.token), height, len(rows))
        styles = token_styles(self.look)
        return self.show([self._strip(row, styles) for row in rows[self._top : self._top + height]])

    def step(self, rows: int, columns: int) -> TokenCursor:
        """Left and right go through the tokens, up and down to the one above or below."""
        if columns:
            return self._at(self._cursor.token + columns)
        return self._below(rows)

    def page(self, direction: int) -> TokenCursor:
        """A page of rows up or down."""
        return self._below(direction * max(self.size.height - 1, 1))

    def on_click(self, event: Click) -> None:
        """Point at the clicked token."""
        row = self._top + event.y
        if row < len(self._rows):
            self.post_message(self.Pointed(self._at(_token_at(self._rows[row], event.x))))

    def _laid_out(self) -> tuple[Row, ...]:
        tokens = self._tokens
        if tokens is None:
            return ()
        key = (tokens, self.size.width)
        if self._rows_of is None or self._rows_of[0] is not key[0] or self._rows_of[1] != key[1]:
            self._rows, self._rows_of = lay_out(tokens, self.size.width, self.look), key
        return self._rows

    def _row_of(self, token: int) -> int:
        return next((number for number, row in enumerate(self._rows) if row and row[-1].token >= token), 0)

    def _below(self, by: int) -> TokenCursor:
        rows = self._laid_out()
        here = self._row_of(self._cursor.token)
        there = min(max(here + by, 0), len(rows) - 1)
        if there == here or not rows:
            return self._cursor
        start = next((run.start for run in rows[here] if run.token == self._cursor.token), 0)
        return self._at(_token_at(rows[there], start))

    def _strip(self, row: Row, styles: tuple[Style, ...]) -> Strip:
        parts: list[Part] = [(run.text, self._style(run.token, styles)) for run in row]
        return line(self.look, *parts).simplify()

    def _style(self, token: int, styles: tuple[Style, ...]) -> Style:
        if token == self._cursor.token:
            return CURSOR_STYLE
        piece = self._tokens.shown[token] if self._tokens is not None else None
        dim = STYLES["dim"] if piece is not None and piece.continues else Style()
        if self._layers is None:
            return dim
        if self._layers.bad[self._cursor.layer, token]:
            return self.look.styles["bad"]
        level = int(self._layers.levels[self._cursor.layer, token])
        style = (styles[level] if level >= 0 else Style()) + dim
        return style + MASSIVE_STYLE if self._layers.massive[self._cursor.layer, token] else style


def lay_out(tokens: Tokens, width: int, look: Look) -> tuple[Row, ...]:
    """The tokens as rows of at most `width` cells, broken after newlines and before words where that is possible."""
    pen = _Pen(max(width, 2))
    texts = [shown_text(piece, look, " ") for piece in tokens.shown]
    newline = "\\n" if look.ascii_only else "↵"
    for word in _words(tokens, texts):
        cells = sum(cell_width(texts[token]) for token in word)
        if cells > pen.room and cells <= pen.width:
            pen.break_row()
        for token in word:
            parts = texts[token].split(newline) if b"\n" in tokens.shown[token].text else [texts[token]]
            for part in parts[:-1]:
                pen.write(token, part + newline)
                pen.break_row()
            pen.write(token, parts[-1])
    pen.break_row()
    return tuple(pen.rows)


def _words(tokens: Tokens, texts: list[str]) -> list[list[int]]:
    """Tokens in groups that are better not torn apart: from one that begins with a space, or is not Latin, to the next.

    A newline belongs to the word before it, and ends it.
    """
    words: list[list[int]] = []
    ended = True
    for token, text in enumerate(texts):
        piece = tokens.shown[token]
        is_newline = piece.text.startswith(b"\n")
        goes_on = piece.continues or is_newline or (text[0].isascii() and not text[0].isspace())
        if ended or not goes_on:
            words.append([])
        words[-1].append(token)
        ended = piece.text.endswith(b"\n")
    return words


def _token_at(row: Row, cell: int) -> int:
    """The token at a cell of a row, the last one beyond its end."""
    return max((run for run in row if run.start <= cell), key=lambda run: run.start, default=row[0]).token


class _Pen:
    """Writes tokens into rows."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.rows: list[Row] = []
        self._row: list[Run] = []
        self._used = 0

    @property
    def room(self) -> int:
        """Cells left in this row."""
        return self.width - self._used

    def break_row(self) -> None:
        """Begin a new row, unless this one is empty."""
        if self._row:
            self.rows.append(tuple(self._row))
            self._row, self._used = [], 0

    def write(self, token: int, text: str) -> None:
        """Write a token, in several rows if it is longer than what is left of this one."""
        taken, cells = "", 0
        for character in text:
            wide = cell_width(character)
            if cells + wide > self.room:
                self._put(token, taken, cells)
                self.break_row()
                taken, cells = "", 0
            taken, cells = taken + character, cells + wide
        self._put(token, taken, cells)

    def _put(self, token: int, text: str, cells: int) -> None:
        if text:
            self._row.append(Run(token, self._used, text))
            self._used += cells
