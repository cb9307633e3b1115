"""The line of keys at the bottom, which turns into a line to type in.

- `PromptLine`
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from textual.events import Key, Paste
from textual.message import Message
from textual.strip import Strip

from maxact_tui.texts.editing import LineEditor
from maxact_tui.texts.visible import cell_width, cut_start, visible
from maxact_tui.widgets.lines import Lines, line


class PromptLine(Lines):
    """Shows what `show` gives it; while open, the text being typed instead, and every key is its own."""

    class Changed(Message):
        """Another text stands there."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class Cancelled(Message):
        """The user pressed esc; the line is closed."""

    _editor: LineEditor | None = None
    _mark: str = ""
    _remark: tuple[str, str] = ("", "")
    _resting: tuple[Strip, ...] = ()
    _submit: Callable[[str], bool] = staticmethod(lambda _: True)

    @property
    def is_open(self) -> bool:
        """Whether the user is typing."""
        return self._editor is not None

    @property
    def text(self) -> str | None:
        """What has been typed; None while nobody types."""
        return self._editor.text if self._editor is not None else None

    def show(self, lines: Sequence[Strip]) -> bool:
        """Show these lines, now or when the user has finished typing."""
        self._resting = tuple(lines)
        return False if self.is_open else super().show(lines)

    def open(self, mark: str, text: str, history: Sequence[str], submit: Callable[[str], bool]) -> None:
        """Let the user type.

        Args:
            mark: what stands before the text.
            text: what it begins with.
            history: what the arrows bring back, the oldest first.
            submit: takes what was typed; False keeps the line open. It is called at once, not by a message, so that
                keys typed ahead of it are not taken for more text.
        """
        self._editor, self._mark, self._remark = LineEditor(text, history), mark, ("", "")
        self._submit = submit
        self.can_focus = True
        self.screen.set_focus(self)
        self._draw()

    def close(self) -> None:
        """Show the keys again."""
        self._editor = None
        self.can_focus = False
        self.screen.set_focus(None)
        super().show(self._resting)

    def remark(self, text: str, style: str = "dim") -> None:
        """Say something about the text being typed, at its right."""
        self._remark = (text, style)
        if self.is_open:
            self._draw()

    def check_consume_key(self, key: str, character: str | None) -> bool:
        """While open every key is meant for the text, but for ctrl+c."""
        return self.is_open and key != "ctrl+c"

    def on_key(self, event: Key) -> None:
        """Edit; enter and esc end it."""
        if event.key == "ctrl+c":
            return
        event.stop()
        event.prevent_default()
        if self._editor is None:  # typed ahead of the end: meant for the screen
            self.app.post_message(Key(event.key, event.character))
        elif event.key == "enter":
            if self._submit(self._editor.text):
                self.close()
        elif event.key == "escape":
            self.close()
            self.post_message(self.Cancelled())
        elif self._editor.press(event.key, event.character):
            self._changed(self._editor)

    def on_paste(self, event: Paste) -> None:
        """Pasted text is typed text."""
        if self._editor is not None:
            event.stop()
            self._editor.insert(event.text)
            self._changed(self._editor)

    def on_lines_resized(self, event: Lines.Resized) -> None:
        """The text being typed depends on the width; the keys are made anew by the screen."""
        if self.is_open:
            self._draw()

    def _changed(self, editor: LineEditor) -> None:
        self._draw()
        self.post_message(self.Changed(editor.text))

    def _draw(self) -> None:
        if self._editor is None:
            return
        plain, editor = self.look.ascii_only, self._editor
        before = visible(editor.text[: editor.cursor], space=" ", ascii_only=plain)
        under = visible(editor.text[editor.cursor : editor.cursor + 1] or " ", space=" ", ascii_only=plain)
        after = visible(editor.text[editor.cursor + 1 :], space=" ", ascii_only=plain)
        room = max(self.size.width - cell_width(self._mark) - cell_width(under) - 2, 8)
        remark, style = self._remark
        shown = visible(remark, max(room - cell_width(before) - cell_width(after) - 2, 0), space=" ", ascii_only=plain)
        super().show(
            [
                line(
                    self.look,
                    (f" {self._mark}", "key"),
                    cut_start(before, room),
                    (under, "cursor"),
                    visible(after, max(room - cell_width(before), 0), space=" "),
                    (f"  {shown}" if remark else "", style),
                )
            ]
        )
