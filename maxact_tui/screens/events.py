"""The event log, live: what mattered, the newest on top.

- `EventsScreen`  gives back the site of the chosen event, None for esc
"""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical

from engine.session.records import Event
from maxact_tui.keymap import actions
from maxact_tui.pages.eventlines import event_detail, event_sheet
from maxact_tui.pages.sheets import Sheet
from maxact_tui.screens.tabled import Tabled
from maxact_tui.screens.watched import WatchedScreen
from maxact_tui.watching.snapshot import Wish
from maxact_tui.widgets.lines import Lines, line
from maxact_tui.widgets.picker import MARK_CELLS, Picker
from maxact_tui.widgets.prompt import PromptLine


class EventsScreen(Tabled, WatchedScreen):
    """A list of events that grows while it is open; enter goes to the site of one."""

    CSS_PATH = "events.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [*actions.bindings("list")]
    PLACES: ClassVar[tuple[actions.Place, ...]] = ("list",)

    def parts(self) -> ComposeResult:
        """Title, list, the selected event in full, keys."""
        with Vertical():
            yield Lines(self.look, id="events-head")
            yield Picker(self.look, id="events-list")
            yield Lines(self.look, id="events-detail")
            yield PromptLine(self.look, id="events-keys")

    def on_mount(self) -> None:
        """Show what is known."""
        self.ask()
        self.draw()

    def on_picker_picked(self, event: Picker.Picked) -> None:
        """Show the selected event in full."""
        event.stop()
        self.draw()

    def wish(self) -> Wish:
        """Nothing beyond the events, which every snapshot has."""
        return Wish(self.snapshot.focus, model=False)

    def notice(self, text: str) -> None:
        """Show a short answer in place of the keys; without one the keys."""
        self._notice = text
        self.show_keys(text, "list")

    def _draw(self, *, by_data: bool = False) -> bool:
        """Bring every widget up to date; the selected event stays selected when newer ones come."""
        if by_data:
            self._follow()
        count = len(self.snapshot.events)
        said = (
            f"  {count:,} {'event' if count == 1 else 'events'}, the newest first" if count else "  nothing to tell yet"
        )
        changed = self._lines("head").show([line(self.look, (" Events", "title"), (said, "dim"))])
        changed |= self.offer(self.sheet())
        detail, event = self._lines("detail"), self._event()
        shown = [] if event is None else event_detail(event, self.look, self.size.width - 2, detail.size.height)
        self._number = event.number if event is not None else None
        return detail.show(shown) | self.show_keys(self._notice, "list") or changed

    def sheet(self) -> Sheet:
        """The events."""
        shown = self.snapshot
        started = shown.status.started if shown.status is not None else 0.0
        return event_sheet(shown.events, shown.plan, started, self.look, self.size.width - MARK_CELLS)

    @property
    def picker(self) -> Picker:
        """The events."""
        return self.query_one(Picker)

    @property
    def prompt(self) -> PromptLine:
        """The line of keys."""
        return self.query_one(PromptLine)

    def action_choose(self) -> None:
        """Go to the site the selected event is about."""
        event = self._event()
        if event is not None and event.site is not None:
            self.dismiss(event.site)
        elif event is not None:
            self.say("this event is not about one site")

    def action_back(self) -> None:
        """Back to the heatmap; with a filter first back to every event."""
        if not self.clear_filter():
            self.dismiss(None)

    _number: int | None = None
    _notice = ""

    def _event(self) -> Event | None:
        return None if self.chosen is None else self.snapshot.events[-1 - self.chosen]

    def _follow(self) -> None:
        """Move the selection to where the event has moved, unless the user watches the newest at the top."""
        if self.picker.selected == 0:
            return
        self.offer(self.sheet())
        numbers = [self.snapshot.events[-1 - place].number for place in self._numbers]
        if self._number in numbers:
            self.picker.selected = numbers.index(self._number)

    def _lines(self, name: str) -> Lines:
        return self.query_one(f"#events-{name}", Lines)
