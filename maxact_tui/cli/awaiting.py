"""Asking an engine without a screen: what is waited for is said on stderr.

- `patience_of`   with a session file that another process is writing
- `opened`        a reader of it
- `await_answer`  follow a command until it is answered
- `await_end`     until no engine answers any more
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from engine.messages import Code, key_of, message, words
from engine.session.patience import LOCKED, Patience
from engine.session.reader import SessionReader
from engine.session.requests import POLL_SECONDS, SENDING, Standing, follow
from engine.session.schema import BusyError
from maxact_tui.cli.bar import Bar
from maxact_tui.cli.pace import Pace
from maxact_tui.texts.visible import visible
from maxact_tui.watching.asking import is_alive
from maxact_tui.watching.finding import short_name

QUIET_SECONDS = 1.0  # what is over sooner needs no word about its waiting


def patience_of(path: Path) -> Patience:
    """Patience with a session file that is being written, which says on stderr what it waits for."""
    pace = Pace(f"{short_name(path)}: ")
    return Patience(tell=lambda what: _note(pace, words(what), what.code))


def opened(path: Path, patience: Patience) -> SessionReader:
    """A reader of a session's state, of which not all has to be whole.

    As it waits only a moment for whoever writes, its methods are called with patience.

    Raises:
        SessionError: the file cannot be read.
    """
    return patience.wait_for(lambda wait_seconds: SessionReader(path, wait_seconds, is_glance=True))


def await_answer(reader: SessionReader, number: int, seconds: float | None = None) -> Standing:
    """Where a command stands in the end; a wait of more than a moment is told, with how far the work is.

    Args:
        reader: of the session.
        number: of the command.
        seconds: for how long it is waited for; None without an end, and then told from the beginning.

    Raises:
        SessionError: the session cannot be read.
    """
    if seconds is None and sys.stderr.isatty():
        return _follow_with_bar(reader, number)
    pace, began = Pace("" if seconds is None else f"{short_name(reader.path)}: "), time.monotonic()
    standing = SENDING
    for standing in follow(reader, number, seconds):
        is_due = seconds is None or standing.stage == "locked" or time.monotonic() - began > QUIET_SECONDS
        if is_due and not standing.is_over:
            step = standing.stage if standing.total and standing.stage == "working" else key_of(standing.message)
            left = pace.seconds_left(step, standing.done, standing.total)
            _note(pace, standing.words(), step, left)
    return standing


def await_end(reader: SessionReader, seconds: float) -> bool:
    """Wait until no engine answers any more, at most this long; says whether it has come to that."""
    pace, end, began = Pace(f"{short_name(reader.path)}: "), time.monotonic() + seconds, time.monotonic()
    while True:
        what = message(Code.AWAITING_END)
        try:
            if not is_alive(reader):
                return True
        except BusyError:
            what = LOCKED
        if time.monotonic() > end:
            return False
        if time.monotonic() - began > QUIET_SECONDS:
            _note(pace, words(what), what.code)
        time.sleep(POLL_SECONDS)


def _follow_with_bar(reader: SessionReader, number: int) -> Standing:
    standing = SENDING
    with Bar(SENDING.text) as bar:
        for standing in follow(reader, number):
            count = f"{standing.done:,}/{standing.total:,}" if standing.total else ""
            bar.show(visible(standing.text, space=" "), standing.done, standing.total, count)
    return standing


def _note(pace: Pace, text: str, step: str = "", seconds_left: float | None = None) -> None:
    pace.say(step or text, visible(text, space=" "), seconds_left)
