"""What stands in the place of the heatmap until there is a hook plan.

- `waiting_lines`
- `until_read`  what stands where numbers of a checkpoint will be
"""

from __future__ import annotations

from textual.strip import Strip

from maxact_tui.pages.brokenoff import broken_lines
from maxact_tui.terminal.palette import Look
from maxact_tui.watching.snapshot import Snapshot
from maxact_tui.widgets.lines import Part, line

DAMAGED = "these numbers are damaged: restore the file from a copy, or measure again"

_STEPS = (
    ("engine", "a process of its own: closing this screen does not end the run"),
    ("model", "weights and tokenizer are loaded; the LM head is skipped"),
    ("sites", "every layer's attention, MLP and residual stream gets its hook"),
    ("numbers", "the first maxima appear with the first batch"),
)


def until_read(snapshot: Snapshot, damage: str) -> Part:
    """Whether numbers that are not here are only being read, must be measured first, or are damaged.

    Args:
        snapshot: of the session.
        damage: why they cannot be read (a field of `Snapshot.damages`); empty where they can.
    """
    if damage:
        return DAMAGED, "bad"
    return ("reading …" if snapshot.checkpoint else "comes with the first checkpoint"), "dim"


def waiting_lines(snapshot: Snapshot, look: Look, width: int, height: int) -> list[Strip]:
    """What happens before the first number; or why there will be none."""
    status = snapshot.status
    broken = broken_lines(snapshot, look, width - 1, max(height - 4, 6))
    if broken:
        return [line(look), line(look, ("  Nothing was measured.", "title")), line(look), *broken]
    lines = [line(look), line(look, ("  Before the first number", "title")), line(look)]
    done = {"starting": 0, "loading": 1}.get(status.phase if status is not None else "starting", 3)
    for number, (name, what) in enumerate(_STEPS):
        sign = "•" if number == done else " "
        lines.append(line(look, f"  {sign} ", (f"{name:<9}", "title" if number == done else "dim"), (what, "dim")))
    lines += [line(look), line(look, ("  q leaves this screen; the engine goes on if you want.", "dim"))]
    return lines
