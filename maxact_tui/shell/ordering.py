"""Keys are obeyed one after the other, however fast they are typed.

Textual hands a key that is bound to nothing on to a screen or a field, and takes the next one before that has done
anything; a screen that closes or opens meanwhile gets keys that were meant for another one. Here a key is over before
the next begins. What works on numbers that are still being read waits for them.

- `OrderedApp`  the part of the application that takes keys
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence

from textual.dom import DOMNode
from textual.events import Event, InputEvent, Key, Paste
from textual.widgets import TextArea

from maxact_tui.keymap.actions import everywhere
from maxact_tui.screens.answering import AnsweringScreen
from maxact_tui.screens.steady import Steady
from maxact_tui.screens.watched import Awaiting
from maxact_tui.terminal.private import HonestApp, settle_callbacks
from maxact_tui.terminal.typing import TogetherKey

SETTLE_SECONDS = 1.0  # a widget that takes longer over a key than this does not hold up the next one
LONGEST_HOLD_SECONDS = 3.0
_LOOK_SECONDS = 0.03
_OWN = ("quit", "help_quit")


class OrderedApp(HonestApp):
    """Takes one key at a time."""

    _held_since = 0.0

    def __init__(self) -> None:
        super().__init__()
        self._held: deque[Key] = deque()

    async def on_event(self, event: Event) -> None:
        """Obey a key wholly before the next, or keep it until what it works on is there."""
        if isinstance(event, InputEvent | Paste) and not self.screen_stack:  # typed or pasted while the program ends
            return
        if not isinstance(event, Key) or event.is_forwarded:
            await super().on_event(event)
            return
        for key in self._meant(event):
            if key.key != "ctrl+c" and (self._held or self._must_wait(key)):
                self._hold(key)
            else:
                await self._obey(key)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Under a dialog only what works everywhere does: the rest would act on the screen below it."""
        if self.screen_stack and isinstance(self.screen, AnsweringScreen) and action not in _OWN:
            allowed = {one.name.partition("(")[0] for one in everywhere(*self.screen.PLACES)}
            if action in {one.name.partition("(")[0] for one in everywhere()} - allowed:
                return False
        return super().check_action(action, parameters)

    def _meant(self, event: Key) -> Sequence[Key]:
        """A key, or esc and a key where they came together and nothing is bound to the two as one."""
        if not isinstance(event, TogetherKey):
            return (event,)
        focused = self.focused
        is_text = isinstance(focused, TextArea) or (focused is not None and event.key == "ctrl+w")
        is_one = is_text or event.key in self.screen.active_bindings
        return (event.together,) if is_one else event.apart

    async def _obey(self, key: Key) -> None:
        await settle_callbacks(self)  # what closing a screen has left to do comes before the next key
        if not self.screen_stack:  # the program has ended meanwhile
            return
        target: DOMNode = self.focused or self.screen
        await super().on_event(key)
        if key.is_forwarded:
            await self._settled(target)

    async def _settled(self, target: DOMNode) -> None:
        """Wait until a widget and those around it have done what a key asks of them."""
        for _ in range(2):  # what the key was for, and the messages that came of it
            for node in target.ancestors_with_self:
                done = asyncio.Event()
                if node is self or not node.call_later(done.set):
                    continue
                try:
                    await asyncio.wait_for(done.wait(), SETTLE_SECONDS)
                except TimeoutError:
                    return

    def _must_wait(self, key: Key) -> bool:
        screen = self.screen
        if isinstance(screen, Steady) and not screen.can_draw:
            return True
        if not isinstance(screen, Awaiting):
            return False
        active = screen.active_bindings.get(key.key)
        return screen.awaits(active.binding.action.partition("(")[0] if active is not None else "")

    def _hold(self, key: Key) -> None:
        self._held.append(key)
        if len(self._held) == 1:
            self._held_since = time.monotonic()
            self.set_timer(_LOOK_SECONDS, self._release)

    async def _release(self) -> None:
        """Obey what was kept, as far as it need not wait; nothing waits longer than `LONGEST_HOLD_SECONDS`."""
        while self._held and self.screen_stack:  # keys that are left when the program ends are dropped
            is_late = time.monotonic() - self._held_since > LONGEST_HOLD_SECONDS
            if not is_late and self._must_wait(self._held[0]):
                self.set_timer(_LOOK_SECONDS, self._release)
                return
            await self._obey(self._held[0])
            self._held.popleft()
