"""The command palette: type a few letters, take an action.

- `PaletteScreen`  gives back the chosen action's name, None for esc
- `matching`       the commands that hold every typed word
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.events import Key, Paste
from textual.strip import Strip

from maxact_tui.keymap import actions
from maxact_tui.keymap.action import Action
from maxact_tui.screens.answering import AnsweringScreen
from maxact_tui.terminal.palette import Look
from maxact_tui.texts.visible import fitted, visible
from maxact_tui.widgets.lines import Lines, line
from maxact_tui.widgets.picker import MARK_CELLS, Picker

NAME_CELLS = 17
_LONGEST_QUERY = 40


class PaletteScreen(AnsweringScreen[str | None]):
    """A line to type in, and the commands that match.

    Args:
        look: what the terminal can show.
        commands: what can be chosen.
        jumps: what else a query means.
    """

    CSS_PATH = "palette.tcss"
    PLACES = ("palette",)
    BINDINGS: ClassVar[list[BindingType]] = [*actions.bindings("palette")]

    def __init__(
        self, look: Look, commands: Sequence[Action], jumps: Callable[[str], Sequence[Action]] = lambda _: ()
    ) -> None:
        super().__init__()
        self.look, self._commands, self._jumps = look, tuple(commands), jumps
        self._query = ""

    def compose(self) -> ComposeResult:
        """Query, commands, the selected one's sentence in full, keys."""
        yield Lines(self.look, id="palette-query")
        yield Picker(self.look, id="palette-list")
        yield Lines(self.look, id="palette-detail")
        yield Lines(self.look, id="palette-keys")

    def on_mount(self) -> None:
        """Show every command."""
        self.draw()

    def check_consume_key(self, key: str, character: str | None) -> bool:
        """What can be typed is typed."""
        return character is not None and character.isprintable()

    def on_key(self, event: Key) -> None:
        """Letters narrow the list, backspace widens it."""
        if event.key == "backspace":
            self._ask(self._query[:-1])
        elif event.is_printable and event.character is not None:
            self._ask(self._query + event.character)
        else:
            return
        event.stop()
        event.prevent_default()

    def on_paste(self, event: Paste) -> None:
        """Pasted text is typed text."""
        event.stop()
        self._ask(self._query + " ".join(event.text.split()))

    def on_picker_picked(self, event: Picker.Picked) -> None:
        """Show the sentence of the selected command."""
        event.stop()
        self.draw()

    def on_picker_chosen(self, event: Picker.Chosen) -> None:
        """Take the command that was clicked twice."""
        event.stop()
        self.action_choose()

    def action_move(self, by: int) -> None:
        """Select another command."""
        self.query_one(Picker).move(by)

    def action_page(self, direction: int) -> None:
        """Move the selection by a page."""
        self.query_one(Picker).page(direction)

    def action_choose(self) -> None:
        """Take the selected command."""
        found, number = self._found(), self.query_one(Picker).selected
        self.dismiss(found[number].name if number < len(found) else None)

    def action_back(self) -> None:
        """Leave without a command."""
        self.dismiss(None)

    def _draw(self, *, by_data: bool = False) -> None:
        """Bring every widget up to date."""
        look, width = self.look, self.size.width
        typed = visible(self._query, _LONGEST_QUERY, space=" ", ascii_only=look.ascii_only)
        hint = "" if typed else "type a few letters, or a site: L12 mlp"
        self.query_one("#palette-query", Lines).show([line(look, (" : ", "key"), typed, ("_", "token"), (hint, "dim"))])
        found, picker = self._found(), self.query_one(Picker)
        entries = [self._entry(command, width - MARK_CELLS) for command in found]
        picker.offer([] if found else [("no command holds these letters", "dim")], entries)
        sentence = found[picker.selected].help if found else ""
        rows = [line(look, (f"  {row}", "dim")) for row in textwrap.wrap(sentence, max(width - 3, 20))]
        self.query_one("#palette-detail", Lines).show(rows)
        keys = line(look, (" enter", "key"), " do it  ", ("↑↓", "key"), " select  ", ("esc", "key"), " back")
        self.query_one("#palette-keys", Lines).show([keys])

    def _ask(self, query: str) -> None:
        self._query = query[:_LONGEST_QUERY]
        self.query_one(Picker).selected = 0
        self.draw()

    def _entry(self, command: Action, width: int) -> Strip:
        key = fitted(self.look.own(command.key_text), 10)
        name = fitted(command.title, NAME_CELLS)
        text = visible(command.help, max(width - NAME_CELLS - 12, 10), space=" ", ascii_only=self.look.ascii_only)
        return line(self.look, (f"{name} ", "title"), (f"{key} ", "key"), text)

    def _found(self) -> list[Action]:
        return [*self._jumps(self._query), *matching(self._commands, self._query)]


def matching(commands: Sequence[Action], query: str) -> list[Action]:
    """The commands whose title, key or help holds every word of the query, those with it in the title first."""
    words = query.lower().split()
    found = [c for c in commands if all(word in f"{c.title} {c.key_text} {c.help}".lower() for word in words)]
    return sorted(found, key=lambda c: not any(word in c.title.lower() for word in words))
