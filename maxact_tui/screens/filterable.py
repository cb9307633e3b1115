"""What every screen that can be filtered has in common.

- `Filterable`  the prompt that `/` opens, the filter in force, and how it is shown
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from typing import TYPE_CHECKING, cast

from textual.strip import Strip

from maxact_tui.keymap.actions import Place
from maxact_tui.pages.footer import footer_line
from maxact_tui.texts.filtering import EVERYTHING, Filter, FilterError, Record, parse_filter
from maxact_tui.texts.visible import cell_width, cut_middle, visible
from maxact_tui.widgets.lines import line
from maxact_tui.widgets.prompt import PromptLine

if TYPE_CHECKING:
    from textual.screen import Screen

    from maxact_tui.terminal.palette import Look

_HISTORY: list[str] = []  # of every screen: what was asked of one table is often asked of the next
_KEPT = 50


class Filterable(ABC):
    """Filters what a screen shows; stands before the screen class among the bases.

    The line of keys must be a `PromptLine`; `key_strips` makes what it shows while nobody types.
    """

    look: Look
    kept: Filter = EVERYTHING
    _before: Filter = EVERYTHING

    @property
    def idle_actions(self) -> Collection[str]:
        """Names of actions that have nothing to do here, which neither footer nor palette offers."""
        return ()

    @property
    @abstractmethod
    def prompt(self) -> PromptLine:
        """The line of keys."""

    @abstractmethod
    def filter_changed(self) -> None:
        """Show what the filter in force keeps."""

    @abstractmethod
    def example(self) -> Record | None:
        """A record with every field this screen has; None before there is a row."""

    @abstractmethod
    def filter_counts(self) -> tuple[int, int]:
        """How many rows are kept, of how many."""

    def open_filter(self) -> None:
        """Let the user type a filter, beginning with the one in force."""
        self._before = self.kept
        self.prompt.open("/ ", self.kept.text, _HISTORY, self._submit)
        self._judge(self.kept.text)

    def clear_filter(self) -> bool:
        """Keep everything again; says whether there was a filter."""
        had = bool(self.kept)
        if had:
            self.kept = EVERYTHING
            self.filter_changed()
        return had

    def on_prompt_line_changed(self, event: PromptLine.Changed) -> None:
        """Show what the text keeps as it is typed."""
        event.stop()
        if event.text == self.prompt.text:  # else more has been typed since, or it has been submitted
            self._judge(event.text)

    def on_prompt_line_cancelled(self, event: PromptLine.Cancelled) -> None:
        """Back to the filter before."""
        event.stop()
        self.kept = self._before
        self.filter_changed()

    def key_strips(self, *places: Place) -> list[Strip]:
        """The filter in force, if any, and the keys."""
        width = cast("Screen[object]", self).size.width
        if not self.kept:
            return [footer_line(self.look, width, *places, without=self.idle_actions)]
        text = visible(self.kept.text, max(width // 3, 12), space=" ", ascii_only=self.look.ascii_only)
        kept, of = self.filter_counts()
        count = f" {kept:,} of {of:,} "
        lead = line(self.look, (" /", "key"), (f" {text} ", "warn"), (count, "dim"), ("esc", "key"), " clears ")
        used = cell_width(text) + cell_width(count) + 15
        return [Strip.join([lead, footer_line(self.look, max(width - used, 0), *places, without=self.idle_actions)])]

    def show_keys(self, notice: str, *places: Place) -> bool:
        """Show a notice in the line of keys, without one the keys."""
        if notice:
            width = max(cast("Screen[object]", self).size.width - 1, 1)
            shown = cut_middle(visible(notice, space=" "), width, ascii_only=self.look.ascii_only)
            return self.prompt.show([line(self.look, (f" {shown}", "key"))])
        return self.prompt.show(self.key_strips(*places))

    def _submit(self, text: str) -> bool:
        """Keep the filter; one that cannot be read stays open to be mended."""
        if not self._judge(text):
            return False
        if self.kept:
            _HISTORY[:] = [*(old for old in _HISTORY if old != self.kept.text), self.kept.text][-_KEPT:]
        return True

    def _judge(self, text: str) -> bool:
        """Put the filter that was typed in force; says whether it could be read."""
        try:
            self.kept = parse_filter(text)
        except FilterError as error:
            self.prompt.remark(str(error), "bad")
            return False
        self.filter_changed()
        self.prompt.remark(self._remark(), "dim")
        return True

    def _remark(self) -> str:
        if not self.kept:
            return "words, layer:10-20, comp:mlp*, value>100, cat:code, !...; ? explains"
        kept, of = self.filter_counts()
        record = self.example()
        idle = self.kept.beyond(record) if record is not None else []
        return f"{kept:,} of {of:,}" + (f"; nothing here has {', '.join(idle)}" if idle else "")
