"""What stands around a text with values: where it comes from, its M, and the token under the cursor.

- `sample_head`    a sample of the corpus in a line
- `component_line` the components, the shown one marked
- `maximum_line`   the largest |x| of a text, with its sites, token and channel
- `cursor_lines`   the value under the cursor, and the token it belongs to
- `legend_line`    what colours, digits and marks mean
- `text_maximum`   M of a text
"""

from __future__ import annotations

from math import isnan

import numpy as np
from textual.strip import Strip

from engine.analysis.maximum import Maximum, find_maximum
from engine.base.wording import counted
from engine.report.alarm import excluded_words
from engine.sites.site import HookPlan
from maxact_tui.pages.cells import compact_bound
from maxact_tui.terminal.palette import Look
from maxact_tui.texts.numbers import compact, exact, grouped
from maxact_tui.texts.pieces import CONTINUATION, origin_words, token_name, whole_text
from maxact_tui.texts.visible import cell_width, visible
from maxact_tui.watching.probes import ProbeView, Tokens, peak_token
from maxact_tui.watching.snapshot import Snapshot
from maxact_tui.widgets.grid import Grid
from maxact_tui.widgets.layertokens import BAD, LayerTokens
from maxact_tui.widgets.lines import Part, line
from maxact_tui.widgets.tokenview import TokenCursor, token_styles


def sample_head(tokens: Tokens, look: Look, width: int) -> Strip:
    """Number, category, origin and length of a sample."""
    cut = ", cut" if tokens.was_cut else ""
    facts = [f"{counted(len(tokens), 'token')}{cut}", tokens.category, tokens.language, origin_words(tokens.origin)]
    said = visible("  ".join(fact for fact in facts if fact), max(width - 14, 10), space=" ")
    return line(look, (f" Sample {tokens.sample}", "title"), f"  {said}")


def component_line(grid: Grid, column: int, look: Look, width: int) -> Strip:
    """The components, the shown one between brackets, as many as fit with it."""
    titles = [f"[{visible(title)}]" if i == column else f" {visible(title)} " for i, title in enumerate(grid.titles)]
    first = 0
    while first < column and sum(len(title) for title in titles[first : column + 1]) > width - 2:
        first += 1
    parts: list[Part] = [" "]
    used = 1
    for number, title in enumerate(titles[first:], first):
        used += len(title)
        if used > width:
            break
        parts.append((title, "heading" if number == column else "dim"))
    return line(look, *parts)


def text_maximum(view: ProbeView, snapshot: Snapshot) -> Maximum | None:
    """The largest |x| over the sites that count for M, with every site tied with it."""
    plan, meta = snapshot.plan, snapshot.meta
    if plan is None or meta is None or len(view.maxima) != len(plan.sites):
        return None
    magnitudes = np.abs(view.maxima).astype(np.float64)
    finite = np.where(np.isnan(magnitudes).all(axis=1), np.nan, np.nan_to_num(magnitudes, nan=-1.0).max(axis=1))
    return find_maximum(plan, finite, str(meta.provenance.get("dtype") or meta.job.dtype))


def maximum_line(view: ProbeView, snapshot: Snapshot, look: Look, width: int) -> Strip:
    """The text's M, where it is, on which token."""
    maximum = text_maximum(view, snapshot)
    bad = int(view.bad.any(axis=1).sum())
    if maximum is None:
        return line(look, " M ", ("no value is finite", "bad"))
    token = peak_token(view.maxima[maximum.site])
    value, channel = float(view.maxima[maximum.site, token]), int(view.channels[maximum.site, token])
    shown = view.tokens.shown[token]
    name = token_name(whole_text(view.tokens.pieces, shown), shown.part(token), 16, ascii_only=look.ascii_only)
    tail: list[Part] = ["  token ", (f"{token} ‹{name}›", "value"), f"  channel {channel}"]
    head = f" {exact(value)}"
    if bad:
        used = cell_width(head) + sum(cell_width(part if isinstance(part, str) else part[0]) for part in tail) + 17
        forms = (f"  {excluded_words(bad)}", "  over finite elements", "  finite only")
        tail.append((next((one for one in forms if used + len(one) <= width), forms[-1]), "bad"))
    room = width - cell_width(head) - sum(cell_width(part if isinstance(part, str) else part[0]) for part in tail) - 9
    where = visible(maximum.label, max(room, 8), space=" ")
    title = " M" if maximum.is_m else " largest GEMM input"
    return line(look, (title, "title"), (head, "value"), f"  at {where}", *tail)


def cursor_lines(
    tokens: Tokens, layers: LayerTokens | None, plan: HookPlan | None, cursor: TokenCursor, look: Look, width: int
) -> list[Strip]:
    """Three lines: the value and its channel; whether it is massive; the token with its id and bytes."""
    token = cursor.token
    if token >= len(tokens):
        return []
    lines = [line(look), line(look)]
    if layers is not None and plan is not None:
        lines = [_value_line(layers, plan, cursor, look, width), _verdict_line(layers, cursor, look, width)]
    return [*lines, line(look, visible(_token_words(tokens, token), width, space=" ", ascii_only=look.ascii_only))]


