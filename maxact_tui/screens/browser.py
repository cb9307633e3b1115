"""The session browser: which sessions there are, newest first.

- `BrowserScreen`  gives back the path of the chosen session, None for esc
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.message import Message

from engine.session.library import sessions_folder
from engine.session.listing import list_sessions
from engine.session.records import SessionInfo
from maxact_tui.keymap import actions
from maxact_tui.pages.sessionlines import marks_words, session_sheet
from maxact_tui.pages.sheets import Sheet, arranged
from maxact_tui.screens.steady import Steady
from maxact_tui.screens.tabled import Tabled
from maxact_tui.screens.watched import needing_rows
from maxact_tui.terminal.palette import Look
from maxact_tui.texts.visible import visible
from maxact_tui.widgets.lines import Lines, line
from maxact_tui.widgets.picker import MARK_CELLS, Picker
from maxact_tui.widgets.prompt import PromptLine

LOOK_AGAIN_SECONDS = 2.0
_NOTHING_TO_COMPARE = "no other session yet: esc, then b; or measure another: maxact-tui MODEL"
_NEEDING_ROWS = needing_rows("list")


class BrowserScreen(Tabled, Steady[Path | None]):
    """A list of sessions; enter opens one.

    Args:
        look: what the terminal can show.
        current: the session that is open, if any; it is selected first.
        opened: sessions that are open in this application; they are marked.
        to_compare: whether a session to compare `current` with is chosen, so that it is not among them itself.
    """

    CSS_PATH = "browser.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [*actions.bindings("list")]

    class SessionsListed(Message):
        """The folder was looked through."""

        def __init__(self, sessions: list[SessionInfo]) -> None:
            super().__init__()
            self.sessions = sessions

    def __init__(
        self, look: Look, current: Path | None = None, opened: Collection[Path] = (), *, to_compare: bool = False
    ) -> None:
        super().__init__()
        self.look, self._current, self._opened = look, current, opened
        self._sessions: list[SessionInfo] = []
        self._is_listed, self._to_compare = False, to_compare

    def compose(self) -> ComposeResult:
        """Title, list, keys."""
        with Vertical():
            yield Lines(self.look, id="browser-head")
            yield Picker(self.look, id="browser-list")
            yield PromptLine(self.look, id="browser-keys")

    def on_mount(self) -> None:
        """List what there is, now and every few seconds."""
        self._look_again()
        self.set_interval(LOOK_AGAIN_SECONDS, self._look_again)

    @property
    def picker(self) -> Picker:
        """The sessions."""
        return self.query_one(Picker)

    @property
    def prompt(self) -> PromptLine:
        """The line of keys."""
        return self.query_one(PromptLine)

    def sheet(self) -> Sheet:
        """The sessions."""
        return session_sheet(self._sessions, self.look, self.size.width - MARK_CELLS, opened=self._opened)

    def action_choose(self) -> None:
        """Open the selected session."""
        if self.chosen is not None:
            self.dismiss(self._sessions[self.chosen].path)

    def action_back(self) -> None:
        """Leave without opening one; with a filter first back to every session."""
        if not self.clear_filter():
            self.dismiss(None)

    def awaits(self, action: str) -> bool:
        """The sessions are read when the list is opened."""
        return not self._is_listed and action in _NEEDING_ROWS

    @work(thread=True, exclusive=True)
    def _look_again(self) -> None:
        """A folder with many sessions, or far away, must not hold up the keys."""
        self.post_message(self.SessionsListed(list_sessions()))

    def on_browser_screen_sessions_listed(self, event: SessionsListed) -> None:
        """Show them, with the same one selected."""
        if not self.can_draw:  # it was closed while the folder was read
            return
        found = event.sessions
        if self._to_compare:
            found = [info for info in found if info.path != self._current]
        chosen = self._sessions[self.chosen].path if self.chosen is not None else self._current
        self._sessions, self._is_listed = found, True
        paths = [info.path for info in found]
        if chosen in paths:  # a new session on top must not change what is selected
            order = arranged(self.sheet(), self.kept, self.sorting)
            number = paths.index(chosen)
            self.picker.selected = order.index(number) if number in order else 0
        self.draw()

    def _draw(self, *, by_data: bool = False) -> bool:
        """Bring every widget up to date."""
        width = self.size.width
        folder = visible(str(sessions_folder()), max(width - 14, 10), space=" ")
        what = " Compare with" if self._to_compare else " Sessions"
        is_alone = self._to_compare and self._is_listed and not self._sessions
        marks = visible(f" {marks_words(self._sessions)}", width, space=" ")
        below = (f" {_NOTHING_TO_COMPARE}", "warn") if is_alone else (marks, "dim")
        head = [line(self.look, (what, "title"), (f"  {folder}", "dim")), line(self.look, below)]
        changed = self.query_one("#browser-head", Lines).show(head)
        changed |= self.offer(self.sheet())
        return self.show_keys("", "list") or changed
