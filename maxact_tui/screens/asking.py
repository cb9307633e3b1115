"""A screen that asks the engine for the values of a text, waits for them, and reads them from the session.

- `AskingScreen`
"""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from textual import work
from textual.message import Message
from textual.timer import Timer

from engine.messages import Code, as_written, message
from engine.session.requests import Request, Standing
from maxact_tui.bugs import in_words
from maxact_tui.pages.standings import standing_words
from maxact_tui.screens.watched import WatchedScreen
from maxact_tui.terminal.palette import Look
from maxact_tui.texts.numbers import duration
from maxact_tui.watching.probes import KIND, ProbeView, read_probe
from maxact_tui.watching.snapshot import Snapshot

READ_ONLY = "read-only: this shows what was asked for before, and asks for nothing new"


class AskingScreen(WatchedScreen):
    """Asks for one text at a time.

    Args:
        look: what the terminal can show.
        snapshot: what to show first.
        may_ask: whether the engine may be asked.

    Attributes:
        answer: where the last request stands; None where there is nothing to say.
    """

    class ProbeRead(Message):
        """The values of a text were read from the session."""

        def __init__(self, view: ProbeView) -> None:
            super().__init__()
            self.view = view

    class Failed(Message):
        """Something could not be read."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    def __init__(self, look: Look, snapshot: Snapshot, *, may_ask: bool) -> None:
        super().__init__(look, snapshot)
        self.may_ask = may_ask
        self.answer: Standing | None = None
        self._request: Request | None = None
        self._wanted = 0
        self._since = 0.0  # when the request was made, in seconds since the epoch
        self._ticking: Timer | None = None
        self._is_reading = False

    @property
    def is_reading(self) -> bool:
        """Whether values that are in the session are being read."""
        return self._is_reading

    @property
    def waiting_words(self) -> str:
        """What is going on and for how long; empty while nothing is asked."""
        if self.answer is None or self.answer.is_over:
            return ""
        began = "not sent yet" if self.answer.stage == "locked" else "running"
        return f"{began} … {duration(max(time.time() - self._since, 0.0))}  {standing_words(self.answer)}"

    @property
    def path(self) -> Path:
        """The session file."""
        return self.snapshot.path

    @abstractmethod
    def take(self, view: ProbeView) -> None:
        """Show these values."""

    def show(self, snapshot: Snapshot) -> bool:
        """Show a newer snapshot, and follow the engine's answer."""
        self.snapshot = snapshot
        if not self.can_draw:
            return False
        self.follow()
        return self.draw(by_data=True)

    def follow(self) -> None:
        """See how the request is getting on; a result is read as soon as it is there."""
        if self._request is None:
            return
        self.answer = self.snapshot.standing(self._request)
        if self.answer.is_over:
            self._request = None
        if self.answer.stage == "done":
            self.load(self.answer.result)
            self.answer = Standing("reading", message(Code.READING))

    def join(self, is_wanted: Callable[[Mapping[str, Any]], bool]) -> bool:
        """Wait for what was asked already, of this screen before it was left or of another; says whether there is."""
        found = [request for request in self.snapshot.asked(KIND) if is_wanted(request.arguments)]
        if found and not self.snapshot.standing(found[-1]).is_over:
            self._request, self._since = found[-1], found[-1].at
            self.follow()
            self._tick()
        return self._request is not None

    def request(self, arguments: Mapping[str, Any]) -> None:
        """Ask the engine for the values of a text, starting it where the run has ended."""
        self._request, self._wanted, self._is_reading = None, 0, False
        if self.may_ask:
            self._request = Request(KIND, arguments)
            self.answer, self._since = self._request.sending, self._request.at
            self._tick()
            self.post_message(self.RequestWished(self._request))
        else:
            self.answer = Standing("refused", as_written(READ_ONLY))
        self.draw()

    def load(self, result: int) -> None:
        """Read a result of the session; of several only the last one wanted is shown."""
        self._wanted, self._is_reading = result, True
        self._read(self.path, result)

    def _tick(self) -> None:
        """Tell the time every second until there is an answer."""
        if self._ticking is None:
            self._ticking = self.set_interval(1.0, self._tick)
        elif self.waiting_words:
            self.draw()
        else:
            self._ticking.stop()
            self._ticking = None

    def on_asking_screen_probe_read(self, event: ProbeRead) -> None:
        """The values are here."""
        if event.view.result.number == self._wanted:
            self.answer, self._is_reading = None, False
            self.take(event.view)

    def on_asking_screen_failed(self, event: Failed) -> None:
        """Say what is wrong."""
        self.answer, self._is_reading = Standing("refused", as_written(event.text)), False
        self.draw()

    @work(thread=True, group="read")
    def _read(self, path: Path, result: int) -> None:
        try:
            self.post_message(self.ProbeRead(read_probe(path, result)))
        except Exception as error:  # noqa: BLE001  # the last boundary of a thread
            self.post_message(self.Failed(in_words(error)))
