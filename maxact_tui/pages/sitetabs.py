"""Everything about one site, as lines of text for the site screen's tabs.

- `TABS`              their titles, in the order of their keys
- `token_sheet`       the table of the 100 largest activations
- `token_detail`      one of them: exact value, id, bytes, origin and more of its text
- `channel_sheet`     the table of the largest channels
- `category_sheet`    the table of the categories
- `distribution_page` histogram, quantiles, what lies beyond the usual limits
- `sample_page`       maxima by category, and whether the maximum has converged
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from textual.strip import Strip

from engine.analysis.channels import channel_maxima
from engine.analysis.convergence import CategoryMaximum, by_category, running_maximum
from engine.base.wording import counted
from engine.formats import E4M3_LIMIT, FP16_LIMIT
from engine.statistics.patterns import magnitude_counts, magnitude_values
from maxact_tui.pages.header import token_parts
from maxact_tui.pages.nonfinite import held_words
from maxact_tui.pages.panes import NOT_MEASURED, distribution_lines, field_pairs, why_not_measured
from maxact_tui.pages.sheets import Column, Sheet, Sorting, arranged, heading
from maxact_tui.terminal.palette import Look
from maxact_tui.texts.filtering import EVERYTHING, Filter, Record, Value
from maxact_tui.texts.numbers import compact, exact, grouped, percent, signed
from maxact_tui.texts.pieces import origin_words
from maxact_tui.texts.visible import fitted, visible
from maxact_tui.watching.places import place_record
from maxact_tui.watching.snapshot import SiteView, Snapshot
from maxact_tui.widgets.lines import Part, line
from maxact_tui.widgets.plot import Series, draw, round_ticks

TABS = ("Tokens", "Channels", "Distribution", "Samples", "INT8")
CHANNELS_SHOWN = 200
UNSORTED = Sorting()


_TOKEN_COLUMNS = (
    Column("rank", 5, "rank"),
    Column("value", 10, "value", largest_first=True),
    Column("channel", 7, "chan"),
    Column("pos", 4, "pos"),
    Column("sample", 6, "sample"),
    Column("category", 10, "cat", right=False),
    Column("token in context", 0, "token"),
)
_CHANNEL_COLUMNS = (
    Column("rank", 5, "rank"),
    Column("channel", 7, "chan"),
    Column("max|x|", 10, "value", largest_first=True),
    Column("massive in", 11, "tokens", largest_first=True),
    Column("large in", 14, "large_tokens", largest_first=True),
    Column("  kind", 0, "kind"),
)
_CATEGORY_COLUMNS = (
    Column("category", 10, "cat", right=False),
    Column("samples", 8, "samples", largest_first=True),
    Column("tokens", 8, "tokens", largest_first=True),
    Column("max|x|", 10, "value", largest_first=True),
)


def token_sheet(view: SiteView, site: dict[str, Value], look: Look, width: int) -> Sheet:
    """The 100 largest |x|: rank, value, address, category and context of each.

    Args:
        view: the site.
        site: what a filter can ask of the site itself.
        look: what the terminal can show.
        width: cells of a row.
    """
    top, places = view.summary.top, view.places

    def record(number: int) -> Record:
        entry = top[number]
        address = {"chan": entry.channel, "pos": entry.position, "sample": entry.sample}
        value = {"rank": number + 1, "value": abs(entry.value), "x": entry.value}
        return {**site, **value, **address, **place_record(places[number])}

    def row(number: int) -> Strip:
        entry, place = top[number], places[number]
        category = fitted(visible(place.category if place else "-"), 10, ascii_only=look.ascii_only)
        address = f"{entry.channel:>7} {entry.position:>4} {entry.sample:>6}"
        facts = f"{number + 1:>5} {_value(entry.value):>10} {address} {category} "
        context: list[Part] = [("not in this file", "dim")]
        if place is not None:
            room = max(width - len(facts), 10)
            context = token_parts(place, look, room, lead=min(20, room // 3))
        return line(look, facts, *context)

    return Sheet(_TOKEN_COLUMNS, len(top), record, row)


def token_detail(view: SiteView, number: int, look: Look, width: int) -> list[Strip]:
    """One of the largest: exact value, token id and bytes, origin, and the text around it."""
    if number >= len(view.summary.top):
        return []
    entry, place = view.summary.top[number], view.places[number]
    head = f"x = {entry.value!r}, sample {entry.sample}, position {entry.position}, channel {entry.channel}"
    if place is None:
        return [line(look, head)]
    where = f"token {place.token_id} = {place.piece!r}, "
    if place.part[1] > 1:
        where += f"part {place.part[0]} of {place.part[1]} of ‹{visible(place.token, 20)}›, "
    where += f"{counted(place.length, 'token')} long, {visible(origin_words(place.origin), space=' ')}"
    if place.language:
        where += f" ({visible(place.language, space=' ')})"
    return [
        line(look, visible(head, width, space=" ")),
        line(look, visible(where, width, space=" ")),
        line(look, *token_parts(place, look, width, lead=width // 2)),
    ]


def channel_sheet(view: SiteView, site: dict[str, Value], look: Look, width: int) -> Sheet:
    """The largest channels: maximum, in how many tokens they are massive or large, and what that makes them.

    The arguments are those of `token_sheet`.
    """
    known = {c.channel: c for c in view.summary.channels or ()}
    maxima = channel_maxima(view.totals)
    order = np.argsort(-maxima, kind="stable")[:CHANNELS_SHOWN].tolist() if view.totals.has("channel_max") else []
    largest = float(maxima[order[0]]) if order else 0.0

    def record(number: int) -> Record:
        channel = order[number]
        found = known.get(channel)
        counts = (found.massive_tokens.lower, found.large_tokens.lower) if found else (None, None)
        kind = _kind(found.kind) if found else None
        value = {"rank": number + 1, "chan": channel, "value": float(maxima[channel])}
        return {**site, **value, "tokens": counts[0], "large_tokens": counts[1], "kind": kind}

    def row(number: int) -> Strip:
        channel = order[number]
        found, value = known.get(channel), float(maxima[channel])
        massive = _tokens(found.massive_tokens.lower, found.massive_tokens.upper) if found else "-"
        large = _tokens(found.large_tokens.lower, found.large_tokens.upper) if found else "-"
        is_known = not math.isnan(value)
        share = value / largest if largest > 0 and is_known else 0.0
        shown = exact(value) if is_known else "!"
        facts = f"{number + 1:>5} {channel:>7} {shown:>10} {massive:>11} {large:>14}   "
        kind = f"{_kind(found.kind) if found else '':<18} "
        return line(look, facts, (kind, "warn"), (_bar(share, width - len(facts) - len(kind)), "bar"))

    return Sheet(_CHANNEL_COLUMNS, len(order), record, row)


def _bar(share: float, room: int) -> str:
    return "█" * round(max(room, 0) * share)


def category_sheet(found: Sequence[CategoryMaximum], look: Look, width: int) -> Sheet:
    """The categories: samples, tokens and the largest |x|."""
    largest = max((c.convergence.magnitude for c in found if not math.isnan(c.convergence.magnitude)), default=0.0)

    def record(number: int) -> Record:
        one = found[number]
        c = one.convergence
        name = visible(one.category, space=" ")
        return {"cat": name, "samples": c.samples, "tokens": c.tokens, "value": c.magnitude}

    def row(number: int) -> Strip:
        one = found[number]
        c = one.convergence
        share = c.magnitude / largest if largest > 0 and not math.isnan(c.magnitude) else 0.0
        name = fitted(visible(one.category, space=" "), 10, ascii_only=look.ascii_only)
        facts = f"{name} {c.samples:>8} {grouped(c.tokens):>8} {exact(c.magnitude):>10}  "
        return line(look, facts, (_bar(share, width - len(facts)), "bar"))

    return Sheet(_CATEGORY_COLUMNS, len(found), record, row)


def categories_of(snapshot: Snapshot, view: SiteView) -> tuple[CategoryMaximum, ...]:
    """The site's maxima by category, the largest first."""
    order, labels = snapshot.samples_done, snapshot.labels
    if order is None or not len(order) or not labels:
        return ()
    tokens = np.asarray([label[2] for label in labels])
    return by_category(order, view.totals.sample_max, tokens, [label[1] for label in labels])


