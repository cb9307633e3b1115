"""What stands in the place of the heatmap until there is a hook plan.

- `waiting_lines`
"""

from __future__ import annotations

from textual.strip import Strip

from engine.session.library import log_path
from maxact_tui.palette import Look
from maxact_tui.snapshot import Snapshot
from maxact_tui.text import cut_start, visible
from maxact_tui.widgets.lines import line

_STEPS = (
    ("engine", "a process of its own: closing this screen does not end the run"),
    ("model", "weights and tokenizer are loaded; the LM head is skipped"),
    ("sites", "every layer's attention, MLP and residual stream is found and hooked"),
    ("numbers", "the first maxima appear with the first batch"),
)


def waiting_lines(snapshot: Snapshot, look: Look, width: int) -> list[Strip]:
    """What happens before the first number; or why there will be none."""
    status = snapshot.status
    if status is not None and status.phase in ("failed", "gone"):
        why = status.detail or "The engine ended without a word."
        return [
            line(look),
            line(look, ("  Nothing was measured.", "title")),
            line(look, "  ", (visible(why, width - 4, space=" "), "bad")),
            line(look),
            line(look, f"  The log: {cut_start(visible(str(log_path(snapshot.path)), space=' '), width - 12)}"),
            line(look, "  q leaves."),
        ]
    lines = [line(look), line(look, ("  Before the first number", "title")), line(look)]
    done = {"starting": 0, "loading": 1}.get(status.phase if status is not None else "starting", 3)
    for number, (name, what) in enumerate(_STEPS):
        sign = "•" if number == done else " "
        lines.append(line(look, f"  {sign} ", (f"{name:<9}", "title" if number == done else "dim"), (what, "dim")))
    lines += [line(look), line(look, ("  q leaves this screen; the engine goes on if you want.", "dim"))]
    return lines
