"""What becomes of output that nobody reads to its end. Commands print through `maxact_tui.terminal.printing`.

- `reader_may_leave`  nobody needs to read our output to its end
- `drop_unwritten`    what a stream cannot write any more is dropped
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


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


def drop_unwritten() -> None:
    """Drop what stdout and stderr cannot write any more; Python would try again at exit, and complain."""
    null = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(null, stream.fileno())
    os.close(null)
