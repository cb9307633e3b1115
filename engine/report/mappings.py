"""Proven smoothings as patterns of module names, and patterns for modules to be left alone.

- `Mapping`, `mappings`  one for each shape of block, and why other norms have none
- `block_patterns`       modules of blocks as one pattern for each kind
- `experts_pattern`      the linears that llm-compressor makes of fused experts

Names are llm-compressor's: `re:` patterns are matched from the beginning of a module's name.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from engine.sites.site import KNOWN_OFFSETS, OFFSET, HookPlan, Site, Smoothing

NOT_TRIED: Final = (
    "this session does not say which norms may be smoothed without harm (it is older than that check, or measured no "
    "inputs of matrix products); measure again to smooth"
)


@dataclass(frozen=True, slots=True)
class Mapping:
    """Patterns of the linears to balance, and of the module whose output is divided."""

    balance: tuple[str, ...]
    smooth: str


def mappings(plan: HookPlan, unfit: Collection[str] = ()) -> tuple[list[Mapping], list[str]]:
    """What may be smoothed, and why other norms may not, one line each.

    Args:
        plan: the session's; its smoothings were proven on the model.
        unfit: smoothed modules to be left out for what was measured (dead channels in float16).
    """
    if plan.smoothings is None:
        return [], [NOT_TRIED]
    why = dict.fromkeys(plan.unsmoothed)
    kept = []
    for one in plan.smoothings:
        if one.law == OFFSET and one.module not in KNOWN_OFFSETS:
            why[f"{_numbered(one)} multiplies by 1 + weight, and llm-compressor does not know {one.module}"] = None
        elif one.smooth in unfit:
            why[f"{_numbered(one)} has a channel that is always 0, whose weight would leave float16"] = None
        else:
            kept.append(one)
    return _patterns(kept, plan.layers), list(why)


def kept_smoothings(plan: HookPlan, found: Iterable[Mapping]) -> tuple[Smoothing, ...]:
    """The smoothings that these patterns mean."""
    smooth = [re.compile(one.smooth.removeprefix("re:")) for one in found]
    return tuple(one for one in plan.smoothings or () if any(pattern.match(one.smooth) for pattern in smooth))


def block_patterns(names: Iterable[tuple[str, int | None]], layers: int) -> list[str]:
    """Patterns that mean these modules, each with its block's number, one for each kind of module."""
    kinds: dict[str, list[int | None]] = {}
    for name, layer in names:
        kinds.setdefault(name if layer is None else _template(name, layer), []).append(layer)
    return [
        _pattern(kind, _numbers([one for one in having if one is not None], layers)) for kind, having in kinds.items()
    ]


def experts_pattern(site: Site) -> str | None:
    """The experts' linears that read a site of fused experts, once llm-compressor has made them of it."""
    part = {"expert_input": "(gate|up)_proj", "expert_down_input": "down_proj"}.get(site.component)
    return None if part is None else rf"re:{re.escape(site.module)}\.\d+\.{part}$"


def _numbered(one: Smoothing) -> str:
    return _template(one.smooth, one.layer).replace("{}", "N")


def _patterns(found: Iterable[Smoothing], layers: int) -> list[Mapping]:
    """Pairs that differ in the block's number alone become one; a pattern for all blocks where all have it."""
    shapes: dict[tuple[tuple[str, ...], str], list[int]] = {}
    for one in found:
        shape = (tuple(_template(name, one.layer) for name in one.balance), _template(one.smooth, one.layer))
        shapes.setdefault(shape, []).append(one.layer)
    result = []
    for (balance, smooth), having in shapes.items():
        number = _numbers(having, layers)
        result.append(Mapping(tuple(_pattern(name, number) for name in balance), _pattern(smooth, number)))
    return result


def _numbers(having: Iterable[int], layers: int) -> str:
    """A pattern for the numbers of these blocks."""
    found = sorted(set(having))
    return r"\d+" if found == list(range(layers)) else f"({'|'.join(map(str, found))})"


def _template(path: str, layer: int) -> str:
    """The path with `{}` for the block's number."""
    return re.sub(rf"(?<=\.){layer}(?=\.)", "{}", path.replace("{", "").replace("}", ""), count=1)


def _pattern(template: str, number: str) -> str:
    head, found, tail = template.partition("{}")
    return f"re:{re.escape(head)}{number if found else ''}{re.escape(tail)}$"
