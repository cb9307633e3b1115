"""A message is a code with data; its sentence is made from both, by a function that is registered for the code.

- `Message`, `message`, `read_message`, `as_written`  make one: from values, from stored JSON, from an old text
- `words`        the sentence of a message
- `key_of`       tells one from another
- `sentence`     registers the function of a code
- `SENTENCES`    all of them, by code
- `Sentence`     what is known of a code: kinds of its data, the function, an example
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, is_dataclass
from functools import cache
from typing import Any, Final, get_type_hints

from engine.base.stored import UnsoundError, check
from engine.messages.codes import Code

_DEEPEST: Final = 4  # messages within messages: an event tells of an answer, which tells of a difference


@dataclass(frozen=True, slots=True)
class Message:
    """What is said, without the words.

    Attributes:
        code: one of `Code`; a file of a newer version may hold others.
        data: JSON values by name, those that the code declares. A message within it is a dict of `code` and `data`.
    """

    code: str
    data: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dict; `read_message` reads it back."""
        return {"code": str(self.code), "data": self.data}

    def within(self, name: str) -> Message | None:
        """The message that is stored under this name in the data; None if there is none."""
        found = self.data.get(name)
        return read_message(found) if isinstance(found, Mapping) else None

    def changed(self, **changes: Any) -> Message:
        """A copy with other data under these names."""
        return message(Code(self.code), **(self.data | changes))


@dataclass(frozen=True, slots=True)
class Sentence:
    """What is known of a code.

    Attributes:
        code: the code.
        declares: a function whose parameters are the code's data, by name and type.
        words: makes the sentence from them, given by name.
        example: data, for the documentation and its test.
    """

    code: Code
    declares: Callable[..., str]
    words: Callable[..., str]
    example: Mapping[str, Any]

    @property
    def kinds(self) -> Mapping[str, Any]:
        """The type of each value of the data."""
        return _kinds(self.declares)


SENTENCES: Final[dict[str, Sentence]] = {}
"""By code. Every word that a user reads of a message comes from here."""
_Words = Callable[..., str]


def sentence(code: Code, **example: Any) -> Callable[[_Words], _Words]:
    """Register a function as the sentence of a code; its parameters declare the code's data, by name and type."""

    def register(function: _Words) -> _Words:
        SENTENCES[code] = Sentence(code, function, function, _plain(example))
        return function

    return register


def fixed(code: Code, text: str) -> None:
    """Register the sentence of a code that has no data."""
    SENTENCES[code] = Sentence(code, lambda: text, lambda: text, {})


@cache
def _kinds(function: Callable[..., str]) -> Mapping[str, Any]:
    return {name: kind for name, kind in get_type_hints(function).items() if name != "return"}


def message(code: Code, **data: Any) -> Message:
    """A message; values may be messages and frozen records, too.

    Raises:
        UnsoundError: a value is missing, or is of another type than the code declares.
    """
    made = Message(str(code), _plain(data))
    _values(made)
    return made


def as_written(text: str) -> Message:
    """A text of a session of before there were codes, or what another library said."""
    return message(Code.TEXT, text=text)


def read_message(stored: object) -> Message:
    """The message that was stored as this JSON value.

    Raises:
        UnsoundError: it is none, or its data are not what its code declares.
    """
    found = _read(stored)
    _values(found)
    return found


def words(said: Message | None) -> str:
    """The sentence of a message, one line; a code of a newer version as it is, with its data. Empty for None."""
    if said is None:
        return ""
    known = SENTENCES.get(said.code)
    if known is None:
        return f"{said.code} {json.dumps(said.data)}" if said.data else said.code
    return known.words(**_values(said))


def key_of(said: Message | None) -> str:
    """Tells one message from another, for whoever says each once."""
    return "" if said is None else json.dumps(said.to_json(), sort_keys=True)


def _read(stored: object) -> Message:
    if not isinstance(stored, Mapping):
        raise UnsoundError("a message is not what a run writes")
    return Message(check(str, stored.get("code"), "code"), check(dict[str, Any], stored.get("data"), "data"))


def _values(said: Message, depth: int = 0) -> dict[str, Any]:
    """The data that the code declares, each of its kind."""
    known = SENTENCES.get(said.code)
    if known is None:
        return said.data
    if depth > _DEEPEST:
        raise UnsoundError("messages are within each other without an end")
    return {name: _value(kind, said.data, name, depth) for name, kind in known.kinds.items()}


def _value(kind: Any, data: Mapping[str, Any], name: str, depth: int) -> Any:
    if name not in data:
        raise UnsoundError(f"'{name}' is missing")
    value = data[name]
    if kind == list[Message]:
        return [_inner(one, depth) for one in check(list[Any], value, name)]
    if kind == Message or kind == Message | None:
        if value is None and kind != Message:
            return None
        return _inner(value, depth)
    return check(kind, value, name)


def _inner(value: object, depth: int) -> Message:
    found = _read(value)
    _values(found, depth + 1)
    return found


def _plain(data: Mapping[str, Any]) -> dict[str, Any]:
    """The data as JSON holds them."""
    return {name: _plain_value(value) for name, value in data.items()}


def _plain_value(value: Any) -> Any:
    if isinstance(value, Message):
        return value.to_json()
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return [_plain_value(one) for one in value] if isinstance(value, (list, tuple)) else value
