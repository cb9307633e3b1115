"""What is done to activations, by name, and at which sites (no torch: the command line reads these names, too).

- `Quantise`           fake quantisation: `int8`, `int8-token`, `int4-g32`, `int8-channel-keep2`, `e4m3-q0.999`, `mxfp4`
- `Ablate`             massive activations set to zero or to their mean: `ablate-zero`, `ablate-mean@11`
- `Deploy`             a whole recipe of llm-compressor
- `Intervention`       any of them
- `parse_intervention` name -> intervention
- `accepted_names`     what it reads, in groups, for the help
- `Scope`              which sites quantisers work on
- `parse_layers`       `3-7,11` -> layers
- `format_layers`      layers -> `3-7,11`
- `DEFAULT_NAMES`      what is measured when nothing is named
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from engine.effect.errors import EffectError
from engine.effect.recipe import Recipe, check_pattern
from engine.formats import QuantizationError
from engine.scheme_names import FURTHER, OTHERS, UnknownNameError, nearest_name, parse_scheme
from engine.schemes import DEFAULT_SCHEMES, FULL_SCHEMES, Scheme

Substitute = Literal["zero", "mean"]

DEFAULT_NAMES: Final = ("int8", "int8-token", "ablate-zero", "ablate-mean")
_FINE: Final = ("int8-keep2", "int8-token-keep2", "int6-token", *FURTHER)
_PARTS: Final = "-token, -channel, -gN, -keepN, -qQ, -mse, -tT"
_VALUED: Final = ("int8-t12.5", "e4m3-unscaled")
_ABLATIONS: Final = ("ablate-zero", "ablate-mean")
PER_SITE: Final = tuple(scheme.name for scheme in DEFAULT_SCHEMES)
IN_BLOCKS: Final = tuple(scheme.name for scheme in FULL_SCHEMES)
EXAMPLES: Final = ("none", *PER_SITE, *_VALUED, *IN_BLOCKS, *_FINE, *_ABLATIONS)

_KEEP: Final = re.compile(r"(?P<head>.+)-keep(?P<channels>\d+)")
_ABLATE: Final = re.compile(r"ablate-(?P<substitute>zero|mean)(?:@l?(?P<layer>\d+))?")


@dataclass(frozen=True, slots=True)
class Quantise:
    """Quantise and dequantise every tensor of the scope.

    Attributes:
        scheme: the quantiser. None changes nothing.
        keep: this many channels of a site, those with the largest |x| at calibration, are left as they are.
    """

    scheme: Scheme | None = None
    keep: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be computed.

        Raises:
            EffectError: kept channels under a policy that needs all of them.
        """
        one = self.scheme
        if one is None or one.is_in_pass or not self.keep:
            return
        if one.policy not in ("max_abs", "value") or not one.is_symmetric:
            raise EffectError(f"{self.name}: channels can be kept under a max_abs or given threshold, as in int8-keep2")

    @property
    def name(self) -> str:
        """The name `parse_intervention` reads."""
        return "none" if self.scheme is None else self.scheme.name + (f"-keep{self.keep}" if self.keep else "")

    @property
    def smooths(self) -> bool:
        """Whether it needs to know the weights that read its sites."""
        return self.scheme is not None and self.scheme.alpha is not None

    @property
    def is_calibrated(self) -> bool:
        """Whether it needs numbers of other samples."""
        return self.scheme is not None and (self.scheme.needs_calibration or self.keep > 0)


@dataclass(frozen=True, slots=True)
class Ablate:
    """Set the massive activations of one hidden state to a constant, once, and let the model go on from there.

    As in arXiv 2402.17762, section 3: where massive activations first appear, their values are replaced in the
    hidden state that the next layer reads. Massive is what exceeds the site's threshold in this very forward.

    Attributes:
        substitute: zero; or, for each channel, the mean of its massive values in the calibration samples (the
            original takes the mean over other texts, too; massive values are almost constant, so that this leaves
            them in place).
        layer: decoder block after which it is done; None where M's own thread is born.
    """

    substitute: Substitute
    layer: int | None = None

    @property
    def name(self) -> str:
        """The name `parse_intervention` reads."""
        return f"ablate-{self.substitute}" + ("" if self.layer is None else f"@{self.layer}")


@dataclass(frozen=True, slots=True)
class Deploy:
    """Smooth, quantise and leave alone what a recipe says, in the whole text model.

    Attributes:
        recipe: what it says.
    """

    recipe: Recipe

    @property
    def name(self) -> str:
        """`recipe` and the file's name."""
        return f"recipe {self.recipe.name}"


