"""The engine's log: a plain file of this user, never what somebody has put in its place.

- `open_log`     open it for appending, without following links
- `read_end`     its last bytes as text
- `level_of`     the level of a line of it
- `OneLine`      a log format in which a message cannot begin a line of its own
"""

from __future__ import annotations

import errno
import logging
import os
import re
import stat
from pathlib import Path

from engine.session.library import log_path
from engine.session.schema import SessionError

END_BYTES = 64 * 1024
_GUARD = "  | "
FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\S* ([A-Z]+) \S+: ")  # what FORMAT makes


class OneLine(logging.Formatter):
    """A record is one line; the lines of a traceback follow behind a mark, and nothing in them is a control character.

    What a message quotes (paths, model names, texts) may come from a stranger's session.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The record as text without line breaks but those of its traceback."""
        before, record.message = record.exc_text, _escaped(record.getMessage())
        if self.usesTime():
            record.asctime = self.formatTime(record, self.datefmt)
        lines = [self.formatMessage(record)]
        if record.exc_info:
            lines += [_GUARD + _escaped(line) for line in self.formatException(record.exc_info).splitlines()]
        record.exc_text = before
        return "\n".join(lines)


def open_log(session: Path) -> int:
    """A descriptor that appends to the log of a session; the file is made if need be, for its owner only.

    Raises:
        SessionError: something else has its name (a link, a pipe, a file with a second name or of another user), or it
            cannot be written.
    """
    path = log_path(session)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, 0o600)
    except OSError as error:
        foreign = error.errno in (errno.ELOOP, errno.ENXIO)  # a link; a pipe that nobody reads
        raise _foreign(path) if foreign else SessionError(f"cannot write {path}: {error.strerror}") from error
    if not _is_ours(os.fstat(descriptor)):
        os.close(descriptor)
        raise _foreign(path)
    return descriptor


def read_end(session: Path, most: int = END_BYTES) -> str:
    """The last bytes of the log as text; empty if there is none, or something else has its name."""
    try:
        descriptor = os.open(log_path(session), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return ""
    state = os.fstat(descriptor)
    if not stat.S_ISREG(state.st_mode):
        os.close(descriptor)
        return ""
    with os.fdopen(descriptor, "rb") as file:
        file.seek(max(state.st_size - most, 0))
        return file.read(most).decode("utf-8", errors="replace")


def level_of(line: str) -> str:
    """The level of a line that an engine has logged, such as `INFO`; empty for what libraries write."""
    found = _LINE.match(line)
    return found[1] if found else ""


def _is_ours(state: os.stat_result) -> bool:
    return stat.S_ISREG(state.st_mode) and state.st_uid == os.geteuid() and state.st_nlink == 1


def _foreign(path: Path) -> SessionError:
    return SessionError(f"{path} is not a log of yours (a link, a pipe, or another user's file); remove it first")


def _escaped(text: str) -> str:
    """The text with control characters and line breaks as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
