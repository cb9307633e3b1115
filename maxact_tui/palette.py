"""Colours and glyphs: which ramp a terminal can show, and which level a value has.

- `Look`         what a terminal can show: the ramp's styles, its glyphs, named styles
- `choose_look`  the look for a colour system
- `Scale`        values to levels, on a log or linear axis between whole bounds
- `scale_of`     a scale that holds all of these values
- `STYLES`       the named styles of text
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.style import Style

# A plasma-like ramp inside the 6x6x6 cube, so that 256-colour terminals show exactly these.
_CUBE_RAMP = (17, 18, 54, 55, 91, 90, 126, 162, 161, 203, 209, 215, 221, 227)
_CUBE_DARK_UP_TO = 9  # the first so many are dark and take white text
_BASIC_RAMP = ("blue", "magenta", "red", "yellow")
_GLYPHS = " ░▒▓█"
_ASCII_GLYPHS = " .:*#"

STYLES: dict[str, Style] = {
    "": Style(),
    "title": Style(bold=True),
    "dim": Style(dim=True),
    "key": Style(bold=True, color="cyan"),
    "good": Style(color="green"),
    "warn": Style(color="yellow"),
    "bad": Style(color="red", bold=True),
    "value": Style(bold=True),
    "token": Style(reverse=True),
    "cursor": Style(reverse=True),
    "bar": Style(color="cyan"),
    "heading": Style(bold=True, underline=True),
}

_TO_ASCII = str.maketrans(
    {
        "…": "~", "·": ".", "↵": "$", "␍": "^", "⇥": ">", "▸": ">", "◆": "*", "─": "-", "│": "|", "┌": "+", "┐": "+",
        "└": "+", "┘": "+", "├": "+", "┤": "+", "┬": "+", "┴": "+", "┼": "+", "░": ".", "▒": ":", "▓": "*", "█": "#",
        "▏": "|", "▎": "|", "▍": "|", "▌": "|", "▋": "|", "▊": "|", "▉": "|", "↑": "^", "↓": "v", "←": "<", "→": ">",
        "×": "x", "≥": ">", "≤": "<", "±": "~", "–": "-", "⋮": ":", "•": "*", "▲": "^", "▼": "v", "‹": "<", "›": ">",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Look:
    """What a terminal can show.

    Attributes:
        ramp: one style per level, low to high.
        level_glyphs: one glyph per level; blank where the colour alone is told apart from its neighbours.
        ascii_only: nothing beyond ASCII may be written.
    """

    ramp: tuple[Style, ...]
    level_glyphs: str
    ascii_only: bool = False

    @property
    def levels(self) -> int:
        """How many levels can be told apart."""
        return len(self.ramp)

    def own(self, text: str) -> str:
        """The application's own text in the characters this terminal has."""
        return text.translate(_TO_ASCII) if self.ascii_only else text


def choose_look(colour_system: str | None, *, no_colour: bool = False, ascii_only: bool = False) -> Look:
    """The look for a terminal.

    Args:
        colour_system: Rich's name for it: `truecolor`, `256`, `standard` or `windows` (16 colours), None for none.
        no_colour: the user set NO_COLOR.
        ascii_only: the terminal has no UTF-8.
    """
    glyphs = _ASCII_GLYPHS if ascii_only else _GLYPHS
    if no_colour or colour_system is None:
        return Look((Style(),) * len(glyphs), glyphs, ascii_only)
    if colour_system in ("truecolor", "256"):
        ramp = tuple(
            Style(color="color(231)" if place < _CUBE_DARK_UP_TO else "color(16)", bgcolor=f"color({number})")
            for place, number in enumerate(_CUBE_RAMP)
        )
        return Look(ramp, " " * len(ramp), ascii_only)
    levels = 2 * len(_BASIC_RAMP)
    ramp = tuple(
        Style(color="black" if level // 2 == 3 else "white", bgcolor=_BASIC_RAMP[level // 2]) for level in range(levels)
    )
    return Look(ramp, "".join(glyphs[1 + 2 * (level % 2)] for level in range(levels)), ascii_only)


@dataclass(frozen=True, slots=True)
class Scale:
    """Values to levels between two bounds.

    Attributes:
        low: value at the lower end of level 0 (a power of ten on a log axis).
        high: value at the upper end of the last level.
        log: the axis is log10.
    """

    low: float
    high: float
    log: bool = True

    def levels(self, values: NDArray[np.float64], count: int) -> NDArray[np.int64]:
        """Level of each value, int64 of the same shape; -1 for NaN, the last level for infinity."""
        low, high = (math.log10(self.low), math.log10(self.high)) if self.log else (self.low, self.high)
        with np.errstate(divide="ignore", invalid="ignore"):
            place = np.log10(np.abs(values)) if self.log else values
            level = np.floor((place - low) / (high - low) * count)
        return np.where(np.isnan(values), -1, np.clip(np.nan_to_num(level, nan=0), 0, count - 1)).astype(np.int64)


def scale_of(values: NDArray[np.float64], *, log: bool = True) -> Scale:
    """A scale from the lowest to the highest of the finite values, widened to whole decades (log) or tens.

    Whole bounds keep the colours still while maxima grow.
    """
    finite = np.abs(values[np.isfinite(values)]) if log else values[np.isfinite(values)]
    finite = finite[finite > 0] if log else finite
    if not finite.size:
        return Scale(1.0, 10.0, log) if log else Scale(0.0, 10.0, log)
    if log:
        low, high = math.floor(np.log10(finite.min())), math.floor(np.log10(finite.max())) + 1
        return Scale(10.0**low, 10.0**high, True)
    low, high = 10 * math.floor(finite.min() / 10), 10 * (math.floor(finite.max() / 10) + 1)
    return Scale(float(low), float(high), False)
