"""Small floats per tensor: x' = scale * cast(x / scale), scale = T / largest number of the format, saturating.

- `floating`  the error on a site
"""

from __future__ import annotations

from engine.formats import FloatFormat, round_to
from engine.quantization.distribution import Distribution
from engine.quantization.metrics import QuantError
from engine.quantization.uniform import check_threshold, error_sums, split


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
