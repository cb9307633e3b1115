"""Text for the user's own clipboard, through the terminal; and the files that stand in for it.

- `clipboard_sequence`  the control sequence (OSC 52) that terminals take as a copy, where the text is not too long
- `write_beside`        a text into a file beside the session, readable by its owner only
- `picture_of`          an SVG that draws itself without asking the network for a font
"""

from __future__ import annotations

import base64
import os
import re
from pathlib import Path

from engine.session.library import SUFFIX

LONGEST = 74_000  # bytes of the sequence; xterm and its kin drop longer ones without a word
_WEB_FONTS = re.compile(r"@font-face\s*\{[^}]*\}\s*")


def clipboard_sequence(text: str) -> str | None:
    """The sequence that puts a text on the clipboard of the terminal's own machine; None where it is too long."""
    sequence = f"\x1b]52;c;{base64.b64encode(text.encode()).decode()}\x07"
    return sequence if len(sequence) <= LONGEST else None


def write_beside(session: Path, ending: str, text: str) -> Path:
    """Write `SESSION-ENDING` in the session's folder, whole or not at all, over an earlier one.

    Raises:
        OSError: it cannot be written.
    """
    path = session.with_name(f"{session.name.removesuffix(SUFFIX)}-{ending}")
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        file = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(file, "w", encoding="utf-8") as out:
            out.write(text)
        unfinished.replace(path)
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise
    return path


def picture_of(svg: str) -> str:
    """The picture in the viewer's own monospaced font."""
    return _WEB_FONTS.sub("", svg).replace("Fira Code", "monospace")
