"""What every screen that shows snapshots has in common.

- `Awaiting`       a screen on which keys may have to wait for what they work on
- `Pointed`        what the user points at: a site, and an element of it
- `needing_rows`   the actions that work on what a screen shows
- `WatchedScreen`  takes snapshots; asks for what it wants to see by `ViewWished`
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

from textual.message import Message
from textual.strip import Strip

from engine.analysis.nonfinite import Alarm
from engine.session.requests import Request
from maxact_tui.keymap.actions import Place, actions_of, key_of
from maxact_tui.pages.header import alarm_lines
from maxact_tui.pages.nonfinite import address_words, nothing_bad
from maxact_tui.screens.alarmed import Alarmed
from maxact_tui.terminal.forgetting import forget_lines
from maxact_tui.terminal.palette import Look
from maxact_tui.watching.snapshot import Snapshot, Wish


def needing_rows(*places: Place) -> frozenset[str]:
    """The actions of places that work on what the screen shows: all but leaving it and opening the filter."""
    names = {action.name.partition("(")[0] for action in actions_of(*places)}
    return frozenset(names | {"copy"}) - {"back", "app.filter"}


@runtime_checkable
class Awaiting(Protocol):
    """A screen on which keys may have to wait for what they work on."""

    def awaits(self, action: str) -> bool:
        """Whether what this action works on is still being read; an empty name is a key of no action."""


@dataclass(frozen=True, slots=True)
class Pointed:
    """What the user points at.

    Attributes:
        site: the site's number.
        element: (sample, position, channel) of one of its elements, the channel None for the largest of that token;
            None where the cursor is on no element of the corpus.
    """

    site: int
    element: tuple[int, int, int | None] | None = None


class WatchedScreen(Alarmed[int | None]):
    """A screen that shows a session.

    Args:
        look: what the terminal can show.
        snapshot: what to show first.
    """

    PLACES: ClassVar[tuple[Place, ...]] = ("monitor",)
    """Whose actions work here, besides those that work everywhere."""

    class ViewWished(Message):
        """The screen wants to see something else."""

        def __init__(self, wish: Wish) -> None:
            super().__init__()
            self.wish = wish

    class RequestWished(Message):
        """The engine is to be asked for work on the loaded model."""

        def __init__(self, request: Request) -> None:
            super().__init__()
            self.request = request

    class Said(Message):
        """The screen has something to tell the user."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class Uncovered(Message):
        """The screen is on top again, and wants what came meanwhile."""

    is_at_alarm = False
    """Whether the user has gone to the first NaN or infinity, and to nothing else since."""

    _was_covered = False

    def __init__(self, look: Look, snapshot: Snapshot) -> None:
        super().__init__()
        self.look, self.snapshot = look, snapshot

    def on_screen_suspend(self) -> None:
        """It was closed, or another screen covers it, which it will be shown under again."""
        self._was_covered = True
        if self not in self.app.screen_stack:
            forget_lines(self)

    def on_screen_resume(self) -> None:
        """What covered it has closed; the application is told, whatever the answer was."""
        if self._was_covered:
            self._was_covered = False
            self.post_message(self.Uncovered())

    def show(self, snapshot: Snapshot) -> bool:
        """Show a newer snapshot; returns whether anything visible changed."""
        self.snapshot = snapshot
        return self.draw(by_data=True)

    def draw(self, *, by_data: bool = False) -> bool:
        """As every screen is drawn; whatever was asked for before, from now on what is shown is asked for."""
        changed = super().draw(by_data=by_data)
        self.ask()
        return changed

    async def take_look(self, look: Look) -> None:
        """Have `restyle` run after what the screen is doing now, which may be at its widgets, too; wait for its end."""
        done = asyncio.Event()

        async def restyle() -> None:
            try:
                await self.restyle(look)
            finally:
                done.set()

        if self.call_later(restyle):
            await done.wait()

    async def restyle(self, look: Look) -> None:
        """Show the same in another look."""
        self.look = look
        await self.recompose()
        self.call_after_refresh(self.draw)

    @abstractmethod
    def notice(self, text: str) -> None:
        """Show a short answer to the user; an empty text takes it back."""

    @abstractmethod
    def wish(self) -> Wish:
        """What this screen wants to see."""

    def awaits(self, action: str) -> bool:
        """Whether what this action works on is still being read."""
        return False

    def say(self, text: str) -> None:
        """Show a short answer for some seconds, whatever is drawn meanwhile; it is kept with all that was said."""
        self.post_message(self.Said(text))

    def alarm(self, width: int) -> Sequence[Strip]:
        """The session's first NaN or infinity, and the key that goes there."""
        return alarm_lines(self.snapshot, self.look, width, self.alarm_key)

    @property
    def alarm_key(self) -> str:
        """How the key is written that goes to what the red line names; empty where it does something else."""
        return key_of("app", "to_nonfinite", self.look.keys)

    def seek_nonfinite(self) -> None:
        """Go to the first NaN or infinity of what is shown, or say that there is none."""
        alarm = self.snapshot.alarm
        if alarm is None:
            self.say(nothing_bad(self.snapshot))
        else:
            self.to_nonfinite(alarm)

    def to_nonfinite(self, alarm: Alarm) -> None:
        """Go to the first NaN or infinity: back to the heatmap with its site."""
        self.dismiss(alarm.site)

    def arrived(self, alarm: Alarm) -> None:
        """Say what the user has gone to, and how its text is shown."""
        self.is_at_alarm = True
        here = actions_of(*self.PLACES, keys=self.look.keys) if alarm.sample >= 0 else []
        key = next((action.key_text for action in here if action.name == "app.sample"), "")
        self.say(address_words(alarm) + (f"; {key} shows its text" if key else ""))

    def place_of(self, site: int) -> tuple[int, int] | None:
        """(sample, position) of a site's largest |x|; of the first NaN or infinity where the user has gone to that."""
        alarm = self.snapshot.alarm
        if self.is_at_alarm and alarm is not None and alarm.sample >= 0 and alarm.site == site:
            return alarm.sample, alarm.position
        return self.snapshot.place_of(site)

    def sample_place(self) -> tuple[int, int] | None:
        """(sample, position) of the value under the cursor; None where there is none."""
        return None

    def pointed(self) -> Pointed | None:
        """The site under the cursor, and the element of it; None where there is none."""
        return None

    def ask(self) -> None:
        """Tell the application, once there is something to see: what is wished for depends on the widgets.

        To ask for the same again costs nothing; not to ask because an older wish was the same loses the last one.
        """
        if self.can_draw:
            self.post_message(self.ViewWished(self.wish()))
