"""Commands to an engine that runs: stop, pause, and going on after a pause.

- `stop`, `pause`   ask the newest run, or the one that was named, and tell the answer
- `go_on`           the same for a paused run
- `newest`          the newest session in one of some phases
- `GOING_ON`        the phases of a run whose engine is at work or waits
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from engine.base.wording import counted
from engine.messages import words
from engine.process import end_by_force
from engine.session.library import log_path, sessions_folder
from engine.session.listing import list_sessions
from engine.session.patience import Patience
from engine.session.reader import SessionReader
from engine.session.records import ENDED, Status
from engine.session.requests import send_command, why_late
from maxact_tui.cli.awaiting import await_answer, await_end, opened, patience_of
from maxact_tui.errors import UserError
from maxact_tui.terminal.printing import note, say
from maxact_tui.texts.visible import visible
from maxact_tui.watching.asking import is_alive
from maxact_tui.watching.finding import find_session, short_name

ANSWER_SECONDS = 30.0
_STANDS = f"the request stands, no answer within {ANSWER_SECONDS:.0f} s"
GOING_ON: Collection[str] = ("starting", "loading", "running", "paused")


def stop(session: Path | None) -> int:
    """Ask an engine to stop after its present batch, and wait until it has.

    Raises:
        UserError: no engine runs, or it does not answer in time.
    """
    path = find_session(session) if session is not None else newest(GOING_ON)
    patience = patience_of(path)
    with opened(path, patience) as reader:
        before = patience.wait_for(lambda _: _require_engine(reader))
        number = send_command(path, "stop", patience=patience)
        if _answers_to_nothing(reader, number, patience):
            note(f"{short_name(path)} loads and does not answer; its engine is ended")
            if not end_by_force(path, patience.wait_for(lambda _: reader.status()), patience):
                raise _late(reader, f"{short_name(path)} is stopping", patience)
        else:
            _answer(reader, number, "stop")
        if not await_end(reader, ANSWER_SECONDS):
            raise _late(reader, f"{short_name(path)} is stopping", patience)
        status = patience.wait_for(lambda _: reader.status())
    if before.phase not in ENDED or status.phase == "stopped":
        done = f"{status.samples_done} of {counted(status.samples_total, 'sample')}"
        say(f"{short_name(path)}: stopped after {done}; continue with: maxact-tui resume {short_name(path)}")
    else:
        say(f"{short_name(path)}: the engine that answered questions about it has ended")
    return 0


def pause(session: Path | None) -> int:
    """Ask an engine to pause after its present batch.

    Raises:
        UserError: no engine runs, or it does not answer in time.
    """
    path = find_session(session) if session is not None else newest(("starting", "loading", "running"))
    patience = patience_of(path)
    with opened(path, patience) as reader:
        status = patience.wait_for(lambda _: _require_engine(reader))
        if status.phase in ENDED:
            raise UserError(f"{short_name(path)} is {status.phase}; there is no run to pause")
        said = _answer(reader, send_command(path, "pause", patience=patience), "pause")
    say(f"{short_name(path)}: {said}; go on with: maxact-tui resume {short_name(path)}")
    return 0


def go_on(path: Path) -> None:
    """Ask a paused engine to go on.

    Raises:
        UserError: it does not answer in time.
    """
    patience = patience_of(path)
    with opened(path, patience) as reader:
        said = _answer(reader, send_command(path, "resume", patience=patience), "resume")
    note(f"{short_name(path)}: {said}")


def newest(phases: Collection[str]) -> Path:
    """The newest session of the sessions folder in one of these phases.

    Raises:
        UserError: there is none.
    """
    for info in list_sessions(patience=patience_of(sessions_folder())):
        if info.status.phase in phases:
            return info.path
    what = "is paused" if tuple(phases) == ("paused",) else "is going on"
    raise UserError(
        f"no run {what} in {sessions_folder()}; maxact-tui sessions lists what is there, one elsewhere must be named",
        code=2,
    )


def _require_engine(reader: SessionReader) -> Status:
    """The status of a run for which an engine is there.

    Raises:
        UserError: none is.
    """
    status = reader.status()
    if is_alive(reader):
        return status
    name = short_name(reader.path)
    if status.phase == "finished":
        raise UserError(f"{name} is finished; no engine runs for it")
    words = "its engine is gone" if status.phase == "gone" else f"it is {status.phase}"
    raise UserError(f"no engine runs for {name}, {words}; continue with: maxact-tui resume {name}")


def _answers_to_nothing(reader: SessionReader, number: int, patience: Patience) -> bool:
    """Whether an engine that loads has not even taken a request in time."""
    status = patience.wait_for(lambda _: reader.status())
    if status.phase not in ("starting", "loading"):
        return False
    return await_answer(reader, number, ANSWER_SECONDS).stage == "late"


def _answer(reader: SessionReader, number: int, name: str) -> str:
    """What the engine answered.

    Raises:
        UserError: nothing in time, or a refusal.
    """
    standing = await_answer(reader, number, ANSWER_SECONDS)
    text, run = visible(standing.text, space=" "), short_name(reader.path)
    if standing.stage == "late":
        raise UserError(f"asked {run} to {name}, but {text}; {_STANDS}")
    if standing.stage == "refused":
        raise UserError(f"{run} refused to {name}: {text}")
    if standing.has_failed:
        raise UserError(f"the engine of {run} ended without an answer; see {log_path(reader.path)}")
    return text


def _late(reader: SessionReader, what: str, patience: Patience) -> UserError:
    why = words(patience.wait_for(lambda _: why_late(reader.status(), reader.service())))
    return UserError(f"{what}, but {why}; {_STANDS}")
