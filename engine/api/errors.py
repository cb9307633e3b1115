"""What the functions of `engine` raise, besides `ValueError` for a wrong argument.

- `MaxactError`   the base of all
- `NotFoundError` no such session, site or table
- `WatchError`    a model cannot be watched; the message says why
"""

from __future__ import annotations


class MaxactError(Exception):
    """Something cannot be done; the message is one line that names the next step."""


class NotFoundError(MaxactError, KeyError):
    """There is no session, site or table of that name."""

    def __str__(self) -> str:
        """The message itself: `KeyError` would put it in quotes."""
        return str(self.args[0]) if self.args else ""


class WatchError(MaxactError):
    """A model cannot be watched as it is asked for."""
