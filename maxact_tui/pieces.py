"""Tokens that are parts of characters, put together for the eye.

- `ShownPiece`    what stands in the place of one token
- `shown_pieces`  the pieces of consecutive tokens, those that only together form characters joined on the first
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

LONGEST_RUN = 12  # tokens; a vocabulary of single bytes needs four for a character


@dataclass(frozen=True, slots=True)
class ShownPiece:
    """What stands in the place of one token; the text is raw and must be made visible before it is shown.

    Attributes:
        text: the token's bytes, or on the first token of a run those of the whole run.
        continues: the token's bytes are shown on a token before it.
        length: tokens whose bytes `text` holds, 0 where `continues`.
    """

    text: bytes
    continues: bool = False
    length: int = 1


CONTINUED = ShownPiece(b"", continues=True, length=0)


def shown_pieces(pieces: Sequence[bytes]) -> tuple[ShownPiece, ...]:
    """One entry per token: runs of tokens that are UTF-8 only together stand on their first token.

    A token that belongs to no such run, however long, keeps its own bytes.
    """
    shown: list[ShownPiece] = []
    while len(shown) < len(pieces):
        length = _run_length(pieces, len(shown))
        shown.append(ShownPiece(b"".join(pieces[len(shown) : len(shown) + length]), length=length))
        shown += [CONTINUED] * (length - 1)
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