def distribution_page(view: SiteView, look: Look, width: int, height: int) -> list[Strip]:
    """The histogram, its quantiles, and how many elements lie beyond the limits of smaller formats."""
    s = view.summary
    if not s.measured:
        return [line(look, why_not_measured(view))]
    lines = distribution_lines(view, look, width, max(height - 7, 8))
    lines += [line(look), line(look, ("|x| at   ", "dim"), *_pairs(field_pairs("quantiles", view), width - 9))]
    bad = held_words(s.nonfinite) if s.nonfinite is not None else ""
    everything = ("finite" if bad else "all", "-" if s.count is None else grouped(s.count))
    limits = [("massive", s.sun_layer.threshold), ("e4m3", E4M3_LIMIT), ("fp16", FP16_LIMIT)]
    beyond = [
        (f"{name} > {grouped(int(limit)) if limit >= 1000 else compact(limit)}:", grouped(_above(view, limit)))
        for name, limit in limits
        if not math.isnan(limit)
    ]
    lines.append(
        line(
            look,
            ("elements ", "dim"),
            *_pairs([everything, *beyond], width - 9 - len(bad)),
            (bad, "bad"),
        )
    )
    lines.append(line(look, ("moments  ", "dim"), *_pairs(field_pairs("moments", view), width - 9)))
    nature = (
        "exact: every 16-bit value was counted" if s.exact else "quantiles to a relative 2^-7; maxima and moments exact"
    )
    return [*lines, line(look, (f"         {nature}", "dim"))]


