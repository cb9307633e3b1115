"""What becomes of output that nobody reads to its end. Commands print through `maxact_tui.terminal.printing`.

- `reader_may_leave`  nobody needs to read our output to its end
- `last_words`        why a process that was started here ended
- `drop_unwritten`    what a stream cannot write any more is dropped
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from engine.messages.endings import name_of_signal


@contextmanager
def reader_may_leave() -> Iterator[None]:
    """Within this block, whoever reads stdout may go before its end (`| head`): the block ends without an error."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        drop_unwritten()
    except SystemExit as end:
        if not isinstance(end.__context__, BrokenPipeError):  # which rich makes a SystemExit of
            raise
        drop_unwritten()


def last_words(code: int, errors: Sequence[bytes]) -> str:
    """Why a process that was started here ended: by which signal, else the last line of its stderr.

    Args:
        code: its return code, negative for a signal.
        errors: the lines of its stderr.
    """
    if code < 0:
        return f"the process was ended by {name_of_signal(-code)}"
    last = next((line for line in reversed(errors) if line.strip()), b"no message")
    return last.decode("utf-8", "replace").removeprefix("maxact-tui: ")


def drop_unwritten() -> None:
    """Drop what stdout and stderr cannot write any more; Python would try again at exit, and complain."""
    null = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(null, stream.fileno())
    os.close(null)
