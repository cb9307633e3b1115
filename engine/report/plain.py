r"""Numbers and texts as strict JSON can carry them.

- `number`  NaN becomes null, infinity the string `infinity`
- `text`    a token's bytes as text; bytes that are not UTF-8 become `\xNN`
- `json_text`  a document, in which nothing stands that does not print
- `fields`  a frozen record as a dict, recursively
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import fields as dataclass_fields
from dataclasses import is_dataclass
from typing import Any

INFINITY = "infinity"
_BEYOND_ASCII = re.compile(r"[^\n -~]")


def number(value: float) -> float | str | None:
    """The number itself, None for NaN (unknown), `infinity` or `-infinity`."""
    if math.isnan(value):
        return None
    if math.isinf(value):
        return INFINITY if value > 0 else f"-{INFINITY}"
    return value


def text(raw: bytes) -> str:
    r"""The bytes as UTF-8; what is not UTF-8 (a part of a character) as `\xNN`."""
    return raw.decode("utf-8", "backslashreplace")


def json_text(data: Any) -> str:
    """The data as JSON whose strings are as they were: what does not print is escaped, so that the file can be shown.

    A lone surrogate (of a file name that is not UTF-8) becomes the escape of its code point.
    """
    plain = json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    return _BEYOND_ASCII.sub(lambda found: _escaped(found.group()), plain)


def _escaped(character: str) -> str:
    return character if character.isprintable() else json.dumps(character)[1:-1]


def fields(record: Any) -> Any:
    """A record as JSON has it: dataclasses become dicts by field name, sequences lists, bytes text."""
    if is_dataclass(record) and not isinstance(record, type):
        return {field.name: fields(getattr(record, field.name)) for field in dataclass_fields(record)}
    if isinstance(record, dict):
        return {str(key): fields(value) for key, value in record.items()}
    if isinstance(record, bytes):
        return text(record)
    if isinstance(record, Sequence) and not isinstance(record, str):
        return [fields(value) for value in record]
    if isinstance(record, float):
        return number(record)
    return record
