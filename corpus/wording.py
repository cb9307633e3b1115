"""Numbers with their nouns, the same everywhere.

- `counted`  `1 sample`, `5,067 batches`
- `noun`     the noun alone in the form the number asks for
"""

from __future__ import annotations


def counted(number: int, what: str) -> str:
    """A number with thousands separators and its noun in the right form: `1 sample`, `5,067 batches`."""
    return f"{number:,} {noun(number, what)}"


def noun(number: int, what: str) -> str:
    """The noun in the form that goes with the number; `what` is its singular."""
    if number == 1:
        return what
    if what.endswith("y") and what[-2:-1] not in "aeiou":
        return f"{what[:-1]}ies"
    return f"{what}es" if what.endswith(("s", "x", "ch", "sh")) else f"{what}s"
