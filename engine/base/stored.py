"""What a file holds must be what was written: the readers of stored JSON check it, and say so where it is not.

- `UnsoundError`   what is stored cannot be what was written
- `parse`          JSON text
- `build`          a frozen record from a JSON dict, every field checked against its annotation
- `check`          one JSON value against an annotation
- `moment`         a Unix time that a calendar knows
- `amounts`        a record whose numbers are counts and durations

Whatever else is raised while stored content is read is a mistake of the program, and is reported as one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Final, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

_Record = TypeVar("_Record")
_LATEST_MOMENT: Final = 1e11  # Unix seconds; the year 5138
_LARGEST_INTEGER: Final = 2**63
_LARGEST_AMOUNT: Final = 2.0**62  # beyond what anybody can count, or wait for


class UnsoundError(ValueError):
    """What is stored cannot be what was written; the message says why, in words."""


def parse(text: object) -> Any:
    """The value of a JSON text.

    Raises:
        UnsoundError: it is no text, or no JSON.
    """
    if not isinstance(text, str):
        raise UnsoundError("changed")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:  # a number of thousands of digits is no JSONDecodeError
        raise UnsoundError("cut short or changed") from error


def build(record: type[_Record], data: object) -> _Record:
    """A frozen record from what its `to_json` wrote; lists become tuples, fields of a newer version are ignored.

    Raises:
        UnsoundError: a field is missing that has no default, or is of another type than its annotation says.
    """
    if not isinstance(data, Mapping):
        raise UnsoundError("changed")
    found = {}
    for name, (kind, is_required) in _annotations(cast("Any", record)).items():
        if name in data:
            found[name] = check(kind, data[name], name)
        elif is_required:
            raise UnsoundError(f"'{name}' is missing")
    return record(**found)


def check(kind: Any, value: Any, name: str) -> Any:
    """The value, if it is of this kind: a class, a union, a tuple, a literal (any text), a record or `Any`.

    Raises:
        UnsoundError: it is not; `name` says which value is meant.
    """
    if kind is Any:
        return value
    if kind is float:
        good = isinstance(value, float) or (isinstance(value, int) and not isinstance(value, bool) and _fits(value))
    elif kind is int:
        good = isinstance(value, int) and not isinstance(value, bool) and _fits(value)
    elif kind in (str, bool, NoneType):
        good = isinstance(value, kind)
    elif is_dataclass(kind):
        return build(cast("type[Any]", kind), value)
    else:
        return _check_composed(kind, value, name)
    if not good:
        raise UnsoundError(f"'{name}' is not what a run writes")
    return value


def _fits(value: int) -> bool:
    return abs(value) < _LARGEST_INTEGER


def moment(value: object) -> float:
    """A moment in Unix seconds.

    Raises:
        UnsoundError: it is no number, or no calendar has such a day.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < _LATEST_MOMENT:
        raise UnsoundError("a moment is not what a run writes")
    return float(value)


def amounts(record: _Record) -> _Record:
    """The record, if all of its numbers are finite and not below 0.

    Raises:
        UnsoundError: one is not; it is named.
    """
    for one in fields(cast("Any", record)):
        value = getattr(record, one.name)
        if isinstance(value, (int, float)) and not 0 <= value < _LARGEST_AMOUNT:
            raise UnsoundError(f"'{one.name}' is not what a run writes")
    return record


def _check_composed(kind: Any, value: Any, name: str) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        if value is None and NoneType in arguments:
            return None
        (wanted,) = (one for one in arguments if one is not NoneType)
        return check(wanted, value, name)
    if origin is Literal:
        return check(str, value, name)
    if origin is tuple and isinstance(value, (list, tuple)):
        kinds = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else list(arguments)
        if len(kinds) == len(value):
            return tuple(check(one, part, name) for one, part in zip(kinds, value, strict=True))
    if origin is list and isinstance(value, list):
        return [check(arguments[0], part, name) for part in value]
    if origin is dict and isinstance(value, dict):
        return {key: check(arguments[1], part, name) for key, part in value.items()}
    raise UnsoundError(f"'{name}' is not what a run writes")


@cache
def _annotations(record: Any) -> dict[str, tuple[Any, bool]]:
    """The type of each field, and whether it has no default."""
    hints = get_type_hints(record)
    return {
        one.name: (hints[one.name], one.default is MISSING and one.default_factory is MISSING)
        for one in fields(record)
        if one.init
    }
