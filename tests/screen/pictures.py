"""Golden text pictures: what a screen shows, as plain text in a file beside the tests.

`UPDATE_PICTURES=1 pytest tests/screen` writes them anew; look at the difference before committing it.

- `screen_text`   the screen of a running app as text
- `picture`       the picture of a name
- `check_picture` compare, or write it anew
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from textual.app import App

from maxact_tui.terminal.private import rows_of

FOLDER = Path(__file__).parent / "pictures"
UPDATE = bool(os.environ.get("UPDATE_PICTURES"))


def screen_text(app: App[Any]) -> str:
    """What the app shows, one line per row, without trailing blanks."""
    strips = rows_of(app.screen)
    return "\n".join("".join(segment.text for segment in strip).rstrip() for strip in strips) + "\n"


def picture(name: str) -> str:
    """The picture of that name; empty where there is none yet."""
    path = FOLDER / f"{name}.txt"
    return path.read_text(encoding="utf-8") if path.exists() else ""


def check_picture(name: str, text: str) -> None:
    """Compare with the picture of that name.

    Raises:
        AssertionError: they differ.
    """
    if UPDATE:
        FOLDER.mkdir(exist_ok=True)
        (FOLDER / f"{name}.txt").write_text(text, encoding="utf-8")
    assert text == picture(name)
