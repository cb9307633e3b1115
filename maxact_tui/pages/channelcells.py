"""Channels across layers: from the arrays of a component to cells and lines.

- `channel_grid`   layers down, channels across, as a heatmap takes it
- `channel_cells`  the cells of that grid
- `channel_title`, `channel_legend`  what is shown, and what colours and marks mean
- `channel_records`  as records to copy
- `ChannelPlace`   one channel at one site, with what is known of it
- `place_of`, `place_lines`
- `nearest_row`    the row of a site, or of its layer
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan

import numpy as np
from textual.strip import Strip

from engine.analysis.channelmap import ChannelMap
from engine.analysis.channels import ChannelSummary
from engine.analysis.site import SiteSummary, TopEntry
from engine.base.wording import counted
from engine.sites.site import HookPlan, Site
from maxact_tui.pages.cells import bad_counts, compact_bound
from maxact_tui.pages.header import token_parts
from maxact_tui.terminal.palette import Look, scale_of
from maxact_tui.texts.filtering import Record
from maxact_tui.texts.numbers import compact, exact, grouped, signed
from maxact_tui.texts.visible import visible
from maxact_tui.watching.places import TokenPlace
from maxact_tui.watching.snapshot import Snapshot
from maxact_tui.widgets.grid import Grid
from maxact_tui.widgets.heatmap import Cell
from maxact_tui.widgets.lines import Part, line

MARKS = {"massive": "*", "outlier": "o", "mixed": "~"}
WORDS = {"massive": "massive activation", "outlier": "outlier feature", "mixed": "between massive and outlier"}


@dataclass(frozen=True, slots=True)
class ChannelPlace:
    """One channel at one site.

    Attributes:
        site: the site's number.
        channel: the channel's.
        magnitude: its max|x| there, NaN where the site has seen nothing, or may have seen nothing finite.
        entry: that element with its sign and address; None where it is not among the site's 100 largest.
        summary: in how many tokens it is large; None where it does not stand out, or is not known yet.
        is_known: whether the site's own numbers are known yet.
        stale: `as of N tokens` where those are of an earlier checkpoint than the rest; else empty.
        lacks: whether the session does not hold what tells its kind.
        lacks_address: whether it does not hold the site's largest elements.
        bad: how many NaN and infinities the site holds.
        is_counted: whether the tokens in which channels are large were counted at this site.
    """

    site: int
    channel: int
    magnitude: float
    entry: TopEntry | None
    summary: ChannelSummary | None
    is_known: bool
    stale: str = ""
    lacks: bool = False
    lacks_address: bool = False
    bad: int = 0
    is_counted: bool = True


def channel_grid(found: ChannelMap, labels: Sequence[str]) -> Grid:
    """A cell per site and channel, numbered row by row."""
    titles = tuple(str(channel) for channel in found.channels.tolist())
    return Grid(titles, titles, tuple(labels), np.arange(found.maxima.size, dtype=np.int64).reshape(found.maxima.shape))


def channel_cells(found: ChannelMap, snapshot: Snapshot, look: Look) -> dict[int, Cell]:
    """max|x| with the sign where it is known, and whether the channel stands out in few tokens or in most.

    Without a finite element there is a `!`, as in the heatmap.
    """
    bad = bad_counts(snapshot)
    maxima = found.maxima.astype(np.float64)
    levels = scale_of(maxima).levels(maxima, look.levels)
    cells = {}
    for row, site in enumerate(found.sites):
        summary = _summary(snapshot, site)
        kinds = {c.channel: MARKS[c.kind] for c in summary.channels or ()} if summary is not None else {}
        for column, channel in enumerate(found.channels.tolist()):
            value = float(maxima[row, column])
            entry = found.entries[row].get(channel)
            shown = -value if entry is not None and entry.value < 0 else value
            text = "" if isnan(value) else signed(shown)
            mark = "!" if isnan(value) and bad.get(site) else kinds.get(channel, " ")
            cells[row * len(found.channels) + column] = Cell(text, int(levels[row, column]), mark)
    return cells


def channel_records(found: ChannelMap, labels: Sequence[str]) -> list[Record]:
    """One record per site, with max|x| of each channel under its number."""
    channels = [f"channel_{channel}" for channel in found.channels.tolist()]
    return [
        {"layer": label, **dict(zip(channels, row, strict=True))}
        for label, row in zip(labels, found.maxima.astype(np.float64).tolist(), strict=True)
    ]


def nearest_row(found: ChannelMap, plan: HookPlan | None, site: int | None) -> int:
    """The row of a site, or of the same layer's where it is of another component; else the first."""
    if plan is None or site is None:
        return 0
    if site in found.sites:
        return found.sites.index(site)
    layers = [plan.sites[number].layer for number in found.sites]
    return layers.index(plan.sites[site].layer) if plan.sites[site].layer in layers else 0


