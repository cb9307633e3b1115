"""Effects of changed activations on predictions, as reports show them.

- `effect_table`  one job as a table of text
- `effect_notes`  what a reader must know of it, in lines
- `effect_dict`   the same for JSON; `effects_list`, all jobs of a session
"""

from __future__ import annotations

import math
from typing import Any

from engine.base.wording import UNKNOWN, counted, exact, printable, short
from engine.effect.results import Effect, Outcome, percent_change, read_effects
from engine.report.plain import fields
from engine.report.tables import Table
from engine.scheme_names import title_of
from engine.session.reader import SessionReader

HEADINGS = ("Activations", "Perplexity", "Change", "KL mean", "KL 95 %", "KL max", "Same top token")


def effect_table(effect: Effect) -> Table:
    """The unchanged model and every intervention, a row each."""
    rows: list[tuple[str, ...]] = [("unchanged", _perplexity(effect.perplexity), "", "", "", "", "")]
    rows += [_row(outcome) for outcome in effect.outcomes]
    title = f"Predictions with changed activations ({printable(effect.where, 80)})"
    return Table(title, HEADINGS, tuple(rows))


def effect_notes(effect: Effect) -> list[str]:
    """On what it was measured, where ablations worked, and what went wrong."""
    held = f"{counted(effect.samples, 'held-out sample')}, {counted(effect.predictions, 'predicted token')}"
    if effect.calibration_samples:
        held += f"; static thresholds from {counted(effect.calibration_samples, 'other sample')}"
    deployed = [one for one in effect.outcomes if one.is_recipe]
    weights = "weights unchanged but by recipes" if deployed else "weights unchanged"
    lines = [f"{held}; {weights}; KL in nats"]
    lines += [
        f"{printable(one.name)}: {counted(one.sites, 'linear')} quantised, {one.rounds or 'weights and inputs'}"
        for one in deployed
        if one.numbers is not None
    ]
    measured = (one for one in effect.outcomes if one.massive is None and not one.is_recipe and one.numbers)
    if quantised := next((one.sites for one in measured), 0):
        lines.append(f"quantisers at {counted(quantised, 'site')}")
    for outcome in effect.outcomes:
        name = printable(title_of(outcome.name))
        if outcome.massive is not None:
            found, above = outcome.massive, counted(outcome.massive.elements, "value")
            lines.append(
                f"{name}: {above} above {found.threshold:,.6g} at {printable(found.site)}"
                + (f", {found.kept:,} more in channels without a mean kept" if found.kept else "")
            )
        if outcome.problem:
            lines.append(f"{name}: {printable(outcome.problem)}")
        if outcome.numbers is not None and outcome.numbers.nonfinite_tokens:
            lines.append(f"{name}: {outcome.numbers.nonfinite_tokens:,} predictions are NaN or infinite")
    return [*lines, *map(printable, effect.notes)]


def effect_dict(effect: Effect) -> dict[str, Any]:
    """One job for strict JSON; unknown numbers are null."""
    data: dict[str, Any] = fields(effect)
    for outcome in data["outcomes"]:
        outcome["worst"] = [{"kl": kl, "sample": n, "position": at} for kl, n, at in outcome["worst"]]
        if outcome["massive"] is not None:
            pairs = outcome["massive"]["channels"]
            outcome["massive"]["channels"] = [{"channel": channel, "mean": mean} for channel, mean in pairs]
    return data


def effects_list(reader: SessionReader) -> list[dict[str, Any]]:
    """All jobs of a session for strict JSON, oldest first."""
    return [effect_dict(effect) for effect in read_effects(reader)]


def _row(outcome: Outcome) -> tuple[str, ...]:
    numbers = outcome.numbers
    if numbers is None:
        return (printable(title_of(outcome.name), 40), *([UNKNOWN] * 6))
    change = percent_change(numbers)
    return (
        printable(title_of(outcome.name), 40),
        _perplexity(numbers.perplexity),
        _change(change),
        short(numbers.kl_mean),
        short(numbers.kl_q95),
        short(numbers.kl_max),
        UNKNOWN if math.isnan(numbers.agreement) else f"{100 * numbers.agreement:.1f} %",
    )


def _perplexity(value: float) -> str:
    if not math.isfinite(value):
        return exact(value)
    return f"{value:,.2f}" if value < 1e5 else f"{value:.2e}"


def _change(value: float) -> str:
    if not math.isfinite(value):
        return exact(value)
    if value >= 10:
        return f"x {value + 1:,.0f}" if value < 1e5 else f"x {value + 1:.1e}"
    return f"{100 * value:+.3g} %" if abs(value) >= 1e-4 else f"{100 * value:+.2f} %"
