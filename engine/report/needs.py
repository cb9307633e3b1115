"""What a run must have measured for a format: told before the format is chosen, and when it is refused.

- `Missing`          what is missing, in a few words and in a sentence
- `missing_nothing`  for formats every session can give
"""

from __future__ import annotations

from dataclasses import dataclass

from engine.session.reader import SessionMeta


@dataclass(frozen=True, slots=True)
class Missing:
    """What a session lacks for a format.

    Attributes:
        short: what the run would have needed, for a list of formats.
        sentence: the refusal, with the user's next step; empty if the format is made all the same, with gaps.
    """

    short: str
    sentence: str = ""


def missing_nothing(_: SessionMeta) -> Missing | None:
    """Every session can give it."""
    return None
