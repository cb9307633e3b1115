"""What a test knows to be there.

- `some`  a value that may be None by its type and is not
"""

from __future__ import annotations

from typing import TypeVar

T = TypeVar("T")


def some(value: T | None) -> T:
    assert value is not None
    return value
