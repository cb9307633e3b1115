"""The prompts this session holds: one to show again, or two to compare.

- `PromptHistoryScreen`  gives back the number of the chosen prompt, two numbers to compare, None for esc
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.strip import Strip

from maxact_tui.keymap import actions
from maxact_tui.keymap.actions import key_of
from maxact_tui.pages.footer import footer_line
from maxact_tui.pages.header import alarm_lines
from maxact_tui.pages.promptlines import prompt_table
from maxact_tui.screens.alarmed import Alarmed
from maxact_tui.screens.listed import Listed
from maxact_tui.terminal.palette import Look
from maxact_tui.watching.probes import prompts_of
from maxact_tui.watching.snapshot import Snapshot
from maxact_tui.widgets.lines import Lines, line
from maxact_tui.widgets.picker import MARK_CELLS, Picker


class PromptHistoryScreen(Listed, Alarmed[tuple[int, ...] | None]):
    """The prompts, newest first.

    Args:
        look: what the terminal can show.
        snapshot: whose results are listed.
    """

    CSS_PATH = "prompthistory.tcss"
    PLACES: ClassVar[tuple[actions.Place, ...]] = ("prompts",)
    BINDINGS: ClassVar[list[BindingType]] = [*actions.bindings("prompts")]

    def __init__(self, look: Look, snapshot: Snapshot) -> None:
        super().__init__()
        self.look, self._snapshot = look, snapshot
        self._prompts = prompts_of(snapshot.results)[::-1]
        self._marked: list[int] = []
        self._notice = ""

    def parts(self) -> ComposeResult:
        """Title, list, keys."""
        with Vertical():
            yield Lines(self.look, id="history-head")
            yield Picker(self.look, id="history-list")
            yield Lines(self.look, id="history-keys")

    def on_mount(self) -> None:
        """Show them."""
        self.draw()

    @property
    def picker(self) -> Picker:
        """The prompts."""
        return self.query_one(Picker)

    def action_choose(self) -> None:
        """Show the selected prompt again."""
        if self._prompts:
            self.dismiss((self._prompts[self.picker.selected].number,))

    def action_mark(self) -> None:
        """Mark the selected prompt, or take the mark away; of three marks the oldest goes."""
        if not self._prompts:
            return
        number = self._prompts[self.picker.selected].number
        if number in self._marked:
            self._marked.remove(number)
        else:
            self._marked = [*self._marked, number][-2:]
        self._notice = ""
        self.draw()

    def action_compare(self) -> None:
        """Compare the two marked prompts; with one mark that one with the selected."""
        chosen = list(self._marked)
        if len(chosen) == 1 and self._prompts[self.picker.selected].number not in chosen:
            chosen.append(self._prompts[self.picker.selected].number)
        if len(chosen) == 2:
            self.dismiss(tuple(chosen))
        else:
            self._notice = f"{self._mark_key} marks a prompt; mark two to compare them"
            self.draw()

    def action_back(self) -> None:
        """Back to the prompt that was shown."""
        self.dismiss(None)

    def alarm(self, width: int) -> Sequence[Strip]:
        """The session's first NaN or infinity."""
        return alarm_lines(self._snapshot, self.look, width)

    @property
    def _mark_key(self) -> str:
        return key_of("prompts", "mark", self.look.keys)

    def _draw(self, *, by_data: bool = False) -> None:
        """Bring every widget up to date."""
        width = self.size.width
        told = f"  {self._mark_key} marks two, {key_of('prompts', 'compare', self.look.keys)} compares them"
        title = line(self.look, (" Prompts of this session", "title"), (told, "dim"))
        self.query_one("#history-head", Lines).show([title])
        self.picker.offer(*prompt_table(self._prompts, self._marked, self.look, width - MARK_CELLS))
        keys = footer_line(self.look, width, *self.PLACES)
        if self._notice:
            keys = line(self.look, (f" {self._notice}", "key"))
        self.query_one("#history-keys", Lines).show([keys])
