"""What makes a measurement fail, for scripts: `--fail-on nonfinite,overflow,sqnr<20,max>65504,m>1e4`.

- `GRAMMAR`           the grammar in one sentence, for help and refusals
- `Condition`         one of them
- `parse_conditions`  a text -> conditions
- `failures`          those that hold for a session, each in one line

A condition is a word, or a quantity, `<`, `<=`, `>` or `>=`, and a number; several are separated by commas. It holds if
it holds at any site. NaN and infinity are beyond every limit: a site that holds them fulfils every comparison, and so
does M. What cannot be checked, because it was not measured, counts as failed: a gate that cannot close is no gate.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from engine.analysis.maximum import FP16_LIMIT
from engine.analysis.model import ModelSummary, analyse
from engine.quantization.populations import read_board
from engine.report.alarm import alarm_event
from engine.report.errors import ReportError
from engine.report.quantization import site_errors
from engine.report.wording import counted, cut_middle, exact, printable
from engine.session.reader import SessionReader

WORDS: Final[Mapping[str, str]] = {
    "nonfinite": "NaN or infinity anywhere",
    "overflow": "more than fp16's 65,504, or NaN or infinity, anywhere",
    "massive": "a hidden state with massive activations, by the layer median",
}
QUANTITIES: Final[Mapping[str, str]] = {
    "m": "M",
    "max": "max |x| of a site",
    "crest": "its crest",
    "kurtosis": "its kurtosis",
    "sqnr": "its INT8 SQNR in dB",
}
_COMPARISONS: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
_FORM: Final = re.compile(r"([a-z0-9]+)\s*(<=|>=|<|>)\s*([-+]?[0-9][0-9_]*(?:\.[0-9]*)?(?:e[-+]?[0-9]+)?)", re.I)
_SCHEME: Final = "int8"
GRAMMAR: Final = f"{', '.join(WORDS)}, or {', '.join(QUANTITIES)} with < <= > >= and a number, such as sqnr<20"


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
    return Condition(f"{found[1].lower()}{found[2]}{found[3]}", found[1].lower(), found[2], float(found[3]))


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
    errors = _sqnr(reader, known) if any(one.name == "sqnr" for one in conditions) else {}
    said = ((one, _holds(one, known, errors)) for one in conditions)
    return [f"{one.text}: {text}" for one, text in said if text]


def _holds(one: Condition, summary: ModelSummary, sqnr: Mapping[str, float]) -> str:
    """Why a condition holds or cannot be checked; empty if it does not hold."""
    alarm = alarm_event(summary.alarm, summary.plan) if summary.alarm and summary.plan else ""
    if one.name == "nonfinite":
        return alarm
    if one.name == "massive":
        words = {True: "a hidden state has massive activations", None: "cannot be told from what was measured"}
        return words.get(summary.passes_layer_median, "")
    if alarm:
        return f"{alarm}, which is beyond every limit"
    values = _values("max" if one.name == "overflow" else one.name, summary, sqnr)
    if not values:
        return "cannot be checked: it was not measured"
    comparison, limit = (">", FP16_LIMIT) if one.name == "overflow" else (one.comparison, one.limit)
    beyond = {name: value for name, value in values.items() if _COMPARISONS[comparison](value, limit)}
    if not beyond:
        return ""
    worst = (min if comparison.startswith("<") else max)(beyond, key=lambda name: beyond[name])
    value = exact(round(values[worst], 6)) + (" dB" if one.name == "sqnr" else "")
    if one.name == "m":
        return f"M is {value} at {worst}"
    return f"{len(beyond)} of {counted(len(values), 'site')}, the worst {worst} with {value}"


def _values(name: str, summary: ModelSummary, sqnr: Mapping[str, float]) -> dict[str, float]:
    """A quantity by site; of M one value by its place."""
    if name == "m":
        return {summary.maximum.label: summary.maximum.magnitude} if summary.maximum else {}
    if name == "sqnr":
        return dict(sqnr)
    field = {"max": "magnitude"}.get(name, name)
    sites = summary.plan.sites if summary.plan else ()
    found = {site.name: float(getattr(one, field)) for site, one in zip(sites, summary.sites, strict=True) if one}
    return {site: value for site, value in found.items() if not math.isnan(value)}


def _sqnr(reader: SessionReader, summary: ModelSummary) -> dict[str, float]:
    """SQNR of INT8 per tensor of every site, in dB; a site without any error has none that could be too low."""
    found = site_errors(read_board(reader), summary.plan)
    return {one.site.name: one.error.sqnr_db for one in found if one.scheme.name == _SCHEME}
