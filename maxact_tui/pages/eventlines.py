"""The event log as a table.

- `event_sheet`   one row per event, the newest first
- `event_detail`  one of them in full
"""

from __future__ import annotations

import textwrap
import time
from collections.abc import Sequence

from textual.strip import Strip

from engine.session.records import Event
from engine.sites.site import HookPlan
from maxact_tui.pages.sheets import Column, Sheet
from maxact_tui.terminal.palette import Look
from maxact_tui.texts.filtering import Record
from maxact_tui.texts.numbers import duration, grouped
from maxact_tui.texts.visible import fitted, visible
from maxact_tui.widgets.grid import site_record
from maxact_tui.widgets.lines import line

_WHEN = (Column("time", 8, "seconds"), Column("tokens", 11, "tokens"))
_KIND, _EVENT = Column(" kind", 12, "kind", right=False), Column(" event", 0, "event")
_KIND_FROM = 100  # cells; narrower tables have no room for a column of what the text says anyway

EVENT_STYLES = {"nonfinite": "bad", "fp16": "bad", "maximum": "warn", "problem": "warn", "memory": "warn"}


def event_sheet(events: Sequence[Event], plan: HookPlan | None, started: float, look: Look, width: int) -> Sheet:
    """Time since the start, tokens seen by then, kind and text of each event, the newest first."""
    has_kind = width >= _KIND_FROM

    def record(number: int) -> Record:
        event = events[-1 - number]
        site = plan.sites[event.site] if plan is not None and event.site is not None else None
        where: Record = site_record(site) if site is not None else {"layer": None, "comp": None}
        text = visible(event.text, space=" ")
        seconds = event.at - started if started else None
        return {"seconds": seconds, "tokens": event.tokens, "kind": visible(event.kind), "event": text, **where}

    def row(number: int) -> Strip:
        event = events[-1 - number]
        tokens = grouped(event.tokens) if event.tokens else ""
        kind = f"{fitted(visible(event.kind), 11, ascii_only=look.ascii_only)} " if has_kind else ""
        text = visible(event.text, max(width - 22 - len(kind), 10), space=" ", ascii_only=look.ascii_only)
        style = EVENT_STYLES.get(event.kind, "")
        return line(look, (f"{event_time(event, started):>8} {tokens:>11}  {kind}", "dim"), (text, style))

    columns = (*_WHEN, _KIND, _EVENT) if has_kind else (*_WHEN, _EVENT)
    return Sheet(columns, len(events), record, row)


def event_detail(event: Event, look: Look, width: int, height: int) -> list[Strip]:
    """The event's date, and its whole text as far as there is room."""
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event.at))
    text = visible(f"{when}  {event.text}", space=" ", ascii_only=look.ascii_only)
    return [line(look, row) for row in textwrap.wrap(text, max(width, 20), max_lines=height, placeholder=" ...")]


def event_time(event: Event, started: float) -> str:
    """Time since the start; of what was there before, the time of day."""
    if started and event.at >= started:
        return duration(event.at - started)
    return time.strftime("%H:%M", time.localtime(event.at))
