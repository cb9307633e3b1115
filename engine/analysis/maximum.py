"""M, the largest |x| of a model: all sites that share it, and how far it is from overflowing smaller formats.

- `Maximum`       M with its plateau and headroom
- `find_maximum`  from per-site magnitudes, final or live
- `find_largest_input`  the same of the GEMM inputs
- `without_m`     why a run has no M, in words
- `place_label`   sites in words, `L11 mlp_output, L11-L26 hidden`
- `headroom_bits` how many times a magnitude can double before a limit
- `bf16_step`     distance between neighbouring bfloat16 numbers
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.formats import E4M3_LIMIT, FP16_LIMIT, find_float
from engine.sites.site import HookPlan, headline_sites


@dataclass(frozen=True, slots=True)
class Maximum:
    """The largest |x| over the sites that count for M; over the GEMM inputs where those alone were measured.

    Attributes:
        magnitude: M.
        site: number of the first site, in forward order, that has exactly M (the reference's location).
        plateau: numbers of all sites within one bfloat16 step of M, in forward order.
        label: the plateau in words, `L11-L28 hidden`.
        step: that step.
        dtype: activation dtype the magnitudes were measured in.
        fp16_headroom_bits: log2(FP16_LIMIT / M); negative when M overflows float16. NaN with NaN or infinity anywhere,
            which no number of bits would be room for.
        e4m3_headroom_bits: log2(E4M3_LIMIT / M), and the same.
        overflows_fp16: M > FP16_LIMIT, or some site holds NaN or infinity: those count as beyond every limit.
        overflows_e4m3: M > E4M3_LIMIT, or the same: an unscaled e4m3 cast saturates.
        excluded_sites: how many sites of the plan hold NaN or infinity; `magnitude` is over the finite elements.
        is_m: False for the largest GEMM input, which is no M.
    """

    magnitude: float
    site: int
    plateau: tuple[int, ...]
    label: str
    step: float
    dtype: str
    fp16_headroom_bits: float
    e4m3_headroom_bits: float
    overflows_fp16: bool
    overflows_e4m3: bool
    excluded_sites: int = 0
    is_m: bool = True

    @property
    def name(self) -> str:
        """`M`, or what it is instead in a run without the paper's sites."""
        return "M" if self.is_m else "largest GEMM input"


def find_maximum(
    plan: HookPlan, magnitudes: NDArray[np.float64], dtype: str, excluded_sites: int = 0
) -> Maximum | None:
    """M over the sites that count for it.

    Args:
        plan: the hook plan.
        magnitudes: M_site of each site of the plan (or of its first ones), NaN where nothing was seen.
        dtype: activation dtype.
        excluded_sites: how many sites of the plan hold NaN or infinity.

    Returns:
        None before the first number, and where no site that counts has a finite element.
    """
    return _largest(plan, headline_sites(plan), magnitudes, dtype, excluded_sites)


def find_largest_input(
    plan: HookPlan, magnitudes: NDArray[np.float64], dtype: str, excluded_sites: int = 0
) -> Maximum | None:
    """The largest |x| that a matrix product reads; None where no such site has a number. Arguments as above."""
    inputs = [i for i, site in enumerate(plan.sites) if site.is_input]
    return _largest(plan, inputs, magnitudes, dtype, excluded_sites)


def without_m(plan: HookPlan, sites: str) -> str:
    """One sentence for a run whose sites, `--sites` of this name, do not count for M; empty for every other."""
    if any(site.counts_for_m for site in plan.sites):
        return ""
    return f"M is over the paper's sites, which this run did not measure (--sites {sites})"


def _largest(
    plan: HookPlan, sites: Iterable[int], magnitudes: NDArray[np.float64], dtype: str, excluded_sites: int
) -> Maximum | None:
    seen = [i for i in sites if i < len(magnitudes) and not math.isnan(magnitudes[i])]
    if not seen:
        return None
    first = max(seen, key=lambda i: (magnitudes[i], -i))
    top = float(magnitudes[first])
    step = bf16_step(top)
    plateau = tuple(i for i in seen if magnitudes[i] >= top - step) if top > 0 else (first,)
    return Maximum(
        magnitude=top,
        site=first,
        plateau=plateau,
        label=place_label(plan, plateau),
        step=step,
        dtype=dtype,
        fp16_headroom_bits=math.nan if excluded_sites else headroom_bits(top, FP16_LIMIT),
        e4m3_headroom_bits=math.nan if excluded_sites else headroom_bits(top, E4M3_LIMIT),
        overflows_fp16=top > FP16_LIMIT or excluded_sites > 0,
        overflows_e4m3=top > E4M3_LIMIT or excluded_sites > 0,
        excluded_sites=excluded_sites,
        is_m=plan.sites[first].counts_for_m,
    )


def headroom_bits(magnitude: float, limit: float) -> float:
    """log2(limit / magnitude): how often the magnitude may double; infinite for 0."""
    return math.log2(limit / magnitude) if magnitude > 0 else math.inf


def bf16_step(magnitude: float) -> float:
    """Distance between neighbouring bfloat16 numbers at this magnitude, 0 for 0."""
    if magnitude <= 0:
        return 0.0
    bf16, exponent = find_float("bf16"), math.frexp(magnitude)[1] - 1
    return math.ldexp(1.0, max(exponent, bf16.smallest_exponent) - bf16.fraction_bits)


def place_label(plan: HookPlan, sites: Iterable[int]) -> str:
    """Sites in words: neighbouring layers of a component joined, components in forward order."""
    layers: dict[str, list[int]] = {}
    for number in sites:
        site = plan.sites[number]
        layers.setdefault(site.component, [])
        if site.layer is not None and site.layer not in layers[site.component]:
            layers[site.component].append(site.layer)
    parts = []
    for component, numbers in layers.items():
        parts += [f"{run} {component}" for run in _runs(sorted(numbers))] or [component]
    return ", ".join(parts)


def _runs(numbers: list[int]) -> list[str]:
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return [f"L{run[0]}" if len(run) == 1 else f"L{run[0]}-L{run[-1]}" for run in runs]
