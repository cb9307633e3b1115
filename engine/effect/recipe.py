"""What a recipe for llm-compressor orders, out of its YAML (no torch).

- `Grid`         how weights or inputs are rounded
- `Group`        modules, and how theirs are
- `Recipe`       smoothing, groups, and modules left alone
- `read_recipe`  YAML -> recipe
- `matches`      whether a name of the recipe means a module

Presets and argument names are those of compressed-tensors 0.20 (`quantization/quant_scheme.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from typing import Any, Final

from engine.effect.errors import EffectError

_WRITES_ONE: Final = "maxact-tui export SESSION --format llm-compressor writes one"
STRATEGIES: Final = ("tensor", "channel", "token", "group", "tensor_group")
_KNOWN_MODIFIERS: Final = ("SmoothQuantModifier", "QuantizationModifier", "GPTQModifier")
_INT: Final[dict[str, Any]] = {"num_bits": 8, "type": "int"}
_FLOAT: Final[dict[str, Any]] = {"num_bits": 8, "type": "float"}
_NVFP4: Final[dict[str, Any]] = {"num_bits": 4, "type": "float", "strategy": "tensor_group", "group_size": 16}
_TOKEN: Final[dict[str, Any]] = {"strategy": "token", "dynamic": True}
_W8A8: Final = {"weights": {**_INT, "strategy": "channel"}, "input_activations": {**_INT, **_TOKEN}}
_PRESETS: Final[dict[str, dict[str, Any]]] = {
    "W8A8": _W8A8,
    "INT8": _W8A8,
    "W8A16": {"weights": {**_INT, "strategy": "group", "group_size": 128}},
    "W4A16": {"weights": {**_INT, "num_bits": 4, "strategy": "group", "group_size": 128}},
    "FP8": {"weights": {**_FLOAT, "strategy": "tensor"}, "input_activations": {**_FLOAT, "strategy": "tensor"}},
    "FP8_DYNAMIC": {"weights": {**_FLOAT, "strategy": "channel"}, "input_activations": {**_FLOAT, **_TOKEN}},
    "NVFP4": {"weights": _NVFP4, "input_activations": {**_NVFP4, "dynamic": "local"}},
    "NVFP4A16": {"weights": _NVFP4},
}


@dataclass(frozen=True, slots=True)
class Grid:
    """How a tensor is rounded.

    Attributes:
        bits: of an element.
        is_float: E4M3 of 8 bits, E2M1 of 4; else symmetric integers.
        strategy: what shares a scale, one of `STRATEGIES`.
        group: columns of a group, 0 without groups.
        dynamic: the scale follows from the values themselves; else from calibration samples.
    """

    bits: int
    is_float: bool
    strategy: str
    group: int = 0
    dynamic: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """Modules by name or class, and how their weights and inputs are rounded; None for not at all."""

    targets: tuple[str, ...]
    weights: Grid | None
    inputs: Grid | None


@dataclass(frozen=True, slots=True)
class Recipe:
    """What is done to a model.

    Attributes:
        name: of the file.
        groups: what is rounded; the first that means a module counts.
        ignore: modules that are left alone all the same.
        strength: SmoothQuant's alpha.
        mappings: (linears to balance, module to smooth), in order.
        notes: what is done in another way than the recipe says.
    """

    name: str
    groups: tuple[Group, ...]
    ignore: tuple[str, ...] = ()
    strength: float = 0.5
    mappings: tuple[tuple[tuple[str, ...], str], ...] = ()
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dict; `from_json` reads it back."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Recipe:
        """Read what `to_json` wrote."""

        def grid(found: Mapping[str, Any] | None) -> Grid | None:
            return None if found is None else Grid(**found)

        groups = (Group(tuple(g["targets"]), grid(g["weights"]), grid(g["inputs"])) for g in data["groups"])
        pairs = tuple((tuple(balance), str(smooth)) for balance, smooth in data["mappings"])
        return cls(
            data["name"], tuple(groups), tuple(data["ignore"]), data["strength"], pairs, tuple(data.get("notes", ()))
        )


def matches(pattern: str, name: str, classes: Iterable[str] = ()) -> bool:
    """Whether a pattern means a module: `re:` from the beginning of its name, shell wildcards, the name, a class."""
    if pattern.startswith("re:"):
        return re.match(pattern.removeprefix("re:"), name) is not None
    if any(letter in pattern for letter in "*?["):
        return fnmatchcase(name, pattern)
    return pattern == name or pattern in classes


def check_pattern(pattern: str) -> None:
    """Refuse a regular expression that is none.

    Raises:
        EffectError: it cannot be compiled.
    """
    if pattern.startswith("re:"):
        try:
            re.compile(pattern.removeprefix("re:"))
        except re.error as error:
            raise EffectError(f"'{pattern}' is no regular expression: {error}") from None


def read_recipe(text: str, name: str) -> Recipe:
    """The recipe in a file of llm-compressor.

    Args:
        text: YAML.
        name: what the file is called.

    Raises:
        EffectError: no YAML, no recipe, or something in it that cannot be computed here; one line.
    """
    import yaml

    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        where = str(error).splitlines()[-1].strip()
        raise EffectError(f"{name} is no YAML ({where}); {_WRITES_ONE}") from None
    found = _modifiers(data)
    if not found:
        raise EffectError(f"{name} holds no recipe for llm-compressor; {_WRITES_ONE}")
    groups: list[Group] = []
    ignore: list[str] = []
    strength, pairs, notes = 0.5, [], []
    for kind, fields in found:
        if kind not in _KNOWN_MODIFIERS:
            raise EffectError(f"{name}: {kind} cannot be tested here; there are {', '.join(_KNOWN_MODIFIERS)}")
        if not isinstance(fields, Mapping):
            raise EffectError(f"{name}: {kind} has no fields")
        if kind == "SmoothQuantModifier":
            strength = _strength(fields.get("smoothing_strength", 0.5), name)
            pairs += _pairs(fields.get("mappings"), name)
            continue
        if kind == "GPTQModifier":
            notes.append("GPTQ's weights are rounded to the nearest here")
        groups += _groups(fields, name)
        ignore += _names(fields.get("ignore") or (), name)
    return Recipe(name, tuple(groups), tuple(ignore), strength, tuple(pairs), tuple(notes))


def _strength(value: Any, name: str) -> float:
    """SmoothQuant's alpha.

    Raises:
        EffectError: it is no number from 0 to 1.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise EffectError(f"{name}: smoothing_strength is {value!r}, not a number from 0 to 1")
    return float(value)


