"""The one error of this room.

- `SiteError`  a model on which nothing can be measured, with the user's next step
"""

from __future__ import annotations


class SiteError(ValueError):
    """No measurable sites. The message is one line that names the user's next step."""
