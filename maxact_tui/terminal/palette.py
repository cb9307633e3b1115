"""Colours and glyphs: which ramp a terminal can show, and which level a value has.

- `Look`         how things look: the ramp's styles, its glyphs, named styles, the user's keys
- `choose_look`  the look for a colour system
- `Scale`        values to levels, on a log or linear axis between whole bounds
- `scale_of`     a scale that holds all of these values
- `from_zero`    a linear one of magnitudes
- `STYLES`       the named styles of text, in the terminal's own colours
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from rich.style import Style

from maxact_tui.keymap.settings import THEMES

# A plasma-like ramp inside the 6x6x6 cube, so that 256-colour terminals show exactly these.
_CUBE_RAMP = (17, 18, 54, 55, 91, 90, 126, 162, 161, 203, 209, 215, 221, 227)
_CUBE_DARK_UP_TO = 9  # the first so many are dark and take white text
# The same idea for white backgrounds: what is small is pale.
_PALE_RAMP = (230, 229, 223, 222, 216, 215, 209, 203, 168, 162, 126, 90, 54, 17)
_PALE_LIGHT_UP_TO = 9
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
# Terminals' own cyan, green and yellow are pale; on white these have a contrast of 5.7 at least.
_LIGHT_STYLES: dict[str, Style] = STYLES | {
    "key": Style(bold=True, color="color(24)"),
    "good": Style(color="color(22)"),
    "warn": Style(color="color(94)"),
    "bad": Style(bold=True, color="color(124)"),
    "bar": Style(color="color(24)"),
}

_TO_ASCII = str.maketrans(
    {
        "…": "~", "·": ".", "↵": "$", "␍": "^", "⇥": ">", "▸": ">", "◆": "*", "─": "-", "│": "|", "┌": "+", "┐": "+",
        "└": "+", "┘": "+", "├": "+", "┤": "+", "┬": "+", "┴": "+", "┼": "+", "░": ".", "▒": ":", "▓": "*", "█": "#",
        "▏": "|", "▎": "|", "▍": "|", "▌": "|", "▋": "|", "▊": "|", "▉": "|", "↑": "^", "↓": "v", "←": "<", "→": ">",
        "×": "x", "≥": ">", "≤": "<", "±": "~", "–": "-", "⋮": ":", "•": "*", "▲": "^", "▼": "v", "‹": "<", "›": ">",
        "‿": "+",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Look:
    """How things look: what the terminal can show, and what the user has chosen.

    Attributes:
        ramp: one style per level, low to high.
        level_glyphs: one glyph per level; blank where the colour alone is told apart from its neighbours.
        ascii_only: nothing beyond ASCII may be written.
        styles: the named styles of text.
        theme: one of `THEMES`.
        keys: the user's own keys: names of `actions.TABLES` -> Textual key names.
        units: of memory: `binary` or `decimal`.
    """

    ramp: tuple[Style, ...]
    level_glyphs: str
    ascii_only: bool = False
    styles: Mapping[str, Style] = field(default_factory=lambda: STYLES)
    theme: str = THEMES[0]
    keys: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    units: str = "binary"

    @property
    def levels(self) -> int:
        """How many levels can be told apart."""
        return len(self.ramp)

    def own(self, text: str) -> str:
        """The application's own text in the characters this terminal has."""
        return text.translate(_TO_ASCII) if self.ascii_only else text


def choose_look(
    colour_system: str | None,
    *,
    no_colour: bool = False,
    ascii_only: bool = False,
    theme: str = THEMES[0],
    keys: Mapping[str, tuple[str, ...]] | None = None,
    units: str = "binary",
) -> Look:
    """The look for a terminal. No theme paints a background: it is the terminal's.

    Args:
        colour_system: Rich's name for it: `truecolor`, `256`, `standard` or `windows` (16 colours), None for none.
        no_colour: the user set NO_COLOR.
        ascii_only: the terminal has no UTF-8.
        theme: `dark` or `light`, whichever the terminal's background is; `ansi` for its own 16 colours alone.
        keys: the user's own keys.
        units: of memory.
    """
    glyphs = _ASCII_GLYPHS if ascii_only else _GLYPHS
    styles = _LIGHT_STYLES if theme == "light" else STYLES
    if no_colour or colour_system is None:
        ramp = (Style(),) * len(glyphs)
        styles = {name: style.without_color for name, style in styles.items()}
    elif colour_system in ("truecolor", "256") and theme != "ansi":
        ramp, glyphs = _cube_ramp(theme), " " * len(_CUBE_RAMP)
    else:
        levels = range(2 * len(_BASIC_RAMP))
        ramp = tuple(
            Style(color="black" if level // 2 == 3 else "white", bgcolor=_BASIC_RAMP[level // 2]) for level in levels
        )
        glyphs = "".join(glyphs[1 + 2 * (level % 2)] for level in levels)
    return Look(ramp, glyphs, ascii_only, styles, theme, keys or {}, units)


def _cube_ramp(theme: str) -> tuple[Style, ...]:
    """The ramp in colours of the cube, each with text that can be read on it."""
    numbers, change = (_PALE_RAMP, _PALE_LIGHT_UP_TO) if theme == "light" else (_CUBE_RAMP, _CUBE_DARK_UP_TO)
    first, second = ("color(16)", "color(231)") if theme == "light" else ("color(231)", "color(16)")
    return tuple(
        Style(color=first if place < change else second, bgcolor=f"color({number})")
        for place, number in enumerate(numbers)
    )


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


def from_zero(values: NDArray[np.float64]) -> Scale:
    """A linear scale from zero to the largest finite |value|, widened to 1, 2 or 5 of a decade."""
    finite = np.abs(values[np.isfinite(values)])
    largest = float(finite.max()) if finite.size else 0.0
    if largest <= 0:
        return Scale(0.0, 1.0, False)
    decade = 10.0 ** math.floor(math.log10(largest))
    return Scale(0.0, next(step * decade for step in (1, 2, 5, 10) if step * decade >= largest), False)
