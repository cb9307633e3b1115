"""A number to type.

- `NumberScreen`  gives back the number, None for esc
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.events import Key, Paste

from maxact_tui.keymap import actions
from maxact_tui.screens.answering import AnsweringScreen
from maxact_tui.terminal.palette import Look
from maxact_tui.texts.editing import LineEditor
from maxact_tui.texts.numbers import read_number
from maxact_tui.texts.visible import visible
from maxact_tui.widgets.lines import Lines, line


class NumberScreen(AnsweringScreen[float | None]):
    """Asks for one number.

    Args:
        look: what the terminal can show.
        question: one line.
        check: raises ValueError with one line for the user where a number will not do, NaN for what is none.
    """

    CSS_PATH = "number.tcss"
    PLACES = ("number",)
    BINDINGS: ClassVar[list[BindingType]] = [*actions.bindings("number")]

    def __init__(self, look: Look, question: str, check: Callable[[float], object]) -> None:
        super().__init__()
        self._look, self._question, self._check = look, question, check
        self._editor = LineEditor()
        self._problem = ""

    def compose(self) -> ComposeResult:
        """A box with the question and the line."""
        with Vertical(id="number"):
            yield Lines(self._look, id="number-lines")

    def on_mount(self) -> None:
        """Show the question."""
        self.draw()

    def check_consume_key(self, key: str, character: str | None) -> bool:
        """What can be typed is typed."""
        return character is not None and character.isprintable()

    def on_key(self, event: Key) -> None:
        """Edit the line."""
        if self._editor.press(event.key, event.character):
            event.stop()
            event.prevent_default()
            self._problem = ""
            self.draw()

    def on_paste(self, event: Paste) -> None:
        """Pasted text is typed text."""
        event.stop()
        self._editor.insert(event.text)
        self.draw()

    def action_take(self) -> None:
        """Give the number back, or say what is wrong with it."""
        number = read_number(self._editor.text)
        try:
            self._check(number)
        except ValueError as error:
            self._problem = str(error)
            self.draw()
            return
        self.dismiss(number)

    def action_back(self) -> None:
        """Leave without a number."""
        self.dismiss(None)

    def _draw(self, *, by_data: bool = False) -> None:
        """Bring every widget up to date."""
        look, editor = self._look, self._editor
        before, after = editor.text[: editor.cursor], editor.text[editor.cursor + 1 :]
        under = editor.text[editor.cursor : editor.cursor + 1] or " "
        hint = visible(self._problem, 60, space=" ", ascii_only=look.ascii_only)
        self.query_one("#number-lines", Lines).show(
            [
                line(look, (self._question, "title")),
                line(look, ("= ", "key"), before, (under, "cursor"), after),
                line(look, (hint, "bad")) if hint else line(look, ("enter takes it; esc cancels", "dim")),
            ]
        )
