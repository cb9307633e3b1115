"""Prompts in lines: one, a list of them, and two side by side.

- `POLICY_WORDS`   what the token policies are called
- `prompt_head`    a prompt in a line
- `prompt_table`   a list of prompts: a heading and one line each
- `compare_rows`   the largest |x| of two prompts, layer by layer
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from math import isnan

from textual.strip import Strip

from engine.base.wording import counted
from engine.session.records import Result
from maxact_tui.terminal.palette import Look
from maxact_tui.texts.numbers import UNKNOWN, compact, exact
from maxact_tui.texts.pieces import token_name, whole_text
from maxact_tui.texts.visible import fitted, visible
from maxact_tui.watching.probes import ProbeView, peak_token
from maxact_tui.widgets.grid import Grid
from maxact_tui.widgets.layertokens import BAD
from maxact_tui.widgets.lines import Part, line

POLICY_WORDS = {"raw": "raw", "bos": "+BOS", "chat": "chat template"}
FACTOR_SHOWN = 2.0  # ratios further from one than this stand out


def prompt_head(view: ProbeView, look: Look, width: int, name: str = "") -> Strip:
    """A prompt in a line: its text, its policy and its length; beside a name of its own also its M."""
    cut = ", cut" if view.tokens.was_cut else ""
    facts = f"  {_policy(view.policy)}, {counted(len(view.tokens), 'token')}{cut}"
    if name:
        facts += f"  M {_magnitude(view.result)}"
    name = name or "Prompt"
    text = _text(view.result)
    room = max(width - len(facts) - len(name) - 5, 8)
    return line(
        look, (f" {name}", "title"), f"  {visible(text, room, space=' ', ascii_only=look.ascii_only)}", (facts, "dim")
    )


def prompt_table(
    prompts: Sequence[Result], marked: Sequence[int], look: Look, width: int
) -> tuple[list[Part], list[Strip]]:
    """Mark, number, time, policy, tokens, M and text of each prompt.

    Prompts have numbers of their own, because the session numbers them together with all other results.

    Args:
        prompts: all of the session, newest first.
        marked: the results' numbers of those that are marked.
        look: what the terminal can show.
        width: cells of a row.
    """
    heading: list[Part] = [("     no   time tokens as      tokens          M  text", "dim")]
    rows = []
    for number, one in zip(range(len(prompts), 0, -1), prompts, strict=True):
        mark = look.own("•") if one.number in marked else " "
        when = time.strftime("%H:%M", time.localtime(one.at))
        policy = fitted(_policy(str(one.data.get("policy", ""))), 13, ascii_only=look.ascii_only)
        facts = f"{number:>5}  {when} {policy} {int(one.data.get('tokens', 0)):>6} {_magnitude(one):>10}  "
        text = visible(_text(one), max(width - len(facts) - 3, 8), space=" ", ascii_only=look.ascii_only)
        rows.append(line(look, (f" {mark}", "key"), facts, text))
    return heading, rows


def compare_rows(views: tuple[ProbeView, ProbeView], grid: Grid, column: int, look: Look, width: int) -> list[Strip]:
    """Layer, value and token of the largest |x| of both, and the ratio of the second to the first."""
    room = max((width - 42) // 2, 6)
    head = f" layer {'A max':>10}  {fitted('token', room)} {'B max':>10}  {fitted('token', room)}  ratio"
    rows = [line(look, (head, "dim"))]
    for row in range(len(grid.rows)):
        site = int(grid.sites[row, column])
        if site < 0 or any(site >= len(view.maxima) for view in views):
            continue
        first, second = (_peak(view, site) for view in views)
        parts: list[Part] = [(f"{grid.rows[row]:>6} ", "dim")]
        for view, (value, token) in zip(views, (first, second), strict=True):
            piece = view.tokens.shown[token]
            text, part = whole_text(view.tokens.pieces, piece), piece.part(token)
            bad = BAD if view.bad[site].any() else " "
            shown = "" if isnan(value) else f"{token} {token_name(text, part, ascii_only=look.ascii_only)}"
            number = (UNKNOWN if bad == " " else "") if isnan(value) else exact(value)
            token_text = fitted(look.own(shown), room, ascii_only=look.ascii_only)
            parts += [f"{number:>10}", (bad, "bad"), f" {token_text} "]
        rows.append(line(look, *parts, _ratio(first[0], second[0])))
    return rows


def _peak(view: ProbeView, site: int) -> tuple[float, int]:
    """Signed value and token of a site's largest |x|; (NaN, 0) where nothing finite was seen."""
    token = peak_token(view.maxima[site])
    return float(view.maxima[site, token]), token


def _ratio(first: float, second: float) -> Part:
    if isnan(first) or isnan(second) or first == 0:
        return ("     -", "dim")
    ratio = abs(second / first)
    stands_out = ratio >= FACTOR_SHOWN or ratio <= 1 / FACTOR_SHOWN
    return (f"{compact(ratio):>6}", "warn" if stands_out else "")


def _magnitude(result: Result) -> str:
    found, mark = result.data.get("maximum"), BAD if result.data.get("nonfinite_sites") else ""
    return (exact(abs(float(found["value"]))) if isinstance(found, dict) else "" if mark else UNKNOWN) + mark


def _policy(name: str) -> str:
    return POLICY_WORDS.get(name, visible(name))


def _text(result: Result) -> str:
    """A prompt's text on one line; where the session does not hold it, its title."""
    return str(result.settings.get("text") or result.title)
