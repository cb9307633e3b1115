"""Requests on their way: a thread writes them one after the other, so that whoever wishes never waits for the file.

- `Outbox`   the thread; it says how each request is getting on
- `Deliver`  what brings a request into the file
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from engine.messages import Code, Message, message
from engine.session.patience import WHOLE_SECONDS, GivenUpError, Patience
from engine.session.requests import SENDING, Request, Standing
from engine.session.schema import SessionError

Deliver = Callable[[Patience], int | None]
"""Brings a request into the file, with patience; gives the command's number, None where it is no command."""


class Outbox:
    """Requests to one session, in the order in which they were wished for.

    Args:
        moved: called from the thread whenever a request has got further; it must not wait.
        seconds: how long another process may write meanwhile before a request is given up.
    """

    def __init__(self, moved: Callable[[Request], None], seconds: float = WHOLE_SECONDS) -> None:
        self._moved, self._seconds = moved, seconds
        self._changed = threading.Condition()
        self._waiting: deque[tuple[Request, Deliver]] = deque()
        self._thread: threading.Thread | None = None
        self._is_given_up = False

    @property
    def unsent(self) -> tuple[Request, ...]:
        """Requests that are not in the file yet, the oldest first."""
        with self._changed:
            return tuple(request for request, _ in self._waiting)

    def post(self, request: Request, deliver: Deliver) -> Request:
        """Have a request delivered; gives it back."""
        with self._changed:
            self._waiting.append((request, deliver))
            self._changed.notify_all()
            if self._thread is None:
                # No end of the program waits for it: whoever ends asks `settle` first.
                self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)
                self._thread.start()
        return request

    def settle(self, seconds: float) -> tuple[Request, ...]:
        """Wait until everything is sent, at most this long; gives back what is not."""
        end = time.monotonic() + seconds
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting, max(end - time.monotonic(), 0.0))
        return self.unsent

    def give_up(self) -> None:
        """Send nothing more; the try in hand comes to its end."""
        self._is_given_up = True

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._waiting))
                request, deliver = self._waiting[0]
            self._deliver(request, deliver)
            with self._changed:
                self._waiting.popleft()
                self._changed.notify_all()
            self._moved(request)

    def _deliver(self, request: Request, deliver: Deliver) -> None:
        """Deliver one request, or leave in it why that was not possible."""

        def tell(what: Message) -> None:
            if request.sending.stage != "locked":
                request.sending = Standing("locked", what)
                self._moved(request)

        try:
            number = deliver(Patience(self._seconds, tell, lambda: self._is_given_up))
        except GivenUpError:
            request.sending = Standing("unsent", message(Code.GIVEN_UP))
        except (SessionError, OSError) as error:
            request.sending = Standing("unsent", message(Code.NOT_SENT, reason=str(error)))
        except Exception as error:  # noqa: BLE001  # the last boundary of the thread, which has others to deliver
            request.sending = Standing("unsent", message(Code.NOT_SENT_FAULT, error=repr(error)))
        else:
            request.number = number or 0
            request.sending = SENDING if number else Standing("done", message(Code.BEGUN))
