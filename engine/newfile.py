"""A session file that is whole or not there.

- `whole_session`    a writer for one that gets its name at the end; until then it has another one beside it
- `discard_session`  remove one that holds nothing, and its log
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from engine.job import Job
from engine.report.writing import appear
from engine.session.library import files_of, log_path
from engine.session.schema import SessionError
from engine.session.writer import SessionWriter

_PART = ".part"


def discard_session(path: Path) -> None:
    """Remove a session that holds nothing, and the log of its engine."""
    _remove(path)
    log_path(path).unlink(missing_ok=True)


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
