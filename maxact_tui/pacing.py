"""Ack pacing: no new data frame before the terminal has answered for the last one.

A slow link fills with frames faster than it carries them, and keys then echo seconds late. After each data frame the
terminal is asked where its cursor is; until it answers, newer data only replaces what is waiting to be drawn.

- `Pacer`
"""

from __future__ import annotations

import time
from collections.abc import Callable

QUERY = "\x1b[6n"
FIRST_ANSWER_SECONDS = 2.0  # a terminal that stays silent this long does not answer at all
LOST_ANSWER_SECONDS = 10.0  # a terminal that has answered before lost this one, or the link is hopeless


class Pacer:
    """Decides when the next data frame may be drawn. Frames caused by keys do not ask.

    Args:
        write: sends text to the terminal.
        clock: monotonic seconds.
    """

    def __init__(self, write: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._write, self._clock = write, clock
        self._asked_at: float | None = None
        self._has_answered = False
        self._gave_up = False

    def may_draw(self) -> bool:
        """Whether the last data frame has arrived, as far as can be known."""
        if self._asked_at is None:
            return True
        waited = self._clock() - self._asked_at
        if not self._has_answered and waited > FIRST_ANSWER_SECONDS:
            self._gave_up = True
        if self._gave_up or waited > LOST_ANSWER_SECONDS:
            self._asked_at = None
            return True
        return False

    def frame_sent(self) -> None:
        """A data frame was written: ask the terminal to answer once it has got there."""
        if not self._gave_up and self._asked_at is None:
            self._asked_at = self._clock()
            self._write(QUERY)

    def answered(self) -> None:
        """The terminal has answered."""
        self._has_answered = True
        self._asked_at = None
