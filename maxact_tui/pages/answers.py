"""How a request to the engine is getting on, in words.

- `Answer`     state, words and progress of one request
- `answer_to`  from a snapshot
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from engine.process import why_it_ended
from engine.session.records import ENDED, Command, Status
from maxact_tui.pages.header import progress_bar
from maxact_tui.texts.numbers import compact
from maxact_tui.watching.snapshot import Snapshot

ASKING = "asking the engine"
READING = "reading the values"
FOR_BATCH = "waiting for the batch in hand"
FOR_TURN = "waiting for its turn"
_QUEUED = "waiting"  # what the engine says of a request it has taken and not begun


@dataclass(frozen=True, slots=True)
class Answer:
    """How a request is getting on.

    Attributes:
        state: `waiting`, `done` or `failed`.
        text: one line; what the engine said, where it is done or failed.
        done, total: progress of what is going on, total 0 where it is unknown.
        result: number of the result, 0 before it is done.
    """

    state: Literal["waiting", "done", "failed"]
    text: str
    done: int = 0
    total: int = 0
    result: int = 0

    def words(self) -> str:
        """The text with a bar where progress is known."""
        if not self.total:
            return self.text
        return f"{progress_bar(self.done / self.total, 20)} {self.text}"


def answer_to(number: int, snapshot: Snapshot) -> Answer:
    """How the command of this number is getting on."""
    command = next((one for one in snapshot.commands if one.number == number), None)
    if command is None:
        return Answer("waiting", ASKING)
    if command.state in ("done", "refused"):
        return _ended(command, snapshot)
    if command.state == "working":
        done, total = int(command.answer.get("done") or 0), int(command.answer.get("total") or 0)
        text = str(command.answer.get("text") or "")
        if text == _QUEUED:
            return Answer("waiting", FOR_TURN if snapshot.has_ended else FOR_BATCH)
        return Answer("waiting", f"the engine is at it: {text}" if text else "the engine is at it", done, total)
    return _not_taken(snapshot)


def _ended(command: Command, snapshot: Snapshot) -> Answer:
    text = str(command.answer.get("text") or command.state)
    service = snapshot.service
    if command.state == "refused" and service is not None and service.phase == "failed" and service.ended >= command.at:
        text = service.detail or text  # why the model could not be loaded says more than that nobody answers
    result = int(command.answer.get("result") or 0)
    return Answer("done" if command.state == "done" and result else "failed", text, result=result)


def _not_taken(snapshot: Snapshot) -> Answer:
    """Nobody has taken the command yet: the engine loads, is in the middle of a batch, or has died."""
    status = snapshot.service if snapshot.has_ended else snapshot.status
    if status is None:
        return Answer("waiting", ASKING)
    if status.phase in ENDED:
        return Answer("failed", f"the engine has ended: {why_it_ended(status)}")
    if status.phase in ("starting", "loading"):
        return _loading(status)
    return Answer("waiting", FOR_TURN if snapshot.has_ended else FOR_BATCH)


def _loading(status: Status) -> Answer:
    what = status.detail or "starting"
    count = f", {compact(status.done)} of {compact(status.total)} {status.unit}".rstrip() if status.total else ""
    return Answer("waiting", f"the engine loads the model: {what}{count}", status.done, status.total)
