"""The one error a command raises for its user.

- `UserError`  one line with the next step, and the exit code
"""

from __future__ import annotations


class UserError(Exception):
    """Something the user can mend; the message is one line. `code` is the exit code, 2 for a usage error."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code
