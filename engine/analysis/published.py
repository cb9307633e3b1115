"""The 27 checkpoints of "Measuring Maximum Activations in Open Large Language Models" (arXiv 2605.15572).

- `SOURCE`              where the table comes from
- `Checkpoint`          one row
- `published`           all rows, in the paper's order
- `TIER_NAMES`, `tier`, `tier_range`  T1 to T5 by M; what one of them means
- `Standing`, `standing`  where a model stands among them
- `protocol_differences`  what was measured differently from the paper
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

from engine.base.job import Job
from engine.base.naming import corpus_name

SOURCE: Final = "arXiv 2605.15572"
TIERS: Final = ((2e3, "T1"), (5e3, "T2"), (5e4, "T3"), (2e5, "T4"))
TIER_NAMES: Final = (*(name for _, name in TIERS), "T5")
_PAPER_SAMPLES: Final = 5_000


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One published checkpoint.

    Attributes:
        name, family, parameters, model_type: of the model.
        layers, hidden_size: its shape.
        signed_maximum: the element of largest |x|, with its sign.
        location: the first site that attains it, in the reference's words.
        passes_token_median, passes_layer_median: Sun's criterion by the two medians.
        layer_median_ratio: largest ratio of a site's maximum to its layer median.
        jump_layer, jump_ratio: the largest step between neighbouring layers.
    """

    name: str
    family: str
    parameters: str
    model_type: str
    layers: int
    hidden_size: int
    signed_maximum: float
    location: str
    passes_token_median: bool
    passes_layer_median: bool
    layer_median_ratio: float
    jump_layer: int
    jump_ratio: float

    @property
    def magnitude(self) -> float:
        """M."""
        return abs(self.signed_maximum)

    @property
    def tier(self) -> str:
        """T1 to T5."""
        return tier(self.magnitude)


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a model stands among the published checkpoints.

    Attributes:
        tier: T1 to T5.
        larger: how many of them have a larger M.
        of: how many there are.
        next_above, next_below: the neighbours in M, None at the ends; an equal M counts as below.
    """

    tier: str
    larger: int
    of: int
    next_above: Checkpoint | None
    next_below: Checkpoint | None


@cache
def published() -> tuple[Checkpoint, ...]:
    """The published checkpoints, in the paper's order."""
    text = (files("engine.analysis") / "data" / "published_checkpoints.csv").read_text(encoding="utf-8")
    return tuple(_checkpoint(row) for row in csv.DictReader(text.splitlines()))


def tier(magnitude: float) -> str:
    """T1 below 2,000, T2 below 5,000, T3 below 50,000, T4 below 200,000, T5 above."""
    return next((name for limit, name in TIERS if magnitude < limit), "T5")


def tier_range(name: str) -> str:
    """What a tier means: `M from 5,000 to 50,000`."""
    limits = [limit for limit, _ in TIERS]
    place = TIER_NAMES.index(name)
    if place == 0:
        return f"M below {limits[0]:,.0f}"
    if place == len(limits):
        return f"M of {limits[-1]:,.0f} and more"
    return f"M from {limits[place - 1]:,.0f} to {limits[place]:,.0f}"


def standing(magnitude: float) -> Standing:
    """Where a model with this M stands."""
    rows = sorted(published(), key=lambda row: row.magnitude)
    above = [row for row in rows if row.magnitude > magnitude]
    below = [row for row in rows if row.magnitude <= magnitude]
    return Standing(tier(magnitude), len(above), len(rows), above[0] if above else None, below[-1] if below else None)


def protocol_differences(job: Job, dtype: str, samples: int) -> tuple[str, ...]:
    """One line for everything measured differently from the paper, the corpus always among it."""
    lines = [f"corpus: {corpus_name(job.corpus)}; the paper's corpus is another, of 5,000 samples from several domains"]
    if samples != _PAPER_SAMPLES:
        lines.append(f"samples: {samples:,}; the paper used {_PAPER_SAMPLES:,}")
    if dtype != "bfloat16":
        lines.append(f"dtype: {dtype}; the paper ran bfloat16")
    if job.policy != "raw":
        lines.append(f"special tokens: policy {job.policy}; the paper added none")
    return tuple(lines)


def _checkpoint(row: dict[str, str]) -> Checkpoint:
    return Checkpoint(
        name=row["checkpoint"],
        family=row["family"],
        parameters=row["parameters"],
        model_type=row["model_type"],
        layers=int(row["layers"]),
        hidden_size=int(row["hidden_size"]),
        signed_maximum=float(row["m_signed"]),
        location=row["location"],
        passes_token_median=row["sun_pass_token_median"] == "yes",
        passes_layer_median=row["sun_pass_layer_median"] == "yes",
        layer_median_ratio=float(row["max_layer_median_ratio"]),
        jump_layer=int(row["jump_layer"]),
        jump_ratio=float(row["jump_ratio"]),
    )
