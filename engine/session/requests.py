"""Asking the engine of a session for something, and where each request stands.

- `send_command`  put a request for the engine into the file
- `Request`       one request, from the wish to the answer
- `Stage`, `Standing`  where it stands
- `standing_of`   where a command of the file stands
- `follow`        the same again and again until it is over
- `engine_of`     which engine answers, by its status
- `why_late`      why an engine that is alive lets somebody wait
- `title_of`, `titled`  what a request is called
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from engine.base.stored import UnsoundError, parse
from engine.messages import Code, Message, as_written, message, words
from engine.messages.events import request_title
from engine.session import schema
from engine.session.consent import note
from engine.session.liveness import SILENCE_SECONDS, why_it_ended
from engine.session.patience import LOCKED, Patience
from engine.session.reader import SessionReader
from engine.session.records import ENDED, Command, Status
from engine.session.tables import Tables

Stage = Literal[
    "sending", "locked", "loading", "batch", "turn", "working", "reading", "done", "refused", "ended", "unsent", "late"
]
_FAILED: frozenset[Stage] = frozenset({"refused", "ended", "unsent", "late"})
_COUNTED: frozenset[Stage] = frozenset({"loading", "working"})
POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a request stands.

    Attributes:
        stage: on its way `sending`, or `locked` while another process writes; in the file `loading` until the model is
            there, `batch` or `turn` until the engine has time, `working`; answered `done` or `refused`, and `reading`
            while somebody reads the result; without an answer `ended` with the engine, `unsent` where the file could
            not be written, `late` where nobody waits any longer.
        message: what there is to say of that; what the engine said, where it has answered.
        done, total: progress in `unit`, total 0 where it is unknown.
        result: number of the result, 0 where there is none.
    """

    stage: Stage
    message: Message
    done: int = 0
    total: int = 0
    unit: str = ""
    result: int = 0

    @property
    def text(self) -> str:
        """The sentence of the message, for showing."""
        return words(self.message)

    @property
    def is_over(self) -> bool:
        """Whether nothing more is waited for."""
        return self.stage == "done" or self.has_failed

    @property
    def has_failed(self) -> bool:
        """Whether there is no answer but a reason."""
        return self.stage in _FAILED

    def words(self, number: Callable[[float], str] = "{:,.0f}".format) -> str:
        """The text with the count, where there is more than one thing to count."""
        if self.total < 2 or self.stage not in _COUNTED:
            return self.text
        return f"{self.text}, {number(self.done)} of {number(self.total)} {self.unit}".rstrip()


SENDING = Standing("sending", message(Code.SENDING))


class Request:
    """One request, from the wish to the answer; whoever sends it says meanwhile how that is getting on.

    Attributes:
        name, arguments: of the command.
        at: when it was wished for, Unix seconds.
        number: of the command, 0 before it is in the file, and of what is no command.
        sending: where it stands as long as it is not in the file, and where it got no further.
    """

    def __init__(self, name: str, arguments: Mapping[str, Any] | None = None) -> None:
        self.name, self.arguments = name, dict(arguments or {})
        self.at, self.number = time.time(), 0
        self.sending = SENDING

    @classmethod
    def sent(cls, command: Command) -> Request:
        """The request that was sent as this command."""
        request = cls(command.name, command.arguments)
        request.at, request.number = command.at, command.number
        return request

    @property
    def is_sent(self) -> bool:
        """Whether it is in the file, or begun where it is no command."""
        return bool(self.number) or self.sending.stage == "done"

    def standing(self, commands: Sequence[Command], status: Status | None, service: Status | None) -> Standing:
        """Where it stands in a session with these commands and engines."""
        command = next((one for one in commands if one.number == self.number), None)
        return self.sending if command is None else standing_of(command, status, service)


def send_command(
    path: Path | str, name: str, arguments: Mapping[str, Any] | None = None, patience: Patience | None = None
) -> int:
    """Ask the engine of a session for something (`pause`, `resume`, `stop`, ...).

    Args:
        path: the session file.
        name: of the command.
        arguments: JSON values.
        patience: with another process that writes into it.

    Returns:
        The command's number; the answer appears under it.

    Raises:
        BusyError: another process was writing all the time.
        SessionError: the file cannot be written here.
        DamagedError: it does not hold what was written into it.
    """
    row = (time.time(), name, json.dumps(dict(arguments or {})))
    return (patience or Patience()).wait_for(lambda wait_seconds: _insert(Path(path), row, wait_seconds))


def _insert(path: Path, row: tuple[float, str, str], wait_seconds: float) -> int:
    db = schema.open_writable(path, wait_seconds=wait_seconds)
    try:
        db.execute("BEGIN IMMEDIATE")
        tables = Tables(db)
        number = tables.insert("commands", *row, "new", "{}")
        named = tables.one("meta", "WHERE name = 'id'")
        note(str(parse(named[1])) if named else "", row[0], row[1], parse(row[2]))
        db.execute("COMMIT")
        return number
    except UnsoundError as error:
        raise schema.DamagedError(path, f"its requests cannot be read ({error})") from error
    except sqlite3.DatabaseError as error:
        if schema.is_busy(error):
            raise schema.BusyError(path) from error
        if schema.is_damage(error):
            raise schema.unreadable(path, "its database", error) from error
        raise schema.SessionError(f"cannot send '{row[1]}' to {path}: {error}") from error
    finally:
        db.close()


