"""What makes a measurement fail, for scripts: `--fail-on nonfinite,overflow,sqnr<20,max>65504,m>1e4`.

- `GRAMMAR`           the grammar in one sentence, for help and refusals
- `Condition`         one of them
- `parse_conditions`  a text -> conditions
- `failures`          those that hold for a session, each in one line

A condition is a word, or a quantity, `<`, `<=`, `>` or `>=`, and a number; several are separated by commas. Damage is
a share, or in per cent: `damage>0.05` and `damage>5%` are the same; a share above 1 is taken for a slip. A condition
holds if it holds at any site. NaN and infinity are beyond every limit: a site that holds them fulfils every comparison,
and so does M. What cannot be checked, because it was not measured, counts as failed: a gate that cannot close is no
gate.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from engine.analysis.model import ModelSummary, analyse
from engine.base.wording import counted, cut_middle, exact, printable, share
from engine.fields.registry import shown
from engine.formats import FP16_LIMIT
from engine.quantization.populations import read_board
from engine.quantization.ranking import damage_of
from engine.report.alarm import alarm_event
from engine.report.errors import ReportError
from engine.report.quantization import site_errors
from engine.session.reader import SessionReader

WORDS: Final[Mapping[str, str]] = {
    "nonfinite": "NaN or infinity anywhere",
    "overflow": f"more than fp16's {FP16_LIMIT:,.0f}, or NaN or infinity, anywhere",
    "massive": "a hidden state with massive activations, by the layer median",
}
QUANTITIES: Final[Mapping[str, str]] = {
    "m": "M",
    **{name: f"{field.heading} of a site" for name, field in shown("conditions")},
    "sqnr": "INT8 SQNR of a site in dB",
    "damage": "what INT8 at a site does to the residual stream behind its block, a share",
}
_COMPARISONS: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
_FORM: Final = re.compile(r"([a-z0-9_.]+)\s*(<=|>=|<|>)\s*([-+]?[0-9][0-9_]*(?:\.[0-9]*)?(?:e[-+]?[0-9]+)?)(%?)", re.I)
_SCHEME: Final = "int8"
GRAMMAR: Final = f"{', '.join(WORDS)}, or {', '.join(QUANTITIES)} with < <= > >= and a number: sqnr<20, damage>5%"


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition: a word, or a quantity with `comparison` and `limit`; `text` is what the user wrote."""

    text: str
    name: str
    comparison: str = ""
    limit: float = math.nan


def parse_conditions(text: str) -> tuple[Condition, ...]:
    """The conditions of a text.

    Raises:
        ReportError: a word or a form that is not known; the line names the known ones. Its code is 2.
    """
    return tuple(_parse(part.strip()) for part in text.split(","))


def _parse(part: str) -> Condition:
    if part.lower() in WORDS:
        return Condition(part.lower(), part.lower())
    found = _FORM.fullmatch(part)
    if found is None or found[1].lower() not in QUANTITIES or not math.isfinite(float(found[3])):
        shown = cut_middle(printable(part), 40)
        raise ReportError(f"--fail-on does not know '{shown}'; it takes {GRAMMAR}", code=2)
    name, limit = found[1].lower(), float(found[3])
    if name == "damage" and not found[4] and abs(limit) > 1:
        raise ReportError(f"--fail-on {name}: damage is a share; write {name}{found[2]}{found[3]}%", code=2)
    if name != "damage" and found[4]:
        raise ReportError(f"--fail-on {name}: only damage is a share, in per cent; {name} is none", code=2)
    text = f"{name}{found[2]}{found[3]}{found[4]}"
    return Condition(text, name, found[2], limit / 100 if found[4] else limit)


def failures(conditions: Sequence[Condition], reader: SessionReader, summary: ModelSummary | None = None) -> list[str]:
    """The conditions that hold for a session, each in one line that says what and where.

    Args:
        conditions: to be checked.
        reader: of the session.
        summary: of the session, if it is known already.
    """
    if not conditions:
        return []
    known = summary or analyse(reader)
    measured = _by_site(reader, known) if any(one.name in ("sqnr", "damage") for one in conditions) else {}
    said = ((one, _holds(one, known, measured)) for one in conditions)
    return [f"{one.text}: {text}" for one, text in said if text]


def _holds(one: Condition, summary: ModelSummary, measured: Mapping[str, Mapping[str, float]]) -> str:
    """Why a condition holds or cannot be checked; empty if it does not hold."""
    alarm = alarm_event(summary.alarm, summary.plan) if summary.alarm and summary.plan else ""
    if one.name == "nonfinite":
        return alarm
    if one.name == "massive":
        words = {True: "a hidden state has massive activations", None: "cannot be told from what was measured"}
        return words.get(summary.passes_layer_median, "")
    if alarm:
        return f"{alarm}, which is beyond every limit"
    values = _values("max" if one.name == "overflow" else one.name, summary, measured)
    if not values:
        how = "; run again with --quant auto" if one.name == "damage" else ""
        return f"cannot be checked: it was not measured{how}"
    comparison, limit = (">", FP16_LIMIT) if one.name == "overflow" else (one.comparison, one.limit)
    beyond = {name: value for name, value in values.items() if _COMPARISONS[comparison](value, limit)}
    if not beyond:
        return ""
    worst = (min if comparison.startswith("<") else max)(beyond, key=lambda name: beyond[name])
    value = exact(round(values[worst], 6)) + (" dB" if one.name == "sqnr" else "")
    value = share(values[worst]) if one.name == "damage" else value
    if one.name == "m":
        return f"M is {value} at {worst}"
    return f"{len(beyond)} of {counted(len(values), 'site')}, the worst {worst} with {value}"


def _values(name: str, summary: ModelSummary, measured: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """A quantity by site; of M one value by its place."""
    if name == "m":
        return {summary.maximum.label: summary.maximum.magnitude} if summary.maximum else {}
    if name in ("sqnr", "damage"):
        return dict(measured.get(name, {}))
    field = dict(shown("conditions"))[name]
    sites = summary.plan.sites if summary.plan else ()
    found = {site.name: float(field.of(site, one)) for site, one in zip(sites, summary.sites, strict=True) if one}
    return {site: value for site, value in found.items() if not math.isnan(value)}


def _by_site(reader: SessionReader, summary: ModelSummary) -> dict[str, dict[str, float]]:
    """`sqnr` and `damage` of INT8 per tensor by site; a site without any error has no SQNR that could be too low."""
    board, sites = read_board(reader), summary.plan.sites if summary.plan else ()
    sqnr = {one.site.name: one.error.sqnr_db for one in site_errors(board, summary.plan) if one.scheme.name == _SCHEME}
    damage = {site.name: damage_of(board, number, _SCHEME) for number, site in enumerate(sites)}
    return {"sqnr": sqnr, "damage": {name: value for name, value in damage.items() if not math.isnan(value)}}
