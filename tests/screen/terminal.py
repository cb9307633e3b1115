"""A real pseudo-terminal with the app inside: what it writes is counted, drawn by pyte, and answered.

- `Terminal`  start, press, wait, read the screen, count bytes
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pyte

from tests.waiting import PATIENCE_SECONDS

ROOT = Path(__file__).resolve().parents[2]
# A busy machine may need for one frame what the app waits for an answer, keeps a key, or shows a notice; `IMPATIENT` is
# the app as it is.
PROGRAM = f"""
import os, sys
from pathlib import Path
from maxact_tui.shell import application, leaving, ordering
from maxact_tui.shell.app import run_app
from maxact_tui.terminal import pacing
if not os.environ.get("IMPATIENT"):
    pacing.FIRST_ANSWER_SECONDS = pacing.LOST_ANSWER_SECONDS = {PATIENCE_SECONDS}
    ordering.SETTLE_SECONDS = ordering.LONGEST_HOLD_SECONDS = {PATIENCE_SECONDS}
    leaving.NOTICE_SECONDS = application.NOTICE_SECONDS = {PATIENCE_SECONDS}
sys.exit(run_app(Path(sys.argv[1]), read_only="--read-only" in sys.argv))
"""
_CURSOR_QUERY = b"\x1b[6n"


class Terminal:
    """One run of the app on one session, in a terminal of a given size.

    Args:
        session: the session file.
        rate: bytes a second the terminal takes at most; None for no limit.
        answers: whether it answers cursor queries.
        command: another program instead of the app on `session`.
    """

    def __init__(
        self,
        session: Path,
        columns: int = 80,
        rows: int = 24,
        *,
        rate: int | None = None,
        answers: bool = True,
        env: dict[str, str | None] | None = None,
        command: list[str] | None = None,
        arguments: tuple[str, ...] = (),
    ) -> None:
        self.screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self.screen)
        self.raw = bytearray()
        self.rate, self.answers = rate, answers
        self.started = time.monotonic()
        self.first_paint: float | None = None
        self.status: int | None = None
        self._last_read = self.started
        command = command or [sys.executable, "-c", PROGRAM, str(session), *arguments]
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(ROOT)
            environment = {**os.environ, "TERM": "xterm-256color", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}
            for name in ("COLORTERM", "NO_COLOR", "SSH_CONNECTION", "TEXTUAL_FPS", "TEXTUAL_COLOR_SYSTEM"):
                environment.pop(name, None)
            for name, value in (env or {}).items():
                environment.pop(name, None) if value is None else environment.__setitem__(name, value)
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
            os.execvpe(command[0], command, environment)
        self._tasks = Path(f"/proc/{self.pid}/task")
        self.resize(columns, rows)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def text(self) -> str:
        """The screen, its lines joined."""
        return "\n".join("".join(self.cells(row)).rstrip() for row in range(self.screen.lines))

    def cells(self, row: int) -> list[str]:
        """What each cell of a row holds; the second cell of a wide character is empty."""
        return [self.screen.buffer[row][column].data for column in range(self.screen.columns)]

    def resize(self, columns: int, rows: int) -> None:
        """Change the window's size, as a terminal does."""
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.screen.resize(rows, columns)

    def press(self, keys: str) -> None:
        """Send keys as a terminal sends them."""
        data = keys.encode()
        while data:  # a terminal's input holds a few kilobytes
            data = data[os.write(self.fd, data[:4096]) :]

    def signal(self, number: int) -> None:
        """Send a signal to the app."""
        os.kill(self.pid, number)

    def read(self, seconds: float) -> int:
        """Read for a while; returns how many bytes came."""
        before, end = len(self.raw), time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and self._read_once(min(left, 0.05)):
            pass
        return len(self.raw) - before

    def rate_over(self, seconds: float) -> float:
        """Read for a while; returns how many bytes came in a second of it."""
        began, count = time.monotonic(), self.read(seconds)
        return count / (time.monotonic() - began)

    def quiet(self, looks: int = 30) -> int:
        """Read until the app was asleep at so many looks, 0.05 s apart, without a byte between them.

        An app that a busy machine lets wait in the middle of a frame is not asleep. Returns how many bytes came.

        Raises:
            AssertionError: it never is quiet.
        """
        before, asleep, end = len(self.raw), 0, time.monotonic() + PATIENCE_SECONDS
        while asleep < looks:
            assert time.monotonic() < end, f"it goes on writing; the screen is:\n{self.text}"
            if self.read(0.05):
                asleep = 0
            elif self._sleeps():
                asleep += 1
        return len(self.raw) - before

    def _sleeps(self) -> bool:
        """Whether every thread of the app waits for something to happen, as far as the system tells."""
        try:
            states = [stat.read_text().rpartition(")")[2].split()[0] for stat in self._tasks.glob("*/stat")]
        except (FileNotFoundError, ProcessLookupError):  # a thread that has just ended
            return False
        return all(state in "SIZX" for state in states)

    def wait_for(self, what: str | Callable[[Terminal], bool], seconds: float = PATIENCE_SECONDS) -> None:
        """Read until a text is on the screen, or a condition holds.

        Raises:
            AssertionError: it did not happen in time.
        """
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if what in self.text if isinstance(what, str) else what(self):
                return
            if not self._read_once(0.05):
                break
        if what in self.text if isinstance(what, str) else what(self):
            return
        raise AssertionError(f"{what!r} did not appear; the screen is:\n{self.text}")

    def exit_code(self, seconds: float = PATIENCE_SECONDS) -> int:
        """Wait for the app to end; its exit code (negative for a signal)."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.status is None:
            self._read_once(0.05)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
                self.read(0.1)
        assert self.status is not None, f"the app did not end; the screen is:\n{self.text}"
        return self.status

    def close(self) -> None:
        """Close the terminal, as a lost connection does."""
        os.close(self.fd)
        self.fd = -1

    def kill(self) -> None:
        """End whatever is left."""
        if self.status is None:
            try:
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
            except (ProcessLookupError, ChildProcessError):
                pass
            self.status = -9
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def _read_once(self, seconds: float) -> bool:
        """One chunk at most; False when the terminal is closed."""
        ready, _, _ = select.select([self.fd], [], [], seconds)
        if not ready:
            return True
        most = 65_536
        if self.rate is not None:
            time.sleep(0.01)
            most = max(int(self.rate * 0.01), 1)
        try:
            chunk = os.read(self.fd, most)
        except OSError:
            return False
        if not chunk:
            return False
        self.raw += chunk
        if self.answers:
            for _ in range(chunk.count(_CURSOR_QUERY)):
                os.write(self.fd, b"\x1b[1;1R")
        self._stream.feed(_for_pyte(chunk))
        if self.first_paint is None and any(row.strip() for row in self.screen.display):
            self.first_paint = time.monotonic() - self.started
        return True


def _for_pyte(chunk: bytes) -> bytes:
    """Without the sequences pyte takes for something else (kitty keyboard, private queries)."""
    return re.sub(rb"\x1b\[[><=][0-9;]*u|\x1b\[\?[0-9;]+\$p|\x1b\[<u", b"", chunk)


def sequences(raw: bytes) -> set[bytes]:
    """The kinds of escape sequences in raw output: everything but their numbers."""
    kinds = set()
    for match in re.finditer(rb"\x1b(\][^\x07\x1b]*(?:\x07|\x1b\\)|\[[0-9;:?<>=]*[ -/]*[@-~]|[^\[\]])", raw):
        kinds.add(re.sub(rb"[0-9;:]+", b"", match.group()))
    return kinds
