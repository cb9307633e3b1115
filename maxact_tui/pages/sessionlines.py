"""The list of sessions as lines of text.

- `session_sheet`  the table: one row per session
- `mark`           what stands behind the M of one with NaN or infinity, and behind what is no M
- `marks_words`    what the marks in a list mean
"""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Sequence
from pathlib import Path

from textual.strip import Strip

from engine.session.records import SessionInfo
from maxact_tui.pages.sheets import Column, Sheet
from maxact_tui.terminal.palette import Look
from maxact_tui.texts.filtering import Record
from maxact_tui.texts.numbers import compact, duration, percent, size
from maxact_tui.texts.visible import cut_middle, fitted, visible
from maxact_tui.widgets.lines import line

_STYLES = {"running": "good", "finished": "", "failed": "bad", "gone": "bad", "paused": "warn"}


INPUT = "^"

_COLUMNS = (
    Column("state", 9, "state", right=False),
    Column("M", 8, "value", largest_first=True),
    Column("done", 5, "done", largest_first=True),
    Column("age", 8, "age"),
    Column("size", 10, "bytes", largest_first=True),
    Column("  session", 0, "name"),
)


def session_sheet(
    sessions: Sequence[SessionInfo],
    look: Look,
    width: int,
    now: float | None = None,
    opened: Collection[Path] = (),
) -> Sheet:
    """State, M, progress, age, size, model and file name of each session, in the order given; open ones marked."""
    moment = time.time() if now is None else now
    name = max(width - 47, 16)

    def record(number: int) -> Record:
        info = sessions[number]
        return {
            "state": info.status.phase,
            "value": info.magnitude,
            "nonfinite": info.nonfinite_sites,
            "done": _share(info),
            "age": moment - info.created,
            "bytes": info.size_bytes,
            "model": visible(info.model, space=" "),
            "name": visible(info.path.stem, space=" "),
        }

    def row(number: int) -> Strip:
        info = sessions[number]
        phase = info.status.phase
        largest = (f"{compact(info.magnitude) + mark(info):>8}", "bad" if info.nonfinite_sites else "")
        facts = f" {percent(_share(info)):>5} {duration(moment - info.created):>8} "
        return line(
            look,
            (f"{phase:<9} ", _STYLES.get(phase, "warn")),
            largest,
            facts,
            (f"{size(info.size_bytes):>10} ", "dim"),
            ("• " if info.path in opened else "  ", "key"),
            fitted(_title(info, name), name, ascii_only=look.ascii_only),
        )

    return Sheet(_COLUMNS, len(sessions), record, row)


def mark(info: SessionInfo) -> str:
    """`!` behind the M of a session with NaN or infinity, which are not in it; `^` behind the largest GEMM input."""
    return ("!" if info.nonfinite_sites else "") + ("" if info.is_m or math.isnan(info.magnitude) else INPUT)


def marks_words(sessions: Sequence[SessionInfo]) -> str:
    """What the marks of these sessions mean; empty without any."""
    marks = "".join(map(mark, sessions))
    words = {
        "!": "! holds NaN or infinity, which are not in M",
        INPUT: f"{INPUT} largest GEMM input: no M was measured",
    }
    return "   ".join(text for sign, text in words.items() if sign in marks)


def _share(info: SessionInfo) -> float:
    return info.status.tokens_done / info.status.tokens_total if info.status.tokens_total else math.nan


def _title(info: SessionInfo, width: int) -> str:
    file = visible(info.path.stem, space=" ")
    model = visible(Path(info.model).name, space=" ")
    return cut_middle(file if file.startswith(model[:8]) else f"{model}  {file}", width)
