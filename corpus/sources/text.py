"""Plain text and code, in pieces no longer than the longest sample, from files and standard input.

- `text_pieces`  the pieces of one stream, cut where a reader would cut
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from typing import BinaryIO

from corpus.samples import Sample
from corpus.sources.reading import SourceReading

# A paragraph's end, else a line's, else a word's.
_SEAMS = (b"\n\n", b"\n", b" ")


def text_pieces(stream: BinaryIO, name: str, category: str, reading: SourceReading) -> Iterator[Sample]:
    r"""Split a stream into pieces of at most `reading.max_bytes` bytes; memory stays flat however long it is.

    A piece ends at the last paragraph, line or word end in its last eighth, else where the limit falls. Line ends
    become `\n`. A stream that is not UTF-8, or holds zero bytes, is left at that place with a problem that names it.
    """
    limit = reading.max_bytes
    carried = b""
    number = done = 0
    while True:
        block = stream.read(limit - len(carried))
        reading.advance(len(block), f"reading {category}")
        carried += block
        if not carried:
            return
        piece, carried = (carried, b"") if not block else _cut(carried, limit)
        if not piece:
            continue
        text = _decode(piece, name, done, reading)
        if text is None:
            return
        number += 1
        done += len(piece)
        text = text.replace("\r\n", "\n").strip("\n")
        if text.strip():
            yield Sample(text, category, f"{name}#{number}")


def _cut(raw: bytes, limit: int) -> tuple[bytes, bytes]:
    """A piece and what is left; an empty piece while the block is shorter than the limit."""
    if len(raw) < limit:
        return b"", raw
    for seam in _SEAMS:
        place = raw.rfind(seam, limit - limit // 8)
        if place >= 0:
            end = place + len(seam)
            return raw[:end], raw[end:]
    end = len(raw) - _incomplete(raw)
    return raw[:end], raw[end:]


def _incomplete(raw: bytes) -> int:
    """How many bytes at the end are the beginning of a character; 0 where the bytes are not UTF-8 at all."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        decoder.decode(raw)
    except UnicodeDecodeError:
        return 0
    return len(decoder.getstate()[0])


def _decode(piece: bytes, name: str, done: int, reading: SourceReading) -> str | None:
    try:
        text = piece.decode("utf-8-sig" if done == 0 else "utf-8")
    except UnicodeDecodeError as error:
        reading.problem(name, f"not UTF-8 (byte {done + error.start + 1}); the rest of it is left out")
        return None
    if "\0" in text:
        reading.problem(name, f"not text: a zero byte (byte {done + piece.index(0) + 1}); the rest of it is left out")
        return None
    return text
