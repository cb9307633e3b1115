"""One work after the other, a step at a time.

- `WorkQueue`  takes commands, runs steps, answers
"""

from __future__ import annotations

import gc
import logging
import time
from collections import deque
from collections.abc import Callable, Generator, Mapping

import torch

from corpus.samples import CorpusError
from engine.base.computing import computing
from engine.base.memory import is_out_of_memory
from engine.loading.errors import first_line
from engine.messages import Code, Message, message
from engine.session.records import Command
from engine.session.requests import titled
from engine.session.writer import SessionWriter
from engine.work.work import Progress, Work, WorkContext, WorkError

_log = logging.getLogger(__name__)
LEAST_SECONDS = 0.05


class WorkQueue:
    """Works that were asked for and are not done.

    Args:
        works: the works by command name.
        context: what a work may use, asked for when it begins.
        writer: answers the commands.
        tell: records an event.
    """

    def __init__(
        self,
        works: Mapping[str, Work],
        context: Callable[[], WorkContext],
        writer: SessionWriter,
        tell: Callable[[Message], None],
    ) -> None:
        self._works = works
        self._context = context
        self._writer = writer
        self._tell = tell
        self._waiting: deque[Command] = deque()
        self._current: tuple[Command, Generator[Progress, None, int], torch.nn.Module] | None = None

    def knows(self, name: str) -> bool:
        """Whether there is a work of this name."""
        return name in self._works

    def __len__(self) -> int:
        """Works that are not done, the one in hand included."""
        return len(self._waiting) + (self._current is not None)

    def put(self, command: Command) -> None:
        """Take a command; it is answered when its work ends."""
        self._writer.answer(command, "working", message(Code.QUEUED), done=0, total=0)
        self._waiting.append(command)

    def cancel(self, number: int) -> bool:
        """Give up a work by its command's number; says whether there was one."""
        if self._current is not None and self._current[0].number == number:
            command, steps, _ = self._current
            self._current = None
            steps.close()
        else:
            found = next((command for command in self._waiting if command.number == number), None)
            if found is None:
                return False
            self._waiting.remove(found)
            command = found
        self._end(command, "refused", message(Code.CANCELLED))
        return True

    def step(self) -> None:
        """Run a step of the oldest work, with those before it that only announced something.

        A batch lies between two calls, so that a prompt must not need two of them.
        """
        end = time.monotonic() + LEAST_SECONDS
        self._step()
        while self._current is not None and time.monotonic() < end:
            self._step()

    def _step(self) -> None:
        """Run one step of the oldest work; a work that fails is answered, and never ends the run."""
        if self._current is None:
            if not self._waiting:
                return
            command = self._waiting.popleft()
            context = self._context()
            steps = self._works[command.name](context, command.arguments)
            self._current = (command, steps, context.prepared.loaded.model)
        command, steps, model = self._current
        try:
            with computing(model):
                progress = next(steps)
        except StopIteration as end:
            self._current = None
            self._end(command, "done", message(Code.DONE), result=int(end.value))
        except (WorkError, CorpusError) as error:
            self._current = None
            self._end(command, "refused", message(Code.REFUSED, reason=str(error)))
        except Exception as error:  # noqa: BLE001  # the run goes on whatever a request did
            self._current = None
            self._end(command, "refused", _why_it_failed(error))
        else:
            self._writer.answer(command, "working", progress.message, done=progress.done, total=progress.total)

    def close(self, why: Message) -> None:
        """Refuse what is not done."""
        if self._current is not None:
            self._current[1].close()
            self._waiting.appendleft(self._current[0])
            self._current = None
        while self._waiting:
            self._end(self._waiting.popleft(), "refused", why)

    def _end(self, command: Command, state: str, answer: Message, **more: int) -> None:
        self._writer.answer(command, state, answer, **more)
        named = titled(command.name, command.arguments)
        is_done = state == "done"
        self._tell(
            message(Code.REQUEST_RUN, **named) if is_done else message(Code.REQUEST_ENDED, **named, answer=answer)
        )


def _why_it_failed(error: Exception) -> Message:
    if not is_out_of_memory(error):
        _log.exception("a work failed")
        return message(Code.WORK_FAILED, reason=first_line(error))
    error.__traceback__ = None  # its frames hold the activations that did not fit
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return message(Code.OUT_OF_MEMORY)
