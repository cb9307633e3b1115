"""Where sessions live, what new ones are called, and which there are.

- `sessions_folder`  the folder of this user's sessions (`MAXACT_SESSIONS` overrides it)
- `new_path`         a fresh, readable file name for a model
- `files_of`         a session's file, and those that SQLite and the engines may keep beside it
- `size_of`          bytes they take together
- `log_path`         where the engine of a session writes its output
- `lock_path`        what a living engine of a session holds locked
- `boot_identity`    an identifier of this machine's boot
"""

from __future__ import annotations

import os
import re
import time
from contextlib import suppress
from pathlib import Path
from typing import Literal

import platformdirs

FOLDER_VARIABLE = "MAXACT_SESSIONS"
SUFFIX = ".maxact"
_BESIDE = ("-wal", "-shm", "-journal", ".lock", ".service.lock")


def sessions_folder() -> Path:
    """The folder where sessions are kept unless `--session` says otherwise."""
    override = os.environ.get(FOLDER_VARIABLE)
    return Path(override) if override else Path(platformdirs.user_data_dir("maxact-tui", appauthor=False)) / "sessions"


def new_path(model: str, folder: Path | None = None) -> Path:
    """A path that does not exist yet: model name, date and time, a number if need be."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(model).name.removesuffix(".gguf")).strip("-.") or "model"
    stem = f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    folder = folder or sessions_folder()
    candidate, number = folder / f"{stem}{SUFFIX}", 2
    while candidate.exists():
        candidate, number = folder / f"{stem}-{number}{SUFFIX}", number + 1
    return candidate


def files_of(session: Path) -> list[Path]:
    """The session file and what SQLite and the engines may keep beside it, there or not."""
    return [session, *(session.with_name(session.name + suffix) for suffix in _BESIDE)]


def size_of(session: Path) -> int:
    """Bytes of a session on disk; of one that is being written the latest are beside the file."""
    total = 0
    for path in files_of(session):
        with suppress(FileNotFoundError):  # SQLite removes what is beside the file whenever a writer ends
            total += path.stat().st_size
    return total


def log_path(session: Path) -> Path:
    """The engine's log beside the session file."""
    return session.with_name(session.name + ".log")


def lock_path(session: Path, role: Literal["run", "service"] = "run") -> Path:
    """The file beside the session that its engine, or the engine that only answers, holds locked."""
    return session.with_name(session.name + (".lock" if role == "run" else ".service.lock"))


def boot_identity() -> str:
    """Linux's boot id, or an empty string where the system has none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
