"""What can go wrong in an export.

- `ReportError`  one line that names the user's next step
"""

from __future__ import annotations


class ReportError(Exception):
    """An export that could not be made; one line that names the user's next step.

    `code` is the exit code: 2 for an argument that cannot be meant.
    """

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code
