"""The `maxact-tui` command: checks that the rooms are ours, then hands over to the command line.

- `main`         run the command line
- `stray_room`   whether `engine` or `corpus` is somebody else's
- `open_closed`  standard streams that the caller has closed
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path


def main() -> None:
    """Run the command line; ends the process with its exit code."""
    open_closed()
    stray = stray_room()
    if stray:
        from maxact_tui.terminal.printing import note

        note(stray)
        sys.exit(2)
    from engine.base.importing import leave_as_it_stands
    from maxact_tui.cli.main import main as command_line

    leave_as_it_stands()
    sys.exit(command_line(sys.argv[1:]))


def open_closed() -> None:
    """Let a standard stream that the caller has closed (`>&-`) be empty, or go nowhere.

    Python has None in its place, and the next file that is opened would get its descriptor.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is not None:
            continue
        null = os.open(os.devnull, os.O_RDWR)
        if null != number:
            os.dup2(null, number)
            os.close(null)
        os.set_inheritable(number, True)
        stream = os.fdopen(number, "w" if number else "r", encoding="utf-8", closefd=False)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def stray_room() -> str | None:
    """One line if `engine` or `corpus` would come from elsewhere than this distribution, else None."""
    home = Path(__file__).resolve().parent.parent
    for room in ("engine", "corpus"):
        spec = importlib.util.find_spec(room)
        origin = Path(spec.origin).resolve().parent.parent if spec and spec.origin else None
        if origin != home:
            found = spec.origin or next(iter(spec.submodule_search_locations or ()), None) if spec else None
            where = f"another one, {found}, comes first" if found else "it is not installed"
            return f"maxact-tui: its package '{room}' cannot be used: {where}; check PYTHONPATH and the current folder"
    return None


if __name__ == "__main__":
    main()