def place_of(found: ChannelMap, snapshot: Snapshot, cell: int) -> ChannelPlace:
    """What is known of a cell."""
    row, column = divmod(cell, len(found.channels))
    site, channel = found.sites[row], int(found.channels[column])
    summary = _summary(snapshot, site)
    known = {c.channel: c for c in summary.channels or ()} if summary is not None else {}
    entry = found.entries[row].get(channel)
    magnitude = float(found.maxima[row, column])
    absent = summary.not_measured if summary is not None else ()
    lacks = not {"channel_max", "channel_tokens", "tokens"}.isdisjoint(absent)
    model = snapshot.model
    stale = f"as of {grouped(model.tokens)} tokens" if model and snapshot.model_at < found.checkpoint else ""
    return ChannelPlace(
        site, channel, magnitude, entry, known.get(channel), summary is not None, stale, lacks, "top" in absent,
        bad_counts(snapshot).get(site, 0), summary is None or summary.channels is not None,
    )  # fmt: skip


def place_lines(here: ChannelPlace, site: Site, token: TokenPlace | None, look: Look, width: int) -> list[Strip]:
    """Three lines: the value, in how many tokens the channel is large, and the token of the largest."""
    where = site.component if site.layer is None else f"layer {site.layer} {site.component}"
    head: list[Part] = [(f"channel {here.channel}", "title"), f" at {visible(where, max(width - 50, 8), space=' ')}"]
    if isnan(here.magnitude):
        if here.bad:
            said = f"no finite element is known: the site holds {grouped(here.bad)} Inf/NaN"
            return [line(look, *head), line(look, (visible(said, width, space=" "), "bad"))]
        said = "not measured" if here.lacks else "nothing was seen"
        return [line(look, *head, (f"  {said}", "dim"))]
    value = exact(here.magnitude if here.entry is None else here.entry.value)
    head += [("  x = " if here.entry is not None else "  max|x| ", "dim"), (value, "value")]
    lines = [line(look, *head), _kind_line(here, look, width)]
    if here.entry is None:
        said = "not among this site's 100 largest elements: sign and token are not kept"
        if here.lacks_address:
            said = "sign and token were not measured: the session does not hold the largest elements"
        return [*lines, line(look, (visible(said, width, space=" "), "dim"))]
    facts = f"sample {here.entry.sample}  position {here.entry.position}  "
    if token is None:
        return [*lines, line(look, facts)]
    room = max(width - len(facts), 12)
    return [*lines, line(look, (facts, "dim"), *token_parts(token, look, room, lead=room // 3))]


def channel_title(found: ChannelMap | None, snapshot: Snapshot, component: str, look: Look, width: int) -> Strip:
    """What the screen shows, and as of how many tokens where the run has gone on since."""
    title = " Channels across layers"
    if found is None:
        return line(look, (title, "title"))
    stale = snapshot.as_of(found.tokens)
    count = f"the {len(found.channels)} largest of {grouped(found.width)} in {visible(component)}"
    said = f"  {stale}  {count}" if stale else f"  {count}"
    said += ", the largest first" if not stale and len(title) + len(said) + 19 <= width else ""
    return line(look, (title, "title"), (visible(said, max(width - len(title), 8), space=" "), "dim"))


def channel_legend(found: ChannelMap, snapshot: Snapshot, look: Look, width: int) -> Strip:
    """The ramp and the marks."""
    maxima, counts = found.maxima.astype(np.float64), bad_counts(snapshot)
    is_bad = [np.isnan(row).any() for site, row in zip(found.sites, maxima, strict=True) if counts.get(site)]
    bad = "  ! nothing finite" if any(is_bad) else ""
    if not np.isfinite(maxima).any():
        return line(look, (f" max|x|{bad}", "dim"))
    scale = scale_of(maxima)
    ramp: list[Part] = [(look.level_glyphs[level], look.ramp[level]) for level in range(look.levels)]
    ends = compact_bound(scale.low), compact_bound(scale.high)
    words = (
        "  * massive: few tokens  o outlier: most tokens  ~ between" if width >= 90 else "  * massive o outlier ~ mixed"
    ) + bad
    return line(look, (f" max|x| {ends[0]} ", "dim"), *ramp, (f" {ends[1]}{words}", "dim"))


def _kind_line(here: ChannelPlace, look: Look, width: int) -> Strip:
    found = here.summary
    if not here.is_known:
        return line(look, ("its kind comes with the run's summary", "dim"))
    stale = f" ({here.stale})" if here.stale else ""
    if here.lacks:
        return line(look, ("its kind was not measured: the session does not hold it", "warn"))
    if not here.is_counted:
        return line(look, ("massive or outlier is not known: channels are not counted at this site", "dim"))
    if found is None:
        return line(look, (f"neither a massive activation nor an outlier feature here{stale}", "dim"))
    few, many = found.massive_tokens, found.large_tokens
    said = f": massive in {_count(few.lower, few.upper)}, large in {_count(many.lower, many.upper)}"
    said += stale or f" of {counted(found.tokens, 'token')}"
    return line(look, (WORDS[found.kind], "warn"), (visible(said, max(width - 28, 10), space=" "), "dim"))


def _count(lower: int, upper: int) -> str:
    return grouped(lower) if lower == upper else f"{compact(lower)}..{compact(upper)}"


def _summary(snapshot: Snapshot, site: int) -> SiteSummary | None:
    return snapshot.summaries[site] if site < len(snapshot.summaries) else None
