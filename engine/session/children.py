"""How the engines that this process has started ended, where the system knows and they could not say.

- `adopt`      remember a process that was started
- `signal_of`  by which signal it was ended
"""

from __future__ import annotations

import subprocess

_children: dict[int, subprocess.Popen[bytes]] = {}


def adopt(process: subprocess.Popen[bytes]) -> None:
    """Remember an engine; those that have ended are let go of, but for the way they ended."""
    _children[process.pid] = process


def signal_of(pid: int) -> int | None:
    """The number of the signal that ended an engine; None where this process has not started it or it ended itself."""
    process = _children.get(pid)
    code = process.poll() if process is not None else None
    return -code if code is not None and code < 0 else None
