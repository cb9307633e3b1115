"""Finding the session a user means.

- `find_session`  a path, or the start of a name in the sessions folder
- `short_name`    what a user may type for a session
"""

from __future__ import annotations

import shlex
from pathlib import Path

from engine.session.library import SUFFIX, sessions_folder
from maxact_tui.errors import UserError


def find_session(wanted: Path) -> Path:
    """The session file meant by `wanted`.

    Raises:
        UserError: none or several fit, or it is a folder.
    """
    path = wanted.expanduser()
    if path.is_dir():
        raise UserError(f"{wanted} is a folder, not a session file; maxact-tui sessions lists yours", code=2)
    if path.exists():
        return path.absolute()
    folder = sessions_folder()
    exact = folder / (wanted.name if wanted.suffix == SUFFIX else wanted.name + SUFFIX)
    if exact.exists():
        return exact
    fitting = sorted(p for p in folder.glob(f"*{SUFFIX}") if p.name.startswith(wanted.name))
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        names = ", ".join(p.stem for p in fitting[:4])
        raise UserError(f"'{wanted}' fits {len(fitting)} sessions ({names}); write more of the name", code=2)
    raise UserError(f"no session '{wanted}'; maxact-tui sessions lists yours", code=2)


def short_name(path: Path) -> str:
    """The shortest word for a session that `find_session` understands, quoted for a shell where need be."""
    return shlex.quote(path.stem if path.parent == sessions_folder() and path.suffix == SUFFIX else str(path))
