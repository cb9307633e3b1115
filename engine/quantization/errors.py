"""What can be wrong with a request for a quantiser.

- `QuantizationError`  one line that names what would be right
"""

from __future__ import annotations


class QuantizationError(ValueError):
    """A quantiser that does not exist; the message is one line that names what does."""
