"""Commands to an engine that runs: stop, pause, and going on after a pause.

- `stop`, `pause`   ask the newest run, or the one that was named, and tell the answer
- `go_on`           the same for a paused run
- `newest`          the newest session in one of some phases
- `GOING_ON`        the phases of a run whose engine is at work or waits
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Collection
from pathlib import Path

from engine.report.wording import counted
from engine.session.library import log_path, sessions_folder
from engine.session.listing import list_sessions
from engine.session.liveness import SILENCE_SECONDS
from engine.session.reader import SessionReader, send_command
from engine.session.records import ENDED
from maxact_tui.errors import UserError
from maxact_tui.texts.visible import visible
from maxact_tui.watching.asking import is_alive
from maxact_tui.watching.finding import find_session, short_name

ANSWER_SECONDS = 30.0
_POLL_SECONDS = 0.1
GOING_ON: Collection[str] = ("starting", "loading", "running", "paused")


def stop(session: Path | None) -> int:
    """Ask an engine to stop after its present batch, and wait until it has.

    Raises:
        UserError: no engine runs, or it does not answer in time.
    """
    path = find_session(session) if session is not None else newest(GOING_ON)
    with SessionReader(path) as reader:
        _require_engine(reader)
        number = send_command(path, "stop")
        _answer(reader, number, "stop")
        was_run = reader.status().phase not in ENDED
        _wait(lambda: not is_alive(reader), lambda: f"{short_name(path)} is stopping, but {_delay(reader)}")
        status = reader.status()
    if was_run or status.phase == "stopped":
        done = f"{status.samples_done} of {counted(status.samples_total, 'sample')}"
        print(f"{short_name(path)}: stopped after {done}; continue with: maxact-tui resume {short_name(path)}")
    else:
        print(f"{short_name(path)}: the engine that answered questions about it has ended")
    return 0


def pause(session: Path | None) -> int:
    """Ask an engine to pause after its present batch.

    Raises:
        UserError: no engine runs, or it does not answer in time.
    """
    path = find_session(session) if session is not None else newest(("starting", "loading", "running"))
    with SessionReader(path) as reader:
        _require_engine(reader)
        if reader.status().phase in ENDED:
            raise UserError(f"{short_name(path)} is {reader.status().phase}; there is no run to pause")
        said = _answer(reader, send_command(path, "pause"), "pause")
    print(f"{short_name(path)}: {said}; go on with: maxact-tui resume {short_name(path)}")
    return 0


def go_on(path: Path) -> None:
    """Ask a paused engine to go on.

    Raises:
        UserError: it does not answer in time.
    """
    with SessionReader(path) as reader:
        said = _answer(reader, send_command(path, "resume"), "resume")
    print(f"{short_name(path)}: {said}", file=sys.stderr)


def newest(phases: Collection[str]) -> Path:
    """The newest session of the sessions folder in one of these phases.

    Raises:
        UserError: there is none.
    """
    for info in list_sessions():
        if info.status.phase in phases:
            return info.path
    what = "is paused" if tuple(phases) == ("paused",) else "is going on"
    raise UserError(
        f"no run {what} in {sessions_folder()}; maxact-tui sessions lists what is there, one elsewhere must be named",
        code=2,
    )


def _require_engine(reader: SessionReader) -> None:
    if is_alive(reader):
        return
    status, name = reader.status(), short_name(reader.path)
    if status.phase == "finished":
        raise UserError(f"{name} is finished; no engine runs for it")
    words = "its engine is gone" if status.phase == "gone" else f"it is {status.phase}"
    raise UserError(f"no engine runs for {name}, {words}; continue with: maxact-tui resume {name}")


def _answer(reader: SessionReader, number: int, name: str) -> str:
    """What the engine answered.

    Raises:
        UserError: nothing in time, or a refusal.
    """

    def is_answered() -> bool:
        return reader.commands(number - 1)[0].state in ("done", "refused") or not is_alive(reader)

    _wait(is_answered, lambda: f"asked {short_name(reader.path)} to {name}, but {_delay(reader)}")
    command = reader.commands(number - 1)[0]
    text = visible(str(command.answer.get("text") or command.state), space=" ")
    if command.state == "refused":
        raise UserError(f"{short_name(reader.path)} refused to {name}: {text}")
    if command.state != "done":
        raise UserError(f"the engine of {short_name(reader.path)} ended without an answer; see {log_path(reader.path)}")
    return text


def _wait(condition: Callable[[], bool], late: Callable[[], str]) -> None:
    end = time.monotonic() + ANSWER_SECONDS
    while not condition():
        if time.monotonic() > end:
            raise UserError(f"{late()}; the request stands, no answer within {ANSWER_SECONDS:.0f} s")
        time.sleep(_POLL_SECONDS)


def _delay(reader: SessionReader) -> str:
    """Why an engine that is alive lets somebody wait, as far as its status tells."""
    status = reader.status()
    if status.phase in ENDED and (service := reader.service()) is not None:
        status = service
    silence = time.time() - status.heartbeat
    if status.heartbeat and silence > SILENCE_SECONDS:
        return f"its engine, process {status.pid}, has shown no sign of life for {silence:.0f} s (halted, or no CPU?)"
    return "it is still loading" if status.phase in ("starting", "loading") else "its present batch takes long"
