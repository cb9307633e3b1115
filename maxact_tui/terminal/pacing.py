"""Pacing: no new data frame before the terminal has answered for the last one, nor before it has paid for itself.

A slow link fills with frames faster than it carries them, and keys then echo seconds late. After each data frame the
terminal is asked where its cursor is; until it answers, newer data only replaces what is waiting to be drawn. And a
machine that measures has better things to do than to draw: after a frame that was dear to compute comes a longer rest.

- `Pacer`
"""

from __future__ import annotations

import time
from collections.abc import Callable

QUERY = "\x1b[6n"
PACE_SECONDS = 0.25
FIRST_ANSWER_SECONDS = 2.0  # a terminal that stays silent this long does not answer at all
PROCESSOR_SHARE = 0.04  # of one core, beyond which data frames come less often
SAVED_SECONDS = 0.5  # of processor time that may be used at once: opening a session is dear, and should be quick
LONGEST_REST_SECONDS = 1.0
LOST_ANSWER_SECONDS = 10.0  # a terminal that has answered before lost this one, or the link is hopeless


class Pacer:
    """Decides when the next data frame may be drawn. Frames caused by keys do not ask.

    Args:
        write: sends text to the terminal.
        clock: monotonic seconds.
        work: seconds of processor time this process has used.
    """

    def __init__(
        self,
        write: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
        work: Callable[[], float] = time.process_time,
    ) -> None:
        self._write, self._clock, self._work = write, clock, work
        self._booked_at, self._work_booked = clock(), work()
        self._credit = SAVED_SECONDS
        self._drew_at = -LONGEST_REST_SECONDS
        self._asked_at: float | None = None
        self._has_answered = False
        self._gave_up = False

    def may_draw(self) -> bool:
        """Whether the last data frame has arrived, as far as can be known, and has been paid for."""
        if self._rest() > 0:
            return False
        if self._asked_at is None:
            return True
        waited = self._clock() - self._asked_at
        if not self._has_answered and waited > FIRST_ANSWER_SECONDS:
            self._gave_up = True
        if self._gave_up or waited > LOST_ANSWER_SECONDS:
            self._asked_at = None
            return True
        return False

    @property
    def rest_seconds(self) -> float:
        """Until it is worth asking `may_draw` again if no answer of the terminal comes first."""
        return self._rest() or PACE_SECONDS

    def frame_sent(self) -> None:
        """A data frame was written: ask the terminal to answer once it has got there."""
        self._drew_at = self._clock()
        if not self._gave_up and self._asked_at is None:
            self._asked_at = self._clock()
            self._write(QUERY)

    def answered(self) -> None:
        """The terminal has answered."""
        self._has_answered = True
        self._asked_at = None

    def _rest(self) -> float:
        """Seconds until what the process has used is paid for by its share of the time that has passed."""
        now, work = self._clock(), self._work()
        earned, used = (now - self._booked_at) * PROCESSOR_SHARE, work - self._work_booked
        self._credit = min(self._credit + earned, SAVED_SECONDS) - used
        self._booked_at, self._work_booked = now, work
        longest = self._drew_at + LONGEST_REST_SECONDS - now
        return max(min(-self._credit / PROCESSOR_SHARE, longest), 0.0)
