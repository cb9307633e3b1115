"""What is typed quickly: esc and the key after it arrive as the bytes of one key with alt, and are told apart here.

Old terminals send alt as esc before the key. Textual takes two such keys in a row for something it does not know, and
the esc is lost. What was meant depends on what the user is doing, so both readings go on.

- `TogetherKey`  a key that is either one with alt, or esc and another one
- `KeyParser`    Textual's parser of what a terminal sends, with such keys
- `reading_driver`  a Textual driver that reads through a `KeyParser`
"""

from __future__ import annotations

import os
import re
import select
import time
from codecs import getincrementaldecoder
from collections.abc import Iterable, Iterator

from textual.constants import ESCAPE_DELAY
from textual.driver import Driver
from textual.drivers.linux_driver import LinuxDriver
from textual.events import Key
from textual.message import Message

from maxact_tui.terminal.pasting import Pastes
from maxact_tui.terminal.private import XTermParser, keys_of

ESC = "\x1b"
# Esc and a character that begins no sequence, a sequence (esc and [ or O), an esc alone, and text.
_PIECES = re.compile(rf"{ESC}(?P<after>[^\[O{ESC}])|{ESC}[\[O][^{ESC}]*|{ESC}|[^{ESC}]+")
_WAIT_SECONDS = 0.05


class TogetherKey(Key):
    """Esc and a key that came together.

    Args:
        together: as one key.
        apart: as the key after esc.
    """

    def __init__(self, together: Key, apart: Key) -> None:
        super().__init__(together.key, together.character)
        self.apart = (Key("escape", ESC), apart)

    @property
    def together(self) -> Key:
        """The one key."""
        return Key(self.key, self.character)


class KeyParser(XTermParser):
    """Reads what a terminal sends but for pastes; keys that come in one burst are all there, in their order."""

    _esc_at: float | None = None  # when the last piece ended in an esc of which more may come

    def feed(self, data: str) -> Iterable[Message]:
        """Read a piece of what was sent; empty at its end."""
        if not data:
            yield from super().feed(data)
            return
        if self._esc_at is not None:
            data, self._esc_at = f"{ESC}{data}", None
        for piece in _PIECES.finditer(data):
            text, after = piece.group(), piece["after"]
            if text == ESC and piece.end() == len(data):
                self._esc_at = time.monotonic()
            elif text == ESC:
                yield Key("escape", ESC)
            elif after is not None:
                yield self._together(after)
            else:
                yield from super().feed(text)

    def tick(self) -> Iterable[Message]:
        """Called now and then: an esc after which nothing comes was the key."""
        if self._esc_at is not None and time.monotonic() - self._esc_at >= ESCAPE_DELAY:
            self._esc_at = None
            yield Key("escape", ESC)
        yield from super().tick()

    def _together(self, character: str) -> TogetherKey:
        (apart, *_) = [*keys_of(self, character), Key(character, character)]
        alt = Key(f"alt+{apart.key}", character)
        (together, *_) = [*keys_of(self, f"{ESC}{character}"), alt]
        return TogetherKey(together, apart)


def reading_driver(driver: type[Driver]) -> type[Driver]:
    """A driver class that reads through a `KeyParser`, of one that reads from a terminal; any other as it is."""
    if not issubclass(driver, LinuxDriver):
        return driver

    class Reading:
        fileno: int

        def run_input_thread(self) -> None:
            for message in _messages(self):  # type: ignore[arg-type]  # the driver class comes after this one
                self.process_message(message)  # type: ignore[attr-defined]

    return type(f"Reading{driver.__name__}", (Reading, driver), {})


def _messages(driver: LinuxDriver) -> Iterator[Message]:
    """What the terminal sends, until the driver ends."""
    parser, decode = Pastes(KeyParser()), getincrementaldecoder("utf-8")(errors="replace").decode
    while not driver.exit_event.is_set():
        ready, _, _ = select.select([driver.fileno], [], [], _WAIT_SECONDS)
        if ready:
            data = decode(os.read(driver.fileno, 4096))
            if data:
                yield from parser.feed(data)
            else:  # half a character, or a terminal that is gone
                driver.exit_event.wait(_WAIT_SECONDS)
        yield from parser.tick()
