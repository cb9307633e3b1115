"""What can go wrong in an export.

- `ReportError`  one line that names the user's next step
"""

from __future__ import annotations


class ReportError(Exception):
    """An export that could not be made; the message is one line that names the user's next step."""
