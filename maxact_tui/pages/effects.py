"""Effects of a quantiser on the model's predictions, as the board asks for them and shows them.

- `what_choices`, `where_choices`  the questions
- `make_request`   the answers as arguments of the command `effect`
- `tuned_name`     the quantiser the user has set up, by the name an effect is asked for with
- `effect_status`  the newest request or result in one line
- `effect_lines`   everything that was measured, newest first
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from textual.strip import Strip

from engine.effect.errors import EffectError
from engine.effect.interventions import DEFAULT_NAMES, Scope, parse_intervention
from engine.effect.request import Request, read_request
from engine.effect.results import KIND, Effect
from engine.report.effects import effect_notes, effect_table
from engine.scheme_names import title_of
from engine.schemes import Column, Scheme
from engine.sites.site import Site
from maxact_tui.pages.standings import standing_words
from maxact_tui.pages.tuning import Tuning
from maxact_tui.terminal.palette import Look
from maxact_tui.texts.visible import visible
from maxact_tui.watching.snapshot import Snapshot
from maxact_tui.widgets.lines import line
from maxact_tui.widgets.picker import Choice

WHAT = "On held-out samples, what becomes of the predictions?"
WHERE = "Where?"
ABLATIONS = ("ablate-zero", "ablate-mean")


def tuned_name(scheme: Column, tuning: Tuning) -> str:
    """The quantiser with the threshold and the channels the user has set.

    Raises:
        EffectError: an effect cannot be measured with both.
    """
    if isinstance(scheme, Scheme) and tuning.threshold is not None:
        scheme = replace(scheme, policy="value", value=tuning.threshold)
    keep = f"-keep{tuning.channels}" if tuning.channels else ""
    return parse_intervention(f"{scheme.name}{keep}").name


def what_choices(name: str) -> list[Choice]:
    """What can be measured; the quantiser under the cursor first."""
    return [
        Choice("this", "t", f"quantised by {title_of(name)}"),
        Choice("usual", "u", ", ".join(DEFAULT_NAMES)),
        Choice("ablate", "a", "massive activations set to zero, and to their mean"),
        Choice("list", "l", "nothing now: show what was measured so far"),
    ]


def where_choices(site: Site) -> list[Choice]:
    """Where a quantiser can be put."""
    return [
        Choice("site", "s", f"this site: {site.name}"),
        Choice("component", "c", f"{site.component} of every layer"),
        Choice("gemm", "g", "the inputs of all matrix products"),
    ]


def make_request(what: str, where: str, name: str, site: Site) -> Request:
    """The request of these answers.

    Raises:
        EffectError: it cannot be measured.
    """
    names = {"this": (name,), "ablate": ABLATIONS}.get(what, DEFAULT_NAMES)
    scope = {"site": Scope(site=site.name), "component": Scope(component=site.component)}.get(where, Scope())
    arguments: dict[str, Any] = {"schemes": list(names), "scope": scope.to_json()}
    return read_request(arguments)


def effect_status(snapshot: Snapshot) -> tuple[str, str]:
    """The newest request while it is going on or has failed, else the newest result; text and style, or empty."""
    unfinished = _unfinished(snapshot)
    if unfinished is not None:
        return unfinished
    newest = next(_effects(snapshot), None)
    if newest is None:
        return "", ""
    plain, *changed = effect_table(newest).rows
    shown = [f"{row[0]} {row[1]} ({row[2]}), KL {row[3]}" for row in changed]
    return f"effect at {newest.scope.title}: perplexity {plain[1]}; {'; '.join(shown)}", ""


def _unfinished(snapshot: Snapshot) -> tuple[str, str] | None:
    """The newest request while it is going on or has failed; text and style."""
    asked = snapshot.asked(KIND)
    standing = snapshot.standing(asked[-1]) if asked else None
    if standing is None or standing.stage == "done":
        return None
    return (
        f"effect{_asked_where(asked[-1].arguments)}: {standing_words(standing)}",
        "bad" if standing.has_failed else "key",
    )


def _asked_where(arguments: dict[str, Any]) -> str:
    """Where an effect was asked for, in words; empty where the request says two things, which is refused."""
    try:
        return f" at {Scope.from_json(arguments.get('scope') or {}).title}"
    except EffectError:
        return ""


def effect_lines(snapshot: Snapshot, look: Look, width: int) -> list[Strip]:
    """A table and its notes for each job."""
    found = list(_effects(snapshot))
    lines: list[Strip] = []
    unfinished = _unfinished(snapshot)
    if unfinished is not None:
        text, style = unfinished
        lines = [line(look, (row, style)) for row in textwrap.wrap(text, max(width - 2, 30))]
    elif not found:
        lines = [line(look, ("No effect was measured yet: Q on the board asks for one.", "dim"))]
    for effect in found:
        table = effect_table(effect)
        cells = [table.headings, *table.rows]
        widths = [max(len(row[column]) for row in cells) for column in range(len(table.headings))]
        lines += [line(look), line(look, (visible(table.title, width, space=" "), "heading"))]
        for number, row in enumerate(cells):
            numbers = "".join(f"  {cell:>{widths[column]}}" for column, cell in enumerate(row) if column)
            lines.append(line(look, (f"{row[0]:<{widths[0]}}{numbers}", "" if number else "dim")))
        for note in effect_notes(effect):
            lines += [line(look, (row, "dim")) for row in textwrap.wrap(visible(note, space=" "), max(width - 2, 30))]
    return lines


def _effects(snapshot: Snapshot) -> Iterator[Effect]:
    """Newest first."""
    return (Effect.from_result(result) for result in reversed(snapshot.results) if result.kind == KIND)
