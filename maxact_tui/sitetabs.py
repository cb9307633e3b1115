"""Everything about one site, as lines of text for the site screen's tabs.

- `TABS`              their titles, in the order of their keys
- `token_table`       the 100 largest activations: a heading and one line each
- `token_detail`      one of them: exact value, id, bytes, origin and more of its text
- `channel_table`     the largest channels
- `distribution_page` histogram, quantiles, what lies beyond the usual limits
- `sample_page`       maxima by category, and whether the maximum has converged
"""

from __future__ import annotations

import math

import numpy as np
from textual.strip import Strip

from engine.analysis.convergence import by_category, running_maximum
from engine.analysis.maximum import E4M3_LIMIT, FP16_LIMIT
from engine.statistics.patterns import magnitude_counts, magnitude_values
from maxact_tui.header import token_parts
from maxact_tui.numbers import compact, exact, grouped, percent, signed
from maxact_tui.palette import Look
from maxact_tui.panes import distribution_lines
from maxact_tui.snapshot import SiteView, Snapshot
from maxact_tui.text import fitted, visible
from maxact_tui.widgets.lines import Part, line
from maxact_tui.widgets.plot import Series, draw

TABS = ("Tokens", "Channels", "Distribution", "Samples")
CHANNELS_SHOWN = 200


