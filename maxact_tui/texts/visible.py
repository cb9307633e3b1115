"""Foreign text made visible: nothing from a model, a tokenizer, a file name or an exception reaches the terminal raw.

- `visible`     any string or bytes as printable text, cut by cell width
- `cell_width`  cells a visible text takes
- `fitted`      a visible text cut or padded to an exact width
- `cut_start`   the end of a visible text
- `cut_middle`  its beginning and its end
- `home_path`   a path as people write it, their home as `~`
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from pathlib import Path

from rich.cells import cell_len

ELLIPSIS = "…"
DOTTED_CIRCLE = "\u25cc"  # what Unicode puts under a combining mark that stands alone
MARKS_PER_BASE = 4  # a syllable of Burmese needs four
STACKED_PER_BASE = 2  # Vietnamese needs two; more is somebody stacking them
_STACKING_CLASS = 200  # from this combining class on, marks of one base are put one above the other
_PLAIN = re.compile(r"[!-~]*")
_RUNS = re.compile(r"[!-~]+|.", re.DOTALL)
_NAMED = {"\n": "↵", "\r": "␍", "\t": "⇥"}
_HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Me"})
_MARK_CATEGORIES = frozenset({"Mn", "Mc"})
# Characters whose width depends on their neighbours or on the terminal.
_TREACHEROUS = frozenset({"\ufe0f", "\u20e3", *map(chr, range(0x1F3FB, 0x1F400)), *map(chr, range(0x1F1E6, 0x1F200))})


def visible(foreign: str | bytes, width: int | None = None, *, space: str = "·", ascii_only: bool = False) -> str:
    r"""Any foreign text as text that is safe to print and shows everything it holds.

    Newline, carriage return and tab get a sign of their own; control, format, private, unassigned and surrogate
    code points, unusual spaces, and characters that change the width of their neighbours become `\xNN` or
    `\u{N}`. Bytes that are not UTF-8 become `\xNN`. A combining mark without a character before it, as at the start of
    a token, stands on a dotted circle. Idempotent for what it has made visible.

    Args:
        foreign: the text, or the bytes of a token (which may be part of a character).
        width: cells at most; longer texts end in `…`. None for no limit.
        space: what an ordinary space looks like.
        ascii_only: escape everything beyond ASCII, too.
    """
    text = foreign.decode("utf-8", "surrogateescape") if isinstance(foreign, bytes) else foreign
    if _PLAIN.fullmatch(text):
        shown = text
    elif text.isascii() and text.isprintable():
        shown = text if space == " " else text.replace(" ", _space(space, ascii_only))
    else:
        shown = _escaped(text, space, ascii_only)
    return shown if width is None else _cut(shown, width, "~" if ascii_only else ELLIPSIS)


def cell_width(text: str) -> int:
    """Cells that a visible text takes in a terminal."""
    return len(text) if text.isascii() else cell_len(text)


def fitted(text: str, width: int, *, right: bool = False, ascii_only: bool = False) -> str:
    """A visible text of exactly `width` cells: cut with `…`, or padded at its end (at its start if `right`)."""
    shown = _cut(text, width, "~" if ascii_only else ELLIPSIS)
    padding = " " * (width - cell_width(shown))
    return padding + shown if right else shown + padding


def cut_start(text: str, width: int) -> str:
    """The end of a visible text, at most `width` cells."""
    if cell_width(text) <= width:
        return text
    kept, used = [], 0
    for character in reversed(text):
        used += cell_len(character)
        if used > width:
            break
        kept.append(character)
    while kept and unicodedata.category(kept[-1]) in _MARK_CATEGORIES:  # their base was cut away
        kept.pop()
    return "".join(reversed(kept))


def cut_middle(text: str, width: int, *, ascii_only: bool = False) -> str:
    """A visible text in at most `width` cells: of a longer one the beginning and the end (the file of a path)."""
    if cell_width(text) <= width:
        return text
    tail = cut_start(text, max(width * 3 // 5, 1))
    return _cut(text, max(width - cell_width(tail), 1), "~" if ascii_only else ELLIPSIS) + tail


def home_path(path: Path) -> str:
    """A path made visible, with `~` for the user's home."""
    home = Path.home()
    shown = Path("~") / path.relative_to(home) if path.is_relative_to(home) else path
    return visible(str(shown), space=" ")


@lru_cache(maxsize=4096)
def _escaped(text: str, space: str, ascii_only: bool) -> str:
    parts: list[str] = []
    marks: tuple[int, int] | None = None  # on the last character, and how many of them stack; None without one
    for match in _RUNS.finditer(text):
        run = match.group()
        if len(run) > 1 or "!" <= run <= "~":
            shown, marks = run, (0, 0)
        elif unicodedata.category(run) in _MARK_CATEGORIES and run not in _TREACHEROUS and not ascii_only:
            shown, marks = _mark(run, marks)
        else:
            shown, marks = _one(run, space, ascii_only)
        parts.append(shown)
    return "".join(parts)


def _mark(mark: str, marks: tuple[int, int] | None) -> tuple[str, tuple[int, int]]:
    """How a combining mark is shown, and what its base carries by then."""
    stacks = unicodedata.combining(mark) >= _STACKING_CLASS
    if marks is None:
        return DOTTED_CIRCLE + mark, (1, int(stacks))
    if marks[0] >= MARKS_PER_BASE or (stacks and marks[1] >= STACKED_PER_BASE):
        return _code(mark), (MARKS_PER_BASE, STACKED_PER_BASE)
    return mark, (marks[0] + 1, marks[1] + stacks)


def _one(character: str, space: str, ascii_only: bool) -> tuple[str, tuple[int, int] | None]:
    """How one character is shown, and whether marks can stand on it."""
    if character == " ":
        return _space(space, ascii_only), None
    if character in _NAMED:
        return (repr(character)[1:-1] if ascii_only else _NAMED[character]), None
    if _is_hidden(character, unicodedata.category(character)) or (ascii_only and not character.isascii()):
        return _code(character), None
    return character, (0, 0)


def _space(space: str, ascii_only: bool) -> str:
    return space if space.isascii() or not ascii_only else "_"


def _is_hidden(character: str, category: str) -> bool:
    if category in _HIDDEN_CATEGORIES or character in _TREACHEROUS:
        return True
    return category == "Zs" or cell_len(character) == 0


def _code(character: str) -> str:
    point = ord(character)
    if 0xDC80 <= point <= 0xDCFF:  # a byte that is not UTF-8, as `surrogateescape` carries it
        return f"\\x{point - 0xDC00:02x}"
    return f"\\x{point:02x}" if point < 0x100 else f"\\u{{{point:x}}}"


def _cut(text: str, width: int, ellipsis: str) -> str:
    if cell_width(text) <= width:
        return text
    if width < 1:
        return ""
    if text.isascii():
        return text[: width - 1] + ellipsis
    taken, used = [], 0
    for character in text:
        cells = cell_len(character)
        if used + cells > width - 1:
            break
        taken.append(character)
        used += cells
    return "".join(taken) + ellipsis
