"""What is said of a run that failed or whose engine is gone: why, what is saved, the log's last lines, how to go on.

- `broken_lines`
"""

from __future__ import annotations

import textwrap

from textual.strip import Strip

from engine.base.wording import counted
from engine.messages import Code, words
from engine.session.library import log_path
from engine.session.liveness import why_it_ended
from engine.session.records import BROKEN_OFF
from maxact_tui.keymap.actions import key_of
from maxact_tui.terminal.palette import Look
from maxact_tui.texts.numbers import grouped
from maxact_tui.texts.visible import cut_start, visible
from maxact_tui.watching.finding import short_name
from maxact_tui.watching.snapshot import Snapshot
from maxact_tui.widgets.lines import line

_CAUSE_LINES = 3


def broken_lines(snapshot: Snapshot, look: Look, width: int, height: int) -> list[Strip]:
    """At most `height` lines; the log's last ones take what the others leave. Empty for any other state."""
    status = snapshot.status
    if status is None or status.phase not in BROKEN_OFF:
        return []
    why = why_it_ended(status)
    head = "the run failed: " if status.phase == "failed" and why.code != Code.FAILED_RUN else ""
    cause = _wrapped(head + words(why), width)[:_CAUSE_LINES]
    key = "" if snapshot.read_only else key_of("monitor", "app.pause", look.keys)
    here = f"{key}, or " if key else ""
    way_on = _wrapped(f"continue: {here}maxact-tui resume {short_name(snapshot.path)}", width)
    log = "log: " + cut_start(visible(str(log_path(snapshot.path)), space=" "), max(width - 7, 8))
    saved = _saved(snapshot)
    room = height - len(cause) - len(way_on) - 1 - bool(saved)
    log_lines = snapshot.last_words[-room:] if room > 0 else ()
    rows = [line(look, (f" {row}", "bad")) for row in cause]
    rows += [line(look, f" {saved}")] if saved else []
    rows += [line(look, (visible(f"   {one}", width - 1, space=" "), "dim")) for one in log_lines]
    return [*rows, *(line(look, (f" {row}", "key")) for row in way_on), line(look, f" {log}")][:height]


def _saved(snapshot: Snapshot) -> str:
    """How much a resume starts from; live numbers had often got further."""
    status = snapshot.status
    if status is None or snapshot.samples_done is None:
        return "nothing was saved yet" if snapshot.live is not None and snapshot.checkpoint == 0 else ""
    done, lost = len(snapshot.samples_done), status.samples_done - len(snapshot.samples_done)
    said = f"saved: {grouped(done)} of {counted(status.samples_total, 'sample')}"
    return f"{said}; {grouped(lost)} more were measured and are lost, live numbers may be theirs" if lost > 0 else said


def _wrapped(text: str, width: int) -> list[str]:
    """Visible text in lines of at most `width` cells less the margins."""
    return textwrap.wrap(visible(text, space=" "), max(width - 2, 20)) or [""]
