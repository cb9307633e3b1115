"""Progress as lines where nothing can be drawn: each says something new.

- `Pace`  prints a line when a step begins, and later ones when there is news and enough time has passed
"""

from __future__ import annotations

import time
from collections.abc import Callable

from maxact_tui.terminal.printing import note
from maxact_tui.texts.numbers import duration

LINE_SECONDS = 10.0
SILENCE_SECONDS = 60.0


class Pace:
    """Lines on stderr about one thing that goes on.

    Args:
        label: stands before every line.
        write: takes a line; stderr by default.
        clock: monotonic seconds.
    """

    def __init__(
        self, label: str = "", *, write: Callable[[str], None] = note, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._label, self._write, self._clock = label, write, clock
        self._step, self._text = "", ""
        self._said_at = self._news_at = self._began = clock()
        self._timed, self._first = "", 0.0

    def say(self, step: str, text: str, seconds_left: float | None = None) -> bool:
        """Print the line if it is due: a new step at once, news every ten seconds, silence once a minute.

        Args:
            step: of the work; its first line is never held back.
            text: everything known now; the same text again is no news.
            seconds_left: an estimate, which is no news by itself.

        Returns:
            Whether it was printed.
        """
        now = self._clock()
        is_new, is_news = step != self._step, text != self._text
        if is_new or (is_news and now - self._said_at >= LINE_SECONDS):
            self._print(text if seconds_left is None else f"{text}, {duration(seconds_left)} left")
            self._step, self._text, self._said_at, self._news_at = step, text, now, now
            return True
        if not is_news and now - self._said_at >= SILENCE_SECONDS:
            self._print(f"{text}; nothing new for {duration(now - self._news_at)}")
            self._said_at = now
            return True
        return False

    def seconds_left(self, step: str, done: float, total: float) -> float | None:
        """Seconds a step will still take at the rate since its first progress; None while that is unknown."""
        now = self._clock()
        if step != self._timed:
            self._timed, self._began, self._first = step, now, done
        gone, moved = now - self._began, done - self._first
        return gone / moved * (total - done) if moved > 0 and total > done else None

    def _print(self, text: str) -> None:
        self._write(self._label + text)
