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

import difflib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from engine.effect.errors import EffectError
from engine.effect.recipe import Recipe, check_pattern
from engine.formats import QuantizationError
from engine.quantization.schemes import DEFAULT_SCHEMES, Scheme, parse_scheme
from engine.statistics.pass_sums import SMOOTH_SCHEMES, TENSOR_SCHEMES, PassScheme, find_scheme

Grain = Literal["tensor", "channel", "token", "group"]
Substitute = Literal["zero", "mean"]

DEFAULT_NAMES: Final = ("int8", "int8-token", "ablate-zero", "ablate-mean")
_FINE: Final = ("int8-keep2", "int8-token-keep2", "int6-token", "int4-token", "int4-g32", "int4-g128", "e4m3-token",
                "e5m2-token")  # fmt: skip
_VALUED: Final = ("int8-t12.5", "e4m3-unscaled")
_ABLATIONS: Final = ("ablate-zero", "ablate-mean")
PER_SITE: Final = tuple(scheme.name for scheme in DEFAULT_SCHEMES)
IN_BLOCKS: Final = tuple(scheme.name for scheme in (*TENSOR_SCHEMES, *SMOOTH_SCHEMES))
EXAMPLES: Final = ("none", *PER_SITE, *_VALUED, *IN_BLOCKS, *_FINE, *_ABLATIONS)

_KEEP: Final = re.compile(r"(?P<head>.+)-keep(?P<channels>\d+)")
_GRAIN: Final = re.compile(r"(?P<head>.+?)-(?P<grain>token|channel|g(?:roup)?(?P<size>\d+))")
_GRAINS: Final[dict[str, Grain]] = {"token": "token", "channel": "channel"}
_ABLATE: Final = re.compile(r"ablate-(?P<substitute>zero|mean)(?:@l?(?P<layer>\d+))?")


@dataclass(frozen=True, slots=True)
class Quantise:
    """Quantise and dequantise every tensor of the scope.

    Attributes:
        scheme: the quantiser; its policy chooses the threshold of grain `tensor`. One with blocks or smoothing of its
            own says everything itself, and grain, group and keep are not used. None changes nothing.
        grain: what shares a scale: the whole site and each channel (static, calibrated), each token and each group
            of a token (dynamic, from the values themselves).
        group: channels per group, 0 for other grains.
        keep: this many channels of a site, those with the largest |x| at calibration, are left as they are.
    """

    scheme: Scheme | PassScheme | None = None
    grain: Grain = "tensor"
    group: int = 0
    keep: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be computed.

        Raises:
            EffectError: a threshold policy where the scale follows from the values, asymmetric grains other than
                the tensor, kept channels under a policy that needs all of them, an empty group.
        """
        if not isinstance(self.scheme, Scheme):
            return
        if self.grain != "tensor" and (self.scheme.policy != "max_abs" or not self.scheme.is_symmetric):
            raise EffectError(f"{self.name}: per {self.grain} the scale is the largest |x|, symmetric; drop the rest")
        if self.keep and (self.scheme.policy not in ("max_abs", "value") or not self.scheme.is_symmetric):
            raise EffectError(f"{self.name}: channels can be kept under a max_abs or given threshold, as in int8-keep2")
        if self.grain == "group" and self.group < 2:
            raise EffectError(f"{self.name}: a group has at least 2 channels, as in int8-g32")

    @property
    def name(self) -> str:
        """The name `parse_intervention` reads."""
        if not isinstance(self.scheme, Scheme):
            return "none" if self.scheme is None else self.scheme.name
        grain = {"tensor": "", "group": f"-g{self.group}"}.get(self.grain, f"-{self.grain}")
        return self.scheme.name + grain + (f"-keep{self.keep}" if self.keep else "")

    @property
    def smooths(self) -> bool:
        """Whether it needs to know the weights that read its sites."""
        return isinstance(self.scheme, PassScheme) and self.scheme.alpha is not None

    @property
    def is_calibrated(self) -> bool:
        """Whether it needs numbers of other samples."""
        if not isinstance(self.scheme, Scheme):
            return self.scheme is not None and (self.smooths or self.scheme.name == "nvfp4")
        static = self.grain == "channel" or (self.grain == "tensor" and self.scheme.policy not in ("value", "unscaled"))
        return static or self.keep > 0 or not self.scheme.is_symmetric


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
    blocks = find_scheme(text)
    if blocks is not None and (blocks.element != "int8" or blocks.alpha is not None):
        return Quantise(blocks)
    head, keep, group = text, 0, 0
    grain: Grain = "tensor"
    if (kept := _KEEP.fullmatch(head)) is not None:
        head, keep = kept["head"], int(kept["channels"])
    if (fine := _GRAIN.fullmatch(head)) is not None:
        head, grain = fine["head"], _GRAINS.get(fine["grain"], "group")
        group = int(fine["size"] or 0)
    try:
        scheme = parse_scheme(head)
    except QuantizationError as error:
        raise EffectError(_unknown(text, error)) from None
    return Quantise(scheme, grain, group, keep)


def _unknown(text: str, error: QuantizationError) -> str:
    nearest = difflib.get_close_matches(text, EXAMPLES, n=1, cutoff=0.5)
    if nearest and nearest[0] != text:
        return f"there is no scheme '{text}'; did you mean {nearest[0]}?"
    return f"{error}; maxact-tui effect --help lists all, such as {', '.join(_ABLATIONS)}"


def accepted_names() -> list[tuple[str, str]]:
    """(what they do, names) of everything `parse_intervention` reads, from the registries of quantisers."""
    return [
        ("one scale per site, from the calibration samples", ", ".join(PER_SITE)),
        ("scales per token, channel, group or block; SmoothQuant", ", ".join(IN_BLOCKS)),
        ("int2 to int8, e4m3 and e5m2 combine with -token, -channel, -gN, -keepN, -qQ, -mse, -tT", ", ".join(_FINE)),
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
