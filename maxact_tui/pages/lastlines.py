"""The lines below the heatmap: what happened last, why a run ended before its time, or a short answer.

- `last_lines`
"""

from __future__ import annotations

from textual.strip import Strip

from engine.base.wording import counted
from engine.session.records import Event
from maxact_tui.pages.brokenoff import broken_lines
from maxact_tui.pages.eventlines import EVENT_STYLES, event_time
from maxact_tui.terminal.palette import Look
from maxact_tui.texts.visible import cut_middle, visible
from maxact_tui.watching.snapshot import Snapshot
from maxact_tui.widgets.lines import line

_TOKENS_FROM = 70  # cells; narrower lines have no room for the tokens seen by then


def last_lines(snapshot: Snapshot, look: Look, width: int, height: int, *, answer: str, tells_end: bool) -> list[Strip]:
    """The newest events, or what is said of a run that was broken off; an answer stands in the first line.

    Args:
        snapshot: what is known.
        look: what the terminal can show.
        width: cells.
        height: lines.
        answer: to the user, short; empty for none.
        tells_end: whether it is said here why a run was broken off.
    """
    broken = broken_lines(snapshot, look, width, height) if tells_end else []
    if answer:
        shown = cut_middle(visible(answer, space=" "), width - 1, ascii_only=look.ascii_only)
        return [line(look, (f" {shown}", "key")), *broken[1:]]
    return broken or _event_lines(snapshot, look, width, max(height, 1))


def _event_lines(snapshot: Snapshot, look: Look, width: int, newest: int) -> list[Strip]:
    """Events, newest first: time since the start, tokens seen by then, and what happened."""
    if not snapshot.events:
        return [line(look, (" nothing to tell yet", "dim"))]
    started = snapshot.status.started if snapshot.status is not None else 0.0
    return [_event_line(event, look, width, started) for event in list(reversed(snapshot.events))[:newest]]


def _event_line(event: Event, look: Look, width: int, started: float) -> Strip:
    when = f" {event_time(event, started):>7}  "
    tokens = f"  at {counted(event.tokens, 'token')}" if event.tokens and width >= _TOKENS_FROM else ""
    text = visible(event.text, max(width - len(when) - len(tokens), 10), space=" ", ascii_only=look.ascii_only)
    return line(look, (when, "dim"), (text, EVENT_STYLES.get(event.kind, "")), (tokens, "dim"))
