"""What the statistics cost, as a session keeps it: the estimate its sites were chosen by, and what was spent.

- `Trial`, `SitesChoice`  which sites a run of `--sites auto` took, and what that was measured to cost beforehand
- `decide`                whether the GEMM inputs are measured beside the paper's sites, from what a trial has shown
- `Spent`                 seconds of a run: of the model alone, of the statistics, of quantising blocks again
- `CHOICE`, `SPENT`       their places among a session's meta entries
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from engine.base.choice import SHORT_SECONDS, SLOWDOWN_LIMIT
from engine.base.job import SiteSet
from engine.base.stored import amounts, build

CHOICE, SPENT = "sites_choice", "cost"


@dataclass(frozen=True, slots=True)
class Trial:
    """One warm batch with and without the hooks of a set of sites, the fastest of some alternating turns.

    Attributes:
        sites: how many were hooked.
        tokens: of the batch.
        bare_seconds: its forward pass without hooks.
        hooked_seconds: its forward pass with all of their statistics.
        run_tokens: of the whole run.
        damage_tokens: what computing blocks again, once, takes, in tokens of the bare forward pass. It is no part of
            `added_seconds` or of the decision: it does not grow with the run.
    """

    sites: int
    tokens: int
    bare_seconds: float
    hooked_seconds: float
    run_tokens: int
    damage_tokens: float = 0.0

    @property
    def slowdown(self) -> float:
        """The statistics' time over the bare forward pass's; 0.2 is a fifth longer. Never below 0."""
        return max(self.hooked_seconds / max(self.bare_seconds, 1e-9) - 1, 0.0)

    @property
    def added_seconds(self) -> float:
        """What the statistics would add to the whole run."""
        return max(self.hooked_seconds - self.bare_seconds, 0.0) * self.run_tokens / max(self.tokens, 1)

    @property
    def damage_seconds(self) -> float:
        """What computing blocks again takes at least: quantising itself comes on top."""
        return self.bare_seconds * self.damage_tokens / max(self.tokens, 1)


@dataclass(frozen=True, slots=True)
class SitesChoice:
    """What `auto` came to.

    Attributes:
        sites: the set that is measured.
        trial: of that set; None where nothing could be timed.
        refused: of the paper's sites and the GEMM inputs together, where they were found too dear.
    """

    sites: SiteSet
    trial: Trial | None
    refused: Trial | None = None

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dict; `from_json` reads it back."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SitesChoice:
        """Read what `to_json` wrote.

        Raises:
            UnsoundError: a field is missing, of another type, or below 0.
        """
        found = build(cls, data)
        for trial in (found.trial, found.refused):
            if trial is not None:
                amounts(trial)
        return found


@dataclass(frozen=True, slots=True)
class Spent:
    """Seconds of a run so far, over all its engines.

    Attributes:
        model: of the batches that were timed (not the first of each engine), without the statistics.
        statistics: of the same batches, in the hooks.
        bookkeeping: of ticks, and of setting checkpoints aside.
        damage: of computing blocks again, once, after the evaluation samples.
    """

    model: float = 0.0
    statistics: float = 0.0
    bookkeeping: float = 0.0
    damage: float = 0.0

    @property
    def slowdown(self) -> float:
        """The statistics' time over the model's own, as `Trial.slowdown`; NaN before the first batch."""
        return self.statistics / self.model if self.model > 0 else float("nan")

    def plus(self, other: Spent) -> Spent:
        """Both together."""
        return Spent(*(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__))

    def to_json(self) -> dict[str, float]:
        """A JSON-ready dict; `from_json` reads it back."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, float]) -> Spent:
        """Read what `to_json` wrote, ignoring fields of a newer version.

        Raises:
            UnsoundError: a field is of another type, or below 0.
        """
        return amounts(build(cls, data))


def decide(both: Trial | None) -> SiteSet:
    """`paper+gemm` if measuring both is cheap enough, by share or by what it adds to the run, else `paper`.

    Args:
        both: a trial of both; None where it could not be made.
    """
    if both is None:
        return "paper"
    is_cheap = both.slowdown <= SLOWDOWN_LIMIT or both.added_seconds <= SHORT_SECONDS
    return "paper+gemm" if is_cheap else "paper"
