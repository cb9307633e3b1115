"""What stands beside the heatmap: the site under the cursor, as lines of text.

- `PANES`             the panes' titles, in the order of their keys
- `site_lines`        the site in four lines
- `tab_line`          the panes and which are open
- `TokenData`, `token_data`, `token_lines`  the largest activations in their context
- `channel_lines`     the largest channels
- `DepthData`, `depth_data`, `depth_lines`  the component over the depth of the model, as a plot
- `distribution_lines`  |x| as a log histogram, as a plot
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from textual.strip import Strip

from engine.analysis.channels import channel_maxima
from engine.base.wording import counted
from engine.fields.registry import Place, shown
from engine.statistics.patterns import LOG_EDGES, log_bins
from maxact_tui.pages.cells import compact_bound
from maxact_tui.pages.header import token_parts
from maxact_tui.pages.int8page import int8_line
from maxact_tui.pages.measures import NONFINITE, PEAK, site_values
from maxact_tui.pages.nonfinite import finite_massive
from maxact_tui.pages.waiting import until_read
from maxact_tui.terminal.palette import Look
from maxact_tui.texts.numbers import brief, compact, exact, grouped, signed
from maxact_tui.texts.visible import fitted, visible
from maxact_tui.watching.places import TokenPlace
from maxact_tui.watching.snapshot import SiteView, Snapshot
from maxact_tui.widgets.grid import Grid
from maxact_tui.widgets.lines import Part, line
from maxact_tui.widgets.plot import Series, Ticks, draw

PANES = ("Tokens", "Channels", "Depth", "Histogram")
NOT_MEASURED = "not measured: the session does not hold it"
_MARKERS = ("hd", "•", ".", "+", "x")  # of the curves over the depth: the first a line, the others points


def site_lines(snapshot: Snapshot, look: Look, width: int) -> list[Strip]:
    """The focused site: its name and extremes, its moments, Sun's verdicts, what quantisers make of it."""
    plan = snapshot.plan
    if plan is None or snapshot.focus is None:
        return [line(look)]
    site = plan.sites[snapshot.focus]
    where = "" if site.layer is None else f"layer {site.layer} "
    title: list[Part] = [(f"{where}{site.component}", "title")]
    row = snapshot.live_row(snapshot.focus)
    if row is not None:
        largest, least = f"  max {exact(row.max)}", f"  min {exact(row.min)}"
        room = width - len(f"{where}{site.component}{largest}{least}") - 1
        title.append(largest + least if room >= 0 else largest)
        if row.nonfinite > 0:
            used = sum(len(part if isinstance(part, str) else part[0]) for part in title)
            bad = grouped(int(row.nonfinite))
            forms = (f"  {bad} non-finite", f"  {bad} Inf/NaN", "  Inf/NaN")
            title.append((next((text for text in forms if used + len(text) <= width), forms[-1]), "bad"))
    view = snapshot.view
    if view is None:
        return [line(look, *title), line(look, until_read(snapshot, snapshot.damages.view))]
    facts = _panel_facts(view, snapshot.as_of(view.tokens))
    numbers = line(look, _joined(facts, width))
    return [
        line(look, *title),
        numbers,
        line(look, *verdict_parts(view, width)),
        line(look, *int8_line(view, look, width)),
    ]


def field_pairs(place: Place, view: SiteView) -> list[tuple[str, str]]:
    """What a place says of a site: heading and number of each of its fields."""
    return [(heading, brief(one.of(view.record, view.summary), one.style)) for heading, one in shown(place)]


def verdict_parts(view: SiteView, width: int) -> list[Part]:
    """Sun's criterion by both medians, in words; unknown where elements that are not finite could not be judged."""
    layer, token = view.summary.sun_layer, view.summary.sun_token
    unknown = "unknown" if width >= 60 else "?"
    words = {True: ("yes", "warn"), False: ("no", "good"), None: (unknown, "dim")}
    by_layer, by_token = (words[finite_massive(one.passes, view.summary)] for one in (layer, token))
    if width < 60:
        ratios = (f" ({compact(layer.ratio)})", f" ({compact(token.peak_ratio)})")
    else:
        ratios = (f" ({compact(layer.ratio)} x layer median)", f" ({compact(token.peak_ratio)} x its own median)")
    return ["massive ", by_layer, (ratios[0], "dim"), ", by token ", by_token, (ratios[1], "dim")]


def tab_line(look: Look, open_panes: Collection[int]) -> Strip:
    """The panes with their keys, the open ones underlined and between brackets."""
    parts: list[Part] = []
    for number, title in enumerate(PANES):
        is_open = number in open_panes
        parts += [
            (f"{number + 1}", "key"),
            (f"[{title}]" if is_open else f" {title} ", "heading" if is_open else "dim"),
        ]
    return line(look, *parts)


