"""FP8 per tensor: x' = scale * cast(x / scale), scale = T / largest number of the format, saturating.

- `FloatFormat`, `E4M3`, `E5M2`  the formats of the OCP 8-bit floating point specification (OFP8), finite part
- `round_to`      magnitudes rounded to a format, to nearest even, subnormals included
- `floating`      the error on a site
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.quantization.distribution import Distribution
from engine.quantization.metrics import QuantError
from engine.quantization.uniform import check_threshold, error_sums, split

_EXPONENT_MASK: Final = np.int64(0x7FF0_0000_0000_0000)


@dataclass(frozen=True, slots=True)
class FloatFormat:
    """A small floating point format.

    Attributes:
        name: `e4m3` or `e5m2`.
        fraction_bits: explicit bits of the significand.
        smallest_exponent: of the smallest normal number; subnormals have its spacing.
        largest: largest finite number.
    """

    name: str
    fraction_bits: int
    smallest_exponent: int
    largest: float

    @property
    def smallest_step(self) -> float:
        """The smallest subnormal."""
        return 2.0 ** (self.smallest_exponent - self.fraction_bits)


E4M3: Final = FloatFormat("e4m3", 3, -6, 448.0)
E5M2: Final = FloatFormat("e5m2", 2, -14, 57_344.0)


def round_to(magnitudes: NDArray[np.float64], form: FloatFormat) -> NDArray[np.float64]:
    """Non-negative numbers rounded to the format, half to even, what is larger than its largest saturated."""
    # With the fraction bits cleared a float64 is the power of two below it: the spacing follows from that.
    power = (np.ascontiguousarray(magnitudes).view(np.int64) & _EXPONENT_MASK).view(np.float64)
    step = np.maximum(power * 2.0**-form.fraction_bits, form.smallest_step)
    rounded: NDArray[np.float64] = np.rint(magnitudes / step) * step
    return np.minimum(rounded, form.largest)


def floating(distribution: Distribution, threshold: float, form: FloatFormat) -> QuantError:
    """The error of the format, scaled so that the threshold becomes its largest number.

    A threshold of `form.largest` means no scaling: a plain saturating cast.
    """
    scale = check_threshold(threshold) / form.largest
    side = distribution.folded
    first, last = split(side, scale * form.smallest_step / 2, threshold)
    middle = side.magnitudes[first:last]
    error = round_to(middle / scale, form) * scale - middle if scale > 0 else -middle
    return QuantError.of(distribution, error_sums(side, first, last, error, threshold), threshold, scale)
