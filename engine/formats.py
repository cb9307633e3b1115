"""Number formats: what is known of each stands here once, for histograms, torch, compiled code, effects and reports.

- `FloatFormat`, `IntegerFormat`, `CodeBook`  the kinds; `Format`, any of them
- `FORMATS`       every format by name; `find_float`, `find_integer` give those of one kind
- `ELEMENTS`      those that quantisers round to
- `round_to`      magnitudes rounded to a small float, in numpy
- `FP16_LIMIT`, `E4M3_LIMIT`  the limits that activations are held against
- `QuantizationError`

numpy only. Sources: OCP 8-bit Floating Point Specification (OFP8) 1.0 for E4M3 and E5M2; OCP Microscaling Formats (MX)
Specification 1.0, section 5.3, for FP6 and FP4; IEEE 754 for fp16.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

INTEGER_BITS: Final = range(2, 9)
_MOST_ELEMENT_BITS: Final = 8
_EXPONENT_MASK: Final = np.int64(0x7FF0_0000_0000_0000)


class QuantizationError(ValueError):
    """A format or quantiser that does not exist; the message is one line that names what does."""


@dataclass(frozen=True, slots=True)
class FloatFormat:
    """A floating point format with subnormals; what is too large for it saturates.

    Attributes:
        name: such as `e4m3`.
        exponent_bits: of the exponent, whose bias is 2^(exponent_bits - 1) - 1.
        fraction_bits: explicit bits of the significand.
        largest: largest finite number; formats differ in what they give to NaN and infinity.
        microscaled: name of the quantiser with a power of two per 32 channels (MX); empty if there is none.
    """

    name: str
    exponent_bits: int
    fraction_bits: int
    largest: float
    microscaled: str = ""

    @property
    def bits(self) -> int:
        """Of an element."""
        return 1 + self.exponent_bits + self.fraction_bits

    @property
    def smallest_exponent(self) -> int:
        """Of the smallest normal number; subnormals have its spacing."""
        return 2 - int(2 ** (self.exponent_bits - 1))

    @property
    def largest_exponent(self) -> int:
        """Of the largest finite number."""
        return math.frexp(self.largest)[1] - 1

    @property
    def smallest_step(self) -> float:
        """The smallest subnormal."""
        return 2.0 ** (self.smallest_exponent - self.fraction_bits)

    @property
    def title(self) -> str:
        """`FP8 E4M3`."""
        return f"FP{self.bits} {self.name.upper()}"


@dataclass(frozen=True, slots=True)
class IntegerFormat:
    """Integers: symmetric ones within +-`level`; asymmetric ones all 2^bits levels, zero exactly representable.

    Attributes:
        bits: of an element.
        is_symmetric: the range is the same on both sides of zero.
    """

    bits: int
    is_symmetric: bool = True

    @property
    def name(self) -> str:
        """`int8`, `int8-asym`."""
        return f"int{self.bits}" + ("" if self.is_symmetric else "-asym")

    @property
    def level(self) -> int:
        """The largest level: 2^(bits-1) - 1, or, counted from the lowest, 2^bits - 1."""
        return int(2 ** (self.bits - 1 if self.is_symmetric else self.bits)) - 1

    @property
    def largest(self) -> float:
        """What the threshold of a symmetric quantiser becomes."""
        return float(self.level)

    @property
    def title(self) -> str:
        """`INT8`, `INT8 asymmetric`."""
        return f"INT{self.bits}" + ("" if self.is_symmetric else " asymmetric")


@dataclass(frozen=True, slots=True)
class CodeBook:
    """A list of levels; a number becomes the nearest, the lower one half-way between two.

    Attributes:
        name: of the format.
        levels: ascending, zero among them, the largest magnitude being 1.
    """

    name: str
    levels: tuple[float, ...]

    @property
    def bits(self) -> int:
        """Of an element."""
        return (len(self.levels) - 1).bit_length()

    @property
    def largest(self) -> float:
        """What the threshold becomes."""
        return max(map(abs, self.levels))

    @property
    def boundaries(self) -> tuple[float, ...]:
        """Half-way between neighbouring levels."""
        return tuple((low + high) / 2 for low, high in zip(self.levels, self.levels[1:], strict=False))

    @property
    def title(self) -> str:
        """`NF4`."""
        return self.name.upper()


Format = FloatFormat | IntegerFormat | CodeBook

# QLoRA (arXiv 2305.14314), appendix E.
_NF4: Final = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
    -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
)  # fmt: skip
_TABLE: Final[tuple[Format, ...]] = (
    *(IntegerFormat(bits, is_symmetric) for is_symmetric in (True, False) for bits in INTEGER_BITS),
    FloatFormat("e4m3", 4, 3, 448.0, "mxfp8-e4m3"),
    FloatFormat("e5m2", 5, 2, 57_344.0, "mxfp8-e5m2"),
    FloatFormat("e2m3", 2, 3, 7.5, "mxfp6-e2m3"),
    FloatFormat("e3m2", 3, 2, 28.0, "mxfp6-e3m2"),
    FloatFormat("e2m1", 2, 1, 6.0, "mxfp4"),
    CodeBook("nf4", _NF4),
    FloatFormat("fp16", 5, 10, 65_504.0),
    FloatFormat("bf16", 8, 7, (2 - 2.0**-7) * 2.0**127),
)

FORMATS: Final = {one.name: one for one in _TABLE}
ELEMENTS: Final = {name: one for name, one in FORMATS.items() if one.bits <= _MOST_ELEMENT_BITS}


def find_float(name: str) -> FloatFormat:
    """The floating point format of that name."""
    found = FORMATS[name]
    assert isinstance(found, FloatFormat)
    return found


def find_integer(bits: int, *, is_symmetric: bool = True) -> IntegerFormat:
    """The integers of so many bits.

    Raises:
        QuantizationError: there are none of so many.
    """
    found = FORMATS.get(IntegerFormat(bits, is_symmetric).name) if bits in INTEGER_BITS else None
    if not isinstance(found, IntegerFormat):
        raise QuantizationError(no_integer(bits))
    return found


def no_integer(bits: int) -> str:
    """One line for integers that do not exist."""
    return f"{bits} bits: integer quantisers have {INTEGER_BITS[0]} to {INTEGER_BITS[-1]}"


FP16_LIMIT: Final = FORMATS["fp16"].largest
E4M3_LIMIT: Final = FORMATS["e4m3"].largest


def round_to(magnitudes: NDArray[np.float64], form: FloatFormat) -> NDArray[np.float64]:
    """Non-negative numbers rounded to the format, half to even, what is larger than its largest saturated."""
    # With the fraction bits cleared a float64 is the power of two below it: the spacing follows from that.
    power = (np.ascontiguousarray(magnitudes).view(np.int64) & _EXPONENT_MASK).view(np.float64)
    step = np.maximum(power * 2.0**-form.fraction_bits, form.smallest_step)
    rounded: NDArray[np.float64] = np.rint(magnitudes / step) * step
    return np.minimum(rounded, form.largest)
