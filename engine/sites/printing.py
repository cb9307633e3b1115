"""A hook plan as plain text: what is measured, what is left out, and why.

- `format_plan`    plan -> lines, for a terminal, a log or a note
- `number_ranges`  block numbers in few characters
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from engine.sites.site import COMPONENTS, HookPlan, Site

_BLOCK = re.compile(r"\.\d+(?=\.|$)")
MOST_RANGES = 6
_RESIDUAL = {
    "pre": "out = in + branches",
    "post": "branches are normalised before they are added",
    "inside": "the last branch adds the residual stream itself",
    "scaled": "branches are added times a constant",
    "parallel": "attention and MLP both read the block's input",
    "special": "not a sum of the measured branches",
    "unknown": "not checked: no forward was run",
}


@dataclass(frozen=True, slots=True)
class _Row:
    """One line of the table: the sites of a component that look alike."""

    component: str
    kind: str
    module: str
    what: str
    note: str
    layers: tuple[int, ...]


def format_plan(plan: HookPlan) -> str:
    """The plan as a table by component, then the parameters covered, what is left out and why, and notes.

    Args:
        plan: before or after the self-check; before it the residual kind reads `unknown`.

    Returns:
        Lines without trailing spaces, joined by newlines; `*` stands for the block's number in module paths.
    """
    lines = [
        f"{plan.family}: {_count(plan.layers, 'block')} of width {plan.hidden_size}, "
        f"{_count(len(plan.sites), 'site')}, called at {plan.text_model or 'the model itself'}",
        f"residual: {plan.residual} ({_RESIDUAL[plan.residual]})",
        "",
        *_table(_rows(plan.sites)),
        "",
        _coverage(plan),
    ]
    if plan.missing:
        lines += ["", "left out"]
        width = max(len(gap.component) for gap in plan.missing)
        order = {component: index for index, component in enumerate(COMPONENTS)}
        for gap in sorted(plan.missing, key=lambda gap: (order.get(gap.component, 99), gap.layers)):
            where = f"blocks {number_ranges(gap.layers)}: " if gap.layers else ""
            lines.append(f"  {gap.component:<{width}}  {where}{gap.reason}")
    if plan.notes:
        lines += ["", "notes", *(f"  {note}" for note in plan.notes)]
    return "\n".join(line.rstrip() for line in lines)


def number_ranges(numbers: Collection[int]) -> str:
    """`0-3, 7` for 0, 1, 2, 3, 7; of more than six ranges the first, the last and how many numbers there are."""
    parts: list[list[int]] = []
    for number in sorted(set(numbers)):
        if parts and number == parts[-1][-1] + 1:
            parts[-1][1:] = [number]
        else:
            parts.append([number])
    ranges = ["-".join(str(end) for end in part) for part in parts]
    if len(ranges) > MOST_RANGES:
        ranges[2:] = [f"... {ranges[-1]} ({len(set(numbers))} in all)"]
    return ", ".join(ranges)


def _rows(sites: Sequence[Site]) -> list[_Row]:
    """Sites grouped by what they have in common, in the order of `COMPONENTS`."""
    groups: dict[_Row, list[int]] = {}
    for site in sites:
        numbered = site.layer is not None or site.kind == "vision"
        module = _BLOCK.sub(".*", site.module, count=1) if numbered else site.module
        alike = _Row(site.component, site.kind, module, _what(site), site.note, ())
        groups.setdefault(alike, []).extend(() if site.layer is None else (site.layer,))
    order = {component: index for index, component in enumerate(COMPONENTS)}
    rows = [replace(alike, layers=tuple(layers)) for alike, layers in groups.items()]
    return sorted(rows, key=lambda row: order[row.component])


def _what(site: Site) -> str:
    """Which tensor of the module, in words."""
    words: list[str] = [site.capture]
    if site.element is not None:
        words.append(f"[{site.element}]")
    if site.columns is not None:
        words.append(f"channels {site.columns[0]}-{site.columns[1] - 1}")
    if site.layout == "expert":
        words = ["rows of each expert"]
    if site.layout == "PBTD":
        words.append("plane 0")
    return " ".join(words)


def _table(rows: Sequence[_Row]) -> list[str]:
    cells = [("component", "blocks", "kind", "module", "tensor", "")]
    for row in rows:
        cells.append((row.component, number_ranges(row.layers) or "-", row.kind, row.module, row.what, row.note))
    widths = [max(len(line[column]) for line in cells) for column in range(5)]
    return ["  ".join((*(f"{c:<{w}}" for c, w in zip(line, widths, strict=False)), line[5])) for line in cells]


def _coverage(plan: HookPlan) -> str:
    total, covered = plan.parameters_total, plan.parameters_covered
    if not total:
        return "no matrix products found in the text model"
    if not covered:
        return f"inputs of matrix products are not measured ({_size(total)} parameters); every other --sites does"
    share = "all" if covered == total else f"{covered / total:.1%}"
    return f"matrix products covered: {_size(covered)} of {_size(total)} parameters ({share})"


def _size(parameters: int) -> str:
    for unit, scale in (("B", 10**9), ("M", 10**6), ("k", 10**3)):
        if parameters >= scale:
            return f"{parameters / scale:.3g} {unit}"
    return str(parameters)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