def token_table(view: SiteView, look: Look, width: int) -> tuple[list[Part], list[Strip]]:
    """The 100 largest |x|: a heading, and rank, value, address, category and context of each."""
    heading: list[Part] = [(" rank      value channel  pos sample category   token in context", "dim")]
    rows = []
    for rank, (entry, place) in enumerate(zip(view.summary.top, view.places, strict=True), 1):
        category = fitted(visible(place.category if place else "-"), 10, ascii_only=look.ascii_only)
        facts = (
            f"{rank:>5} {_value(entry.value):>10} {entry.channel:>7} {entry.position:>4} {entry.sample:>6} {category} "
        )
        context: list[Part] = [("not in this file", "dim")]
        if place is not None:
            room = max(width - len(facts), 10)
            context = token_parts(place, look, room, lead=min(20, room // 3))
        rows.append(line(look, facts, *context))
    return heading, rows


def token_detail(view: SiteView, number: int, look: Look, width: int) -> list[Strip]:
    """One of the largest: exact value, token id and bytes, origin, and the text around it."""
    if number >= len(view.summary.top):
        return []
    entry, place = view.summary.top[number], view.places[number]
    head = f"x = {entry.value!r}, sample {entry.sample}, position {entry.position}, channel {entry.channel}"
    if place is None:
        return [line(look, head)]
    where = f"token {place.token_id} = {place.token!r}, {place.length} tokens in {visible(place.origin, space=' ')}"
    if place.language:
        where += f" ({visible(place.language, space=' ')})"
    return [
        line(look, visible(head, width, space=" ")),
        line(look, visible(where, width, space=" ")),
        line(look, *token_parts(place, look, width, lead=width // 2)),
    ]


def channel_table(view: SiteView, look: Look, width: int) -> tuple[list[Part], list[Strip]]:
    """The largest channels: maximum, in how many tokens they are massive or large, and what that makes them."""
    known = {c.channel: c for c in view.summary.channels or ()}
    maxima = view.totals.channel_max.astype(np.float64)
    order = np.argsort(-maxima, kind="stable")[:CHANNELS_SHOWN].tolist()
    heading: list[Part] = [(" rank channel     max|x|  massive in       large in   kind", "dim")]
    room = max(width - 66, 0)
    largest = float(maxima[order[0]]) if order else 0.0
    rows = []
    for rank, channel in enumerate(order, 1):
        found = known.get(channel)
        value = float(maxima[channel])
        massive = _tokens(found.massive_tokens.lower, found.massive_tokens.upper) if found else "-"
        large = _tokens(found.large_tokens.lower, found.large_tokens.upper) if found else "-"
        kind = _kind(found.kind) if found else ""
        share = value / largest if largest > 0 else 0.0
        facts = f"{rank:>5} {channel:>7} {exact(value):>10} {massive:>11} {large:>14}   "
        rows.append(line(look, facts, (f"{kind:<18} ", "warn" if found else ""), ("█" * round(room * share), "bar")))
    return heading, rows


def distribution_page(view: SiteView, look: Look, width: int, height: int) -> list[Strip]:
    """The histogram, its quantiles, and how many elements lie beyond the limits of smaller formats."""
    s = view.summary
    if not s.measured:
        return [line(look, ("not measured in lean detail", "dim"))]
    lines = distribution_lines(view, look, width, max(height - 7, 8))
    marks = [("25 %", s.abs_q25), ("median", s.abs_median), ("75 %", s.abs_q75), ("90 %", s.abs_q90)]
    marks += [("99 %", s.abs_q99), ("99.9 %", s.abs_q999), ("max", s.magnitude)]
    lines += [line(look), line(look, ("|x| at   ", "dim"), *_pairs([(n, compact(v)) for n, v in marks], width - 9))]
    limits = [("massive", s.sun_layer.threshold), ("e4m3 448", E4M3_LIMIT), ("fp16 65,504", FP16_LIMIT)]
    beyond = [(f"> {name}", grouped(_above(view, limit))) for name, limit in limits]
    lines.append(line(look, ("elements ", "dim"), *_pairs([("all", grouped(s.count)), *beyond], width - 9)))
    facts = [
        ("mean", signed(s.mean)),
        ("std", compact(s.std)),
        ("rms", compact(s.rms)),
        ("kurtosis", compact(s.kurtosis)),
    ]
    facts += [("zeros", percent(s.zero_share)), ("crest", compact(s.crest))]
    lines.append(line(look, ("moments  ", "dim"), *_pairs(facts, width - 9)))
    nature = (
        "exact: every 16-bit value was counted" if s.exact else "quantiles to a relative 2^-7; maxima and moments exact"
    )
    return [*lines, line(look, (f"         {nature}", "dim"))]


def sample_page(snapshot: Snapshot, view: SiteView, look: Look, width: int, height: int) -> list[Strip]:
    """Maxima by category, the running maximum over the run, and whether it still rises."""
    order = snapshot.samples_done
    if order is None or not len(order) or not snapshot.labels:
        return [line(look, ("no sample is finished yet", "dim"))]
    tokens = np.asarray([label[2] for label in snapshot.labels])
    categories = [label[1] for label in snapshot.labels]
    whole = running_maximum(order, view.totals.sample_max, tokens)
    found = by_category(order, view.totals.sample_max, tokens, categories)
    lines = [line(look, ("category    samples   tokens     max|x|", "dim"))]
    largest = max((c.convergence.magnitude for c in found if not math.isnan(c.convergence.magnitude)), default=0.0)
    for one in found:
        c = one.convergence
        share = c.magnitude / largest if largest > 0 and not math.isnan(c.magnitude) else 0.0
        name = fitted(visible(one.category, space=" "), 10, ascii_only=look.ascii_only)
        facts = f"{name} {c.samples:>8} {grouped(c.tokens):>8} {exact(c.magnitude):>10}  "
        lines.append(line(look, facts, ("█" * round(max(width - 44, 0) * share), "bar")))
    if not whole.points:
        return lines
    last = whole.points[-1]
    rises = "once" if len(whole.points) == 1 else f"{len(whole.points)} times"
    verdict = f"The maximum rose {rises}, last with sample {last.sample}, after "
    verdict += f"{percent(whole.last_increase_share)} of {grouped(whole.tokens)} tokens."
    lines += [line(look), line(look, visible(verdict, width, space=" "))]
    x = np.asarray([p.tokens for p in whole.points] + [whole.tokens], np.float64)
    y = np.asarray([p.magnitude for p in whole.points] + [last.magnitude])
    xs, ys = np.repeat(x, 2)[1:], np.repeat(y, 2)[:-1]
    top = 1.05 * last.magnitude or 1.0
    plot = draw(
        [Series(xs, ys)],
        width,
        height - len(lines) - 1,
        x_ticks=[(float(t), compact(t)) for t in np.linspace(0, whole.tokens, 5)],
        y_ticks=[(float(v), compact(v)) for v in np.linspace(0, last.magnitude, 4)],
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
    unit = "token" if upper == 1 else "tokens"
    return f"{grouped(lower)} {unit}" if lower == upper else f"{compact(lower)}..{compact(upper)} {unit}"


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
