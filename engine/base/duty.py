"""How often something may be done so that it takes no more than its share of the time.

- `Duty`
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Duty:
    """Paces something that costs time by what it cost last.

    Args:
        share: of the time it may take, in the long run.
        least: seconds from one turn to the next at least.
        most: seconds after which it is due whatever it costs.
    """

    def __init__(self, share: float, *, least: float, most: float) -> None:
        self._share, self._least, self._most = share, least, most
        self._began = -most
        self.cost = 0.0
        """Seconds of the last turn."""
        self.spent = 0.0
        """Seconds of all turns."""

    @property
    def interval(self) -> float:
        """Seconds from the beginning of one turn to that of the next."""
        return min(max(self._least, self.cost / self._share), self._most)

    def is_due(self) -> bool:
        """Whether it may be done again."""
        return time.monotonic() - self._began >= self.interval

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Within this block it is done."""
        self._began = time.monotonic()
        try:
            yield
        finally:
            self.cost = time.monotonic() - self._began
            self.spent += self.cost
