"""Memory that was needed for a moment.

- `give_back`  what is free goes back to the system
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any


def give_back() -> None:
    """Hand the pages that are free back to the system; does nothing where the C library cannot.

    Computing the numbers of a model allocates and frees some MB for every site; glibc keeps what lies between pieces
    that are still in use.
    """
    if (trim := _malloc_trim()) is not None:
        trim(0)


@cache
def _malloc_trim() -> Any:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, TypeError, AttributeError):  # not glibc
        return None
