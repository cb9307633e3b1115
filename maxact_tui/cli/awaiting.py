"""Waiting for the engine's answer without a screen: progress on stderr, the answer at the end.

- `await_answer`  follow a command until it is answered; ctrl+c gives it up
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from engine.process import why_it_ended
from engine.session.library import log_path
from engine.session.reader import SessionReader, send_command
from engine.session.records import ENDED, Command, Status
from maxact_tui.cli.bar import Bar
from maxact_tui.cli.pace import Pace
from maxact_tui.errors import UserError
from maxact_tui.texts.visible import visible

POLL_SECONDS = 0.1


def await_answer(reader: SessionReader, path: Path, number: int) -> Command:
    """The command, once it is done.

    Args:
        reader: of the session.
        path: of the session, for giving the command up.
        number: of the command.

    Raises:
        UserError: it was refused, or nobody is there any more who could answer; one line.
        KeyboardInterrupt: after it was given up.
    """
    try:
        command = _follow_with_bar(reader, number) if sys.stderr.isatty() else _follow(reader, number)
    except KeyboardInterrupt:
        send_command(path, "cancel", {"command": number})
        raise
    if command.state != "done":
        raise UserError(str(command.answer.get("text") or "refused"))
    return command


def _follow(reader: SessionReader, number: int) -> Command:
    """A line now and then."""
    pace = Pace()
    while True:
        command = _look(reader, number)
        if command.state in ("done", "refused"):
            return command
        text, done, total = _progress(reader, command)
        step = command.state if total and command.state == "working" else text
        pace.say(step, f"{text} {done}/{total}" if total else text, pace.seconds_left(step, done, total))
        time.sleep(POLL_SECONDS)


def _follow_with_bar(reader: SessionReader, number: int) -> Command:
    with Bar("asking the engine") as bar:
        while True:
            command = _look(reader, number)
            if command.state in ("done", "refused"):
                return command
            text, done, total = _progress(reader, command)
            bar.show(text, done, total, f"{done}/{total}" if total else "")
            time.sleep(POLL_SECONDS)


def _look(reader: SessionReader, number: int) -> Command:
    """The command as it is.

    Raises:
        UserError: the engine has ended without an answer.
    """
    found = reader.commands(number - 1)[:1]
    if not found:
        raise UserError("the session was replaced while it was waited for; ask again")
    if found[0].state == "new" and (ended := _ended(reader)) is not None:
        (command,) = reader.commands(number - 1)[:1]
        if command.state == "new":
            log = visible(str(log_path(reader.path)), space=" ")
            raise UserError(f"no answer: {why_it_ended(ended)} (log: {log}; dmesg may tell)")
        return command
    return found[0]


def _ended(reader: SessionReader) -> Status | None:
    """The status of the engine that should answer, if it has ended."""
    if reader.status().phase not in ENDED:
        return None
    service = reader.service()
    return service if service is not None and service.phase in ENDED else None


def _progress(reader: SessionReader, command: Command) -> tuple[str, int, int]:
    """(words, steps done, steps in all)."""
    if command.state == "working":
        answer = command.answer
        return str(answer.get("text") or "working"), int(answer.get("done") or 0), int(answer.get("total") or 0)
    status = reader.status()
    service = reader.service() if status.phase in ENDED else status
    if service is None or service.phase == "running":
        return "waiting for the batch in hand", 0, 0
    return service.detail or service.phase, service.done, service.total
