"""Lines of styled text that repaint only where they changed.

- `Part`, `line`  a strip from text and style names; the only way text gets onto the screen
- `Lines`         a widget that shows such strips
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.segment import Segment
from rich.style import Style
from textual.events import Resize
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from maxact_tui.terminal.palette import Look
from maxact_tui.texts.visible import visible

Part = str | tuple[str, str] | tuple[str, Style]
EMPTY = Strip([])


def line(look: Look, *parts: Part) -> Strip:
    """One line of text.

    Every part goes through `visible`, so that no control sequence can reach the terminal, whoever wrote it.

    Args:
        look: what the terminal can show.
        parts: text, or (text, name in `look.styles`), or (text, style).
    """
    segments = []
    for part in parts:
        text, style = (part, "") if isinstance(part, str) else part
        shown = visible(look.own(text), space=" ", ascii_only=look.ascii_only)
        if shown:
            segments.append(Segment(shown, look.styles[style] if isinstance(style, str) else style))
    return Strip(segments)


class Lines(Widget):
    """Shows a list of strips, cut to its width; `show` repaints the lines that differ from what is shown.

    Args:
        look: what the terminal can show.
    """

    DEFAULT_CSS = "Lines { width: 1fr; height: 1; }"

    class Resized(Message):
        """The widget has a new size, and its lines should be made anew."""

        def can_replace(self, message: Message) -> bool:
            """One is enough, however many widgets changed."""
            return isinstance(message, Lines.Resized)

    def __init__(self, look: Look, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self.look = look
        self._lines: tuple[Strip, ...] = ()

    @property
    def lines(self) -> tuple[Strip, ...]:
        """What is shown, from the top."""
        return self._lines

    def show(self, lines: Sequence[Strip]) -> bool:
        """Show these lines from the top.

        Returns:
            Whether anything visible changed.
        """
        old, self._lines = self._lines, tuple(lines)
        width, height = self.size.width, self.size.height
        changed = [
            Region(0, y, width, 1)
            for y in range(min(height, max(len(old), len(self._lines))))
            if _at(old, y) != _at(self._lines, y)
        ]
        if changed:
            self.refresh(*changed)
        return bool(changed)

    def on_resize(self, event: Resize) -> None:
        """Tell whoever makes the lines."""
        self.post_message(self.Resized())

    def render_line(self, y: int) -> Strip:
        """Textual's Line API."""
        width = self.size.width
        return marked_cut(_at(self._lines, y), width, self.look).adjust_cell_length(width, self.look.styles[""])


def marked_cut(strip: Strip, width: int, look: Look) -> Strip:
    """A strip that is too long, cut so that it shows that there was more."""
    if strip.cell_length <= width or width < 2 or not strip.crop(width).text.strip():
        return strip
    return Strip.join([strip.crop(0, width - 1), line(look, ("~" if look.ascii_only else "…", "dim"))])


def _at(lines: Sequence[Strip], y: int) -> Strip:
    return lines[y] if y < len(lines) else EMPTY
