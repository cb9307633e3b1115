"""Memory: what was needed for a moment, and when garbage is looked for.

- `give_back`      what is free goes back to the system
- `IdleCollector`  looks for old garbage, and gives back what is free, when nobody waits
"""

from __future__ import annotations

import ctypes
import gc
import time
from functools import cache
from typing import Any

YOUNG, MIDDLE = 2_000, 10  # objects between two looks at the young ones, and such looks between two at the middle ones
NEVER = 1_000_000_000
QUIET_SECONDS = 0.7  # without a key, before old garbage is looked for
WORTHWHILE, OVERDUE = 2, 40  # looks at the middle generation since the last whole one


def give_back() -> None:
    """Hand the pages that are free back to the system; does nothing where the C library cannot.

    Computing the numbers of a model allocates and frees some MB for every site; glibc keeps what lies between pieces
    that are still in use.
    """
    if (trim := _malloc_trim()) is not None:
        trim(0)


class IdleCollector:
    """Looks for old garbage while nobody waits for an answer.

    A look at everything takes 50 to 100 ms with the largest sessions, and Python takes it whenever enough was
    allocated: mostly when a screen is being opened.
    """

    def __init__(self) -> None:
        self._thresholds = gc.get_threshold()
        self._keyed_at = time.monotonic()
        gc.set_threshold(YOUNG, MIDDLE, NEVER)

    def close(self) -> None:
        """Leave it to Python again."""
        gc.set_threshold(*self._thresholds)

    def keyed(self) -> None:
        """The user pressed a key, and may press the next."""
        self._keyed_at = time.monotonic()

    def look(self) -> bool:
        """Look for garbage if it is time to; returns whether it was."""
        looks = gc.get_count()[2]
        is_quiet = time.monotonic() - self._keyed_at >= QUIET_SECONDS
        if looks < WORTHWHILE or (not is_quiet and looks < OVERDUE):
            return False
        gc.collect()
        give_back()
        return True


@cache
def _malloc_trim() -> Any:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, TypeError, AttributeError):  # not glibc
        return None
