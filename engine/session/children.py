"""How the engines that this process has started ended, where the system knows and they could not say.

- `adopt`           remember a process that was started
- `signal_words`    by which signal it was ended, in words
- `name_of_signal`  a signal as people write it
"""

from __future__ import annotations

import signal
import subprocess

_children: dict[int, subprocess.Popen[bytes]] = {}


def adopt(process: subprocess.Popen[bytes]) -> None:
    """Remember an engine; those that have ended are let go of, but for the way they ended."""
    _children[process.pid] = process


def signal_words(pid: int) -> str:
    """`the engine was ended by signal 9 (SIGKILL)`; empty where this process has not started it or it ended itself."""
    process = _children.get(pid)
    code = process.poll() if process is not None else None
    return f"the engine was ended by {name_of_signal(-code)}" if code is not None and code < 0 else ""


def name_of_signal(number: int) -> str:
    """`signal 6 (SIGABRT)`."""
    try:
        return f"signal {number} ({signal.Signals(number).name})"
    except ValueError:
        return f"signal {number}"
