"""Commands and engines of the torture: forks of one loaded process, and now and then real starts.

- `Starter`  starts them; `starter()` is the one of this process
- `Started`  a process, what it has written, and ways to end it
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psutil

from tests.test_house import HOME
from tests.torture.forking import Forked, kill_engines, open_doors

FRESH_EVERY = 20  # so many rounds, one starts processes of its own, with all their imports
ENDED_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Started:
    """A process of the torture.

    Attributes:
        process: the handle.
        out: the file of its standard output.
        err: the file of its errors.
    """

    process: Forked | subprocess.Popen[bytes]
    out: Path
    err: Path

    def wait(self, seconds: float) -> int:
        """The exit code, negative for a signal.

        Raises:
            TimeoutExpired: it has not ended within so many seconds.
        """
        return self.process.wait(seconds)

    def has_ended(self, seconds: float) -> bool:
        """Whether it ends within so many seconds."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)
        return self.process.poll() is not None

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGKILL)
        self.process.wait(ENDED_SECONDS)

    def stop(self, number: signal.Signals) -> None:
        """A signal that asks it to end."""
        with suppress(ProcessLookupError):
            self.process.send_signal(number)

    def errors(self) -> str:
        """What it has written on stderr."""
        return self.err.read_text(encoding="utf-8", errors="replace")


class Starter:
    """Starts the program's processes, with a state folder and a cache of their own.

    Args:
        folder: for the socket, the state and the cache; removed at the end.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._count = folder, 0
        self._address = str(folder / "zygote")
        self._environment = os.environ | {
            "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1",
            "MAXACT_STATE": str(folder / "state"), "MAXACT_CACHE": str(folder / "cache"),
            "MAXACT_BUG_LOG": str(folder / "bugs.log"),
        }  # fmt: skip
        self._zygote = subprocess.Popen(
            [sys.executable, "-P", "-c", f"import sys; sys.path.insert(0, {str(HOME)!r}); sys.argv[1:] ="
             f" [{self._address!r}]; from tests.torture.zygote import main; sys.exit(main())"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=self._environment, cwd=folder,
        )  # fmt: skip
        assert self._zygote.stdout is not None
        assert self._zygote.stdout.readline() == b"ready\n", "the zygote did not start"

    def command(self, *words: object, home: Path, journal: str = "wal", fresh: bool = False) -> Started:
        """`maxact-tui WORDS`, with its sessions in `home`."""
        return self.start("maxact_tui", *words, home=home, fresh=fresh,
                          MAXACT_SESSIONS=str(home), MAXACT_JOURNAL=journal)  # fmt: skip

    def engine(self, session: Path, *, fresh: bool = False) -> Started:
        """The engine of a session, started as nobody does who has a command line: without its lock."""
        return self.start("engine", session, home=session.parent, fresh=fresh)

    def start(self, module: str, *words: object, home: Path, fresh: bool, **environment: str) -> Started:
        """A module as a process, in `home`; what it writes lies beside the zygote."""
        self._count += 1
        out, err = (self._folder / f"{self._count % 64}.{name}" for name in ("out", "err"))
        env = self._environment | environment
        with Path(os.devnull).open("rb") as nothing, out.open("wb") as first, err.open("wb") as second:
            if fresh:
                command = [sys.executable, "-P", "-m", module, *map(str, words)]
                process = subprocess.Popen(command, stdin=nothing, stdout=first, stderr=second, cwd=home, env=env,
                                           start_new_session=True)  # fmt: skip
                return Started(process, out, err)
            request = {"module": module, "words": [str(word) for word in words], "cwd": str(home), "env": env}
            forked = Forked(self._address, request, {0: nothing.fileno(), 1: first.fileno(), 2: second.fileno()})
            return Started(forked, out, err)

    def kill_engines(self, session: Path) -> int:
        """Kill every engine of a session, forked or not, and wait until they are gone; says how many there were."""
        killed = len(kill_engines(self._address, session))
        for process in psutil.process_iter(["cmdline"]):
            words = process.info["cmdline"] or []
            if str(session) in words and "engine" in words:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
                    killed += 1
                    _await_end(process)
        return killed

    def open_doors(self) -> None:
        """Have the processes that the program starts in this very process forked, too."""
        open_doors(self._address)

    def close(self) -> None:
        """End the zygote with all its children, and remove what was written."""
        assert self._zygote.stdin is not None
        self._zygote.stdin.close()
        self._zygote.wait()
        shutil.rmtree(self._folder, ignore_errors=True)


def _await_end(process: psutil.Process) -> None:
    end = time.monotonic() + ENDED_SECONDS
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE and time.monotonic() < end:
        time.sleep(0.02)


def is_fresh(number: int) -> bool:
    """Whether a round starts real processes."""
    return number % FRESH_EVERY == FRESH_EVERY - 1


@cache
def starter() -> Starter:
    """The one of this process, started when it is first needed."""
    made = Starter(Path(tempfile.mkdtemp(prefix="torture")))
    atexit.register(made.close)
    return made
