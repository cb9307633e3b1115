"""What quantisers cost that no histogram can tell, because their scales change within a tensor: schemes and sums.

numpy only. The sums are taken in the pass (`engine.statistics.quant_meter`) over evaluation samples.

- `PassScheme`      one such quantiser, by name
- `TENSOR_SCHEMES`  those of every site; `SMOOTH_SCHEMES`, those of inputs of matrix products
- `find_scheme`     a name -> scheme
- `SUM_FIELDS`      what is summed for each scheme
- `PassSums`        the sums of one site, plain additions of float64
- `merge_sums`      two of them as one
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from engine.statistics.declared import array, read_arrays
from engine.stored import UnsoundError

ScaleOf = Literal["token", "channel", "block"]

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


@dataclass(frozen=True, slots=True)
class PassScheme:
    """A quantiser with a scale for each token, channel or block.

    Attributes:
        name: `int8-token`, `mxfp4`, `int8-token-smooth0.5`.
        label: one line that says what it does.
        bits: of an element, scales not counted.
        element: `int8`, or the element format `e4m3`, `e5m2`, `e2m1`.
        scale_of: what shares a scale: a token (taken from itself), a channel (taken from the calibration samples), or
            a block of neighbouring channels of one token (taken from itself).
        block: channels of a block, 0 without blocks; the last block of a token may be shorter.
        scale_bits: of a stored scale, 0 where there are too few scales to matter.
        alpha: SmoothQuant's migration strength; None without smoothing.
    """

    name: str
    label: str
    bits: int
    element: str
    scale_of: ScaleOf
    block: int = 0
    scale_bits: int = 0
    alpha: float | None = None

    @property
    def source(self) -> str:
        """How its errors came to be known: summed while the model ran."""
        return "in pass"

    @property
    def bits_with_scales(self) -> float:
        """Bits an element takes with its share of its block's scale."""
        return self.bits + (self.scale_bits / self.block if self.block else 0.0)


TENSOR_SCHEMES: Final = (
    PassScheme("int8-token", "INT8, a scale per token, taken from the token", 8, "int8", "token"),
    PassScheme("int8-channel", "INT8, a scale per channel, from the calibration samples", 8, "int8", "channel"),
    PassScheme("int8-g32", "INT8, a scale per 32 channels of a token", 8, "int8", "block", 32, 16),
    PassScheme("int8-g64", "INT8, a scale per 64 channels of a token", 8, "int8", "block", 64, 16),
    PassScheme("int8-g128", "INT8, a scale per 128 channels of a token", 8, "int8", "block", 128, 16),
    PassScheme("mxfp8-e4m3", "OCP MXFP8 E4M3, a power of two per 32 channels", 8, "e4m3", "block", 32, 8),
    PassScheme("mxfp8-e5m2", "OCP MXFP8 E5M2, a power of two per 32 channels", 8, "e5m2", "block", 32, 8),
    PassScheme("mxfp4", "OCP MXFP4, a power of two per 32 channels", 4, "e2m1", "block", 32, 8),
    PassScheme("nvfp4", "NVFP4, an E4M3 scale per 16 channels and one per tensor", 4, "e2m1", "block", 16, 8),
)
SMOOTH_ALPHAS: Final = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
SMOOTH_SCHEMES: Final = tuple(
    PassScheme(
        f"int8-token-smooth{alpha:g}",
        f"INT8 per token after SmoothQuant with alpha {alpha:g}; what it does to the weights is not counted",
        8,
        "int8",
        "token",
        alpha=alpha,
    )
    for alpha in SMOOTH_ALPHAS
)
_BY_NAME: Final = {scheme.name: scheme for scheme in (*TENSOR_SCHEMES, *SMOOTH_SCHEMES)}


def find_scheme(name: str) -> PassScheme | None:
    """The scheme of that name, or of the shorter one it is shown by (`int8-smooth0.5`); None for an unknown one."""
    return _BY_NAME.get(name.replace("int8-smooth", "int8-token-smooth"))


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
    def empty(cls, schemes: Iterable[PassScheme]) -> PassSums:
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
