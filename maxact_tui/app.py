"""The screen's entry point, called by the command line.

- `run_app`  show one session until the user leaves
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from maxact_tui.preparing import prepare_terminal, wants_ascii
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
        read_only: send no commands to the engine.
        exporter: writes the results of a session and says in one line what it wrote; None for the usual formats.
        ascii_only: write ASCII only; None asks the environment.

    Returns:
        0 the run is done, 1 it failed or the screen did, 3 left running, 130 interrupted.
    """
    ascii_only = wants_ascii() if ascii_only is None else ascii_only
    prepare_terminal()
    show_splash(session, ascii_only=ascii_only)
    try:
        from maxact_tui.application import MaxactApp

        app = MaxactApp(session, read_only=read_only, exporter=exporter or _export, ascii_only=ascii_only)
    except BaseException:
        take_back()
        raise
    result = app.run()
    return result if result is not None else (app.return_code or 1)


def _export(session: Path) -> str:
    from maxact_tui.exporter import export_results

    return export_results(session)
