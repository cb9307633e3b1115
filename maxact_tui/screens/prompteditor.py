"""Where a prompt is typed or pasted.

- `PromptEditor`  gives back what was typed, None for esc
- `Typed`         a text and a token policy
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.events import Key, Paste
from textual.message import Message
from textual.widgets import TextArea

from engine.base.wording import counted
from maxact_tui.keymap import actions
from maxact_tui.pages.promptlines import POLICY_WORDS
from maxact_tui.screens.answering import AnsweringScreen
from maxact_tui.terminal.palette import Look
from maxact_tui.texts.numbers import grouped
from maxact_tui.texts.visible import visible
from maxact_tui.widgets.lines import Lines, Part, line

_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
CHARACTERS_PER_TOKEN = 16  # more are rare; the engine cuts what is longer in tokens
MOST_CHARACTERS = 200_000  # what the field can hold without growing slow


@dataclass(frozen=True, slots=True)
class Typed:
    """A text for the model.

    Attributes:
        text: as it was typed.
        policy: how it becomes tokens: `raw`, `bos` or `chat`.
        is_whole: whether it is to be run; False where the user looks for an earlier one first.
    """

    text: str
    policy: str
    is_whole: bool = True


class PromptArea(TextArea):
    """A field of several lines that shows no control sequence.

    Args:
        look: what the terminal can show.
        text: what is in it first, selected, so that typing replaces it.
        most: characters it takes.
    """

    class PasteCut(Message):
        """More was pasted than there is room for."""

        def __init__(self, kept: int, pasted: int) -> None:
            super().__init__()
            self.kept, self.pasted = kept, pasted

    def __init__(self, look: Look, text: str, most: int) -> None:
        super().__init__(text, soft_wrap=True, compact=True, highlight_cursor_line=False, id="prompt-area")
        self._look, self._most = look, most
        self.cursor_blink = False  # an idle screen writes nothing

    def on_mount(self) -> None:
        """Select what is there."""
        self.select_all()

    def get_line(self, line_index: int) -> Text:
        """One line as it is shown: one safe character in the place of each that is not."""
        raw = self.document.get_line(line_index)
        return Text("".join(self._safe(c) for c in raw), end="", no_wrap=True)

    def on_paste(self, event: Paste) -> None:
        """Insert as much as there is room for."""
        pasted = event.text
        room = max(self._most - len(self.text) + len(self.selected_text), 0)
        event.prevent_default()
        self._put(pasted[:room])
        self.focus()
        if len(pasted) > room:
            self.post_message(self.PasteCut(room, len(pasted)))

    def on_key(self, event: Key) -> None:
        """Begin a new line with shift+enter; what else is typed is the field's own affair."""
        if event.key == "shift+enter":  # few terminals tell it from enter, so that the table of keys does not have it
            self.break_line()
            event.stop()
            event.prevent_default()

    def break_line(self) -> None:
        """Begin a new line at the cursor."""
        self._put("\n")

    def _put(self, text: str) -> None:
        """Put a text in the place of what is selected, as if it were typed."""
        self.move_cursor(self.replace(text, *self.selection, maintain_selection_offset=False).end_location)

    def hidden(self) -> list[str]:
        """The characters of the text that are not shown as they are, each once, in the notation of all screens."""
        characters = dict.fromkeys(c for c in self.text if c not in "\n\t" and not self._is_safe(c))
        return [visible(c, ascii_only=self._look.ascii_only) for c in characters]

    def _safe(self, character: str) -> str:
        # The field counts a cell for each character, so that none can be written out in it.
        if character == "\t" or self._is_safe(character):
            return character
        return "?" if self._look.ascii_only else "�"

    def _is_safe(self, character: str) -> bool:
        is_unsafe = unicodedata.category(character) in _UNSAFE
        return not is_unsafe and (character.isascii() or not self._look.ascii_only)


