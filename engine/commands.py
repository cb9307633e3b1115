"""What a screen may ask of a running engine, answered between batches.

- `CommandDesk`   reads new commands, answers them, keeps the pause and stop wishes
- `signals_as_stop`  SIGTERM and SIGINT ask for a stop; SIGHUP (a closed terminal) is ignored
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

from corpus.samples import CorpusError
from engine.recording import RunRecorder
from engine.session.records import Command
from engine.session.writer import SessionWriter

POLL_SECONDS = 0.1


class StopRequested(Exception):
    """The user or the system asked the engine to end after the batch in hand."""


class CommandDesk:
    """Obeys the session file's commands: `pause`, `resume`, `stop`, `add`.

    Attributes:
        stop_wished: a stop was asked for, by a command or a signal.
        add_samples: takes the arguments of `add` and answers; None while the run cannot take any.
    """

    def __init__(self, writer: SessionWriter, recorder: RunRecorder) -> None:
        self._writer = writer
        self._recorder = recorder
        self._paused = False
        self.stop_wished = False
        self.add_samples: Callable[[Mapping[str, Any]], str] | None = None

    def obey(self) -> None:
        """Answer what was asked since the last batch; waits while paused.

        Raises:
            StopRequested: a stop was asked for.
        """
        self._answer_new()
        if self._paused and not self.stop_wished:
            self._recorder.set_phase("paused", "paused; space or `resume` continues")
            self._wait_for_news()
            self._recorder.set_phase("running")
        if self.stop_wished:
            raise StopRequested

    def _wait_for_news(self) -> None:
        while self._paused and not self.stop_wished:
            time.sleep(POLL_SECONDS)
            self._answer_new()

    def _answer_new(self) -> None:
        for command in self._writer.new_commands():
            state, answer = self._answer(command)
            self._writer.answer(command, state, text=answer)
            self._recorder.event("command", f"{command.name}: {answer}")

    def _answer(self, command: Command) -> tuple[str, str]:
        match command.name:
            case "pause":
                self._paused = True
                return "done", "paused"
            case "resume":
                self._paused = False
                return "done", "running"
            case "stop":
                self.stop_wished = True
                return "done", "stopping"
            case "add" if self.add_samples is not None:
                try:
                    return "done", self.add_samples(command.arguments)
                except (CorpusError, KeyError) as error:
                    return "refused", str(error)
            case _:
                return "refused", f"this engine does not know '{command.name}'"


@contextmanager
def signals_as_stop(desk: CommandDesk) -> Iterator[None]:
    """Within this block SIGTERM and SIGINT set the stop wish, and SIGHUP is ignored."""

    def wish(signum: int, frame: FrameType | None) -> None:
        desk.stop_wished = True

    before = {number: signal.signal(number, wish) for number in (signal.SIGTERM, signal.SIGINT)}
    before[signal.SIGHUP] = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
