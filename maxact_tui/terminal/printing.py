r"""The one door to standard output and standard error: nothing foreign leaves through it raw.

Session names, configurations, templates, texts and exceptions may hold control sequences. Here every line is made
visible (`maxact_tui.texts.visible`), and every segment of a rich table or bar; of what our own
program writes no character is changed. Only what programs read leaves as it is:
paths and documents into a pipe or file.

- `say`, `note`      lines on stdout, on stderr
- `ask`              a question on stderr, without an end of line
- `say_path`         a path: exact in a pipe, visible in a terminal
- `say_document`     a whole document: exact in a pipe, visible in a terminal
- `console`          rich on stdout, as wide as the terminal, and as wide as it takes where there is none
- `error_console`    rich on stderr
- `DoorConsole`  a rich console that renders nothing raw
- `guard_logs`       what libraries log in this process goes through here, too
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from maxact_tui.texts.visible import visible

UNLIMITED_CELLS = 400


def say(*lines: object, flush: bool = False) -> None:
    """Write lines on stdout, each made visible."""
    _write(sys.stdout, lines, flush=flush)


def note(*lines: object) -> None:
    """Write lines on stderr at once, each made visible."""
    _write(sys.stderr, lines, flush=True)


def ask(question: str) -> None:
    """Write a question on stderr and leave the cursor behind it."""
    sys.stderr.write(visible(question, space=" "))
    sys.stderr.flush()


def say_path(path: Path) -> None:
    """Write a path on stdout: for programs its very bytes, for a person in a terminal what can be shown of it."""
    if sys.stdout.isatty():
        say(path)
    else:
        _write_bytes(os.fsencode(path) + b"\n")


def say_document(content: bytes) -> None:
    """Write a document on stdout: its very bytes, but to a terminal the lines made visible."""
    if not content:
        return
    if sys.stdout.isatty():
        say(*content.decode("utf-8", "surrogateescape").removesuffix("\n").split("\n"))
    else:
        _write_bytes(content)


class DoorConsole(Console):
    """A console that takes no text for markup and puts nothing foreign on the terminal raw, whatever it renders."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The segments of a renderable, their texts made visible; control segments are rich's own."""
        for segment in super().render(renderable, options):
            if segment.control or (segment.text.isascii() and segment.text.isprintable()):
                yield segment
            else:
                lines = segment.text.split("\n")
                yield Segment("\n".join(visible(line, space=" ") for line in lines), segment.style)


def console(width: int | None = None, *, colors: bool = True) -> Console:
    """A console on stdout; in a pipe nothing is cut to a width nobody has.

    Args:
        width: in cells; None for the terminal's.
        colors: whether styles are written where the terminal has them.
    """
    if width is None and not (sys.stdout.isatty() or "COLUMNS" in os.environ):
        width = UNLIMITED_CELLS
    return DoorConsole(width=width, color_system="auto" if colors else None)


def error_console() -> Console:
    """A console on stderr."""
    return DoorConsole(stderr=True)


def guard_logs() -> None:
    """Let warnings that code logs in this process come as visible lines on stderr; Python would write them raw."""
    logging.lastResort = _DoorHandler(logging.WARNING)


class _DoorHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        note(record.getMessage())


def _write(stream: TextIO, lines: Iterable[object], *, flush: bool) -> None:
    for line in lines:
        stream.write(visible(line if isinstance(line, bytes) else str(line), space=" ") + "\n")
    if flush:
        stream.flush()


def _write_bytes(content: bytes) -> None:
    sys.stdout.flush()
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()
