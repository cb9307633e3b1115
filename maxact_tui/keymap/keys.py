"""Names of keys: what a user writes, what Textual calls it, what is printed on it.

- `printed`    what is printed on a key
- `known_key`  Textual's name of a key, as a user may have written it
"""

from __future__ import annotations

import difflib

# What is printed on keys whose Textual name is another.
_PRINTED = {
    "question_mark": "?", "colon": ":", "slash": "/", "left_square_bracket": "[", "right_square_bracket": "]",
    "comma": ",", "full_stop": ".", "semicolon": ";", "plus": "+", "minus": "-", "equals_sign": "=",
    "less_than_sign": "<", "greater_than_sign": ">", "left_parenthesis": "(", "right_parenthesis": ")",
    "asterisk": "*", "number_sign": "#", "at": "@", "exclamation_mark": "!", "quotation_mark": '"', "apostrophe": "'",
    "dollar_sign": "$", "percent_sign": "%", "ampersand": "&", "underscore": "_", "tilde": "~", "backslash": "\\",
    "vertical_line": "|", "circumflex_accent": "^", "grave_accent": "`", "left_curly_bracket": "{",
    "right_curly_bracket": "}", "escape": "esc", "pageup": "PgUp", "pagedown": "PgDn", "home": "Home", "end": "End",
    "up": "↑", "down": "↓", "left": "←", "right": "→",
}  # fmt: skip
_WRITTEN = {shown.lower(): name for name, shown in _PRINTED.items()} | {" ": "space", "return": "enter"}
_NAMED = {"enter", "tab", "space", "backspace", "delete", "insert", *(f"f{n}" for n in range(1, 25)), *_PRINTED}


def printed(key: str) -> str:
    """What is printed on a key of this Textual name."""
    return _PRINTED.get(key, key)


def known_key(written: str) -> tuple[str | None, str]:
    """Textual's name of a key, None if there is no such key; then also the nearest there is, or an empty text."""
    bare = written.rpartition("+")[2] if len(written) > 1 else written
    modifiers = written[: len(written) - len(bare)]
    lower = modifiers.lower()
    if len(bare) == 1 and bare.isalnum():
        name: str | None = bare
    else:
        name = _WRITTEN.get(bare.lower(), bare.lower())
        name = name if name in _NAMED else None
    if name is not None and all(part in ("", "ctrl", "shift", "alt") for part in lower.split("+")):
        return f"{lower}{name}", ""
    near = difflib.get_close_matches(written.lower(), sorted(_NAMED), n=1, cutoff=0.5)
    return None, near[0] if near else ""
