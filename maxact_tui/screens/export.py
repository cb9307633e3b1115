"""Which formats to write, several at once.

- `ExportScreen`  gives back the names of the chosen formats, None for esc
- `export_lines`  what was written where, the folder and every name whole, and every warning
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.strip import Strip

from engine.report.export import FORMATS
from engine.session.reader import SessionMeta
from maxact_tui.keymap import actions
from maxact_tui.screens.answering import AnsweringScreen
from maxact_tui.terminal.palette import Look
from maxact_tui.texts.visible import cell_width, visible
from maxact_tui.watching.exporter import PRESELECTED, Export
from maxact_tui.widgets.lines import Lines, line
from maxact_tui.widgets.scroller import Scroller

NAME_CELLS = max(map(len, FORMATS)) + 2


class ExportScreen(AnsweringScreen[tuple[str, ...] | None]):
    """A list of formats with marks.

    Args:
        look: what the terminal can show.
        folder: where the files will go.
        meta: of the session, which says what it cannot give.
        partial: the run has not finished.
    """

    CSS_PATH = "export.tcss"
    PLACES = ("export",)
    BINDINGS: ClassVar[list[BindingType]] = [*actions.bindings("export")]

    def __init__(self, look: Look, folder: Path, meta: SessionMeta, *, partial: bool) -> None:
        super().__init__()
        self._look, self._folder, self._partial = look, folder, partial
        self._names = tuple(FORMATS)
        self._missing = {name: one.missing(meta) for name, one in FORMATS.items()}
        self._possible = {name for name, lack in self._missing.items() if lack is None or not lack.sentence}
        self._marked = set(PRESELECTED) & self._possible
        self._selected = 0

    def compose(self) -> ComposeResult:
        """A box with the formats."""
        with Vertical(id="export"):
            yield Lines(self._look, id="export-head")
            yield Scroller(self._look, id="export-list")
            yield Lines(self._look, id="export-keys")

    def on_mount(self) -> None:
        """Make room for every format, as far as there is any."""
        self.query_one("#export-list").styles.height = len(self._names)
        self.draw()

    def action_back(self) -> None:
        """Write nothing."""
        self.dismiss(None)

    def action_move(self, by: int) -> None:
        """Select another format."""
        self._selected = (self._selected + by) % len(self._names)
        self.draw()

    def action_mark(self) -> None:
        """Mark the selected format, or take its mark away; one that cannot be given takes none."""
        self._marked ^= {self._names[self._selected]} & self._possible
        self.draw()

    def action_mark_all(self) -> None:
        """Mark every format that can be given, or none."""
        self._marked = set() if self._marked == self._possible else set(self._possible)
        self.draw()

    def action_write(self) -> None:
        """Write the marked formats; without a mark the selected one."""
        self.dismiss(tuple(n for n in self._names if n in self._marked) or (self._names[self._selected],))

    def _draw(self, *, by_data: bool = False) -> None:
        """Bring every widget up to date."""
        look, page = self._look, self.query_one("#export-list", Scroller)
        width = max(page.size.width, 20)
        partial = "  partial: the run has not finished" if self._partial else ""
        folder = visible(str(self._folder), max(width - 6, 10), space=" ", ascii_only=look.ascii_only)
        head = [line(look, ("Export", "title"), (partial, "warn")), line(look, (f"into  {folder}", "dim")), line(look)]
        self.query_one("#export-head", Lines).show(head)
        page.fill([self._entry(number, width) for number in range(len(self._names))])
        page.move(0)
        keys = line(
            look,
            ("space", "key"),
            " mark  ",
            ("a", "key"),
            " all  ",
            ("enter", "key"),
            " write  ",
            ("esc", "key"),
            " cancel",
        )
        self.query_one("#export-keys", Lines).show([line(look), keys])
        self._reveal(page)

    def _reveal(self, page: Scroller) -> None:
        """Scroll so that the selected format is visible, where not all fit."""
        height = page.size.height
        if 0 < height < len(self._names):
            page.edge(-1)
            page.move(max(self._selected - height + 1, 0))

    def _entry(self, number: int, width: int) -> Strip:
        look, name = self._look, self._names[number]
        mark = " -  " if name not in self._possible else "[x] " if name in self._marked else "[ ] "
        here, lack = number == self._selected, self._missing[name]
        warning = f"{lack.short}  " if lack is not None else ""
        text = visible(FORMATS[name].description, max(width - NAME_CELLS - 6 - len(warning), 1), space=" ")
        return line(
            look,
            ("▸ " if here else "  ", "key"),
            (mark, "key"),
            (f"{name:<{NAME_CELLS}}", "title" if here else ""),
            (warning, "warn"),
            (text, "dim"),
        )


def export_lines(export: Export, written: Sequence[Path], problem: str, look: Look, width: int) -> list[Strip]:
    """The folder in full over as many lines as it takes, its files, what to know of them, what was refused and why."""
    lines: list[Strip] = []
    if export.partial and written:
        words = textwrap.wrap("The run has not finished: every file is marked partial.", width)
        lines += [*(line(look, (row, "warn")) for row in words), line(look)]
    if written:
        folder = visible(str(written[0].parent), space=" ", ascii_only=look.ascii_only)
        lines += [line(look, (part, "title")) for part in _pieces(folder, width)]
    for path in written:
        name = visible(path.name, space=" ", ascii_only=look.ascii_only)
        lines += [line(look, f"  {part}") for part in _pieces(name, max(width - 2, 1))]
    warnings = [f"warning: {text}" for text in export.warnings] if written else []
    for reason in (*warnings, *export.refused, *([problem] if problem else [])):
        shown = textwrap.wrap(visible(reason, space=" ", ascii_only=look.ascii_only), width)
        lines += [line(look), *(line(look, (part, "warn")) for part in shown)]
    return lines or [line(look, ("nothing was written", "dim"))]


def _pieces(text: str, width: int) -> list[str]:
    """The text cut into lines, without a blank or a hyphen of our own in it: it can be copied."""
    pieces, current = [], ""
    for character in text:
        if cell_width(current + character) > width:
            pieces.append(current)
            current = ""
        current += character
    return [*pieces, current]