def standing_of(command: Command, status: Status | None, service: Status | None) -> Standing:
    """Where a command of the file stands.

    Args:
        command: as the file holds it, read after the two others.
        status: of the run's engine, None while it is unknown.
        service: of the engine that answers requests about an ended run, None where there never was one.
    """
    if command.state in ("done", "refused"):
        return _answered(command, service)
    engine = engine_of(status, service)
    if engine is None:
        return SENDING
    if engine.phase in ENDED:
        return Standing("ended", _why(engine))
    has_ended = engine is service
    said = command.message
    if command.state == "working" and (said is None or said.code != Code.QUEUED):
        done, total = int(command.answer.get("done") or 0), int(command.answer.get("total") or 0)
        return Standing("working", message(Code.AT_WORK, step=said), done, total)
    if engine.phase in ("starting", "loading"):
        what = message(Code.AT_LOADING, step=engine.message)
        return Standing("loading", what, engine.done, engine.total, engine.unit)
    is_silent = _silence(engine) > SILENCE_SECONDS
    if has_ended or engine.phase == "paused":
        return Standing("turn", message(Code.AT_TURN, is_silent=is_silent))
    return Standing("batch", message(Code.AT_BATCH, is_silent=is_silent))


def engine_of(status: Status | None, service: Status | None) -> Status | None:
    """The status of the engine that answers: the run's, or, once that has ended, the one that only answers."""
    if status is None or status.phase not in ENDED:
        return status
    return service if service is not None else status


def _answered(command: Command, service: Status | None) -> Standing:
    said = command.message or as_written(command.state)
    if command.state == "done":
        return Standing("done", said, result=int(command.answer.get("result") or 0))
    if service is not None and service.phase == "failed" and service.ended >= command.at:
        said = service.message or said  # why the model could not be loaded says more than that nobody answers
    return Standing("refused", said)


def _why(engine: Status) -> Message:
    if engine.phase == "gone":
        return why_it_ended(engine)
    why = message(Code.DONE_BEFORE) if engine.phase == "finished" else why_it_ended(engine)
    return message(Code.ENGINE_ENDED, why=why)


def follow(reader: SessionReader, number: int, seconds: float | None = None) -> Iterator[Standing]:
    """Where a command stands, ten times a second until it is over; the last one says how it ended.

    Args:
        reader: of the session.
        number: of the command.
        seconds: for how long it is waited for; None without an end.

    Raises:
        SessionError: the command is not there any more, or the file cannot be read.
    """
    end = time.monotonic() + seconds if seconds is not None else None
    while True:
        standing = _look(reader, number)
        if not standing.is_over and end is not None and time.monotonic() > end:
            standing = _late(reader, standing)
        yield standing
        if standing.is_over:
            return
        time.sleep(POLL_SECONDS)


def _look(reader: SessionReader, number: int) -> Standing:
    try:
        # In this order: an engine that ends answers first.
        status, service = reader.status(), reader.service()
        found = reader.commands(number - 1)[:1]
    except schema.BusyError:
        return Standing("locked", LOCKED)
    if not found or found[0].number != number:
        raise schema.SessionError("the session was replaced while it was waited for; ask again")
    return standing_of(found[0], status, service)


def _late(reader: SessionReader, standing: Standing) -> Standing:
    if standing.stage == "locked":
        return Standing("late", message(Code.LATE_FILE))
    return Standing("late", why_late(reader.status(), reader.service()))


def why_late(status: Status, service: Status | None) -> Message:
    """Why an engine that is alive lets somebody wait, as far as its status tells."""
    engine = engine_of(status, service) or status
    silence = _silence(engine)
    if silence > SILENCE_SECONDS:
        return message(Code.LATE_SILENT, process=engine.pid, seconds=silence)
    return message(Code.LATE_LOADING if engine.phase in ("starting", "loading") else Code.LATE_BATCH)


def _silence(engine: Status) -> float:
    """Seconds since its last sign of life; 0 before the first."""
    return time.time() - engine.heartbeat if engine.heartbeat else 0.0


def title_of(name: str, arguments: Mapping[str, Any]) -> str:
    """What a request is called: a sample by its number, a prompt, or the name of the command."""
    said = titled(name, arguments)
    return request_title(name, said["sample"], is_prompt=said["is_prompt"])


def titled(name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The data of a message by which it calls a request."""
    sample = arguments.get("sample")
    return {
        "name": name,
        "sample": sample if isinstance(sample, int) else None,
        "is_prompt": arguments.get("text") is not None,
    }
