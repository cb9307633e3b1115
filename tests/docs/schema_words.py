"""The pieces of a JSON Schema, one short call each; a key of a record is required unless it is named as optional."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

Node = dict[str, Any]


def ref(name: str, about: str = "") -> Node:
    """A definition by its name."""
    return {"$ref": f"#/$defs/{name}", **_said(about)}


def number(about: str = "") -> Node:
    """A number that may be unknown or infinite."""
    return ref("number", about)


def plain(kind: str, about: str = "", *, null: bool = False) -> Node:
    """A value of a JSON type."""
    return {"type": [kind, "null"] if null else kind, **_said(about)}


def text(about: str = "", *, null: bool = False) -> Node:
    """A string."""
    return plain("string", about, null=null)


def flag(about: str = "", *, null: bool = False) -> Node:
    """True or false."""
    return plain("boolean", about, null=null)


def count(about: str = "", *, null: bool = False, least: int = 0) -> Node:
    """A whole number that is not below `least`."""
    return {"type": ["integer", "null"] if null else "integer", "minimum": least, **_said(about)}


def choice(*values: Any, about: str = "") -> Node:
    """One of these values."""
    return {"enum": list(values), **_said(about)}


def many(item: Node, about: str = "", *, null: bool = False, least: int | None = None, most: int | None = None) -> Node:
    """A list."""
    bounds = {"minItems": least, "maxItems": most}
    known = {name: value for name, value in bounds.items() if value is not None}
    return {"type": ["array", "null"] if null else "array", "items": item, **known, **_said(about)}


def either(*nodes: Node, about: str = "") -> Node:
    """What one of these describes."""
    return {**_said(about), "oneOf": list(nodes)}


def or_null(node: Node, about: str = "") -> Node:
    """What this describes, or null."""
    return either(node, {"type": "null"}, about=about)


def record(keys: Mapping[str, Node], about: str = "", *, optional: Collection[str] = (), null: bool = False) -> Node:
    """An object with these keys and no others."""
    required = [name for name in keys if name not in optional]
    kind = ["object", "null"] if null else "object"
    return {**_said(about), "type": kind, "properties": dict(keys), "required": required, "additionalProperties": False}


def _said(about: str) -> Node:
    return {"description": about} if about else {}
