"""Removing sessions.

- `remove`  delete session files and what SQLite and the engine left beside them
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from engine.base.wording import counted
from engine.session.library import files_of, log_path, size_of
from engine.session.listing import describe_session
from engine.session.reader import SessionReader
from engine.session.schema import DamagedError
from maxact_tui.errors import UserError
from maxact_tui.terminal.printing import ask, note, say
from maxact_tui.texts.numbers import size
from maxact_tui.watching.asking import is_alive
from maxact_tui.watching.finding import find_session, short_name


def remove(sessions: Sequence[Path], *, yes: bool) -> int:
    """Delete sessions, damaged ones too; all of them or, where one is refused, none.

    Raises:
        UserError: an engine runs for one of them, nobody can be asked, the answer was no, or a file stays.
        SessionError: one is not a session file.
    """
    if not sessions:
        raise UserError("which session? maxact-tui sessions rm SESSION ...", code=2)
    paths = list(dict.fromkeys(find_session(session) for session in sessions))
    for path in paths:
        if _is_in_use(path):
            name = short_name(path)
            raise UserError(f"an engine runs for {name}; first: maxact-tui stop {name}")
    if not yes:
        _confirm(paths)
    for path in paths:
        for file in (*files_of(path), log_path(path)):
            _unlink(file)
        say(f"removed {path}")
    return 0


def _is_in_use(path: Path) -> bool:
    """Whether an engine runs for a session; of one that cannot tell any more nobody waits for the numbers."""
    try:
        with SessionReader(path, is_glance=True) as reader:
            return is_alive(reader)
    except DamagedError:
        return False


def _unlink(file: Path) -> None:
    try:
        file.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"cannot remove {file}: {error.strerror}; see to the permissions of its folder") from error


def _confirm(paths: Sequence[Path]) -> None:
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UserError("nobody is here to ask; to remove without asking add --yes", code=2)
    for path in paths:
        note(f"{path}  {_content(path)}, {size(size_of(path))}")
    ask(f"remove {counted(len(paths), 'session')} for good? [y/N] ")
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise UserError("nothing was removed")


def _content(path: Path) -> str:
    try:
        with SessionReader(path, is_glance=True) as reader:
            describe_session(reader)  # what the list calls damaged is called so here, too
            return counted(len(reader.samples_done()), "sample")
    except DamagedError:
        return "damaged"
