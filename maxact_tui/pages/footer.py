"""The line of keys at the bottom, from the table of actions.

- `footer_line`
"""

from __future__ import annotations

from collections.abc import Collection

from textual.strip import Strip

from maxact_tui.keymap.actions import Place, footer
from maxact_tui.terminal.palette import Look
from maxact_tui.widgets.lines import Part, line


def footer_line(look: Look, width: int, *places: Place, without: Collection[str] = ()) -> Strip:
    """The keys of these places as far as they fit; those that work everywhere (help, quit) always.

    Args:
        look: what the terminal can show.
        width: cells there are.
        places: whose keys.
        without: names of actions that have nothing to do here.
    """
    always, some = footer("app", keys=look.keys), footer(*places, keys=look.keys, without=without)
    room = width - sum(_cells(key, label) for key, label in always)
    shown: list[tuple[str, str]] = []
    for key, label in some:
        if _cells(key, label) > room:
            break
        shown.append((key, label))
        room -= _cells(key, label)
    parts: list[Part] = []
    for key, label in [*shown, *always]:
        parts += [(f" {key}", "key"), f" {label} "]
    return line(look, *parts)


def _cells(key: str, label: str) -> int:
    return len(key) + len(label) + 3
