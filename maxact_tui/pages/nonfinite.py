"""NaN and infinity where a screen would show numbers: a site without a finite element has none, and says so.

- `nothing_bad`      the answer where there is no NaN and no infinity
- `address_words`    where an alarm is
- `held_words`       how many of each a site holds
- `is_barren`        whether a site has seen elements, and none of them finite
- `barren_lines`     what stands in the place of its numbers
- `finite_massive`   whether a site is massive, unknown where its finite elements alone say no
"""

from __future__ import annotations

import textwrap

from textual.strip import Strip

from engine.analysis.nonfinite import Alarm
from engine.analysis.site import NonFinite, SiteSummary
from maxact_tui.keymap.actions import key_of
from maxact_tui.terminal.palette import Look
from maxact_tui.texts.numbers import grouped
from maxact_tui.texts.pieces import token_name
from maxact_tui.watching.snapshot import SiteView, Snapshot
from maxact_tui.widgets.lines import line

_TOKEN_CELLS = 20


def nothing_bad(snapshot: Snapshot) -> str:
    """Why there is no NaN and no infinity to go to."""
    if snapshot.live is None:
        return "nothing was measured yet"
    return "no NaN or infinity: every element is finite" + ("" if snapshot.has_ended else " so far")


def address_words(alarm: Alarm) -> str:
    """`first NaN: sample 0, position 3, channel 507`, as far as it is known."""
    if alarm.sample < 0:
        return f"first {alarm.kind}: sample, position and channel are not known"
    return f"first {alarm.kind}: sample {alarm.sample}, position {alarm.position}, channel {alarm.channel}"


def held_words(bad: NonFinite) -> str:
    """`675,072 NaN`, `3 Inf`, `12 NaN and 3 Inf`."""
    counts = ((bad.nan, "NaN"), (bad.positive_infinity + bad.negative_infinity, "Inf"))
    return " and ".join(f"{grouped(count)} {name}" for count, name in counts if count)


def is_barren(summary: SiteSummary) -> bool:
    """Whether the site has seen elements, and none of them was finite."""
    return summary.count == 0 and summary.nonfinite is not None and summary.nonfinite.count > 0


def barren_lines(snapshot: Snapshot, view: SiteView, look: Look, width: int) -> list[Strip]:
    """What stands in the place of a site's numbers where none of its elements is finite."""
    bad = view.summary.nonfinite
    if bad is None:
        return []
    said = [(f"No finite element: {held_words(bad)}.", "bad")]
    if bad.sample >= 0:
        key = key_of("site", "app.sample", look.keys)
        first = f"The first is at sample {bad.sample}, position {bad.position}, channel {bad.channel}"
        said.append((f"{first}{_token_words(snapshot, view, look)}{f'; {key} shows the text' if key else ''}.", ""))
    alarm, plan = snapshot.alarm, snapshot.plan
    if alarm is not None and plan is not None:
        begin = plan.sites[alarm.site].name
        here = "None comes before them in a forward." if alarm.site == view.site else f"They begin at {begin}."
        said.append((here, "dim"))
    rows = [(row, style) for text, style in said for row in textwrap.wrap(text, max(width, 20))]
    return [line(look, part) for part in rows]


def _token_words(snapshot: Snapshot, view: SiteView, look: Look) -> str:
    """The token at the first one, where it is known: that of the alarm, which most sites share."""
    bad, place = view.summary.nonfinite, snapshot.alarm_place
    if bad is None or place is None or (place.sample, place.position) != (bad.sample, bad.position):
        return ""
    return f", token ‹{token_name(place.token, place.part, _TOKEN_CELLS, ascii_only=look.ascii_only)}›"


def finite_massive(passes: bool | None, summary: SiteSummary) -> bool | None:
    """A verdict on a site's finite elements as one on the site.

    None where they are not massive and others are not finite, which no threshold can judge.
    """
    has_bad = summary.nonfinite is not None and summary.nonfinite.count > 0
    return None if has_bad and not passes else passes
