"""The screen's entry point, called by the command line.

- `run_app`      show one session until the user leaves
- `run_browser`  let the user choose a session first
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from maxact_tui.preparing import prepare_terminal, wants_ascii
from maxact_tui.settings import load_settings
from maxact_tui.splash import show_splash, take_back


def run_app(
    session: Path,
    *,
    read_only: bool = False,
    exporter: Callable[[Path], str] | None = None,
    ascii_only: bool | None = None,
) -> int:
    """Show a session, live or finished, until the user leaves.

    Args:
        session: the session file; its engine may only be starting.
        read_only: send no commands to the engine, whatever the settings say.
        exporter: writes the results of a session and says in one line what it wrote; None for the usual formats.
        ascii_only: write ASCII only; None asks the settings, then the locale.

    Returns:
        0 the run is done, 1 it failed or the screen did, 3 left running, 130 interrupted.
    """
    return _run(session, read_only=read_only, exporter=exporter or _export, ascii_only=ascii_only)


def run_browser(*, read_only: bool = False, ascii_only: bool | None = None) -> int:
    """Let the user choose a session and show it; arguments and exit code as for `run_app`."""
    return _run(None, read_only=read_only, exporter=_export, ascii_only=ascii_only)


def _run(session: Path | None, *, read_only: bool, exporter: Callable[[Path], str], ascii_only: bool | None) -> int:
    settings = load_settings()
    ascii_only = wants_ascii() if ascii_only is None else ascii_only
    read_only = read_only or settings.read_only
    prepare_terminal()
    show_splash(session.name if session is not None else "maxact-tui", ascii_only=ascii_only)
    try:
        from maxact_tui.application import MaxactApp

        app = MaxactApp(session, read_only=read_only, exporter=exporter, ascii_only=ascii_only, settings=settings)
    except BaseException:
        take_back()
        raise
    result = app.run()
    return result if result is not None else (app.return_code or 1)


def _export(session: Path) -> str:
    from maxact_tui.exporter import export_results

    return export_results(session)
