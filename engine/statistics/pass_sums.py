"""What quantisers cost that no histogram can tell, because their scales change within a tensor: sums.

numpy only. The sums are taken in the pass (`engine.statistics.pass_meter`) over evaluation samples.

- `SUM_FIELDS`  what is summed for each scheme
- `PassSums`    the sums of one site, plain additions of float64
- `merge_sums`  two of them as one
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.base.stored import UnsoundError
from engine.schemes import Scheme
from engine.statistics.declared import array, read_arrays

SUM_FIELDS: Final = (
    "squared_error",
    "absolute_error",
    "signal_squares",
    "absolute_signal",
    "clipped_squares",
    "clipped",
    "elements",
    "nonfinite",
)
_COUNTS: Final = [SUM_FIELDS.index(name) for name in ("clipped", "elements", "nonfinite")]


@dataclass(frozen=True, slots=True, eq=False)
class PassSums:
    """The sums of one site over evaluation samples; two of them merge by addition, scheme by scheme.

    Attributes:
        names: the schemes that were applied.
        table: float64 [schemes, len(SUM_FIELDS)]. Errors are x' - x in the activation's unit, over finite elements;
            `clipped` counts elements beyond the largest number their scale can hold, `clipped_squares` is their part
            of the squared error, `nonfinite` counts the elements left out.
    """

    names: tuple[str, ...] = field(
        metadata=array(("S",), "<U32", "", "by name", "which quantisers were summed in the pass")
    )
    table: NDArray[np.float64] = field(
        metadata=array(("S", len(SUM_FIELDS)), "f8", 0, "by name", "the sums of quantisers taken in the pass")
    )

    @classmethod
    def empty(cls, schemes: Iterable[Scheme]) -> PassSums:
        """Nothing summed yet for these schemes."""
        names = tuple(scheme.name for scheme in schemes)
        return cls(names, np.zeros((len(names), len(SUM_FIELDS))))

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """`names` and `table` as arrays; `from_arrays` reads them back."""
        return {"names": np.array(self.names, "<U32"), "table": self.table}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> PassSums | None:
        """Read what `to_arrays` gave; None where one of the two is not there: sums without names say nothing.

        Raises:
            UnsoundError: the arrays do not belong together.
        """
        if not {"names", "table"} <= arrays.keys():
            return None
        found, _ = read_arrays(cls, arrays, {})
        names = tuple(str(name) for name in found["names"])
        if len(set(names)) < len(names):
            raise UnsoundError("a quantiser is named twice")
        if not np.isfinite(found["table"][:, _COUNTS]).all():
            raise UnsoundError("table holds counts that are no numbers")
        return cls(names, found["table"])

    def row(self, name: str) -> NDArray[np.float64] | None:
        """The sums of one scheme, float64 [len(SUM_FIELDS)]; None if it was not applied."""
        return self.table[self.names.index(name)] if name in self.names else None


def merge_sums(a: PassSums, b: PassSums) -> PassSums:
    """Sums over disjoint elements as one; a scheme that only one of them has is taken over as it is."""
    names = (*a.names, *(name for name in b.names if name not in a.names))
    table = np.zeros((len(names), len(SUM_FIELDS)))
    for one in (a, b):
        places = [names.index(name) for name in one.names]
        table[places] += one.table
    return PassSums(names, table)
