"""What a screen may ask of a running engine, answered between batches.

- `CommandDesk`   reads new commands and answers them; keeps the stop wish
- `RunDesk`       the desk of a run, which can be paused
- `refuse_the_rest`  what an engine that ends has not answered
- `signals_as_stop`  SIGTERM and SIGINT ask for a stop; SIGHUP (a closed terminal) is ignored
- `StopRequested`  the user or the system wants the engine to end
"""

from __future__ import annotations

import logging
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any

from corpus.samples import CorpusError
from engine.messages import Code, Message, message
from engine.run.recording import RunRecorder
from engine.session.records import Command
from engine.session.writer import SessionWriter
from engine.work.queue import WorkQueue

POLL_SECONDS = 0.1
TURN_SECONDS = 0.25
"""For answering between two batches: a queue of thousands must not keep the run from its work."""
_log = logging.getLogger(__name__)


class StopRequested(Exception):
    """The user or the system asked the engine to end after the batch in hand."""


class CommandDesk:
    """Obeys the session file's commands: `stop`, `cancel`, the works of the queue, and what handlers are given for.

    Args:
        writer: of the session.
        tell: records an event.

    Attributes:
        stop_wished: a stop was asked for, by a command or a signal.
        handlers: takes a command's arguments and answers, by the command's name.
        works: takes the commands that need the loaded model; None before it is loaded.
        stop_answer: the answer to `stop`.
    """

    def __init__(self, writer: SessionWriter, tell: Callable[[Message], None]) -> None:
        self._writer = writer
        self._tell = tell
        self.stop_answer = message(Code.STOPPING)
        self.stop_wished = False
        self.handlers: dict[str, Callable[[Mapping[str, Any]], Message]] = {}
        self.works: WorkQueue | None = None
        self._looking = threading.Lock()

    def look_for_stop(self) -> None:
        """While a model loads: take a `stop`, and leave everything else until it can be answered."""
        with self._looking:
            for command in self._writer.new_commands():
                if command.name == "stop":
                    self._reply(command, *self._answer(command))

    def answer_new(self) -> int:
        """Answer what was asked since the last time, or put it into the queue of works; says how much that was.

        What takes longer than a turn waits for the next one; a stop comes first (`SessionWriter.new_commands`).
        """
        end, commands = time.monotonic() + TURN_SECONDS, self._writer.new_commands()
        for count, command in enumerate(commands):
            if count and time.monotonic() >= end:
                return count
            if self.works is not None and self.works.knows(command.name):
                self.works.put(command)
            else:
                self._reply(command, *self._answer(command))
        return len(commands)

    def _reply(self, command: Command, state: str, answer: Message) -> None:
        self._writer.answer(command, state, answer)
        self._tell(message(Code.ANSWERED, name=command.name, answer=answer))

    def _answer(self, command: Command) -> tuple[str, Message]:
        match command.name:
            case "stop":
                self.stop_wished = True
                return "done", self.stop_answer
            case "cancel" if self.works is not None:
                found = self.works.cancel(int(command.arguments.get("command", 0)))
                return ("done", message(Code.CANCELLED)) if found else ("refused", message(Code.NOT_CANCELLED))
            case name if name in self.handlers:
                try:
                    return "done", self.handlers[name](command.arguments)
                except (CorpusError, KeyError) as error:
                    return "refused", message(Code.REFUSED, reason=str(error))
            case _:
                return "refused", message(Code.UNKNOWN_COMMAND, name=command.name)


class RunDesk(CommandDesk):
    """The desk of a run, which can be paused; works go on meanwhile.

    Attributes:
        before_rest: called when a pause begins, so that everything measured can be looked at meanwhile.
    """

    def __init__(self, writer: SessionWriter, recorder: RunRecorder) -> None:
        super().__init__(writer, partial(recorder.event, "command"))
        self._recorder = recorder
        self._paused = False
        self.before_rest: Callable[[], None] = lambda: None
        self.handlers |= {"pause": self._pause, "resume": self._resume}

    def obey(self, work: Callable[[], None]) -> None:
        """Answer what was asked since the last batch and do a step of `work`; waits while paused.

        Raises:
            StopRequested: a stop was asked for.
        """
        self.answer_new()
        work()
        if self._paused and not self.stop_wished:
            self.before_rest()
            self._recorder.set_phase("paused", message(Code.PAUSED))
            self._wait_for_news(work)
            self._recorder.set_phase("running")
        if self.stop_wished:
            raise StopRequested

    def _wait_for_news(self, work: Callable[[], None]) -> None:
        while self._paused and not self.stop_wished:
            if not self.works:
                time.sleep(POLL_SECONDS)
            self.answer_new()
            work()

    def _pause(self, _arguments: Mapping[str, Any]) -> Message:
        self._paused = True
        return message(Code.NOW_PAUSED)

    def _resume(self, _arguments: Mapping[str, Any]) -> Message:
        self._paused = False
        return message(Code.NOW_RUNNING)


def refuse_the_rest(writer: SessionWriter, why: Message) -> None:
    """Refuse every command that nobody has answered; on a full disk the engine's last status has to be enough."""
    try:
        writer.refuse_unanswered(why)
    except sqlite3.OperationalError as error:
        _log.warning("commands not refused: %s", error)


@contextmanager
def signals_as_stop(desk: CommandDesk) -> Iterator[None]:
    """Within this block SIGTERM and SIGINT set the stop wish, and SIGHUP is ignored.

    Only a program's main thread may take signals; in another one they stay as they are.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def wish(signum: int, frame: FrameType | None) -> None:
        desk.stop_wished = True

    before = {number: signal.signal(number, wish) for number in (signal.SIGTERM, signal.SIGINT)}
    before[signal.SIGHUP] = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