Intervention = Quantise | Ablate | Deploy


def parse_intervention(name: str) -> Intervention:
    """The intervention of that name.

    Raises:
        EffectError: there is none; the nearest is named.
    """
    text = name.strip().lower()
    if text == "none":
        return Quantise()
    ablation = _ABLATE.fullmatch(text)
    if ablation is not None:
        substitute: Substitute = "zero" if ablation["substitute"] == "zero" else "mean"
        return Ablate(substitute, None if ablation["layer"] is None else int(ablation["layer"]))
    kept = _KEEP.fullmatch(text)
    try:
        scheme = parse_scheme(kept["head"] if kept is not None else text)
    except UnknownNameError as error:
        raise EffectError(_unknown(text, error)) from None
    except QuantizationError as error:
        raise EffectError(str(error)) from None
    return Quantise(scheme, int(kept["channels"]) if kept is not None else 0)


def _unknown(text: str, error: UnknownNameError) -> str:
    nearest = nearest_name(text, EXAMPLES)
    if nearest is not None:
        return f"there is no scheme '{text}'; did you mean {nearest}?"
    return f"{error}; maxact-tui effect --help lists all, such as {', '.join(_ABLATIONS)}"


def accepted_names() -> list[tuple[str, str]]:
    """(what they do, names) of everything `parse_intervention` reads, from the registries of quantisers."""
    return [
        ("one scale per site, from the calibration samples", ", ".join(PER_SITE)),
        ("scales per token, channel, group or block; SmoothQuant", ", ".join(IN_BLOCKS)),
        (f"int2 to int8, {', '.join(OTHERS)} combine with {_PARTS}", ", ".join(_FINE)),
        ("a threshold as given, and a plain cast", ", ".join(_VALUED)),
        ("massive activations replaced (@LAYER chooses where)", ", ".join((*_ABLATIONS, f"{_ABLATIONS[1]}@11"))),
        ("nothing changed, as a check", "none"),
    ]


@dataclass(frozen=True, slots=True)
class Scope:
    """Which sites quantisers work on. Without a site and a component: all inputs of matrix products.

    Attributes:
        site: one site by name.
        component: all sites of a component.
        layers: of a component or of the inputs, these decoder blocks only; None for all.
        exclude: patterns of sites and linear modules that are left as they are; see `engine.effect.recipe.matches`.
    """

    site: str | None = None
    component: str | None = None
    layers: tuple[int, ...] | None = None
    exclude: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what says two things.

        Raises:
            EffectError: a site together with a component or layers; a pattern that cannot be read.
        """
        for pattern in self.exclude:
            check_pattern(pattern)
        if self.site is not None and (self.component is not None or self.layers is not None):
            raise EffectError("give either one site, or a component with layers")

    @property
    def title(self) -> str:
        """The scope in words."""
        what = self.site or self.component or "all GEMM inputs"
        what = what if self.layers is None else f"{what}, layers {format_layers(self.layers)}"
        return f"{what}, without {', '.join(self.exclude)}" if self.exclude else what

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dict; `from_json` reads it back."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Scope:
        """Read what `to_json` wrote.

        Raises:
            EffectError: it says two things.
        """
        layers = data.get("layers")
        numbers = None if layers is None else tuple(int(n) for n in layers)
        return cls(data.get("site"), data.get("component"), numbers, tuple(data.get("exclude") or ()))


def parse_layers(text: str) -> tuple[int, ...]:
    """Layers out of `3-7,11`, ascending, each once.

    Raises:
        EffectError: it is not a list of numbers and ranges.
    """
    found: set[int] = set()
    for part in text.split(","):
        bounds = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?", part)
        if bounds is None or int(bounds[2] or bounds[1]) < int(bounds[1]):
            raise EffectError(f"'{text}' names no layers; write them as in 3-7,11")
        found.update(range(int(bounds[1]), int(bounds[2] or bounds[1]) + 1))
    return tuple(sorted(found))


def format_layers(layers: tuple[int, ...]) -> str:
    """`3-7,11`, what `parse_layers` reads."""
    parts: list[list[int]] = []
    for layer in layers:
        if parts and layer == parts[-1][-1] + 1:
            parts[-1].append(layer)
        else:
            parts.append([layer])
    return ",".join(str(part[0]) if len(part) == 1 else f"{part[0]}-{part[-1]}" for part in parts)
