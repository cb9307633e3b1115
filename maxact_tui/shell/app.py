"""The screen's entry point, called by the command line.

- `run_app`      show one session until the user leaves
- `run_browser`  let the user choose a session first
- `run_comparison`  show sessions side by side, the first of them behind it
- `send_rest`  after the screen: what is not sent yet
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from engine.base.importing import loading_modules
from engine.messages import words
from engine.session.patience import LOCKED
from engine.session.requests import title_of
from maxact_tui.keymap.settings import load_settings
from maxact_tui.terminal.preparing import prepare_terminal, wants_ascii
from maxact_tui.terminal.printing import note
from maxact_tui.terminal.splash import show_splash, take_back

if TYPE_CHECKING:
    from maxact_tui.shell.leaving import LeavingApp

MOMENT_SECONDS = 0.3  # what is sent within it is not worth a word


def run_app(
    session: Path,
    *,
    read_only: bool = False,
    ascii_only: bool | None = None,
) -> int:
    """Show a session, live or finished, until the user leaves.

    Args:
        session: the session file; its engine may only be starting.
        read_only: send no commands to the engine, whatever the settings say.
        ascii_only: write ASCII only; None asks the settings, then the locale.

    Returns:
        0 the run is done, 1 it failed or the screen did, 3 left running, 130 interrupted.
    """
    return _run(session, read_only=read_only, ascii_only=ascii_only)


def run_browser(*, read_only: bool = False, ascii_only: bool | None = None) -> int:
    """Let the user choose a session and show it; arguments and exit code as for `run_app`."""
    return _run(None, read_only=read_only, ascii_only=ascii_only)


def run_comparison(sessions: Sequence[Path], *, ascii_only: bool | None = None) -> int:
    """Show sessions side by side; leaving that shows the first of them. Exit code as for `run_app`."""
    return _run(sessions[0], read_only=False, ascii_only=ascii_only, compare=tuple(sessions))


def _run(session: Path | None, *, read_only: bool, ascii_only: bool | None, compare: tuple[Path, ...] = ()) -> int:
    settings = load_settings()
    ascii_only = wants_ascii() if ascii_only is None else ascii_only
    read_only = read_only or settings.read_only
    prepare_terminal()
    show_splash(session.name if session is not None else "maxact-tui", ascii_only=ascii_only)
    try:
        with loading_modules():
            from maxact_tui.shell.application import MaxactApp

            app = MaxactApp(session, read_only=read_only, ascii_only=ascii_only, settings=settings)
        app.compare_first = compare
    except BaseException:
        take_back()
        raise
    result = app.run(mouse=settings.mouse)
    send_rest(app)
    return result if result is not None else (app.return_code or 1)


def send_rest(app: LeavingApp) -> None:
    """Send what is not sent yet, after the screen; one line on stderr says of each request what became of it."""
    unsent = app.unsent
    app.settle(MOMENT_SECONDS)
    unsent = [request for request in unsent if not request.is_sent]
    if unsent and app.sending_seconds:
        names = ", ".join(title_of(request.name, request.arguments) for request in unsent)
        note(f"maxact-tui: {names}: {words(LOCKED)}; ctrl+c gives it up")
        with suppress(KeyboardInterrupt):
            app.settle(app.sending_seconds)
    if unsent:
        app.give_up()
    for request in unsent:
        said = "sent" if request.is_sent else request.sending.text if request.sending.has_failed else "not sent"
        note(f"maxact-tui: {title_of(request.name, request.arguments)}: {said}")
