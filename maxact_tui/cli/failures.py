"""Errors of which the user can be told in one line. Heavy imports happen where they are used.

- `explain`  the line and the exit code
"""

from __future__ import annotations

import errno

from cyclopts import CycloptsError

from maxact_tui.errors import UserError

_NO_HOME = "Could not determine home directory"  # what pathlib says of ~nobody


def explain(error: Exception) -> tuple[str, int] | None:
    """What went wrong in one line, with the exit code; None for an error that nobody has foreseen."""
    if isinstance(error, CycloptsError):
        return f"{' '.join(str(error).split()).rstrip('.')}; see maxact-tui --help", 2
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "the output could not be written: no space left there", 1
    if isinstance(error, RuntimeError) and str(error).startswith(_NO_HOME):
        return "a path begins with ~ and the name of no user here; write it in full", 2
    if isinstance(error, _known_errors()):
        return str(error), getattr(error, "code", 1)
    return _explain_database(error)


def _explain_database(error: Exception) -> tuple[str, int] | None:
    """A session file on a disk that is full or broken: SQLite needs room to read, too."""
    import sqlite3

    if not isinstance(error, sqlite3.Error):
        return None
    return f"a session file could not be read or written ({error}); is there space left in its folder?", 1


def _known_errors() -> tuple[type[Exception], ...]:
    """The error types of the rooms whose messages are written for the user; none of them loads torch."""
    from corpus.samples import CorpusError
    from engine.loading.errors import LoadError
    from engine.merging import MergeError
    from engine.report.errors import ReportError
    from engine.session.schema import SessionError

    return (UserError, CorpusError, LoadError, MergeError, ReportError, SessionError)
