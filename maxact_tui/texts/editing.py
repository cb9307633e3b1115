"""One line being typed, with the history of earlier ones.

- `LineEditor`  text, cursor, and what each key does to them
"""

from __future__ import annotations

from collections.abc import Sequence

LONGEST = 200


class LineEditor:
    """A line of text under the user's hands.

    Args:
        text: what stands there first; the cursor is at its end.
        history: earlier lines, the oldest first.
    """

    def __init__(self, text: str = "", history: Sequence[str] = ()) -> None:
        self.text, self.cursor = text, len(text)
        self._lines = [*history, text]  # the last is the one being typed
        self._line = len(history)

    def press(self, key: str, character: str | None) -> bool:
        """Do what a key asks for, by Textual's name of it; says whether it meant anything here."""
        moves = {"left": self.cursor - 1, "right": self.cursor + 1, "home": 0, "end": len(self.text)}
        moves |= {"ctrl+a": 0, "ctrl+e": len(self.text)}
        if key in moves:
            self.cursor = max(min(moves[key], len(self.text)), 0)
        elif key in ("up", "down"):
            self._recall(-1 if key == "up" else 1)
        elif key in ("backspace", "delete", "ctrl+w", "ctrl+u"):
            self._erase(key)
        elif character is not None and character.isprintable():
            self.insert(character)
        else:
            return False
        return True

    def insert(self, text: str) -> None:
        """Put a text in at the cursor; of a longer paste only its first line."""
        first = text.splitlines()[0] if text.splitlines() else ""
        first = first[: LONGEST - len(self.text)]
        self.text = self.text[: self.cursor] + first + self.text[self.cursor :]
        self.cursor += len(first)

    def _erase(self, key: str) -> None:
        start, end = self.cursor, self.cursor
        if key == "backspace":
            start = max(start - 1, 0)
        elif key == "delete":
            end = min(end + 1, len(self.text))
        elif key == "ctrl+u":
            start = 0
        else:
            start = self.text[:start].rstrip().rfind(" ") + 1
        self.text = self.text[:start] + self.text[end:]
        self.cursor = start

    def _recall(self, by: int) -> None:
        self._lines[self._line] = self.text
        self._line = max(min(self._line + by, len(self._lines) - 1), 0)
        self.text = self._lines[self._line]
        self.cursor = len(self.text)
