"""Massive activations followed through the layers.

- `ThreadsScreen`
"""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical

from engine.analysis.threads import Thread
from maxact_tui.keymap import actions
from maxact_tui.pages.sheets import Sheet
from maxact_tui.pages.threadlines import thread_detail, thread_sheet, thread_site, thread_words
from maxact_tui.screens.tabled import Tabled
from maxact_tui.screens.watched import Pointed, WatchedScreen, needing_rows
from maxact_tui.watching.snapshot import Wish
from maxact_tui.widgets.lines import Lines, line
from maxact_tui.widgets.picker import MARK_CELLS, Picker
from maxact_tui.widgets.prompt import PromptLine

_NEEDING_ROWS = needing_rows("threads", "list")


class ThreadsScreen(Tabled, WatchedScreen):
    """A list of threads; enter opens the site where one peaks."""

    CSS_PATH = "threads.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [*actions.bindings("list"), *actions.bindings("threads")]
    PLACES: ClassVar[tuple[actions.Place, ...]] = ("threads", "list")

    _notice = ""

    def parts(self) -> ComposeResult:
        """Title and sentences, list, detail, keys."""
        with Vertical():
            yield Lines(self.look, id="threads-head")
            yield Picker(self.look, id="threads-list")
            yield Lines(self.look, id="threads-detail")
            yield PromptLine(self.look, id="threads-keys")

    def on_mount(self) -> None:
        """Ask for the model's threads and show what is known."""
        self.ask()
        self.draw()

    def on_picker_picked(self, event: Picker.Picked) -> None:
        """Show the detail of the selected thread."""
        event.stop()
        self.draw()

    def wish(self) -> Wish:
        """The whole model."""
        return Wish(self.snapshot.focus, model=True)

    def notice(self, text: str) -> None:
        """Show a short answer in place of the keys; without one the keys."""
        self._notice = text
        self.show_keys(text, *self.PLACES)

    def _draw(self, *, by_data: bool = False) -> bool:
        """Bring every widget up to date."""
        width = self.size.width
        stale = self.snapshot.as_of(self.snapshot.model.tokens) if self.snapshot.model is not None else ""
        title = line(self.look, (" Threads: massive activations through the layers", "title"), (f"  {stale}", "dim"))
        changed = self._lines("head").show([title, *thread_words(self.snapshot, self.look, width)])
        changed |= self.offer(self.sheet())
        detail = [] if self.chosen is None else thread_detail(self.snapshot, self.chosen, self.look, width - 2)
        changed |= self._lines("detail").show(detail)
        return self.show_keys(self._notice, *self.PLACES) or changed

    def sheet(self) -> Sheet:
        """The threads."""
        return thread_sheet(self.snapshot, self.look, self.size.width - MARK_CELLS)

    @property
    def picker(self) -> Picker:
        """The threads."""
        return self.query_one(Picker)

    @property
    def prompt(self) -> PromptLine:
        """The line of keys."""
        return self.query_one(PromptLine)

    async def action_choose(self) -> None:
        """Open the site where the selected thread peaks, with its element selected."""
        await self.app.run_action("app.site_here")

    def awaits(self, action: str) -> bool:
        """The threads are read when the list is opened."""
        is_here = not self.snapshot.checkpoint or self.snapshot.model is not None or self.snapshot.damages.model != ""
        return not is_here and action in _NEEDING_ROWS

    def sample_place(self) -> tuple[int, int] | None:
        """Where the selected thread is."""
        thread = self._thread
        return (thread.sample, thread.position) if thread is not None else None

    def pointed(self) -> Pointed | None:
        """The site where the selected thread peaks, and its element."""
        thread, plan = self._thread, self.snapshot.plan
        site = thread_site(plan, thread) if thread is not None and plan is not None else None
        if thread is None or site is None:
            return None
        return Pointed(site, (thread.sample, thread.position, thread.channel))

    @property
    def _thread(self) -> Thread | None:
        """The selected thread."""
        threads = self.snapshot.model.threads if self.snapshot.model is not None else ()
        number = self.chosen
        return threads[number] if number is not None and number < len(threads) else None

    def action_back(self) -> None:
        """Back; with a filter first back to every thread."""
        if not self.clear_filter():
            self.dismiss(None)

    def _lines(self, name: str) -> Lines:
        return self.query_one(f"#threads-{name}", Lines)
