"""Waiting for a session file that another process is writing, in short tries, so that whoever waits is not deaf.

- `Patience`      how long to wait, who is told, and whether it is still wanted
- `GivenUpError`  it is not
- `LOCKED`        what is waited for
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from engine.messages import Code, Message, message, words
from engine.session.schema import BusyError, SessionError

TRY_SECONDS = 0.2
WHOLE_SECONDS = 20.0
LOCKED = message(Code.LOCKED)
_Made = TypeVar("_Made")


class GivenUpError(SessionError):
    """Whoever waited does not want it any more."""


class Patience:
    """Tries again as long as another process holds the session file.

    Args:
        seconds: after that it is given up.
        tell: is told what is waited for, after every try that failed.
        is_given_up: asked after every try that failed.
    """

    def __init__(
        self,
        seconds: float = WHOLE_SECONDS,
        tell: Callable[[Message], None] = lambda what: None,
        is_given_up: Callable[[], bool] = lambda: False,
    ) -> None:
        self.seconds = seconds
        self._tell, self._is_given_up = tell, is_given_up

    def wait_for(self, act: Callable[[float], _Made]) -> _Made:
        """What `act` gives, which is given the seconds it may wait for the file at a time.

        It must be harmless to begin it again after a `BusyError`.

        Raises:
            BusyError: the file was held all the time.
            GivenUpError: it is not wanted any more.
            SessionError, OSError: what else `act` raises.
        """
        end = time.monotonic() + self.seconds
        while True:
            try:
                return act(TRY_SECONDS)
            except BusyError as error:
                if self._is_given_up():
                    raise GivenUpError(f"given up while {words(LOCKED)}") from error
                if time.monotonic() >= end:
                    said = f"{error.path} was being written for {self.seconds:.0f} s without a pause; try again"
                    raise BusyError(error.path, said) from error
                self._tell(LOCKED)
