"""What the first frame does not wait for is loaded a moment after it, before somebody opens it.

- `AHEAD_SECONDS`  how long after the start
- `load_ahead`     import it, in a thread
"""

from __future__ import annotations

from importlib import import_module

from engine.base.importing import loading_modules

AHEAD_SECONDS = 1.5
MODULES = (
    "maxact_tui.watching.boardview",
    "maxact_tui.screens.board",
    "maxact_tui.screens.channels",
    "maxact_tui.screens.sample",
    "maxact_tui.screens.prompt",
    "maxact_tui.screens.export",
)


def load_ahead() -> None:
    """Import the modules of the screens that take longest over it, 20 to 40 ms each."""
    with loading_modules():
        for name in MODULES:
            import_module(name)
