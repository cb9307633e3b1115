"""What the user asks of the engine, and its answers; nothing here waits for the session file.

- `Requests`  sends commands by a thread and tells how they are getting on
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from engine.session.outbox import Deliver, Outbox
from engine.session.patience import Patience
from engine.session.requests import Request, send_command, title_of
from maxact_tui.watching.asking import ask
from maxact_tui.watching.finding import short_name
from maxact_tui.watching.snapshot import Snapshot

READ_ONLY = "this screen is read-only (--read-only, or the settings): nothing is sent to the engine"
_STEERING = frozenset({"pause", "resume"})


class Requests:
    """Requests to one session's engine.

    Args:
        session: the session file.
        read_only: send nothing.
        say: shows one line to the user.
        moved: called from a thread when a request has got further; `tell` then says so.
    """

    def __init__(
        self, session: Path, read_only: bool, say: Callable[[str], None], moved: Callable[[Request], None]
    ) -> None:
        self.session, self._say = session, say
        self.is_read_only = read_only
        self._outbox = Outbox(moved)
        self._open: list[Request] = []
        self._told: dict[Request, str] = {}
        """What was said last of requests that nobody else tells about, by its code."""

    @property
    def unsent(self) -> tuple[Request, ...]:
        """What is not in the file yet."""
        return self._outbox.unsent

    def send(self, name: str) -> bool:
        """Ask for something the engine does at once, and tell its answer; says whether that is allowed here."""
        if self.is_read_only:
            self._say(READ_ONLY)
            return False

        def deliver(patience: Patience) -> int:
            return send_command(self.session, name, patience=patience)

        self.post(Request(name), deliver)
        return True

    def ask(self, request: Request) -> None:
        """Ask for work on the loaded model, whose engine is started where none is alive; a screen follows it."""
        self._open.append(request)
        self._outbox.post(request, lambda patience: ask(self.session, request.name, request.arguments, patience))

    def post(self, request: Request, deliver: Deliver) -> None:
        """Have something delivered, and tell how that is getting on."""
        self._open.append(request)
        self._told[request] = ""
        self._outbox.post(request, deliver)

    def toggle_pause(self, snapshot: Snapshot) -> bool:
        """Ask for a pause, or for going on; says whether it was asked for."""
        status = snapshot.status
        if status is None or status.phase in ("starting", "loading"):
            self._say("nothing to pause yet: the run has not begun")
            return False
        if snapshot.has_ended:
            name = short_name(self.session)
            ways = {"finished": f"the run is finished; more texts for it: maxact-tui add {name} FILE"}
            self._say(ways.get(status.phase, f"the run has ended; continue it with: maxact-tui resume {name}"))
            return False
        asked = next((one for one in self._open if one.name in _STEERING), None)
        if asked is not None:
            self._say(f"{asked.name}: {snapshot.standing(asked).words()}")
            return False
        return self.send("resume" if status.phase == "paused" else "pause")

    def tell(self, request: Request) -> None:
        """Say how a request is getting on that has just moved."""
        if request not in self._open:  # answered already
            return
        if request.number:
            said, text = "asked", "asked the engine, it answers after the batch in hand"
        elif request.sending.stage in ("locked", "unsent"):
            said, text = request.sending.message.code, request.sending.text
        else:
            said, text = "", ""
        if said and (request in self._told or request.sending.has_failed) and self._told.get(request) != said:
            self._say(f"{title_of(request.name, request.arguments)}: {text}")
            self._told[request] = said
        if request.sending.is_over:
            self._close(request)

    def tell_answers(self, snapshot: Snapshot) -> None:
        """Say what the engine has answered since the last snapshot."""
        for request in list(self._open):
            standing = snapshot.standing(request)
            if request.number and standing.is_over:
                if request in self._told:
                    self._say(f"{request.name}: {standing.text}")
                self._close(request)

    def missing(self, snapshot: Snapshot) -> tuple[Request, ...]:
        """What is asked for and not in a snapshot yet."""
        if not self._open:
            return ()
        known = {command.number for command in snapshot.commands}
        return tuple(request for request in self._open if request.number not in known)

    def settle(self, seconds: float) -> tuple[Request, ...]:
        """Wait until everything is sent, at most this long; gives back what is not."""
        return self._outbox.settle(seconds)

    def give_up(self) -> None:
        """Send nothing more."""
        self._outbox.give_up()

    def _close(self, request: Request) -> None:
        self._open.remove(request)
        self._told.pop(request, None)
