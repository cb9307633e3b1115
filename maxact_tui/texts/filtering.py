"""The grammar of the filter: what is typed after `/` becomes a test of rows.

- `parse_filter`  text to `Filter`; raises `FilterError`, which names the column
- `Filter`        all terms must hold of a row
- `FIELDS`        what can be asked of a row
- `EXAMPLES`      queries with what they keep, for the help
- `GRAMMAR`       the grammar in a few lines, for the help

A row is a `Record`: a value per field it has, None where it is unknown. A term that asks for a field a row does not
have says nothing about it, so that one filter works on tables of different columns.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Literal, NoReturn

from maxact_tui.errors import UserError

Value = str | float | range | tuple[str, ...] | None
Record = Mapping[str, Value]
Operator = Literal[":", "=", ">", ">=", "<", "<="]


@dataclass(frozen=True, slots=True)
class Field:
    """What can be asked of a row: a number, or a text."""

    name: str
    is_number: bool
    meaning: str


FIELDS = (
    Field("layer", True, "layer; of a thread every layer it lives in"),
    Field("comp", False, "component: mlp_output, attn_output, hidden, ..."),
    Field("token", False, "the token that carries the value"),
    Field("text", False, "the token with the text around it"),
    Field("cat", False, "category of the sample"),
    Field("value", True, "|x|; in the list of sessions M"),
    Field("chan", True, "channel"),
    Field("pos", True, "position in the sample, from 0"),
    Field("sample", True, "number of the sample"),
    Field("rank", True, "place in the list of the largest"),
    Field("tokens", True, "how many tokens: of a channel, a category, an event"),
    Field("kind", False, "of a channel, an event"),
    Field("event", False, "what an event says"),
    Field("state", False, "of a session: finished, running, ..."),
    Field("model", False, "of a session"),
    Field("name", False, "of a session's file"),
)
_BY_NAME = {field.name: field for field in FIELDS}

GRAMMAR = (
    "Terms stand side by side and must all hold; ! before a term turns it round.",
    "A word alone is looked for in component, token, category, kind, event, model and name; L10-20 is layer:10-20.",
    "field:a,b  any of a, b. Texts: anywhere in it; with * or ? the whole text. field=text is the exact text.",
    "Numbers: 7, 10-20, 10- (and more), 20k; or field>7, >=, <, <=. Quotes keep spaces together.",
)
EXAMPLES = (
    ("layer:10-20", "layers 10 to 20"),
    ("comp:mlp*", "components that begin with mlp"),
    ('token:"the"', "tokens with `the` in them"),
    ('token=" the"', "exactly this token, space and all"),
    ("cat:code,math", "samples of either category"),
    ("chan:507", "channel 507"),
    ("value>100", "|x| above 100; 20k is 20,000"),
    ("!comp:attn", "everything but attention"),
    ("L12- mlp value>=1k", "from layer 12 on, MLP, at least 1,000"),
    ("kind:memory,warning", "events of these kinds"),
    ("state:finished model:*llama*", "sessions that are done, of these models"),
)

_FREE_FIELDS = ("comp", "token", "cat", "kind", "event", "state", "model", "name")
_TERM = re.compile(r"(?P<field>[A-Za-z_]+)(?P<operator>:|>=|<=|=|>|<)")
_LAYERS = re.compile(r"[lL](\d+(?:-\d*)?)")
_NUMBER = r"\d+(?:\.\d+)?(?:[eE][+-]?\d+)?[kKM]?"
_RANGE = re.compile(rf"({_NUMBER})(?:(-)({_NUMBER})?)?")
_ESCAPES = {"n": "↵", "t": "⇥", "r": "␍", '"': '"', "\\": "\\"}
_FACTORS = {"k": 1e3, "K": 1e3, "M": 1e6}


class FilterError(UserError):
    """A filter that cannot be read: one line with the place and the way out.

    Attributes:
        column: where it stopped making sense, from 1.
    """

    def __init__(self, message: str, column: int) -> None:
        super().__init__(f"column {column}: {message}", code=2)
        self.column = column


@dataclass(frozen=True, slots=True)
class Term:
    """One condition.

    Attributes:
        field: of `FIELDS`, empty for a word alone.
        operator: how it compares.
        values: any of them is enough.
        negated: the term holds where it would not.
    """

    field: str
    operator: Operator
    values: tuple[str, ...]
    negated: bool = False

    def holds(self, record: Record) -> bool:
        """Whether the row passes; a row without the field does."""
        asked = [name for name in (_FREE_FIELDS if not self.field else (self.field,)) if name in record]
        if not asked:
            return True
        compare = self._number if self.field and _BY_NAME[self.field].is_number else self._text
        return any(compare(record[name], wanted) for name in asked for wanted in self.values) != self.negated

    def _text(self, value: Value, wanted: str) -> bool:
        if value is None:
            return False
        if isinstance(value, tuple):
            return any(self._text(one, wanted) for one in value)
        text = str(value)
        if self.operator == "=":
            return text == wanted
        text, wanted = text.casefold(), wanted.casefold()
        return fnmatchcase(text, wanted.replace("[", "[[]")) if set(wanted) & {"*", "?"} else wanted in text

    def _number(self, value: Value, wanted: str) -> bool:
        low, high = _span(wanted)
        if isinstance(value, range):
            return len(value) > 0 and self._compare(float(value[0]), float(value[-1]), low, high)
        number = math.nan if value is None or isinstance(value, str | tuple) else float(value)
        return self._compare(number, number, low, high)

    def _compare(self, lowest: float, highest: float, low: float, high: float) -> bool:
        """Whether any number from lowest to highest stands as asked to low..high."""
        tests: dict[str, Callable[[], bool]] = {
            ":": lambda: lowest <= high and highest >= low,
            "=": lambda: lowest <= high and highest >= low,
            ">": lambda: highest > low,
            ">=": lambda: highest >= low,
            "<": lambda: lowest < low,
            "<=": lambda: lowest <= low,
        }
        return tests[self.operator]()


@dataclass(frozen=True, slots=True)
class Filter:
    """All terms must hold; the text is what was typed."""

    text: str = ""
    terms: tuple[Term, ...] = ()

    def holds(self, record: Record) -> bool:
        """Whether a row is kept."""
        return all(term.holds(record) for term in self.terms)

    def beyond(self, record: Record) -> list[str]:
        """The fields it asks for that such a row does not have."""
        return sorted({term.field for term in self.terms if term.field and term.field not in record})

    def __bool__(self) -> bool:
        return bool(self.terms)


EVERYTHING = Filter()


def parse_filter(text: str) -> Filter:
    """The filter a query means; an empty one keeps everything.

    Raises:
        FilterError: it cannot be read.
    """
    terms, place = [], 0
    while (place := _after_blanks(text, place)) < len(text):
        term, place = _term(text, place)
        terms.append(term)
    return Filter(text.strip(), tuple(terms))


def _term(text: str, place: int) -> tuple[Term, int]:
    negated = text[place] == "!"
    place += negated
    if place == len(text) or text[place].isspace():
        _refuse("nothing follows the !", place)
    if (found := _TERM.match(text, place)) is None:
        return _word(text, place, negated)
    name, operator, start = found["field"].lower(), found["operator"], found.end()
    if name not in _BY_NAME:
        near = get_close_matches(name, _BY_NAME, 1)
        advice = f"perhaps {near[0]}" if near else "put it in quotes to look for the text"
        _refuse(f"there is no field '{found['field']}'; {advice}", place)
    field = _BY_NAME[name]
    if not field.is_number and operator not in (":", "="):
        _refuse(f"{name} is a text; write {name}:word", found.start("operator"))
    values, place = _values(text, start, name)
    if field.is_number:
        for value, column in values:
            _check_number(value, operator, name, column)
    return Term(name, operator, tuple(value for value, _ in values), negated), place  # type: ignore[arg-type]


def _word(text: str, place: int, negated: bool) -> tuple[Term, int]:
    if (found := _LAYERS.match(text, place)) and (found.end() == len(text) or text[found.end()].isspace()):
        _check_number(found[1], ":", "layer", found.start(1))
        return Term("layer", ":", (found[1],), negated), found.end()
    word, end = _value(text, place, stops="")
    return Term("", ":", (word,), negated), end


def _values(text: str, place: int, name: str) -> tuple[list[tuple[str, int]], int]:
    """The values after a field, separated by commas, each with its place."""
    values = []
    while True:
        if place == len(text) or text[place].isspace() or text[place] == ",":
            _refuse(f"a value is missing after {name}", place)
        value, end = _value(text, place, stops=",")
        values.append((value, place))
        if end == len(text) or text[end] != ",":
            return values, end
        place = end + 1


def _value(text: str, place: int, stops: str) -> tuple[str, int]:
    """A quoted text, or everything up to a blank or one of `stops`."""
    if text[place] != '"':
        end = place
        while end < len(text) and not text[end].isspace() and text[end] not in stops:
            end += 1
        return text[place:end], end
    letters, here = [], place + 1
    while here < len(text) and text[here] != '"':
        escape = text[here + 1 : here + 2] if text[here] == "\\" else ""
        letters.append(_ESCAPES.get(escape, text[here]) if escape else text[here])
        here += 2 if escape in _ESCAPES else 1
    if here >= len(text):
        _refuse("the quote is not closed", place)
    if not letters:
        _refuse("the quotes are empty", place)
    if here + 1 < len(text) and not text[here + 1].isspace() and text[here + 1] not in stops:
        _refuse("a blank belongs after the quote", here + 1)
    return "".join(letters), here + 1


def _check_number(value: str, operator: str, name: str, place: int) -> None:
    found = _RANGE.fullmatch(value)
    if found is None:
        _refuse(f"'{value}' is not a number; {name} takes 7, 10-20, 10- or 20k", place)
    if found[2] and operator not in (":", "="):
        _refuse(f"a range belongs after {name}:", place)
    low, high = _span(value)
    if low > high:
        _refuse(f"'{value}' runs backwards", place)


def _span(value: str) -> tuple[float, float]:
    """Lower and upper end of a checked number or range."""
    found = _RANGE.fullmatch(value)
    if found is None:
        raise ValueError(value)
    low = _number(found[1])
    return low, (_number(found[3]) if found[3] else math.inf if found[2] else low)


def _number(text: str) -> float:
    return float(text[:-1]) * _FACTORS[text[-1]] if text[-1] in _FACTORS else float(text)


def _after_blanks(text: str, place: int) -> int:
    while place < len(text) and text[place].isspace():
        place += 1
    return place


def _refuse(message: str, place: int) -> NoReturn:
    raise FilterError(message, place + 1)