@dataclass(frozen=True, slots=True)
class TokenData:
    """What the token pane shows; two are equal if it would look the same.

    Attributes:
        rows: value, channel, position and token of each of the largest |x|, the largest first.
        is_whole: False before the first checkpoint, when only the largest of all is known.
        is_measured: False where the session does not hold the list.
    """

    rows: tuple[tuple[float, int, int, TokenPlace | None], ...]
    is_whole: bool
    is_measured: bool = True


def token_data(snapshot: Snapshot) -> TokenData:
    """The focused site's largest |x|, as far as they are known."""
    view, row, place = snapshot.view, snapshot.live_row(snapshot.focus), snapshot.focus_place
    if view is not None:
        pairs = zip(view.summary.top, view.places, strict=True)
        return TokenData(
            tuple((e.value, e.channel, e.position, found) for e, found in pairs),
            True,
            "top" not in view.summary.not_measured,
        )
    if row is None or place is None:
        return TokenData((), False)
    return TokenData(((row.peak, int(row.channel), int(row.position), place),), False)


def token_lines(data: TokenData, look: Look, width: int, height: int) -> list[Strip]:
    """The largest |x|: value, channel, position and category, and the token in its context."""
    wide = width >= 64
    head = " value  chan  pos " + ("category   " if wide else "") + "token in context"
    lines = [line(look, (head, "dim"))]
    for value, channel, position, place in data.rows[: max(height - 1, 0)]:
        facts = f"{signed(value):>6} {channel:>5} {position:>4} "
        if wide:
            facts += fitted(visible(place.category if place else ""), 10, ascii_only=look.ascii_only) + " "
        room = max(width - len(facts), 8)
        context: list[Part] = [("not in this file", "dim")]
        if place is not None:
            context = token_parts(place, look, room, lead=min(16, room // 3))
        lines.append(line(look, facts, *context))
    if not data.is_measured:
        lines.append(line(look, (NOT_MEASURED, "warn")))
    if not data.is_whole:
        lines.append(line(look, (f"{'the others come' if data.rows else 'comes'} with the first checkpoint", "dim")))
    return lines


def channel_lines(view: SiteView, look: Look, width: int, height: int) -> list[Strip]:
    """The largest channels: their maximum, in how many tokens they are large, and what that makes them."""
    if "channel_max" in view.summary.not_measured:
        return [line(look, (NOT_MEASURED, "warn"))]
    known = {c.channel: c for c in view.summary.channels or ()}
    maxima = channel_maxima(view.totals)
    order = np.argsort(-maxima, kind="stable")[: max(height - 1, 0)].tolist()
    largest = float(maxima[order[0]]) if order else 0.0
    lines = [line(look, ("channel  max|x|  massive tokens  kind", "dim"))]
    for channel in order:
        found = known.get(channel)
        count = "" if found is None else _count(found.massive_tokens.lower, found.massive_tokens.upper)
        kind = {"massive": "massive", "outlier": "outlier", "mixed": "mixed"}.get(found.kind, "") if found else ""
        bar = "█" * round((width - 43) * _share(float(maxima[channel]), largest)) if width > 47 else ""
        value = float(maxima[channel])
        text = f"{channel:>7} {'!' if math.isnan(value) else compact(value):>7}  {count:>14}  "
        lines.append(line(look, text, (f"{kind:<8}", "warn" if kind else ""), (bar, "bar")))
    return lines


@dataclass(frozen=True, slots=True)
class DepthData:
    """What the depth plot shows; two are equal if it would look the same.

    Attributes:
        component: the column's name.
        rows: x of each site: its layer, -1 for what comes before the blocks, the number of layers for what comes after.
        curves: (title, marker, |value| of each site) of each measure that is known.
        stale: `as of N tokens` where all but the maxima are of an earlier checkpoint.
        without: how many layers have seen elements, and none of them finite.
        empty: what is said where there is no curve.
    """

    component: str
    rows: tuple[int, ...]
    curves: tuple[tuple[str, str, tuple[float, ...]], ...]
    stale: str = ""
    without: int = 0
    empty: str = ""


def depth_data(snapshot: Snapshot, grid: Grid) -> DepthData | None:
    """The focused component over the depth: max|x|, with q99.9 and median where they are known."""
    cell = grid.cell_of(snapshot.focus) if snapshot.focus is not None else None
    if cell is None:
        return None
    sites = grid.column_sites(cell[1])
    first = next((i for i, row in enumerate(grid.rows) if row == "L0"), 0)
    rows = tuple(int(i) - first for i in np.flatnonzero(grid.sites[:, cell[1]] >= 0))
    curves = []
    for marker, (title, measure) in zip(_MARKERS, shown("depth"), strict=False):
        values = np.abs(site_values(measure, snapshot)[sites])
        if (values > 0).any():
            # Zero stands for unknown: a NaN would make two equal pictures unequal.
            curves.append((title, marker, tuple(np.where(values > 0, values, 0.0).tolist())))
    stale = snapshot.as_of(snapshot.model.tokens) if snapshot.model is not None and len(curves) > 1 else ""
    largest = site_values(PEAK, snapshot)[sites]
    without = int(np.isnan(largest[site_values(NONFINITE, snapshot)[sites] > 0]).sum())
    empty = "only zeros" if (largest == 0).any() else "no finite element at any layer" if without else "no numbers yet"
    return DepthData(grid.columns[cell[1]], rows, tuple(curves), stale, without, empty)


def depth_lines(data: DepthData | None, look: Look, width: int, height: int) -> list[Strip]:
    """max|x| of the focused component at each layer, with q99.9 and median where they are known."""
    if data is None or not data.curves:
        return [line(look, (data.empty if data is not None else "no numbers yet", "dim"))]
    x = np.asarray(data.rows, np.float64)
    series = []
    for _, marker, values in data.curves:
        known = np.where(np.asarray(values) > 0, values, np.nan)
        series.append(Series(x, np.log10(known), marker, joined=marker == "hd"))
    every = np.concatenate([one.y[np.isfinite(one.y)] for one in series])
    low, high = math.floor(every.min()), math.ceil(every.max() + 1e-9)
    plot = draw(
        series,
        width,
        height - 1,
        x_ticks=_layer_ticks(int(x.max()), width),
        y_ticks=decade_ticks(low, high, height),
        x_range=(float(x.min()), float(max(x.max(), x.min() + 1))),
        y_range=(float(low), float(max(high, low + 1))),
        ascii_only=look.ascii_only,
    )
    names = ", ".join(title if marker == "hd" else f"{marker} {title}" for title, marker, _ in data.curves)
    missing = f"  {counted(data.without, 'layer')} without a finite element" if data.without else ""
    title = visible(f"{data.component} by layer: {names} {data.stale}", max(width - len(missing), 8), space=" ")
    return [line(look, (title, "dim"), (missing, "bad")), *[line(look, row) for row in plot]]


def distribution_lines(view: SiteView, look: Look, width: int, height: int) -> list[Strip]:
    """How many elements have which |x|, both axes logarithmic, above it where the quantiles are."""
    if not view.summary.measured:
        return [line(look, why_not_measured(view))]
    counts = log_bins(view.totals).astype(np.float64)
    filled = np.flatnonzero(counts)
    if not filled.size:
        return [line(look, ("only zeros" if view.summary.count else "no finite element", "dim"))]
    middles = (np.log10(LOG_EDGES[:-1]) + np.log10(LOG_EDGES[1:])) / 2
    first, last = int(filled[0]), int(filled[-1]) + 1
    x, y = middles[first:last], np.log10(np.maximum(counts[first:last], 0.5))
    low, high = math.floor(x[0]), math.ceil(x[-1] + 1e-9)
    top = math.ceil(float(y.max()) + 1e-9)
    plot = draw(
        [Series(x, y)],
        width,
        height - 1,
        x_ticks=decade_ticks(low, max(high, low + 1), width // 6),
        y_ticks=decade_ticks(0, top, height),
        x_range=(float(low), float(max(high, low + 1))),
        y_range=(math.log10(0.5), float(max(top, 1))),
        ascii_only=look.ascii_only,
    )
    facts = [" ".join(pair) for pair in field_pairs("histogram", view)]
    return [line(look, (_joined(["elements by |x|", *facts], width), "dim")), *[line(look, row) for row in plot]]


def why_not_measured(view: SiteView) -> Part:
    """Why there is no distribution."""
    if "histogram" in view.summary.not_measured:
        return NOT_MEASURED, "warn"
    return "not measured in lean detail", "dim"


def decade_ticks(low: int, high: int, most: int) -> Ticks:
    """Ticks at powers of ten, at most about `most` of them."""
    step = max(1, math.ceil((high - low + 1) / max(most, 2)))
    return [(float(e), compact_bound(10.0**e)) for e in range(low, high + 1, step)]


def _layer_ticks(last: int, width: int) -> Ticks:
    most = max(width // 8, 2)
    step = next(s for s in (1, 2, 5, 10, 20, 50, 100, 1000) if last / s <= most)
    return [(float(layer), str(layer)) for layer in range(0, last + 1, step)]


def _joined(parts: list[str], width: int) -> str:
    """As many parts as fit, two spaces between them."""
    text = ""
    for part in parts:
        longer = f"{text}  {part}" if text else part
        if len(longer) > width:
            break
        text = longer
    return text


def _panel_facts(view: SiteView, stale: str) -> list[str]:
    """What the panel says of a site; in place of its tokens, first of all, that the numbers are older than the run."""
    tokens = view.summary.tokens
    words = "tokens not measured" if tokens is None else counted(tokens, "token")
    facts = [words if name == "tokens" else f"{name} {text}" for name, text in field_pairs("panel", view)]
    return [stale, *(fact for fact in facts if fact != words)] if stale else facts


def _count(lower: int, upper: int) -> str:
    return grouped(lower) if lower == upper else f"{grouped(lower)}..{grouped(upper)}"


def _share(value: float, largest: float) -> float:
    return value / largest if largest > 0 and math.isfinite(largest) and not math.isnan(value) else 0.0
