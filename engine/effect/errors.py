"""What can be wrong with a request to measure an effect.

- `EffectError`  one line that names what would be right
"""

from __future__ import annotations


class EffectError(ValueError):
    """An effect that cannot be measured; the message is one line with the user's next step."""
