"""A session file that is whole or not there.

- `whole_session`    a writer for one that gets its name at the end; until then it has another one beside it
- `discard_session`  remove one that holds nothing, and its log unless the user was told to read it
- `forget_logs`      remove such logs after a week
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from engine.base.files import appear
from engine.base.job import Job
from engine.session.library import SUFFIX, files_of, log_path
from engine.session.schema import SessionError
from engine.session.writer import SessionWriter

KEPT_SECONDS = 7 * 86_400.0  # the log of a failed start
_PART = ".part"


def discard_session(path: Path, *, keep_log: bool = False) -> None:
    """Remove a session that holds nothing, and the log of its engine.

    Args:
        path: the session.
        keep_log: the user was told to read the log: it stays until `forget_logs` finds it a week old.
    """
    _remove(path)
    if not keep_log:
        log_path(path).unlink(missing_ok=True)


def forget_logs(folder: Path) -> None:
    """Remove the logs of failed starts, whose session is gone, once they have lain there for a week."""
    for log in folder.glob(f"*{SUFFIX}.log"):
        with suppress(OSError):  # somebody else's, or gone already
            if not log.with_suffix("").exists() and time.time() - log.stat().st_mtime > KEPT_SECONDS:
                log.unlink()


@contextmanager
def whole_session(target: Path, job: Job) -> Iterator[SessionWriter]:
    """A writer of a new session, which appears as `target` when the block ends without an error.

    A process that is killed leaves a hidden file `.NAME.PID.part`; the next one that writes `target` removes it.

    Raises:
        SessionError: `target` exists, or cannot be written.
    """
    if os.path.lexists(target):
        raise SessionError(f"{target} exists already; choose another name, or open it: maxact-tui open {target}")
    _remove_leftovers(target)
    part = target.with_name(f".{target.name}.{os.getpid()}{_PART}")
    try:
        writer = SessionWriter.create(part, job)
        try:
            yield writer
        finally:
            writer.close(final=True)
        appear(part, target)
    except FileExistsError:
        raise SessionError(f"{target} appeared meanwhile; choose another name") from None
    except (OSError, sqlite3.Error) as error:
        raise SessionError(f"{target} could not be written ({error}); is there space left in its folder?") from error
    finally:
        _remove(part)


def _remove_leftovers(target: Path) -> None:
    """Parts of this file whose writer is gone."""
    for part in target.parent.glob(f".{target.name}.*{_PART}"):
        number = part.name.removesuffix(_PART).rpartition(".")[2]
        if number.isdecimal() and not psutil.pid_exists(int(number)):
            _remove(part)


def _remove(part: Path) -> None:
    for path in files_of(part):
        path.unlink(missing_ok=True)
