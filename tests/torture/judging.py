"""What a command may say: lines that print, and no traceback.

- `require_told`  wait for a command and look at what it wrote; gives back its exit code
- `UntoldError`   it ended in something that is no line for the user
"""

from __future__ import annotations

from tests.torture.starting import Started

CODES = (0, 1, 2, 3, 130)
MOST_LINES = 40
BUG = "a bug in maxact-tui"  # as `maxact_tui.bugs` says it


class UntoldError(Exception):
    """A command ended by a signal, a traceback, a mistake of ours, or with characters that do not print."""


def require_told(started: Started, seconds: float) -> int:
    """The exit code of a command that ends in lines for the user.

    Raises:
        UntoldError: it does not.
        TimeoutExpired: it does not end within so many seconds.
    """
    code = started.wait(seconds)
    lines = started.errors().splitlines()
    if code not in CODES:
        raise UntoldError(f"exit code {code}: {lines[-1:]}")
    if code and not lines:
        raise UntoldError(f"exit code {code} without a word")
    for line in [*lines, *started.out.read_text(encoding="utf-8", errors="surrogateescape").splitlines()]:
        if "Traceback (most recent" in line or BUG in line or not line.isprintable():
            raise UntoldError(f"exit code {code}, with {line[:300]!r}, then {lines[-1:]}")
    if code and len(lines) > MOST_LINES:
        raise UntoldError(f"exit code {code} after {len(lines)} lines")
    return code
