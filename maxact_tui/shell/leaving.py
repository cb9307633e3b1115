"""Leaving the application: by key, by signal, and when the terminal is gone.

- `LeavingApp`  the part of the application that ends it
"""

from __future__ import annotations

import os
import signal
import time
from abc import abstractmethod
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from textual.message import Message

from engine.session.patience import WHOLE_SECONDS
from engine.session.requests import Request, title_of
from maxact_tui.keymap.settings import Settings
from maxact_tui.screens.choice import ChoiceScreen, leave_choices
from maxact_tui.shell.ordering import OrderedApp
from maxact_tui.terminal.ending import (
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    LEAVING_SECONDS,
    HangupWatch,
    exit_code,
    leave_by_force_after,
    on_signals,
)
from maxact_tui.terminal.palette import Look, choose_look
from maxact_tui.watching.requests import Requests
from maxact_tui.watching.snapshot import Snapshot
from maxact_tui.widgets.abstract import AbstractMeta

NOTICE_SECONDS = 6.0
FORCED_SECONDS = LEAVING_SECONDS / 2  # the rest is for the way out
GIVE_UP_SECONDS = 1.0
MOST_TOLD = 200


class LeavingApp(OrderedApp, metaclass=AbstractMeta):
    """An application that shows a session and ends in every way there is; its result is the exit code.

    Args:
        session: the session file; None to choose one first.
        read_only: send no commands to the engine.
        ascii_only: write ASCII only.
        settings: theme, units, keys.
    """

    class TerminalLost(Message):
        """The terminal is gone."""

    class RequestMoved(Message):
        """A request has got further on its way into the session file."""

        def __init__(self, requests: Requests, request: Request) -> None:
            super().__init__()
            self.requests, self.request = requests, request

    def __init__(self, session: Path | None, *, read_only: bool, ascii_only: bool, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        self.look = self.make_look(settings.theme, ascii_only=ascii_only)
        self.set_keymap({name: ",".join(keys) for name, keys in settings.keys.items()})
        self.snapshot = Snapshot(session or Path())
        self._session, self._read_only = session, read_only
        self._requests_of: dict[Path, Requests] = {}
        self._requests = self.requests_of(session or Path())
        self._hangup = HangupWatch(self._lost)
        self._waits_for_stop = False
        self.sending_seconds = WHOLE_SECONDS
        """How long what is unsent at the end may take."""
        self._interrupted_at = -NOTICE_SECONDS
        self.told: deque[tuple[float, str]] = deque(maxlen=MOST_TOLD)

    def on_mount(self) -> None:
        """Watch for signals and for the terminal's end."""
        if not self.is_headless:
            on_signals(self._leave_on_signal)
            self._hangup.start()

    def on_unmount(self) -> None:
        """Stop watching."""
        self._hangup.stop()

    def make_look(self, theme: str, *, ascii_only: bool) -> Look:
        """How things look in this terminal under a theme, with the user's keys."""
        no_colour = bool(os.environ.get("NO_COLOR"))
        return choose_look(
            self.console.color_system,
            no_colour=no_colour,
            ascii_only=ascii_only,
            theme=theme,
            keys=self.settings.keys,
            units=self.settings.units,
        )

    def requests_of(self, session: Path) -> Requests:
        """What is asked of a session's engine; it goes on its way when another session is shown."""
        if session not in self._requests_of:

            def moved(request: Request) -> None:
                self.post_message(self.RequestMoved(requests, request))

            self._requests_of[session] = requests = Requests(session, self._read_only, self.say, moved)
        return self._requests_of[session]

    @property
    def unsent(self) -> list[Request]:
        """What is not sent yet, of every session."""
        return [request for requests in self._requests_of.values() for request in requests.unsent]

    def settle(self, seconds: float) -> None:
        """Wait until everything is sent or has failed, at most this long."""
        end = time.monotonic() + seconds
        for requests in self._requests_of.values():
            requests.settle(max(end - time.monotonic(), 0.0))

    def give_up(self) -> None:
        """Send nothing more; waits for the try in hand, so that it is known whether that has sent something."""
        for requests in self._requests_of.values():
            requests.give_up()
        self.settle(GIVE_UP_SECONDS)

    @abstractmethod
    def say(self, text: str, *shorter: str) -> None:
        """Show a line for some seconds, of `text` and what is shorter the first that fits."""

    @abstractmethod
    def redraw(self, _: object = None) -> None:
        """Show on the uncovered screen what came while it was covered."""

    def on_leaving_app_terminal_lost(self) -> None:
        """Nobody is watching any more."""
        self.leave(self._exit_code(), by_force=True)

    async def action_leave(self) -> None:
        """Leave; ask first if a run goes on."""
        if self._session is None or self.snapshot.has_ended or self._waits_for_stop or self._is_unreadable:
            self.leave(self._exit_code())
        else:
            choices = leave_choices(may_stop=not self._read_only)
            question = f"The run goes on without this screen{_sent_first(self.unsent)}."
            await self.push_screen(ChoiceScreen(self.look, question, choices), self._on_leave_chosen)

    async def action_quit(self) -> None:
        """Textual's own quit key does what q does."""
        await self.action_leave()

    def action_help_quit(self) -> None:
        """ctrl+c: the second one leaves at once, as long as the notice of the first is shown."""
        now = time.monotonic()
        if now - self._interrupted_at < NOTICE_SECONDS:
            self.leave(EXIT_INTERRUPTED)
        self._interrupted_at = now
        self.say("ctrl+c again leaves at once; the engine is not touched")

    def leave_if_stopped(self) -> None:
        """Leave once the engine that was asked to stop has ended."""
        if self._waits_for_stop and self.snapshot.has_ended:
            self.leave(self._exit_code())

    @property
    def _is_unreadable(self) -> bool:
        """Whether nothing could be read of the session, so that no run is known of."""
        return self.snapshot.status is None and bool(self.snapshot.problem)

    def _exit_code(self) -> int:
        if self._session is None:
            return EXIT_DONE
        return EXIT_FAILED if self._is_unreadable else exit_code(self.snapshot)

    def _leave_on_signal(self, number: int) -> None:
        self.leave(EXIT_INTERRUPTED if number == signal.SIGINT else self._exit_code(), by_force=True)

    def leave(self, code: int, *, by_force: bool = False) -> None:
        """End with this exit code; `by_force` even if the terminal takes no more output."""
        self.sending_seconds = 0.0 if code == EXIT_INTERRUPTED else FORCED_SECONDS if by_force else WHOLE_SECONDS
        if by_force:
            leave_by_force_after(LEAVING_SECONDS, code)
        self.exit(code, return_code=code)

    def _lost(self) -> None:
        self.post_message(self.TerminalLost())

    def _on_leave_chosen(self, chosen: str | None) -> None:
        if chosen == "leave":
            self.leave(self._exit_code())
        elif chosen == "stop" and self._requests.send("stop"):
            self._waits_for_stop = True
            self.say("stopping after the current batch and its checkpoint; q leaves without waiting")
        self.redraw()


def _sent_first(unsent: Sequence[Request]) -> str:
    """What is sent before the program ends, as the end of a sentence."""
    if not unsent:
        return ""
    one = title_of(unsent[0].name, unsent[0].arguments)
    return f"; {one} is sent first" if len(unsent) == 1 else f"; {len(unsent)} requests are sent first"
