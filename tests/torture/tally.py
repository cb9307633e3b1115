"""What a loop of tortures has come to.

- `Tally`  how many rounds there were, and how many of each kind of failure
"""

from __future__ import annotations

from dataclasses import astuple, dataclass


@dataclass(frozen=True, slots=True)
class Tally:
    """Every field but `rounds` is to be 0.

    Attributes:
        rounds: how many were run.
        lost: rounds after which something that was measured is not there.
        silent: rounds after which something else is shown than was written, without a word.
        hangs: rounds that did not end by themselves.
        tracebacks: rounds that ended in an error that is not one line for the user.
    """

    rounds: int = 0
    lost: int = 0
    silent: int = 0
    hangs: int = 0
    tracebacks: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    @property
    def is_clean(self) -> bool:
        """Whether nothing failed."""
        return not any(astuple(self)[1:])
