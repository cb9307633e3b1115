"""Asking the engine for work on the loaded model, whether the run goes on or has ended.

- `ask`       send a command; starts an engine that only answers where none is alive
- `go_on`     continue a run that ended before its time
- `is_alive`  whether somebody is there who answers

All of it waits for the session file: a screen has it done by its outbox.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.process import start_engine, start_service
from engine.session.patience import Patience
from engine.session.reader import SessionReader
from engine.session.records import ENDED, Phase
from engine.session.requests import engine_of, send_command
from engine.session.schema import SessionError


def ask(session: Path, name: str, arguments: Mapping[str, Any] | None = None, patience: Patience | None = None) -> int:
    """Ask for work on the model of a session (`probe`, `effect`, ...).

    An engine that only answers is started where none is alive; `SessionReader.service` says how its loading goes on.

    Args:
        session: the session file.
        name: of the command.
        arguments: JSON values.
        patience: with another process that writes into the file.

    Returns:
        The command's number; state, progress and answer appear under it in `SessionReader.commands`.

    Raises:
        SessionError: the session cannot be written here, or the engine cannot be started.
    """
    patience = patience or Patience()

    def look(wait_seconds: float) -> bool:
        with SessionReader(session, wait_seconds) as reader:
            return is_alive(reader)

    if not patience.wait_for(look):
        try:
            start_service(session, patience)
        except OSError as error:
            raise SessionError(f"the engine could not be started: {error}") from error
    return send_command(session, name, arguments, patience)


def go_on(session: Path, patience: Patience | None = None) -> None:
    """Continue a run that ended before its time, from its last checkpoint.

    Raises:
        SessionError: it runs again already or is finished, cannot be written here, or the engine cannot be started.
    """
    patience = patience or Patience()

    def look(wait_seconds: float) -> Phase:
        with SessionReader(session, wait_seconds) as reader:
            return reader.status().phase

    phase = patience.wait_for(look)
    if phase not in ENDED or phase == "finished":
        raise SessionError(f"the run is {phase}")
    try:
        start_engine(session, patience)
    except OSError as error:
        raise SessionError(f"the engine could not be started: {error}") from error


def is_alive(reader: SessionReader) -> bool:
    """Whether an engine is there that answers requests: that of the run, or one that only answers."""
    engine = engine_of(reader.status(), reader.service())
    return engine is not None and engine.phase not in ENDED
