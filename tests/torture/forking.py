"""Processes that the zygote forks, and the doors through which the program itself asks for its engine there.

- `Forked`      one of them, with what is used of `subprocess.Popen`
- `kill_engines` kill those that are engines of a session, and wait until they are gone
- `open_doors`  let `engine.process` and `engine.report.torch_file` start their processes by it
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any
from unittest import mock

MOST_BYTES = 128 * 1024


class Forked:
    """A process that the zygote forked.

    Args:
        address: the zygote's socket.
        request: the fields of `tests.torture.zygote.Request`, without its descriptors.
        descriptors: what is sent along, by the number it has there.

    Attributes:
        pid: the process.
        returncode: as that of `subprocess.Popen`; None while it has not been asked for or is not known.

    Raises:
        OSError: the zygote does not answer.
    """

    def __init__(self, address: str, request: Mapping[str, Any], descriptors: Mapping[int, int]) -> None:
        self.returncode: int | None = None
        self._connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._connection.connect(address)
        message = json.dumps({**request, "descriptors": list(descriptors)}).encode()
        socket.send_fds(self._connection, [message], list(descriptors.values()))
        self.pid = int(self._receive()["pid"])

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        if self.returncode is None and select.select([self._connection], [], [], 0)[0]:
            self._end()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, once it has ended.

        Raises:
            TimeoutExpired: it has not within so many seconds.
        """
        if self.returncode is None:
            if not select.select([self._connection], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired([str(self.pid)], timeout or 0.0)
            self._end()
        return self.returncode if self.returncode is not None else -signal.SIGKILL

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it is known to have ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def _end(self) -> None:
        self.returncode = int(self._receive()["code"])
        self._connection.close()

    def _receive(self) -> dict[str, Any]:
        message = self._connection.recv(MOST_BYTES)
        if not message:
            raise OSError("the zygote is gone")
        answer: dict[str, Any] = json.loads(message)
        return answer


def kill_engines(address: str, session: Path) -> list[int]:
    """Kill every forked engine of a session; gives back their process ids.

    What was asked for before is forked before, so that an engine whose command was just killed is among them.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.connect(address)
        connection.send(json.dumps({"kill": str(session), "module": "engine"}).encode())
        killed: list[int] = json.loads(connection.recv(MOST_BYTES))["killed"]
        return killed


class _Door:
    """In the place of the module `subprocess` in a module of the program: `python -P -m MODULE` is forked."""

    DEVNULL, STDOUT, TimeoutExpired = subprocess.DEVNULL, subprocess.STDOUT, subprocess.TimeoutExpired

    def __init__(self, address: str) -> None:
        self._address = address

    def Popen(  # noqa: N802  # the name of the original
        self,
        args: Sequence[str],
        *,
        stdin: int,
        stdout: IO[bytes],
        stderr: int,
        start_new_session: bool,
        pass_fds: Sequence[int],
        cwd: str,
        env: Mapping[str, str],
    ) -> Forked:
        """A detached process: nothing to read, both outputs in one file."""
        assert (stdin, stderr, start_new_session) == (subprocess.DEVNULL, subprocess.STDOUT, True)
        with Path(os.devnull).open("rb") as nothing:
            descriptors = {0: nothing.fileno(), 1: stdout.fileno(), 2: stdout.fileno()}
            descriptors |= {number: number for number in pass_fds}
            request = {**_asked(args), "cwd": cwd, "env": dict(env), "own_session": True}
            return Forked(self._address, request, descriptors)

    def run(self, args: Sequence[str], *, input: bytes, capture_output: bool, timeout: float,
            check: bool) -> subprocess.CompletedProcess[bytes]:  # fmt: skip
        """A process that reads this and whose outputs are given back."""
        assert (capture_output, check) == (True, False)
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            given.write(input)
            given.seek(0)
            request = {**_asked(args), "cwd": str(Path.cwd()), "env": dict(os.environ)}
            done = Forked(self._address, request, {0: given.fileno(), 1: out.fileno(), 2: err.fileno()})
            code = done.wait(timeout)
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess(args, code, out.read(), err.read())


def _asked(args: Sequence[str]) -> dict[str, Any]:
    interpreter, safe, by_name, module, *words = args
    assert (interpreter, safe, by_name) == (sys.executable, "-P", "-m"), args
    return {"module": module, "words": words}


def open_doors(address: str) -> None:
    """From now on this process has its engines, and the files of torch, made by forks; for good."""
    import engine.process
    import engine.report.torch_file

    for module in (engine.process, engine.report.torch_file):
        mock.patch.object(module, "subprocess", _Door(address)).start()
