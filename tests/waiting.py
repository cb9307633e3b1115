"""Waiting for what has to happen, however busy the machine is.

- `PATIENCE_SECONDS`  how long anything is waited for; it matters only where it never happens
- `PROGRAM_SECONDS`   how long a program may take that is run to its end
- `until`             wait for a condition
"""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE_SECONDS = 300.0
PROGRAM_SECONDS = 600.0
LOOK_SECONDS = 0.02


def until(holds: Callable[[], bool], what: Callable[[], object] = lambda: "it did not happen") -> None:
    """Look again and again until the condition holds.

    Args:
        holds: the condition.
        what: what is told if it never does.

    Raises:
        AssertionError: it never did.
    """
    end = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < end, what()
        time.sleep(LOOK_SECONDS)
