"""Two prompts side by side: the largest |x| of every layer, and how many times larger the second one's is.

- `PromptCompareScreen`
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.strip import Strip

from maxact_tui.bugs import in_words
from maxact_tui.keymap import actions
from maxact_tui.pages.footer import footer_line
from maxact_tui.pages.header import alarm_lines
from maxact_tui.pages.probelines import component_line
from maxact_tui.pages.promptlines import compare_rows, prompt_head
from maxact_tui.screens.alarmed import Alarmed
from maxact_tui.terminal.palette import Look
from maxact_tui.texts.visible import visible
from maxact_tui.watching.probes import ProbeView, read_probe
from maxact_tui.watching.snapshot import Snapshot
from maxact_tui.widgets.grid import make_grid
from maxact_tui.widgets.lines import Lines, line
from maxact_tui.widgets.scroller import Scroller


class PromptCompareScreen(Alarmed[None]):
    """A table of one component, layer by layer.

    Args:
        look: what the terminal can show.
        snapshot: its plan is known.
        first, second: numbers of the two results.
    """

    CSS_PATH = "promptcompare.tcss"
    PLACES: ClassVar[tuple[actions.Place, ...]] = ("versus",)
    BINDINGS: ClassVar[list[BindingType]] = [*actions.bindings("versus")]

    class ProbesRead(Message):
        """Both were read from the session."""

        def __init__(self, views: tuple[ProbeView, ProbeView]) -> None:
            super().__init__()
            self.views = views

    class Failed(Message):
        """They could not be read."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    def __init__(self, look: Look, snapshot: Snapshot, first: int, second: int) -> None:
        super().__init__()
        self.look, self._snapshot, self._numbers = look, snapshot, (first, second)
        self._views: tuple[ProbeView, ProbeView] | None = None
        self._grid = make_grid(snapshot.plan) if snapshot.plan is not None else None
        self._column = len(self._grid.columns) - 1 if self._grid is not None else 0
        self._problem = ""

    def parts(self) -> ComposeResult:
        """The two prompts, the components, the table, keys."""
        with Vertical():
            yield Lines(self.look, id="versus-head")
            yield Scroller(self.look, id="versus-table")
            yield Lines(self.look, id="versus-keys")

    def on_mount(self) -> None:
        """Read both."""
        self._read(self._snapshot.path, *self._numbers)
        self.draw()

    def on_prompt_compare_screen_probes_read(self, event: ProbesRead) -> None:
        """Show them."""
        self._views = event.views
        self.draw()

    def on_prompt_compare_screen_failed(self, event: Failed) -> None:
        """Say why not."""
        self._problem = event.text
        self.draw()

    def action_component(self, by: int) -> None:
        """Compare another component."""
        if self._grid is not None:
            self._column = (self._column + by) % len(self._grid.columns)
            self.draw()

    def action_scroll(self, lines: int) -> None:
        """Scroll by lines."""
        self._table.move(lines)

    def action_scroll_page(self, direction: int) -> None:
        """Scroll by a page."""
        self._table.page(direction)

    def action_scroll_edge(self, direction: int) -> None:
        """To the first or last layer."""
        self._table.edge(direction)

    def action_back(self) -> None:
        """Back to the prompt."""
        self.dismiss(None)

    def alarm(self, width: int) -> Sequence[Strip]:
        """The session's first NaN or infinity."""
        return alarm_lines(self._snapshot, self.look, width)

    @property
    def _table(self) -> Scroller:
        return self.query_one(Scroller)

    def _draw(self, *, by_data: bool = False) -> None:
        """Bring every widget up to date."""
        width, look = self.size.width, self.look
        head = [line(look, (" Two prompts", "title"), ("  largest |x| over their tokens; ratio = B / A", "dim"))]
        if self._views is not None and self._grid is not None:
            for name, view in zip("AB", self._views, strict=True):
                head.append(prompt_head(view, look, width, name))
            head.append(component_line(self._grid, self._column, look, width))
            self._table.fill(compare_rows(self._views, self._grid, self._column, look, width))
        else:
            said = self._problem or "reading both …"
            head.append(line(look, " ", (visible(said, width - 2, space=" "), "bad" if self._problem else "dim")))
        self.query_one("#versus-head", Lines).show(head)
        self.query_one("#versus-keys", Lines).show([footer_line(look, width, *self.PLACES)])

    @work(thread=True)
    def _read(self, path: Path, first: int, second: int) -> None:
        try:
            self.post_message(self.ProbesRead((read_probe(path, first), read_probe(path, second))))
        except Exception as error:  # noqa: BLE001  # the last boundary of a thread
            self.post_message(self.Failed(in_words(error)))
