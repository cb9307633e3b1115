"""The commands about sessions: come back, continue, steer, list, remove, merge. Heavy imports where they are used.

- `register`  add them to the command line
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter, validators

from maxact_tui.cli.options import FAIL_ON_HELP
from maxact_tui.cli.trust import Trust, give
from maxact_tui.terminal.printing import note

Session = Annotated[Path, Parameter(help="A session file, or the start of its name.")]
Running = Annotated[Path | None, Parameter(help="A session file, or the start of its name. [default: the newest run]")]
Headless = Annotated[bool, Parameter(negative=(), help="No screen.")]
Json = Annotated[bool, Parameter(negative=(), help="Headless, with the summary as one JSON object.")]
FailOn = Annotated[str | None, Parameter(help=f"Headless. {FAIL_ON_HELP}")]
_NO_TRUST = Trust()
Debug = Annotated[bool, Parameter(negative=(), help="On failure, show the engine's traceback.")]

sessions_app = App(name="sessions", help="List your sessions; `sessions rm` removes some.", usage=None)


def register(app: App) -> None:
    """Add the commands of this module."""
    for command in (attach, resume, add, stop, pause, show, merge):
        app.command(command)
    app.command(open_session, name="open")
    app.command(sessions_app)


def attach(
    session: Annotated[
        Path | None, Parameter(help="A session file, or the start of its name. [default: the newest running one]")
    ] = None,
) -> int:
    """Open the newest running session."""
    from maxact_tui.cli.commands import opening

    return opening.attach() if session is None else opening.open_session(session)


def open_session(session: Session, *, trust: Trust = _NO_TRUST) -> int:
    """Open a session, running or finished."""
    from maxact_tui.cli.commands import opening

    give(session, trust)
    return opening.open_session(session)


def resume(
    session: Annotated[
        Path | None, Parameter(help="A session file, or the start of its name. [default: the newest paused run]")
    ] = None,
    *,
    anyway: Annotated[bool, Parameter(negative=(), help="Go on although model, corpus or versions changed.")] = False,
    headless: Headless = False,
    json: Json = False,
    fail_on: FailOn = None,
    debug: Debug = False,
    trust: Trust = _NO_TRUST,
) -> int:
    """Continue a paused run, or a stopped, failed or killed one from its last checkpoint."""
    from maxact_tui.cli.commands import running

    with _told(debug):
        if session is not None:
            give(session, trust)
        is_headless = headless or json or fail_on is not None
        return running.resume(session, anyway=anyway, headless=is_headless, as_json=json, fail_on=fail_on, debug=debug)


def add(
    session: Session,
    corpus: Annotated[str, Parameter(help="More texts: `starter`, or a .jsonl, .parquet or .txt file.")],
    *,
    samples: Annotated[
        int | None, Parameter(validator=validators.Number(gte=1), help="At most this many of them.")
    ] = None,
    headless: Headless = False,
    json: Json = False,
    fail_on: FailOn = None,
    debug: Debug = False,
    trust: Trust = _NO_TRUST,
) -> int:
    """Add texts to a run; a finished one goes on with them."""
    from maxact_tui.cli.commands import running

    with _told(debug):
        give(session, trust)
        way = {"headless": headless or json or fail_on is not None, "as_json": json, "debug": debug}
        return running.add(session, corpus, samples, fail_on=fail_on, **way)


def stop(session: Running = None) -> int:
    """Stop a run after its present batch; `resume` continues it."""
    from maxact_tui.cli.commands import steering

    return steering.stop(session)


def pause(session: Running = None) -> int:
    """Pause a run after its present batch; the model stays loaded, `resume` continues it."""
    from maxact_tui.cli.commands import steering

    return steering.pause(session)


@sessions_app.default
def list_sessions() -> int:
    """List your sessions."""
    from maxact_tui.cli.commands import sessions

    return sessions.list_all()


@sessions_app.command(name="rm")
def remove(
    sessions: Annotated[list[Path], Parameter(negative=(), help="Session files, or starts of their names.")],
    *,
    yes: Annotated[bool, Parameter(name=("--yes", "-y"), negative=(), help="Do not ask.")] = False,
) -> int:
    """Remove sessions and their logs for good; running ones are refused."""
    from maxact_tui.cli.commands import removing

    return removing.remove(sessions, yes=yes)


def show(
    session: Session,
    *,
    json: Annotated[bool, Parameter(negative=(), help="One JSON object.")] = False,
    fail_on: Annotated[str | None, Parameter(help=FAIL_ON_HELP)] = None,
) -> int:
    """Print the summary of a session."""
    from maxact_tui.cli.commands import sessions

    return sessions.show(session, as_json=json, fail_on=fail_on)


def merge(
    sessions: Annotated[list[Path], Parameter(negative=(), help="Sessions of one model over different samples.")],
    *,
    output: Annotated[Path, Parameter(name=("--output", "-o"), help="The session file to write.")],
) -> int:
    """Merge sessions over different samples into one."""
    from maxact_tui.cli.commands import sessions as listing

    return listing.merge(sessions, output)


@contextmanager
def _told(debug: bool) -> Iterator[None]:
    """With `--debug`, the traceback of a session that cannot be used, before the line that says so."""
    from engine.session.schema import SessionError

    try:
        yield
    except SessionError:
        if debug:
            note(*traceback.format_exc().splitlines())
        raise
