"""Tokens that are parts of characters, put together for the eye.

- `ShownPiece`    what stands in the place of one token
- `shown_pieces`  the pieces of a text, where tokens are UTF-8 only together as the characters that begin in each
- `whole_text`    the characters a token is part of
- `CONTINUATION`  stands for a token in which no character begins
- `origin_words`  where a sample comes from, in words
- `token_name`    a single token as it is shown, with which part of its characters it is
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from maxact_tui.texts.visible import visible

_NUMBERED = re.compile(r"(.+):([1-9]\d*)", re.DOTALL)
CONTINUATION = "‿"  # in the place of a token in which no character begins; a space has another sign
LONGEST_RUN = 12  # tokens; a vocabulary of single bytes needs four for a character


@dataclass(frozen=True, slots=True)
class ShownPiece:
    """What stands in the place of one token; the text is raw and must be made visible before it is shown.

    Attributes:
        text: the token's bytes; within a run of tokens that are UTF-8 only together, the characters that begin in it.
        run: the tokens of that run, half-open; the token alone where it is in none.
    """

    text: bytes
    run: tuple[int, int]

    @property
    def is_part(self) -> bool:
        """Whether it is in a run."""
        return self.run[1] - self.run[0] > 1

    def part(self, token: int) -> tuple[int, int]:
        """Number of a token within the run, from 1, and how many there are."""
        return token - self.run[0] + 1, self.run[1] - self.run[0]

    @property
    def continues(self) -> bool:
        """Whether no character begins in it."""
        return self.is_part and not self.text


def whole_text(pieces: Sequence[bytes], shown: ShownPiece) -> bytes:
    """The text of a piece's run: whole characters, or the token's own bytes where it is in none."""
    start, end = shown.run
    return b"".join(pieces[start:end])


def origin_words(origin: str) -> str:
    """`starter:61` as `entry 61 of starter`, lest it be taken for the sample's number, which counts from 0."""
    found = _NUMBERED.fullmatch(origin)
    return f"entry {found[2]} of {found[1]}" if found and "://" not in origin else origin


def token_name(text: bytes, part: tuple[int, int], width: int | None = None, *, ascii_only: bool = False) -> str:
    """A single token as it is shown: `·the`; `秋 2/3` is the second of three tokens that are that character together.

    A blank within a token is shown as a sign, so the blank before the numbers cannot be the token's.

    Args:
        text: the token's own text, or the characters it is part of.
        part: its number among the tokens of these characters, from 1, and how many they are.
        width: cells at most; the text is cut for it, the numbers only where there is no room for both.
        ascii_only: escape everything beyond ASCII.
    """
    tail = f" {part[0]}/{part[1]}" if part[1] > 1 else ""
    if width is None:
        return visible(text, ascii_only=ascii_only) + tail
    if len(tail) >= width:
        tail = ""
    return visible(text, width - len(tail), ascii_only=ascii_only) + tail


def shown_pieces(pieces: Sequence[bytes]) -> tuple[ShownPiece, ...]:
    """One entry per token. A token that belongs to no run, however long, keeps its own bytes."""
    shown: list[ShownPiece] = []
    while len(shown) < len(pieces):
        start = len(shown)
        end = start + _run_length(pieces, start)
        texts = _beginning_in(pieces[start:end]) if end - start > 1 else [pieces[start]]
        shown += [ShownPiece(text, (start, end)) for text in texts]
    return tuple(shown)


def _run_length(pieces: Sequence[bytes], start: int) -> int:
    """How many tokens from `start` on must be joined to be UTF-8; 1 where one is enough or no number is."""
    joined = b""
    for length in range(1, min(LONGEST_RUN, len(pieces) - start) + 1):
        joined += pieces[start + length - 1]
        try:
            joined.decode("utf-8")
        except UnicodeDecodeError as error:
            if error.reason != "unexpected end of data":
                return 1  # no token to come can mend what is wrong in the middle
        else:
            return length
    return 1


def _beginning_in(run: Sequence[bytes]) -> list[bytes]:
    """For each token of a run the whole characters whose first byte is in it."""
    texts = [b""] * len(run)
    owners = [number for number, piece in enumerate(run) for _ in piece]
    place = 0
    for character in b"".join(run).decode("utf-8"):
        encoded = character.encode("utf-8")
        texts[owners[place]] += encoded
        place += len(encoded)
    return texts
