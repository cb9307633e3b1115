"""Pasted text stays text, whatever is in it.

Textual looks for escape sequences also between the marks of a paste: an ESC in it was lost, and what came after it was
taken for keys.

- `Pastes`  takes pastes out of a terminal's input; the parser behind it sees what was typed, and the marks alone
"""

from __future__ import annotations

from collections.abc import Generator, Iterable

from textual.events import Paste
from textual.message import Message

from maxact_tui.terminal.private import Parser

PASTE_BEGINS, PASTE_ENDS = "\x1b[200~", "\x1b[201~"
_MARK_CELLS = len(PASTE_BEGINS)


class Pastes:
    """Parses as the parser behind it does, but for pastes: their text comes as it was sent, in one `Paste`.

    Args:
        keys: the parser of what is typed.
    """

    def __init__(self, keys: Parser[Message]) -> None:
        self._keys = keys
        self._pasted: list[str] | None = None  # what came of a paste that has begun
        self._seen = ""  # the end of what came before, where a mark may have begun

    def feed(self, data: str) -> Iterable[Message]:
        """Messages of a piece of input; an empty one is its end."""
        if not data:
            yield from self._keys.feed(data)
        while data:
            if self._pasted is None:
                data = yield from self._typed(data)
            else:
                data = yield from self._in_paste(self._pasted, data)

    def tick(self) -> Iterable[Message]:
        """Called now and then, for what is known only by time."""
        return self._keys.tick()

    def _typed(self, data: str) -> Generator[Message, None, str]:
        """Keys up to the beginning of a paste; returns the rest."""
        begins = (self._seen + data).find(PASTE_BEGINS)
        if begins < 0:
            self._seen = (self._seen + data)[1 - _MARK_CELLS :]
            yield from self._keys.feed(data)
            return ""
        keys = begins + _MARK_CELLS - len(self._seen)
        yield from self._keys.feed(data[:keys])
        self._pasted, self._seen = [], ""
        return data[keys:]

    def _in_paste(self, pasted: list[str], data: str) -> Generator[Message, None, str]:
        """A paste up to its end; returns the rest."""
        data = self._seen + data
        ends = data.find(PASTE_ENDS)
        if ends < 0:
            pasted.append(data[: 1 - _MARK_CELLS])
            self._seen = data[1 - _MARK_CELLS :]
            return ""
        text = "".join(pasted) + data[:ends]
        self._pasted, self._seen = None, ""
        # The parser has seen the marks alone, and tells of an empty paste.
        yield from (message for message in self._keys.feed(PASTE_ENDS) if not isinstance(message, Paste))
        yield Paste(text)
        return data[ends + _MARK_CELLS :]
