"""What came out of a job of effects, as the session keeps it (no torch: the command line and the reports read it).

- `KIND`          of such results in a session
- `Numbers`       a change against the unchanged model, over all predictions
- `CategoryEffect`  the same by category, shorter
- `Massive`       what an ablation found and replaced
- `Outcome`       one intervention
- `Effect`        a job: its settings, the unchanged model, one outcome for each intervention
- `read_effects`  all jobs of a session
- `effects_of`    those among the results of a session
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from engine.base.stored import UnsoundError, build
from engine.effect.errors import EffectError
from engine.effect.interventions import Scope
from engine.scheme_names import title_of
from engine.session.damage import reading
from engine.session.reader import SessionReader
from engine.session.records import Result

KIND: Final = "effect"
RECIPE: Final = "recipe "


@dataclass(frozen=True, slots=True)
class Numbers:
    """A changed model against the unchanged one; population: next-token predictions of the held-out samples.

    Every token but the first of a sample is predicted; padding never. Predictions with numbers that are not finite
    are in none of the others.

    Attributes:
        tokens: predictions.
        nonfinite_tokens: predictions left out because NaN or infinity reached them.
        kl_mean, kl_q95, kl_max: KL(P_ref || P_changed) over the whole vocabulary, in nats.
        agreement: share of predictions whose most likely token is the same.
        perplexity, perplexity_reference: exp of the mean negative log likelihood.
        nll_difference: mean of the difference of negative log likelihoods, in nats; ln of the perplexities' ratio.
        nll_difference_error: its standard error over predictions.
    """

    tokens: int
    nonfinite_tokens: int
    kl_mean: float
    kl_q95: float
    kl_max: float
    agreement: float
    perplexity: float
    perplexity_reference: float
    nll_difference: float
    nll_difference_error: float


@dataclass(frozen=True, slots=True)
class CategoryEffect:
    """One category's part of `Numbers`."""

    category: str
    tokens: int
    perplexity_reference: float
    perplexity: float
    kl_mean: float
    agreement: float


@dataclass(frozen=True, slots=True)
class Massive:
    """What an ablation replaced.

    Attributes:
        site: the hidden state.
        layer: its decoder block.
        threshold: |x| above which an element was replaced.
        elements: how many were, in real tokens.
        kept: how many were above it but in a channel whose mean is unknown, and stayed.
        channels: the channels with a mean, and these means; empty for zeros.
    """

    site: str
    layer: int
    threshold: float
    elements: int
    kept: int = 0
    channels: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """One intervention.

    Attributes:
        name: what `parse_intervention` reads; of a recipe, `recipe` and its file.
        sites: how many sites were changed; of a recipe, how many linears.
        numbers: None if it could not be measured.
        categories: by category.
        massive: of an ablation.
        worst: (KL, sample, position) of the predicted tokens that moved most.
        problem: why there are no numbers, or what a reader must know of them; else empty.
        rounds: of a recipe, what it rounds: `weights`, `inputs`, or `weights and inputs`; empty for others, and in
            results of earlier versions.
    """

    name: str
    sites: int
    numbers: Numbers | None
    categories: tuple[CategoryEffect, ...] = ()
    massive: Massive | None = None
    worst: tuple[tuple[float, int, int], ...] = ()
    problem: str = ""
    rounds: str = ""

    @property
    def is_recipe(self) -> bool:
        """Whether a whole recipe was applied, which changes weights, too."""
        return self.name.startswith(RECIPE)


@dataclass(frozen=True, slots=True)
class Effect:
    """A job.

    Attributes:
        number, at: of the session's result; 0 before it is stored.
        scope: where quantisers worked.
        samples, tokens: held out, and their tokens.
        predictions: tokens predicted.
        calibration_samples, calibration_tokens: what thresholds and means come from.
        perplexity: of the unchanged model.
        outcomes: in the order asked for.
        notes: what is different from what was asked.
        seconds: computing time.
    """

    number: int
    at: float
    scope: Scope
    samples: int
    tokens: int
    predictions: int
    calibration_samples: int
    calibration_tokens: int
    perplexity: float
    outcomes: tuple[Outcome, ...]
    notes: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def where(self) -> str:
        """Where activations were changed, in words; recipes say that themselves."""
        if self.outcomes and all(one.is_recipe for one in self.outcomes):
            return ", ".join(("as recipes say", *(f"without {pattern}" for pattern in self.scope.exclude)))
        return self.scope.title

    @property
    def title(self) -> str:
        """One line that names it in a list."""
        return f"{self.where}: {', '.join(title_of(outcome.name) for outcome in self.outcomes)}"

    def to_json(self) -> dict[str, Any]:
        """The data of the session's result; unknown numbers are NaN."""
        data = asdict(self)
        del data["number"], data["at"]
        return data

    @classmethod
    def from_result(cls, result: Result) -> Effect:
        """Read what `to_json` wrote.

        Raises:
            UnsoundError: a field is missing, or of another type.
        """
        try:
            return build(cls, {**result.data, "number": result.number, "at": result.at})
        except EffectError as error:
            raise UnsoundError("a scope says two things") from error


def read_effects(reader: SessionReader) -> tuple[Effect, ...]:
    """All jobs of a session, oldest first."""
    return effects_of(reader.path, reader.results(KIND))


def effects_of(path: Path, results: Sequence[Result]) -> tuple[Effect, ...]:
    """The jobs among these results, in their order.

    Raises:
        DamagedError: one is not what a run writes; `path` is named.
    """
    with reading(path, "its effects"):
        return tuple(Effect.from_result(result) for result in results if result.kind == KIND)


def percent_change(numbers: Numbers) -> float:
    """By how much the perplexity grew, as a share; NaN where it is unknown."""
    if not math.isfinite(numbers.perplexity) or not numbers.perplexity_reference > 0:
        return numbers.perplexity if math.isinf(numbers.perplexity) else math.nan
    return numbers.perplexity / numbers.perplexity_reference - 1.0
