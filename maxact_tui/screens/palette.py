"""The command palette: type a few letters, take an action.

- `PaletteScreen`  gives back the chosen action's name, None for esc
- `matching`       the commands that hold every typed word
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.events import Key
from textual.screen import ModalScreen
from textual.strip import Strip

from maxact_tui.action import Action
from maxact_tui.palette import Look
from maxact_tui.text import fitted, visible
from maxact_tui.widgets.lines import Lines, line
from maxact_tui.widgets.picker import MARK_CELLS, Picker

_LONGEST_QUERY = 40


class PaletteScreen(ModalScreen[str | None]):
    """A line to type in, and the commands that match.

    Args:
        look: what the terminal can show.
        commands: what can be chosen.
    """

    CSS_PATH = "palette.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", show=False),
        Binding("enter", "choose", show=False),
        Binding("up", "move(-1)", show=False),
        Binding("down", "move(1)", show=False),
        Binding("pageup", "page(-1)", show=False),
        Binding("pagedown", "page(1)", show=False),
    ]

    def __init__(self, look: Look, commands: Sequence[Action]) -> None:
        super().__init__()
        self.look, self._commands = look, tuple(commands)
        self._query = ""

    def compose(self) -> ComposeResult:
        """Query, commands, keys."""
        yield Lines(self.look, id="palette-query")
        yield Picker(self.look, id="palette-list")
        yield Lines(self.look, id="palette-keys")

    def on_mount(self) -> None:
        """Show every command."""
        self._draw()

    def on_lines_resized(self, event: Lines.Resized) -> None:
        """Lines depend on the width they are made for."""
        event.stop()
        self._draw()

    def on_key(self, event: Key) -> None:
        """Letters narrow the list, backspace widens it."""
        if event.key == "backspace":
            self._query = self._query[:-1]
        elif event.is_printable and event.character is not None and len(self._query) < _LONGEST_QUERY:
            self._query += event.character
        else:
            return
        event.stop()
        event.prevent_default()
        self.query_one(Picker).selected = 0
        self._draw()

    def action_move(self, by: int) -> None:
        """Select another command."""
        self.query_one(Picker).move(by)

    def action_page(self, direction: int) -> None:
        """Move the selection by a page."""
        self.query_one(Picker).page(direction)

    def action_choose(self) -> None:
        """Take the selected command."""
        found, number = matching(self._commands, self._query), self.query_one(Picker).selected
        self.dismiss(found[number].name if number < len(found) else None)

    def action_back(self) -> None:
        """Leave without a command."""
        self.dismiss(None)

    def _draw(self) -> None:
        look, width = self.look, self.size.width
        typed = visible(self._query, _LONGEST_QUERY, space=" ", ascii_only=look.ascii_only)
        hint = "" if typed else "type a few letters"
        self.query_one("#palette-query", Lines).show([line(look, (" : ", "key"), typed, ("_", "token"), (hint, "dim"))])
        found = [self._entry(command, width - MARK_CELLS) for command in matching(self._commands, self._query)]
        self.query_one(Picker).offer([] if found else [("no command holds these letters", "dim")], found)
        keys = line(look, (" enter", "key"), " do it  ", ("↑↓", "key"), " select  ", ("esc", "key"), " back")
        self.query_one("#palette-keys", Lines).show([keys])

    def _entry(self, command: Action, width: int) -> Strip:
        key = fitted(self.look.own(command.key_text), 10)
        text = visible(command.help, max(width - 24, 10), space=" ")
        return line(self.look, (f"{command.label or command.name.partition('(')[0]:<12}", "title"), (key, "key"), text)


def matching(commands: Sequence[Action], query: str) -> list[Action]:
    """The commands whose label, key or help holds every word of the query, those with it in the label first."""
    words = query.lower().split()
    found = [c for c in commands if all(word in f"{c.label} {c.key_text} {c.help}".lower() for word in words)]
    return sorted(found, key=lambda c: not any(word in c.label for word in words))
