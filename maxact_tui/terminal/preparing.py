"""Settings that Textual reads when it is imported, made before anything imports it.

- `prepare_terminal`  frame rate, colours, and no animation over SSH
- `wants_ascii`       whether only ASCII may be written
"""

from __future__ import annotations

import locale
import os

from maxact_tui.keymap.settings import load_settings


def prepare_terminal() -> None:
    """Set Textual's environment variables, unless the user has set them.

    Fifteen frames a second are enough for a screen that gets data four times a second; animations and smooth
    scrolling multiply what a slow SSH link has to carry. The theme is the terminal's own colours: no byte is spent on
    backgrounds, and light terminals stay light. Exported `COLUMNS` and `LINES` are dropped: the terminal knows its
    size, and they would keep the screen at what it was when they were set.
    """
    for name in ("COLUMNS", "LINES"):
        os.environ.pop(name, None)
    os.environ.setdefault("TEXTUAL_FPS", "15")
    os.environ.setdefault("TEXTUAL_THEME", "ansi-dark")
    if "SSH_CONNECTION" in os.environ or "SSH_TTY" in os.environ:
        os.environ.setdefault("TEXTUAL_ANIMATIONS", "none")
        os.environ.setdefault("TEXTUAL_SMOOTH_SCROLL", "0")


def wants_ascii() -> bool:
    """Whether the user (`--ascii`, `MAXACT_ASCII=1`, the settings) or the locale rules out anything beyond ASCII."""
    asked = load_settings().ascii
    if asked is not None:
        return asked
    return "utf" not in locale.getpreferredencoding(False).lower()
