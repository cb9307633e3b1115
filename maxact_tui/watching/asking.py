"""Asking the engine for work on the loaded model, whether the run goes on or has ended.

- `ask`       send a command; starts an engine that only answers where none is alive
- `go_on`     continue a run that ended before its time
- `is_alive`  whether somebody is there who answers
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.process import start_engine, start_service
from engine.session.reader import SessionReader, send_command
from engine.session.records import ENDED
from engine.session.schema import SessionError


def ask(session: Path, name: str, arguments: Mapping[str, Any] | None = None) -> int:
    """Ask for work on the model of a session (`probe`, `effect`, ...).

    An engine that only answers is started where none is alive; `SessionReader.service` says how its loading goes on.

    Returns:
        The command's number; state, progress and answer appear under it in `SessionReader.commands`.

    Raises:
        SessionError: the session cannot be written here, or the engine cannot be started.
    """
    with SessionReader(session) as reader:
        alive = is_alive(reader)
    if not alive:
        try:
            start_service(session)
        except OSError as error:
            raise SessionError(f"the engine could not be started: {error}") from error
    return send_command(session, name, dict(arguments or {}))


def go_on(session: Path) -> None:
    """Continue a run that ended before its time, from its last checkpoint.

    Raises:
        SessionError: it runs again already or is finished, cannot be written here, or the engine cannot be started.
    """
    with SessionReader(session) as reader:
        phase = reader.status().phase
    if phase not in ENDED or phase == "finished":
        raise SessionError(f"the run is {phase}")
    try:
        start_engine(session)
    except OSError as error:
        raise SessionError(f"the engine could not be started: {error}") from error


def is_alive(reader: SessionReader) -> bool:
    """Whether an engine is there that answers requests: that of the run, or one that only answers."""
    service = reader.service()
    return reader.status().phase not in ENDED or (service is not None and service.phase not in ENDED)
