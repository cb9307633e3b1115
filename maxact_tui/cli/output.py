"""Where commands print.

- `console`  stdout as wide as the terminal, and as wide as it takes where there is none
"""

from __future__ import annotations

import os
import sys

from rich.console import Console

UNLIMITED_CELLS = 400


def console() -> Console:
    """A console on stdout; in a pipe nothing is cut to a width nobody has."""
    if sys.stdout.isatty() or "COLUMNS" in os.environ:
        return Console()
    return Console(width=UNLIMITED_CELLS)
