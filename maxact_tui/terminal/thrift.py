"""Fewer bytes for the same picture: only the cells that differ from what the terminal shows are written.

Textual paints what was declared dirty, not what differs: each change of the layout, and each screen that opens or
closes, paints everything, several times over. Three quarters of that are blanks.

- `Shadow`         what the terminal shows, cell by cell; makes a frame smaller
- `thrifty_driver`  a Textual driver that writes through a `Shadow`
"""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise

from rich.cells import cell_len
from textual.driver import Driver

_TOKENS = re.compile(
    r"\x1b\[(?P<style>[0-9;]*)m"
    r"|\x1b\[(?P<row>\d+);(?P<column>\d+)H"
    r"|(?P<line>\r?\n)"
    r"|(?P<harmless>\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b\[\?(?!1049|1047|47)[0-9;]+[hl]|\x1b\[\?[0-9;]+\$p"
    r"|\x1b\[[<>=][0-9;]*u|\x1b\[6n)"
    r"|(?P<unknown>\x1b\[[0-9;:?<>=]*[ -/]*[@-~]|\x1b.|[\x00-\x1f\x7f])"
    r"|(?P<text>[^\x00-\x1f\x7f]+)",
    re.DOTALL,
)
_NOWHERE = (-1, -1)
_UNKNOWN = "?unknown"  # no cell holds as much
_EMOJI = 0x1F000
_BRIDGE = 8  # moving the cursor costs about as much as writing so many cells again
_BLANKS = 7  # from so many on, erasing (ECH) is shorter than blanks


class Shadow:
    """What a terminal shows, as far as it is known."""

    def __init__(self) -> None:
        self._characters: dict[int, list[str]] = {}
        self._styles: dict[int, list[str]] = {}
        self._out: list[str] = []
        self._adrift: dict[int, int] = {}  # row -> first cell of this frame's that the terminal may show elsewhere
        self._style, self._written_style = "", ""
        self._at, self._written_at = _NOWHERE, _NOWHERE

    def forget(self) -> None:
        """Something else may have changed the terminal: everything is written again."""
        self._characters.clear()
        self._styles.clear()

    def reduced(self, frame: str) -> str:
        """The same picture in fewer bytes.

        Args:
            frame: what would be written; it begins and ends without a style.
        """
        self._out = []
        self._adrift.clear()
        self._at = self._written_at = _NOWHERE
        for token in _TOKENS.finditer(frame):
            self._take(token)
        self._set_style("")
        for row, column in self._adrift.items():
            self._lose(row, column)
        return "".join(self._out)

    def _take(self, token: re.Match[str]) -> None:
        kind, text = token.lastgroup, token.group()
        if kind == "text":
            self._write(text)
        elif kind == "style":
            codes = token["style"]
            self._style = "" if codes in ("", "0") else ";".join(filter(None, (self._style, codes)))
            self._style = "" if self._style == "49" else self._style  # the default background, without anything else
        elif kind == "column":
            self._at = (int(token["row"]) - 1, int(token["column"]) - 1)
        elif kind == "line":
            self._at = _NOWHERE
        else:
            self._out.append(text)
            if kind == "unknown":
                self.forget()
                self._at = self._written_at = _NOWHERE

    def _write(self, text: str) -> None:
        if self._at == _NOWHERE:  # nobody says where: it is passed on as it is
            self.forget()
            self._set_style(self._style)
            self._out.append(text)
            return
        row, column = self._at
        cells, is_narrow = _cells(text)
        end = column + len(cells)
        characters, styles = self._row(row, end)
        self._at = (row, end)
        wanted = [self._style] * len(cells)
        if characters[column:end] == cells and styles[column:end] == wanted:
            return
        if is_narrow and "" not in characters[column : end + 1]:
            different = [
                place for place in range(column, end)
                if characters[place] != cells[place - column] or styles[place] != self._style
            ]  # fmt: skip
            stretches = _stretches(different)
        else:  # terminals disagree about the width of some of these: all or nothing
            stretches = [(column, end)]
            self._spread(row, column, end)
        characters[column:end], styles[column:end] = cells, wanted
        for start, stop in stretches:
            self._put(row, start, "".join(cells[start - column : stop - column]), stop)
        if not is_narrow:
            self._written_at = _NOWHERE
        if _is_disputed(text):
            self._lose(row, end)
            self._adrift[row] = min(column, self._adrift.get(row, column))

    def _lose(self, row: int, column: int) -> None:
        """From here to the end of the row nobody knows what the terminal shows."""
        characters = self._characters[row]
        characters[column:] = [_UNKNOWN] * (len(characters) - column)

    def _spread(self, row: int, start: int, end: int) -> None:
        """Half of a wide character next to what is written is not known to be whole any more."""
        characters = self._characters[row]
        for place in (start - 1, end):
            if 0 <= place < len(characters):
                characters[place] = _UNKNOWN

    def _row(self, row: int, end: int) -> tuple[list[str], list[str]]:
        characters, styles = self._characters.setdefault(row, []), self._styles.setdefault(row, [])
        if len(characters) < end + 1:
            missing = end + 1 - len(characters)
            characters += [_UNKNOWN] * missing
            styles += [""] * missing
        return characters, styles

    def _put(self, row: int, column: int, text: str, end: int) -> None:
        if self._written_at != (row, column):
            self._out.append(f"\x1b[{row + 1};{column + 1}H")
        self._set_style(self._style)
        kept = text.rstrip(" ") if not self._style else text
        blanks = len(text) - len(kept)
        if blanks < _BLANKS:
            self._out.append(text)
            self._written_at = (row, end)
        else:
            self._out.append(f"{kept}\x1b[{blanks}X")
            self._written_at = (row, end - blanks)

    def _set_style(self, style: str) -> None:
        if style != self._written_style:
            self._out.append(f"\x1b[{'0;' if self._written_style and style else ''}{style}m")
            self._written_style = style


def _cells(text: str) -> tuple[list[str], bool]:
    """What each cell holds, empty for the second half of a wide character; and whether every character has one cell."""
    if text.isascii():
        return list(text), True
    cells: list[str] = []
    is_narrow = True
    for character in text:
        width = cell_len(character)
        if width == 1:
            cells.append(character)
            is_narrow &= unicodedata.category(character) != "Mc"
            continue
        is_narrow = False
        if width == 0 and cells:
            cells[-1] += character
        else:
            cells += [character, ""]
    return cells, is_narrow


def _is_disputed(text: str) -> bool:
    """Whether terminals disagree about the width of a text, so that what stands after it can be shifted."""
    return not text.isascii() and any(
        ord(character) >= _EMOJI or unicodedata.category(character) in ("Mn", "Mc") for character in text
    )


def _stretches(places: list[int]) -> list[tuple[int, int]]:
    """Ascending places as (first, after the last) of stretches with small gaps between them."""
    breaks = [i for i, (left, right) in enumerate(pairwise(places), 1) if right - left > _BRIDGE]
    edges = [0, *breaks, len(places)]
    return [(places[first], places[after - 1] + 1) for first, after in pairwise(edges)]


def thrifty_driver(driver: type[Driver], shadow: Shadow) -> type[Driver]:
    """A driver class that writes only what its terminal's shadow does not show yet."""

    class Thrift:
        def write(self, data: str) -> None:
            super().write(shadow.reduced(data))  # type: ignore[misc]  # the driver class comes after this one

    return type(f"Thrifty{driver.__name__}", (Thrift, driver), {})
