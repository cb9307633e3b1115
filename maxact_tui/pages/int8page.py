"""A site under a quantiser, as lines of text: the threshold's slider, the error, who carries it, what if.

- `int8_page`     everything, with the list of schemes at its left or without
- `int8_line`     what INT8 does to the site, and its SQNR under the usual schemes, in one line
- `best_words`    the best scheme for each number of bits, in words
- `bounded_text`  an SQNR with its bounds
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence

from textual.strip import Strip

from corpus.wording import counted, noun
from engine.quantization.board import Board, best_within
from engine.quantization.carriers import Carrier
from engine.quantization.metrics import QuantError
from engine.quantization.ranking import rank
from engine.quantization.removal import Bounded
from engine.scheme_names import title_of
from engine.schemes import Column
from maxact_tui.pages.cells import decibel_text
from maxact_tui.pages.nonfinite import is_barren
from maxact_tui.pages.tuning import LOWEST, Tuned, Tuner, Tuning, WhatIf
from maxact_tui.terminal.palette import Look
from maxact_tui.texts.numbers import compact, exact_short, grouped, share_text
from maxact_tui.texts.pieces import token_name
from maxact_tui.texts.visible import cell_width, fitted
from maxact_tui.watching.snapshot import SiteView
from maxact_tui.widgets.lines import Part, line

LIST_CELLS = 27
BEST = "best SQNR  "  # which massive activations mask: damage and relative MAE stand beside it
FIRST_WORDS = {
    "raw": "position 0 (this run added no BOS)",
    "bos": "position 0, the BOS token",
    "chat": "position 0, where the template begins",
}


def int8_page(
    tuner: Tuner, tuning: Tuning, policy: str, look: Look, width: int, height: int, *, has_list: bool
) -> list[Strip]:
    """The site under a tuning.

    Args:
        tuner: of the site.
        tuning: what the user has set.
        policy: how the run turned text into tokens.
        look: what the terminal can show.
        width: cells there are.
        height: lines there are.
        has_list: the list of schemes stands at the left.
    """
    board = tuner.view.quant.board
    if board.rows[0] is None:
        return [line(look, ("needs a histogram, which lean detail does not keep, and a finite element", "dim"))]
    room = width - LIST_CELLS if has_list else width
    shown = _facts(tuner, tuning, policy, room, look)
    if len(shown) > height:
        shown = [parts for parts in shown if parts]
    facts = [line(look, *parts) for parts in shown]
    if not has_list:
        return facts
    schemes = scheme_list(board, tuning.column, look, height)
    rows = max(len(facts), len(schemes))
    both = zip(schemes + [Strip([])] * (rows - len(schemes)), facts + [Strip([])] * (rows - len(facts)), strict=True)
    return [Strip.join([left.adjust_cell_length(LIST_CELLS), right]) for left, right in both]


def scheme_list(board: Board, selected: int, look: Look, height: int) -> list[Strip]:
    """Name and SQNR of every scheme at the board's first site, as many as fit around the selected one."""
    row = board.rows[0] or ()
    rows = max(height - 1, 1)
    top = max(min(selected - rows // 2, len(board.schemes) - rows), 0)
    lines = [line(look, (f"  {'scheme':<15} {'SQNR dB':>7}", "dim"))]
    for number in range(top, min(top + rows, len(board.schemes))):
        here = number == selected
        error = row[number] if number < len(row) else None
        name = fitted(short_name(board.schemes[number]), 16, ascii_only=look.ascii_only)
        text = f"{name} {error_text(error, look):>6}"
        lines.append(line(look, ("▸ " if here else "  ", "key"), (text, "title" if here else "")))
    return lines


def int8_line(view: SiteView, look: Look, width: int) -> list[Part]:
    """What INT8 does to the site, what decides first, then SQNR under the usual schemes, as many as fit whole.

    `INT8 damage 24.8 %, 29.5 dB  int8-token 31.4  e4m3 31.4`; relative MAE where damage was not measured.
    """
    board = view.quant.board
    if board.rows[0] is None:
        why = "has no finite element to round" if is_barren(view.summary) else "needs a histogram"
        return [(f"INT8 {why}"[:width], "bad" if is_barren(view.summary) else "dim")]
    found = {scheme.name: error for scheme, error in zip(board.schemes, board.rows[0], strict=True)}
    facts: list[list[Part]] = []
    int8 = found.get("int8")
    if int8 is not None and int8.is_zero:
        return ["INT8 changes nothing: the site is all zero"[:width]]
    for one in rank(board):
        name = "damage" if one.by == "damage" else "rel. mae"
        facts.append([f" {name} ", (share_text(one.value), "bad" if one.is_harmful else "value"), ","])
    facts.append([f" {error_text(int8, look)} dB"])
    for name in ("int8-token", "e4m3", "int8-mse", "int4-mse"):
        if name in found:
            facts.append([(f"  {name} ", "dim"), error_text(found[name], look)])
    parts: list[Part] = ["INT8"]
    for fact in facts:
        if _cells([*parts, *fact]) > width:
            break
        parts += fact
    return parts


def _cells(parts: Sequence[Part]) -> int:
    return sum(cell_width(part if isinstance(part, str) else part[0]) for part in parts)


def best_words(board: Board, row: int, look: Look) -> str:
    """The best scheme for each number of bits: `8 bits: e4m3 31.4 dB; 4 bits: nvfp4 (4.5) 18.7 dB`."""
    said: dict[str, str] = {}  # a scheme that is best with fewer bits, too, is named with those
    for bits in sorted({scheme.bits for scheme in board.schemes}):
        best = best_within(board, row, bits)
        if best is not None and best[0].name not in said:
            said[best[0].name] = f"{bits} bits: {_sized_name(best[0])} {error_text(best[1], look)} dB"
    return "; ".join(reversed(said.values()))


def _sized_name(scheme: Column) -> str:
    """A scheme's name, and what an element really takes where stored scales make that more: `nvfp4 (4.5)`."""
    name, bits = short_name(scheme), scheme.bits_with_scales
    return name if bits == scheme.bits else f"{name} ({bits:g})"


def short_name(scheme: Column) -> str:
    """A scheme's name with its quantile in per cent, and shorter: `int8-q99.9`, `int8-smooth0.5`."""
    return title_of(scheme.name)


def error_text(error: QuantError | None, look: Look) -> str:
    """SQNR without unit; `zero` for a site of zeros, `-` where there is no number."""
    if error is None or not error.count:
        return "-"
    return "zero" if error.is_zero else decibel_text(error.sqnr_db, look)


def bounded_text(bounded: Bounded, look: Look) -> str:
    """SQNR with its bounds where they are a tenth of a decibel apart: `12.4 dB (8.3 to 12.5)`."""
    text = f"{error_text(bounded.error, look)} dB"
    if bounded.highest_db - bounded.lowest_db < 0.1 or bounded.error.is_zero:
        return text
    return f"{text} ({decibel_text(bounded.lowest_db, look)} to {decibel_text(bounded.highest_db, look)})"


def _facts(tuner: Tuner, tuning: Tuning, policy: str, width: int, look: Look) -> list[list[Part]]:
    """What stands at the right of the list, a line each."""
    board = tuner.view.quant.board
    tuned = tuner.tune(tuning)
    words = textwrap.wrap(best_words(board, 0, look), max(width - len(BEST), 20))
    best: list[list[Part]] = [[]]
    best += [[(" " * len(BEST) if number else BEST, "dim"), row] for number, row in enumerate(words)]
    if tuner.view.quant.populations.split is not None:
        best += [[(row, "dim")] for row in textwrap.wrap(tuner.view.quant.populations.in_words, max(width - 1, 20))]
    if tuned is None:
        return _measured(board, tuning.column, look) + best
    error = tuned.error
    lines = [_title(tuned, look), *_slider(tuner, tuned, width)]
    sqnr = "the site is all zero: no error" if error.is_zero else f"SQNR {error_text(error, look)} dB"
    lines.append([(sqnr, "value"), f"   rel. rmse {share_text(error.rel_rmse)}   rel. mae {share_text(error.rel_mae)}"])
    parts: list[Part] = [f"clipped {share_text(error.clip_rate)} of {counted(error.count, 'element')}"]
    if error.nonfinite:
        parts.append((f"   {grouped(error.nonfinite)} non-finite left out", "bad"))
    lines.append(parts)
    clipping = error.clipping_share
    lines.append([("squared error ", "dim"), f"clipping {share_text(clipping)}, rounding {share_text(_rest(error))}"])
    lines += _carriers(tuner, tuned, width, look)
    if not error.is_exact:
        lines.append([("approximate: a float32 histogram holds the upper 16 bits of each number", "warn")])
    return [*lines, [], *_what_if_lines(tuned.what_if, tuning, policy, width, look), *best]


def _measured(board: Board, column: int, look: Look) -> list[list[Part]]:
    """A scheme that was applied in the pass: it has no threshold to move."""
    scheme, row = board.schemes[column], board.rows[0]
    error = row[column] if row is not None else None
    lines: list[list[Part]] = [[(short_name(scheme), "title"), f"  {scheme.label}"], [("measured in the pass", "dim")]]
    if error is None:
        return [*lines, [("not applied at this site", "dim")]]
    lines.append([(f"SQNR {error_text(error, look)} dB", "value"), f"   rel. rmse {share_text(error.rel_rmse)}"])
    lines.append([f"clipped {share_text(error.clip_rate)} of {counted(error.count, 'element')}"])
    return [*lines, [("its scales change within the tensor: there is no threshold to move", "dim")]]


def _title(tuned: Tuned, look: Look) -> list[Part]:
    title: list[Part] = [(short_name(tuned.scheme), "title"), "  T ", (exact_short(tuned.threshold), "value")]
    if tuned.threshold != tuned.policy_threshold:
        title.append((f"  moved from {exact_short(tuned.policy_threshold)}", "warn"))
    if tuned.error.scale > 0:
        title.append((f"  step {compact(tuned.error.scale)}", "dim"))
    return title


def _slider(tuner: Tuner, tuned: Tuned, width: int) -> list[list[Part]]:
    """T between 2^-16 of the largest |x| and that, on a log axis."""
    largest, cells = tuner.largest, max(min(width - 4, 64), 10)
    if largest <= 0:
        return []
    share = 1 + math.log2(max(tuned.threshold, largest * LOWEST) / largest) / -math.log2(LOWEST)
    place = min(max(round(share * (cells - 1)), 0), cells - 1)
    split = tuner.view.quant.populations.split is not None
    low, high = compact(largest * LOWEST), f"{'calibration ' if split else ''}max |x| {exact_short(largest)}"
    return [
        [("├", "dim"), ("─" * place, "bar"), ("◆", "value"), ("─" * (cells - 1 - place), "dim"), ("┤", "dim")],
        [(low + high.rjust(cells + 2 - len(low)), "dim")],
    ]


def _carriers(tuner: Tuner, tuned: Tuned, width: int, look: Look) -> list[list[Part]]:
    found = tuned.carriers
    if not found.tokens:
        return []
    channels = [(f"{carrier.address[0]}:", carrier.share) for carrier in found.channels]
    tokens = [(_token(tuner.view, carrier, look), carrier.share) for carrier in found.tokens[:3]]
    title = "tokens (sample:position)" if width >= 90 else "tokens"
    return [
        [("      ", "dim"), f"the {found.elements} largest |x| carry {share_text(found.listed)} of it"],
        _shares("channels", channels, width),
        _shares(title, tokens, width),
    ]


def _shares(title: str, shares: list[tuple[str, float]], width: int) -> list[Part]:
    """A title and names with their shares, as many as fit whole."""
    parts: list[Part] = [(f"{title} ", "dim")]
    used = len(title) + 1
    for name, share in shares:
        text = f" {share_text(share)}"
        if used + cell_width(name) + len(text) > width - 1:
            break
        parts += [name, (f"{text}   ", "dim")]
        used += cell_width(name) + len(text) + 3
    return parts


def _token(view: SiteView, carrier: Carrier, look: Look) -> str:
    """A token by its text and address: `‹A› 60:0` is position 0 of sample 60."""
    sample, position = carrier.address
    address = f"{sample}:{position}"
    for entry, place in zip(view.summary.top, view.places, strict=True):
        if (entry.sample, entry.position) == carrier.address and place is not None:
            return f"‹{token_name(place.token, place.part, 10, ascii_only=look.ascii_only)}› {address}"
    return address


def _what_if_lines(what_if: WhatIf | None, tuning: Tuning, policy: str, width: int, look: Look) -> list[list[Part]]:
    mark = "x" if tuning.without_first else " "
    first = FIRST_WORDS.get(policy, "position 0") if width >= 60 else "position 0"
    kept = f"{tuning.channels or 'no'} {'channel' if tuning.channels < 2 else 'channels'} in bf16"
    lines: list[list[Part]] = [
        [("what if  ", "dim"), ("0", "key"), f" [{mark}] without {first}"],
        [("         ", "dim"), ("+ -", "key"), f" {kept}"],
    ]
    if what_if is None:
        return lines
    if what_if.channels:
        most = max((width - 32) // 5, 1)
        shown = ", ".join(map(str, what_if.channels[:most])) + (" ..." if len(what_if.channels) > most else "")
        lines[1].append(f": {shown}")
    left, at_most = what_if.remainder, "" if what_if.remainder.is_largest_exact else "at most "
    after = bounded_text(what_if.after, look)
    if what_if.after == what_if.before:
        lines.append([("         ", "dim"), "the rest ", (after, "value"), " at this T"])
    else:
        before = bounded_text(what_if.before, look) if width >= 60 else f"{error_text(what_if.before.error, look)} dB"
        lines.append([("         ", "dim"), f"T becomes {at_most}", (exact_short(what_if.threshold), "value")])
        lines.append([("         ", "dim"), f"the rest {before} → ", (after, "value")])
    if what_if.channels and not math.isnan(what_if.whole_db):
        whole = decibel_text(what_if.whole_db, look)
        lines.append([("         ", "dim"), f"whole site, these channels exact: ≥ {whole} dB"])
    if left.uncertain:
        some = f"{grouped(left.uncertain)} {noun(left.uncertain, 'element')}"
        lines.append([(f"         bounds: {some} may be left out, too", "dim")])
    return lines


def _rest(error: QuantError) -> float:
    return 0.0 if error.rmse == 0 else 1 - error.clipping_share
