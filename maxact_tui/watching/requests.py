"""What the user asks of the engine, and its answers.

- `Requests`  sends commands through the session file and tells the answers once
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from engine.session.reader import send_command
from engine.session.schema import SessionError
from maxact_tui.watching.finding import short_name
from maxact_tui.watching.snapshot import Snapshot

READ_ONLY = "this screen is read-only (--read-only, or the settings): nothing is sent to the engine"


class Requests:
    """Commands to one session's engine.

    Args:
        session: the session file.
        read_only: send nothing.
        say: shows one line to the user.
    """

    def __init__(self, session: Path, read_only: bool, say: Callable[[str], None]) -> None:
        self._session, self._say = session, say
        self.is_read_only = read_only
        self._open: dict[int, str] = {}

    def send(self, name: str) -> bool:
        """Ask for something; says what happens next. Returns whether it was sent."""
        if self.is_read_only:
            self._say(READ_ONLY)
            return False
        try:
            self._open[send_command(self._session, name)] = name
        except SessionError as error:
            self._say(str(error))
            return False
        self._say(f"{name}: asked the engine, it answers after the current batch")
        return True

    def toggle_pause(self, snapshot: Snapshot) -> bool:
        """Ask for a pause, or for going on; returns whether it was sent."""
        status = snapshot.status
        if status is None or status.phase in ("starting", "loading"):
            self._say("nothing to pause yet: the run has not begun")
            return False
        if snapshot.has_ended:
            name = short_name(self._session)
            ways = {"finished": f"the run is finished; more texts for it: maxact-tui add {name} FILE"}
            self._say(ways.get(status.phase, f"the run has ended; continue it with: maxact-tui resume {name}"))
            return False
        return self.send("resume" if status.phase == "paused" else "pause")

    def tell_answers(self, snapshot: Snapshot) -> None:
        """Show what the engine has answered since the last snapshot."""
        for command in snapshot.commands:
            if command.number in self._open and command.state != "new":
                name = self._open.pop(command.number)
                self._say(f"{name}: {command.answer.get('text') or command.state}")
