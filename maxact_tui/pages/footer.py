"""The line of keys at the bottom, from the table of actions.

- `footer_line`
"""

from __future__ import annotations

from textual.strip import Strip

from maxact_tui.keymap.actions import Place, footer
from maxact_tui.terminal.palette import Look
from maxact_tui.widgets.lines import Part, line


def footer_line(look: Look, width: int, *places: Place) -> Strip:
    """The keys of these places as far as they fit; those that work everywhere (help, quit) always."""
    always, some = footer("app", keys=look.keys), footer(*places, keys=look.keys)
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
