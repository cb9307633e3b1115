"""`PartTotals`: what is kept of one site over a part of a run, its calibration or its evaluation samples.

- `PartTotals`   the arrays, declared as those of `SiteTotals` are
- `merge_parts`  two of them over different samples as one
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.statistics.declared import RULES, array, declared, read_arrays
from engine.statistics.totals import PATTERNS


@dataclass(frozen=True, slots=True, eq=False)
class PartTotals:
    """The sufficient statistics of one site over a part of a run.

    Attributes:
        histogram: int64 [65536], as of `SiteTotals`.
        extremes: float64 [2], likewise; of calibration samples only.
        channel_max: float32 [D], likewise; of calibration samples only.
        weight_max: float32 [D], the largest |w| of each input column of the weights that read the site; where they
            are plain matrices, and quantisers are summed in the pass.
        missing: the arrays that are not kept of this part, or that the session does not hold.
    """

    histogram: NDArray[np.int64] = field(
        metadata=array((PATTERNS,), "i8", 0, "add", "the histogram of a part of the run (quantisers)", "elements")
    )
    extremes: NDArray[np.float64] = field(
        metadata=array((2,), "f8", (-np.inf, np.inf), "extremes", "the extremes of calibration samples", "activation")
    )
    channel_max: NDArray[np.float32] = field(
        metadata=array(("D",), "f4", 0, "maximum", "the maxima of channels over calibration samples", "activation")
    )
    weight_max: NDArray[np.float32] = field(
        metadata=array(("D",), "f4", 0, "maximum", "the maxima of the weights that read a site")
    )
    missing: frozenset[str] = frozenset()

    @property
    def limits(self) -> tuple[float, float] | None:
        """Exact (max, min); None where they are not known."""
        high, low = self.extremes.tolist()
        return (high, low) if high >= low else None

    def has(self, *names: str) -> bool:
        """Whether all of these arrays were kept."""
        return self.missing.isdisjoint(names)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Every array that was kept, by name (not copied)."""
        return {name: getattr(self, name) for name in declared(PartTotals) if name not in self.missing}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> PartTotals:
        """Read what `to_arrays` gave; an array that is not there was not kept.

        Raises:
            UnsoundError: an array has another shape, or another kind of numbers, than was written.
        """
        found, missing = read_arrays(cls, arrays, {})
        return cls(**found, missing=missing)


def merge_parts(a: PartTotals, b: PartTotals) -> PartTotals:
    """Two parts over different samples as one; what one of them lacks, the whole lacks."""
    missing = a.missing | b.missing
    found = {
        name: RULES[one.rule](getattr(a, name), getattr(b, name)) if name not in missing else getattr(a, name)
        for name, one in declared(PartTotals).items()
    }
    return PartTotals(**found, missing=missing)
