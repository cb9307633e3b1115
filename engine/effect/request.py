"""What a job of effects was asked for, out of a command's arguments (no torch).

- `Request`       interventions, scope, samples
- `read_request`  arguments -> request
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from engine.effect.errors import EffectError
from engine.effect.interventions import DEFAULT_NAMES, Ablate, Deploy, Intervention, Quantise, Scope, parse_intervention
from engine.effect.recipe import Recipe

SAMPLES: Final = 32
TOKENS: Final = 16_384
CALIBRATION: Final = 128


@dataclass(frozen=True, slots=True)
class Request:
    """A job: every intervention is measured on the same held-out samples.

    Attributes:
        interventions: in order, each once.
        scope: where quantisers work; ablations choose their own hidden state unless it is one site.
        samples, tokens: held out at most.
        calibration: samples at most from which thresholds and means are taken.
    """

    interventions: tuple[Intervention, ...]
    scope: Scope = Scope()  # noqa: RUF009  # frozen
    samples: int = SAMPLES
    tokens: int = TOKENS
    calibration: int = CALIBRATION

    @property
    def quantises(self) -> bool:
        """Whether any of them works on the scope's sites."""
        return any(isinstance(one, Quantise) for one in self.interventions)

    @property
    def ablates(self) -> bool:
        """Whether any of them is an ablation."""
        return any(isinstance(one, Ablate) for one in self.interventions)

    def to_json(self) -> dict[str, Any]:
        """The arguments of the command `effect`; `read_request` reads them back."""
        return {
            "schemes": [one.name for one in self.interventions if not isinstance(one, Deploy)],
            "recipes": [one.recipe.to_json() for one in self.interventions if isinstance(one, Deploy)],
            "scope": self.scope.to_json(),
            "samples": self.samples,
            "tokens": self.tokens,
            "calibration": self.calibration,
        }


def read_request(arguments: Mapping[str, Any]) -> Request:
    """The request of a command; what it does not say has its default. With recipes, no scheme is the default.

    Raises:
        EffectError: an unknown scheme, a scope that says two things, numbers below 1.
    """
    deployed = [Deploy(Recipe.from_json(one)) for one in arguments.get("recipes") or ()]
    names = [str(name) for name in arguments.get("schemes") or (() if deployed else DEFAULT_NAMES)]
    wanted: list[Intervention] = [*map(parse_intervention, names), *deployed]
    interventions = tuple({one.name: one for one in wanted}.values())
    amounts = {}
    for name, default in (("samples", SAMPLES), ("tokens", TOKENS), ("calibration", CALIBRATION)):
        amounts[name] = int(arguments.get(name) or default)
        if amounts[name] < 1:
            raise EffectError(f"{name} must be at least 1")
    return Request(interventions, Scope.from_json(arguments.get("scope") or {}), **amounts)
