r"""Numbers and foreign text as the reports print them.

- `exact`, `short`    numbers: every digit of a float32, or three digits
- `decibels`          a number of decibels, as the board shows it
- `seconds_words`     a time that is an estimate
- `Style`, `written`  the same by the name of a style
- `counted`           a number with its noun
- `cut_middle`        the beginning and the end of a long text
- `printable`         foreign text with everything that does not print as `\xNN` or `\u{N}`
- `CSV_NOTE`          what `in_csv` does, for whoever reads the files
- `in_markdown`, `in_csv`, `in_html`  that text where it cannot be taken for markup, a link, a mention or a formula

Tokens, categories and model names come from corpora and users: they are hostile until they went through here.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Mapping
from html import escape
from typing import Final, Literal

from corpus.wording import counted

__all__ = [
    "CSV_NOTE",
    "UNKNOWN",
    "Style",
    "counted",
    "cut_middle",
    "decibels",
    "exact",
    "in_csv",
    "in_html",
    "in_markdown",
    "printable",
    "seconds_words",
    "share",
    "short",
    "written",
]

UNKNOWN = "–"
_NEWLINES = {"\n": "↵", "\r": "␍", "\t": "⇥"}
_MARKUP = re.compile(r"[\\`*{}\[\]<>|&~!]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
# Mathematics, and what makes a bare address a link.
_REFERENCES = re.compile(r"\$|:(?=//)|(?<=www)\.", re.IGNORECASE)
_MENTIONS = re.compile(r"[@#]")
_FORMULA = ("=", "+", "-", "@")  # tabs and returns, which also begin one, do not print and are gone by then
CSV_NOTE = (
    f"in CSV a ' stands before texts that begin with {' '.join(_FORMULA)} (wide ones and after spaces, too), so that no"
    " spreadsheet computes them"
)


def exact(value: float) -> str:
    """Every digit a float32 has, with thousands separators: `23,168`, `-0.015625`; infinite as ∞, unknown as –."""
    if not math.isfinite(value):
        return UNKNOWN if math.isnan(value) else ("∞" if value > 0 else "-∞")
    text = f"{value:z.8g}"
    if "e" in text or abs(value) < 1000:
        return text
    whole, dot, fraction = text.partition(".")
    return f"{int(whole):,}{dot}{fraction}"


def short(value: float, digits: int = 3) -> str:
    """Three significant digits: `23,200`, `1.23`, `0.00123`, `1.2e-07`."""
    if not math.isfinite(value):
        return exact(value)
    if value == 0:
        return "0"
    magnitude = abs(value)
    if magnitude < 1e-4 or magnitude >= 1e9:
        return f"{value:.{digits - 1}e}"
    rounded = float(f"{value:.{digits}g}")
    decimals = max(digits - 1 - math.floor(math.log10(abs(rounded))), 0)
    return f"{rounded:,.{decimals}f}"


def share(value: float) -> str:
    """A share as per cent with honest digits: `12 %`, `0.034 %`."""
    return UNKNOWN if math.isnan(value) else f"{short(100 * value, 2)} %"


def decibels(value: float) -> str:
    """One decimal, as on the board: `31.4`, `-2.1`, `∞` without any error."""
    return f"{value:z.1f}" if math.isfinite(value) else exact(value)


def seconds_words(seconds: float) -> str:
    """`0.4 s`, `12 s`, `3 min`, `2.5 h`."""
    if seconds < 120:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7_200 else f"{seconds / 3_600:.1f} h"


Style = Literal["exact", "short", "share", "count", "decibels"]
"""How a number is written: every digit, three digits, per cent, a whole number, one decimal."""
_WRITTEN: Final[Mapping[Style, Callable[[float], str]]] = {
    "exact": exact,
    "short": short,
    "share": share,
    "count": lambda value: f"{value:,.0f}",
    "decibels": decibels,
}


def written(value: float | None, style: Style) -> str:
    """A number in its style, as reports print it; – where it is unknown."""
    return UNKNOWN if value is None or math.isnan(value) else _WRITTEN[style](value)


def printable(foreign: str | bytes, limit: int | None = None) -> str:
    """Foreign text without anything that does not print, at most `limit` characters."""
    text = foreign.decode("utf-8", "surrogateescape") if isinstance(foreign, bytes) else foreign
    shown = "".join(_one(character) for character in text)
    return shown if limit is None or len(shown) <= limit else shown[: limit - 1] + "…"


def cut_middle(text: str, limit: int) -> str:
    """At most `limit` characters: of a longer text the beginning and the end, where names mostly differ."""
    if len(text) <= limit:
        return text
    tail = limit * 3 // 5
    return f"{text[: limit - tail - 1]}…{text[len(text) - tail :]}"


def in_markdown(foreign: str | bytes, limit: int | None = None) -> str:
    """Printable text within a line of GitHub's Markdown or a table of it: no markup, link, mention or mathematics."""
    text = _MARKUP.sub(lambda found: "\\" + found.group(), printable(foreign, limit))
    # Mentions and issue numbers are looked for in the finished text: an empty comment keeps them apart.
    text = _MENTIONS.sub(lambda found: f"{found.group()}<!-- -->", text)
    return _REFERENCES.sub(lambda found: f"&#{ord(found.group())};", text)


def in_csv(foreign: str | bytes) -> str:
    """Printable text as a CSV cell that no spreadsheet takes for a formula."""
    text = printable(foreign)
    # Spreadsheets skip spaces, and some read the wide forms of these characters, which NFKC makes plain, as well.
    first = unicodedata.normalize("NFKC", text.lstrip()[:1])
    return f"'{text}" if first.startswith(_FORMULA) else text


def in_html(foreign: str | bytes) -> str:
    """Printable text as the content of an HTML element or of a quoted attribute."""
    return escape(printable(foreign))


def _one(character: str) -> str:
    if character.isprintable():
        return character
    if character in _NEWLINES:
        return _NEWLINES[character]
    point = ord(character)
    if 0xDC80 <= point <= 0xDCFF:  # a byte that is not UTF-8, as `surrogateescape` carries it
        return f"\\x{point - 0xDC00:02x}"
    return f"\\x{point:02x}" if point < 0x100 else f"\\u{{{point:x}}}"
