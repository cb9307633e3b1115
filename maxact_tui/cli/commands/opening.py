"""The commands that open sessions on the screen. The name is written before anything heavy is imported.

- `open_session`  one session, running or finished
- `attach`        the newest running one
- `say_goodbye`   after the screen: where the results are
"""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

from engine.session.library import log_path, sessions_folder
from engine.session.logfile import read_end
from maxact_tui.keymap.settings import load_settings
from maxact_tui.terminal.preparing import prepare_terminal, wants_ascii
from maxact_tui.terminal.printing import note
from maxact_tui.terminal.splash import show_splash, take_back
from maxact_tui.texts.visible import visible
from maxact_tui.watching.finding import find_session, short_name


def open_session(session: Path) -> int:
    """Show a session on the screen; without a terminal, its summary.

    Raises:
        UserError: there is none of this name.
        SessionError: the file cannot be read.
    """
    path = find_session(session)
    if load_settings().plain:
        from maxact_tui.cli.plain import tell

        return tell(path)
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        from maxact_tui.cli.commands.sessions import show

        return show(path, as_json=False)
    prepare_terminal()
    show_splash(path.name, ascii_only=wants_ascii())
    try:
        _refuse_unreadable(path)
    except BaseException:
        take_back()
        raise
    from maxact_tui.shell.app import run_app

    code = run_app(path)
    say_goodbye(path)
    return code


def _refuse_unreadable(path: Path) -> None:
    """Refuse what cannot be read before the screen opens; what is only being written the screen waits for.

    Raises:
        SessionError: it cannot be read.
    """
    from engine.session.patience import TRY_SECONDS
    from engine.session.reader import SessionReader
    from engine.session.schema import BusyError

    with suppress(BusyError), SessionReader(path, TRY_SECONDS) as reader:
        reader.status(), reader.meta()


def attach() -> int:
    """Open the newest running session.

    Raises:
        UserError: none is running.
    """
    from maxact_tui.cli.commands.steering import GOING_ON, newest

    return open_session(newest(GOING_ON))


def say_goodbye(path: Path, *, debug: bool = False) -> None:
    """After the screen: where the results are, and how to come back.

    Raises:
        SessionError: the file cannot be read, or is not there any more.
    """
    from engine.session.records import ENDED
    from maxact_tui.cli.awaiting import opened, patience_of

    patience = patience_of(path)
    with opened(path, patience) as reader:
        status = patience.wait_for(lambda _: reader.status())
    if status.phase == "failed":
        note(f"maxact-tui: {visible(status.detail, space=' ')}")
        note(f"log: {log_path(path)}")
        if debug:
            note(*read_end(path).splitlines())
    elif status.phase in ENDED:
        note(f"session: {path}  (maxact-tui open {short_name(path)})")
    else:
        back = "attach" if path.parent == sessions_folder() else f"open {short_name(path)}"
        note(f"still running in the background; come back with: maxact-tui {back}")
