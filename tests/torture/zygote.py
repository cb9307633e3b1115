"""A process that has everything imported and forks a child per command: `python -P -m tests.torture.zygote SOCKET`.

A start costs 4 to 5 seconds of processor time, nearly all of it the imports of torch and transformers. The children run
the real entry points, with the descriptors, environment, folder and limits they are given; what is killed is a process.
Nothing is computed here, and there is one thread: a fork of more would stop at the locks that the others hold.

- `serve`    fork on request, tell how each child ended, kill those of a session
- `become`   what a child does
- `Request`  what is asked for
"""

from __future__ import annotations

import atexit
import fcntl
import gc
import importlib
import json
import os
import resource
import select
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.torture import forking

MODULES = {
    "maxact_tui": "maxact_tui.__main__", "engine": "engine.__main__",
    "engine.report.torch_file": "engine.report.torch_file",
}  # fmt: skip
PRELOADED = (
    "engine.run.runner", "engine.run.serving", "engine.run.works", "engine.effect.work", "engine.merging",
    "engine.report.export", "engine.report.html", "engine.report.worst", "engine.report.tabular",
    "engine.report.torch_file", "engine.process", "maxact_tui.cli.main", "maxact_tui.cli.commands.exporting",
    "maxact_tui.cli.commands.running", "maxact_tui.cli.commands.sessions", "maxact_tui.cli.commands.effects",
    "maxact_tui.cli.commands.stability", "maxact_tui.cli.headless", "maxact_tui.cli.summary_view", "psutil",
    "transformers.models.llama.modeling_llama", "transformers.models.llama.configuration_llama",
)  # fmt: skip
MOST_DATA_BYTES = 6 * 2**30
OUT_OF_THE_WAY = 200  # no child is given a descriptor of its own with so high a number


@dataclass(frozen=True, slots=True)
class Request:
    """A process that is asked for.

    Attributes:
        module: a key of `MODULES`.
        words: its arguments.
        cwd: the folder it works in.
        env: its whole environment.
        own_session: whether it leaves the terminal, as a detached engine does; else it leads a process group.
        descriptors: the numbers that the descriptors sent along have there.
        data_bytes: the most memory of its own that it may take.
    """

    module: str
    words: list[str]
    cwd: str
    env: dict[str, str]
    own_session: bool = False
    descriptors: list[int] = field(default_factory=list)
    data_bytes: int = MOST_DATA_BYTES


@dataclass(frozen=True, slots=True)
class _Child:
    connection: socket.socket
    request: Request


def main() -> int:
    """Import, listen, and fork until standard input ends; in a child: be what was asked for."""
    atexit.register(_leave)
    for name in (*PRELOADED, *MODULES.values()):
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # a collection in a child would copy every page
    threads = len(list(Path("/proc/self/task").iterdir()))
    if threads != 1:
        raise SystemExit(f"{threads} threads after the imports; a fork would lose all but one")
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(sys.argv[1])
        listener.listen(64)
        print("ready", flush=True)
        given = serve(listener)
    if given is None:
        return 0
    return _run(become(given, sys.argv[1]))


def _run(entry: Callable[[], int]) -> int:
    """Run an entry point; the child then ends after its exit handlers, without taking all that was imported apart."""
    try:
        code = entry()
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    _codes.append(code)
    return code


_codes: list[int] = []


def _leave() -> None:
    """The last of the exit handlers, because it is the first that was registered."""
    if _codes:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(_codes[0])


def serve(listener: socket.socket) -> tuple[Request, list[int]] | None:
    """Answer until standard input ends; in a child, what it is to be and the descriptors it was sent."""
    children: dict[int, _Child] = {}
    woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    while True:
        ready = select.select([listener.fileno(), woken, 0], [], [])[0]
        if woken in ready:
            os.read(woken, 4096)
        _reap(children)
        if 0 in ready:
            for pid in children:
                os.kill(pid, signal.SIGKILL)
            return None
        if listener.fileno() in ready and (given := _answer(listener.accept()[0], children)):
            signal.set_wakeup_fd(-1)
            os.close(woken)
            os.close(wake)
            return given


def _answer(connection: socket.socket, children: dict[int, _Child]) -> tuple[Request, list[int]] | None:
    """Do what one connection asks for; in a forked child, what it is to be."""
    try:
        message, descriptors, _, _ = socket.recv_fds(connection, forking.MOST_BYTES, 16)
    except OSError:
        return None
    if not message:  # whoever asked was killed first
        connection.close()
        return None
    asked: dict[str, Any] = json.loads(message)
    if "kill" in asked:
        victims = [
            pid
            for pid, one in children.items()
            if one.request.module == asked["module"] and asked["kill"] in one.request.words
        ]
        for pid in victims:
            os.kill(pid, signal.SIGKILL)
        for pid in victims:
            _tell(children.pop(pid), os.waitpid(pid, 0)[1])
        _send(connection, {"killed": victims})
        connection.close()
        return None
    request = Request(**asked)
    pid = os.fork()
    if pid == 0:
        connection.close()
        for other in children.values():
            other.connection.close()
        return request, descriptors
    for descriptor in descriptors:  # a lock among them is the child's now
        os.close(descriptor)
    children[pid] = _Child(connection, request)
    _send(connection, {"pid": pid})
    return None


def _reap(children: dict[int, _Child]) -> None:
    while children:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        _tell(children.pop(pid), status)


def _tell(child: _Child, status: int) -> None:
    _send(child.connection, {"code": os.waitstatus_to_exitcode(status)})
    child.connection.close()


def _send(connection: socket.socket, answer: dict[str, Any]) -> None:
    try:
        connection.send(json.dumps(answer).encode())
    except OSError:  # nobody waits for it any more: its command was killed
        return


def become(given: tuple[Request, list[int]], address: str) -> Callable[[], int]:
    """Take on what was asked for; the entry point that is left to be run."""
    request, sent = given
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if request.own_session:
        os.setsid()
    else:
        os.setpgid(0, 0)
    held = [fcntl.fcntl(one, fcntl.F_DUPFD, OUT_OF_THE_WAY) for one in sent]
    os.closerange(3, OUT_OF_THE_WAY)
    for one, number in zip(held, request.descriptors, strict=True):
        os.dup2(one, number, inheritable=True)
        os.close(one)
    os.environ.clear()
    os.environ.update(request.env)
    os.chdir(request.cwd)
    resource.setrlimit(resource.RLIMIT_DATA, (request.data_bytes, request.data_bytes))
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        stream = os.fdopen(os.dup(number), "w" if number else "r", encoding="utf-8", errors="backslashreplace",
                           buffering=1)  # fmt: skip
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    module = importlib.import_module(MODULES[request.module])
    sys.argv = [str(Path(module.__file__ or "")), *request.words]
    if request.module == "engine":
        from engine.loading.environment import prepare_environment

        prepare_environment()
    forking.open_doors(address)
    gc.enable()
    return lambda: module.main() or 0


if __name__ == "__main__":
    sys.exit(main())
