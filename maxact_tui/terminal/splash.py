"""The very first frame, written before Textual is imported: the name of what is being opened.

Importing Textual and numpy takes longer than a user should look at an unchanged prompt.

- `show_splash`  switch to the alternate screen and name the session
- `take_back`    leave the alternate screen, where the app could not start
"""

from __future__ import annotations

import shutil
import sys
from typing import TextIO

from maxact_tui.texts.visible import visible

_ENTER = "\x1b[?1049h\x1b[?25l\x1b[2J\x1b[H"
_LEAVE = "\x1b[?1049l\x1b[?25h"


def show_splash(name: str, terminal: TextIO | None = None, *, ascii_only: bool = False) -> None:
    """Put a name into the top left corner; what Textual draws first has the same words in the same place."""
    terminal = terminal or sys.__stderr__
    if terminal is None or not terminal.isatty():
        return
    shown = visible(name, shutil.get_terminal_size().columns - 2, space=" ", ascii_only=ascii_only)
    terminal.write(f"{_ENTER} \x1b[1m{shown}\x1b[0m\r\n opening")
    terminal.flush()


def take_back(terminal: TextIO | None = None) -> None:
    """Give the terminal back as it was."""
    terminal = terminal or sys.__stderr__
    if terminal is not None and terminal.isatty():
        terminal.write(_LEAVE)
        terminal.flush()