def _modifiers(data: Any) -> list[tuple[str, Any]]:
    """Every (modifier, its fields), in the stages of the file or without them."""
    found: list[tuple[str, Any]] = []
    for key, value in data.items() if isinstance(data, Mapping) else ():
        word = str(key)
        if word.endswith("Modifier"):
            found.append((word, value))
        elif word.endswith(("_stage", "_modifiers", "modifiers")):
            found += _modifiers(value)
    return found


def _pairs(found: Any, name: str) -> list[tuple[tuple[str, ...], str]]:
    pairs = []
    for one in found or ():
        if not isinstance(one, Sequence) or len(one) != 2 or not isinstance(one[1], str):
            raise EffectError(f"{name}: a mapping is a list of linears and the module to smooth, not {one!r}")
        pairs.append((_names(one[0], name), one[1]))
    return pairs


def _groups(fields: Mapping[str, Any], name: str) -> list[Group]:
    targets = _names(fields.get("targets") or ("Linear",), name)
    scheme = fields.get("scheme")
    if isinstance(scheme, str):
        return [_group(_preset(scheme, name), targets, name)]
    if isinstance(scheme, Mapping):
        return [_group(_preset(str(key), name), _names(value, name), name) for key, value in scheme.items()]
    wanted = fields.get("config_groups")
    if not isinstance(wanted, Mapping) or not wanted:
        raise EffectError(f"{name}: neither scheme nor config_groups says how modules are quantised")
    return [_group(one, _names(one.get("targets") or targets, name), name) for one in wanted.values()]


def _preset(scheme: str, name: str) -> dict[str, Any]:
    found = _PRESETS.get(scheme.upper())
    if found is None:
        raise EffectError(f"{name}: scheme {scheme} cannot be tested here; there are {', '.join(_PRESETS)}")
    return found


def _group(fields: Mapping[str, Any], targets: tuple[str, ...], name: str) -> Group:
    if fields.get("output_activations"):
        raise EffectError(f"{name}: output_activations cannot be tested here; take them out")
    weights, inputs = (fields.get(key) for key in ("weights", "input_activations"))
    return Group(targets, _grid(weights, name, dynamic=False), _grid(inputs, name, dynamic=None))


def _grid(fields: Any, name: str, *, dynamic: bool | None) -> Grid | None:
    if not fields:
        return None
    bits, kind = int(fields.get("num_bits", 8)), str(fields.get("type", "int"))
    group = int(fields.get("group_size") or 0)
    strategy = str(fields.get("strategy") or ("group" if group else "tensor"))
    fits_float = (bits, strategy) == (4, "tensor_group") or (bits == 8 and strategy != "tensor_group")
    fits = fits_float if kind == "float" else 2 <= bits <= 8 and strategy != "tensor_group"
    is_group = strategy in ("group", "tensor_group")
    if kind not in ("int", "float") or strategy not in STRATEGIES or not fits or is_group != (group > 0):
        raise EffectError(f"{name}: {bits} bits, {kind}, {strategy}, groups of {group} cannot be tested here")
    if fields.get("symmetric", True) is not True:
        raise EffectError(f"{name}: asymmetric quantisers cannot be tested here; set symmetric: true")
    is_dynamic = bool(fields.get("dynamic", False)) if dynamic is None else dynamic
    return Grid(bits, kind == "float", strategy, group, is_dynamic)


def _names(found: Any, name: str) -> tuple[str, ...]:
    words = (found,) if isinstance(found, str) else tuple(found)
    for word in words:
        if not isinstance(word, str):
            raise EffectError(f"{name}: {word!r} is no name of a module")
        check_pattern(word)
    return words