class PromptEditor(AnsweringScreen[Typed | None]):
    """A field for the text and a line for the policy.

    Args:
        look: what the terminal can show.
        first: what is there to begin with.
        longest: tokens of a text that the model is given; None where that is not known yet.
        has_history: whether there are earlier prompts.
    """

    CSS_PATH = "prompteditor.tcss"
    PLACES = ("writing",)
    BINDINGS: ClassVar[list[BindingType]] = [*actions.bindings("writing")]

    def __init__(self, look: Look, first: Typed, longest: int | None = None, *, has_history: bool = False) -> None:
        super().__init__()
        self.look, self._text, self._policy = look, first.text, first.policy
        self._longest, self._has_history = longest, has_history
        self._said = ""

    def compose(self) -> ComposeResult:
        """Title, field, policy, keys."""
        with Vertical(id="prompt-box"):
            yield Lines(self.look, id="prompt-title")
            most = MOST_CHARACTERS if self._longest is None else CHARACTERS_PER_TOKEN * self._longest
            yield PromptArea(self.look, self._text, min(most, MOST_CHARACTERS))
            yield Lines(self.look, id="prompt-policy")
            yield Lines(self.look, id="prompt-keys")

    def on_mount(self) -> None:
        """Type at once."""
        self.query_one(PromptArea).focus()
        self.draw()

    def on_text_area_changed(self, event: TextArea.Changed) -> None:
        """Count along."""
        event.stop()
        self._said = ""
        self.draw()

    def on_prompt_area_paste_cut(self, event: PromptArea.PasteCut) -> None:
        """Say what is missing."""
        event.stop()
        self._said = f"only {grouped(event.kept)} of the {counted(event.pasted, 'character')} pasted have room here"
        self.draw()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys may come before the field is there, and there may be no earlier prompt."""
        is_there = self.is_mounted and (action != "earlier" or self._has_history)
        return super().check_action(action, parameters) if is_there else False

    def action_run(self) -> None:
        """Take the text, if there is one."""
        text = self.query_one(PromptArea).text
        if text:
            self.dismiss(Typed(text, self._policy))
        else:
            self._said = "there is no text yet; type or paste one, esc leaves"
            self.draw()

    def action_policy(self, by: int) -> None:
        """Another policy."""
        names = list(POLICY_WORDS)
        self._policy = names[(names.index(self._policy) + by) % len(names)]
        self.draw()

    def action_line_break(self) -> None:
        """A new line in the text."""
        self.query_one(PromptArea).break_line()

    def action_earlier(self) -> None:
        """Look for an earlier prompt, and keep what was typed."""
        self.dismiss(Typed(self.query_one(PromptArea).text, self._policy, is_whole=False))

    def action_back(self) -> None:
        """Leave without running anything."""
        self.dismiss(None)

    def _draw(self, *, by_data: bool = False) -> None:
        """Bring every widget up to date."""
        look, text = self.look, self.query_one(PromptArea).text
        facts = f"  {counted(len(text), 'character')}"
        if self._longest is not None and len(text.encode("utf-8", "replace")) > self._longest:
            facts += f"; the model is given the first {counted(self._longest, 'token')}"
        hidden = self.query_one(PromptArea).hidden()
        warning = f"  {'?' if look.ascii_only else '�'} stands for {' '.join(hidden)}" if hidden else ""
        title = line(look, ("Prompt", "title"), (facts, "dim"), (warning, "warn"))
        self.query_one("#prompt-title", Lines).show([title])
        parts: list[Part] = [("tokens ", "dim")]
        for name, words in POLICY_WORDS.items():
            chosen = name == self._policy
            parts.append((f"[{words}]" if chosen else f" {words} ", "heading" if chosen else "dim"))
        self.query_one("#prompt-policy", Lines).show([line(look, *parts)])
        keys = [one for one in actions.footer("writing", keys=look.keys) if one[1] != "earlier" or self._has_history]
        shown: list[Part] = [part for key, label in keys for part in ((key, "key"), f" {label}  ")]
        if self._said:
            shown = [(self._said, "bad")]
        self.query_one("#prompt-keys", Lines).show([line(look, *shown)])
