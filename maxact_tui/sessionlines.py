"""The list of sessions as lines of text.

- `session_table`  a heading and one line per session
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path

from textual.strip import Strip

from engine.session.records import SessionInfo
from maxact_tui.numbers import compact, duration, percent, size
from maxact_tui.palette import Look
from maxact_tui.text import cut_start, fitted, visible
from maxact_tui.widgets.lines import Part, line

_STYLES = {"running": "good", "finished": "", "failed": "bad", "gone": "bad", "paused": "warn"}


def session_table(
    sessions: Sequence[SessionInfo], look: Look, width: int, now: float | None = None
) -> tuple[list[Part], list[Strip]]:
    """State, M, progress, age, size, model and file name of each session, in the order given."""
    now = time.time() if now is None else now
    name = max(width - 45, 16)
    heading: list[Part] = [("state          M  done      age       size  " + "session", "dim")]
    rows = []
    for info in sessions:
        status = info.status
        share = status.tokens_done / status.tokens_total if status.tokens_total else math.nan
        shown = fitted(_title(info, name), name, ascii_only=look.ascii_only)
        rows.append(
            line(
                look,
                (f"{status.phase:<9}", _STYLES.get(status.phase, "warn")),
                f"{compact(info.magnitude):>7} {percent(share):>5} {duration(now - info.created):>8} ",
                (f"{size(info.size_bytes):>10}  ", "dim"),
                shown,
            )
        )
    return heading, rows


def _title(info: SessionInfo, width: int) -> str:
    file = visible(info.path.stem, space=" ")
    model = visible(Path(info.model).name, space=" ")
    return cut_start(file, width) if file.startswith(model[:8]) else f"{model}  {file}"