def legend_line(look: Look, tokens: Tokens, layers: LayerTokens | None, width: int, *, is_map: bool) -> Strip:
    """What is shown of this text: the ramp, digits, massive activations, and tokens in which no character begins.

    Args:
        look: what the terminal can show.
        tokens: the text.
        layers: its values; None while they are not known.
        width: cells of the line.
        is_map: whether it is shown as a heatmap, which names such tokens by the character they are part of.
    """
    goes_on = not is_map and any(piece.continues for piece in tokens.shown)
    bad = (f"  {BAD} NaN or infinity" if is_map else "  red: NaN or infinity") if layers and layers.bad.any() else ""
    rest = f"  {look.own(CONTINUATION)} same character" if goes_on else ""
    if layers is None:
        return line(look, (rest[1:], "dim"))
    ramp: list[Part] = [(look.level_glyphs[level], look.ramp[level]) for level in range(look.levels)]
    low, high = compact_bound(layers.scale.low), compact_bound(layers.scale.high)
    room = width - cell_width(f" |x| {low} {high} {bad}") - look.levels
    massive = f"  underlined{', *' if is_map else ''}: {_underlined(look, is_map=is_map)}"
    below = "  . below 1"
    digits = (f"  digit n: |x| from 10^n{below}", f"  n: |x| from 10^n{below}", f"  n: 10^n{below}", "  n: 10^n", "")
    words = next((words for one in digits if cell_width(words := one + massive + rest) <= room), rest)
    if isnan(layers.largest):
        return line(look, (" |x| no value is finite" if bad else " |x| no value", "dim"), (bad, "bad"), (rest, "dim"))
    return line(look, (f" |x| {low} ", "dim"), *ramp, (f" {high}", "dim"), (bad, "bad"), (words, "dim"))


def _underlined(look: Look, *, is_map: bool) -> str:
    """What is underlined: without colours the largest tokens of a text are, too."""
    return "massive" if is_map or token_styles(look) is look.ramp else "massive or largest"


def _value_line(layers: LayerTokens, plan: HookPlan, cursor: TokenCursor, look: Look, width: int) -> Strip:
    value = float(layers.values[cursor.layer, cursor.token])
    site = plan.sites[layers.sites[cursor.layer]]
    where = site.component if site.layer is None else f"layer {site.layer} {site.component}"
    channel = int(layers.channels[cursor.layer, cursor.token])
    if layers.bad[cursor.layer, cursor.token]:
        return line(look, ("NaN or infinity", "bad"), visible(f"  channel {channel}  {where}", width - 15, space=" "))
    if isnan(value):
        return line(look, visible(f"{where}: nothing was seen of this token", width, space=" "))
    facts = f"  channel {channel}  {visible(where, max(width - 40, 8), space=' ')}"
    peak = layers.peak_value(cursor.token)
    row = int(layers.peaks[cursor.token])
    elsewhere = f"  largest of this token {exact(peak)} at {layers.labels[row]}"
    shown = elsewhere if row != cursor.layer and len(facts) + len(elsewhere) + 16 <= width else ""
    return line(look, ("x = ", "dim"), (exact(value), "value"), facts, (shown, "dim"))


def _verdict_line(layers: LayerTokens, cursor: TokenCursor, look: Look, width: int) -> Strip:
    limit = float(layers.thresholds[cursor.layer])
    count = int(layers.massive[cursor.layer].sum())
    if isnan(limit):
        said = "massive or not: the medians of this layer come with a checkpoint of the run"
        return line(look, (visible(said, width, space=" "), "dim"))
    if isnan(layers.values[cursor.layer, cursor.token]):
        bad = int(layers.bad[cursor.layer].sum())
        said = (
            f"massive or not is not known; {grouped(bad)} of {counted(layers.values.shape[1], 'token')} not finite here"
        )
        return line(look, (visible(said, width, space=" "), "dim"))
    others = f"  {grouped(count)} massive of {counted(layers.values.shape[1], 'token')} here"
    if layers.massive[cursor.layer, cursor.token]:
        return line(look, ("massive", "warn"), (f": |x| > {compact(limit)} (1000 x the layer's median){others}", "dim"))
    return line(look, (f"not massive: |x| <= {compact(limit)}{others}", "dim"))


def _token_words(tokens: Tokens, token: int) -> str:
    """Number, id and bytes; for part of a character also the text it belongs to."""
    head = f"token {token} of {grouped(len(tokens))}, id {int(tokens.token_ids[token])} = {tokens.pieces[token]!r}"
    shown = tokens.shown[token]
    if not shown.is_part:
        return head
    start, end = shown.run
    whole = b"".join(tokens.pieces[start:end]).decode("utf-8", "replace")
    return f"{head}, part of ‹{whole}› (tokens {start} to {end - 1})"