def sample_page(
    snapshot: Snapshot,
    view: SiteView,
    look: Look,
    width: int,
    height: int,
    kept: Filter = EVERYTHING,
    sorting: Sorting = UNSORTED,
) -> list[Strip]:
    """Maxima by category, the running maximum over the run, and whether it still rises.

    A filter keeps categories, and the running maximum is that of their samples.
    """
    sheet = category_sheet(categories_of(snapshot, view), look, width)
    order = snapshot.samples_done
    if not view.totals.has("sample_max"):
        return [line(look, (NOT_MEASURED, "warn"))]
    if order is None or not sheet.count:
        return [line(look, ("no sample is finished yet", "dim"))]
    numbers = arranged(sheet, kept, sorting)
    lines = [line(look, (heading(sheet.columns, sorting), "dim")), *[sheet.row(number) for number in numbers]]
    names = {str(sheet.record(number)["cat"]) for number in numbers}
    tokens = np.asarray([label[2] for label in snapshot.labels])
    inside = np.asarray([visible(label[1], space=" ") in names for label in snapshot.labels])
    whole = running_maximum(order[inside[order]], view.totals.sample_max, tokens)
    if not whole.points:
        return lines
    last = whole.points[-1]
    rises = "once" if len(whole.points) == 1 else f"{len(whole.points)} times"
    verdict = f"The maximum rose {rises}, last with sample {last.sample}, after "
    verdict += f"{percent(whole.last_increase_share)} of {counted(whole.tokens, 'token')}."
    lines += [line(look), line(look, visible(verdict, width, space=" "))]
    x = np.asarray([p.tokens for p in whole.points] + [whole.tokens], np.float64)
    y = np.asarray([p.magnitude for p in whole.points] + [last.magnitude])
    xs, ys = np.repeat(x, 2)[1:], np.repeat(y, 2)[:-1]
    top = 1.05 * last.magnitude or 1.0
    plot = draw(
        [Series(xs, ys)],
        width,
        height - len(lines) - 1,
        x_ticks=round_ticks(whole.tokens, max(width // 12, 3)),
        y_ticks=round_ticks(last.magnitude, 4),
        x_range=(0.0, float(whole.tokens)),
        y_range=(0.0, top),
        ascii_only=look.ascii_only,
    )
    return [*lines, line(look, ("running maximum against tokens seen", "dim")), *[line(look, row) for row in plot]]


def _value(value: float) -> str:
    text = exact(value)
    return text if len(text) <= 10 else signed(value)


def _kind(kind: str) -> str:
    return {"massive": "massive activation", "outlier": "outlier feature", "mixed": "mixed"}[kind]


def _tokens(lower: int, upper: int) -> str:
    most = counted(upper, "token")
    return most if lower == upper else f"{grouped(lower)}..{most}"


def _pairs(facts: list[tuple[str, str]], width: int) -> list[Part]:
    parts: list[Part] = []
    used = 0
    for name, value in facts:
        used += len(name) + len(value) + 3
        if used > width + 2:
            break
        parts += [(f"{name} ", "dim"), f"{value}  "]
    return parts


def _above(view: SiteView, limit: float) -> int:
    values = magnitude_values(view.totals.dtype)
    with np.errstate(invalid="ignore"):
        return int(magnitude_counts(view.totals.dtype, view.totals.histogram)[values > limit].sum())
