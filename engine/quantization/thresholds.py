"""Where to clip: the threshold T of a site by different policies.

- `max_abs`             nothing is clipped
- `quantile`            the exact quantile of |x|
- `reference_quantile`  as the code of arXiv 2605.15572 takes it, from 2,048 linear bins
- `mse_optimal`         the T with the least squared error

A T taken from one distribution (calibration samples) may be used on another (evaluation samples).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.formats import QuantizationError, find_integer
from engine.quantization.distribution import Distribution

REFERENCE_BINS: Final = 2_048
_CANDIDATES: Final = 128
# The estimate is close from 4 bits up; below, half a step reaches most of the distribution and more is measured.
_EXACT_CANDIDATES: Final = (2, 5)
_REFINEMENTS: Final = (3, 8)

_GRID: Final = np.geomspace(2.0**-16, 1.0, _CANDIDATES)

SquaredError = Callable[[float], float]


def check_level(level: float) -> float:
    """The quantile's level itself.

    Raises:
        QuantizationError: not within (0, 1].
    """
    if not 0 < level <= 1:
        raise QuantizationError(f"a quantile of {level}: give one above 0 and up to 1, such as 0.999")
    return level


def max_abs(distribution: Distribution) -> float:
    """The largest |x|."""
    return distribution.largest


def quantile(distribution: Distribution, level: float) -> float:
    """The level-quantile of |x|: the element at place floor(level (n - 1)) of the ascending order, from 0."""
    side, zeros = distribution.folded, distribution.count - distribution.folded.running_count[-1]
    place = math.floor(check_level(level) * (distribution.count - 1))
    if place < zeros or not len(side.magnitudes):
        return 0.0
    return float(side.magnitudes[int(side.running_count.searchsorted(place - zeros, "right")) - 1])


def reference_quantile(distribution: Distribution, level: float, bins: int = REFERENCE_BINS) -> float:
    """The lower edge of the linear bin over [0, max] in which the running count reaches level x n.

    With massive activations one bin is wide: the result is then a multiple of max / 2047, far from the quantile.
    The division is done in float32, as there.
    """
    side, top = distribution.folded, distribution.largest
    if top == 0:
        return 0.0
    counts = np.zeros(bins)
    counts[0] = distribution.count - side.running_count[-1]
    places = np.floor(side.magnitudes.astype(np.float32) / np.float32(top) * np.float32(bins - 1)).astype(np.int64)
    counts += np.bincount(np.clip(places, 0, bins - 1), side.counts, bins)
    target = max(1, math.ceil(check_level(level) * distribution.count))
    return top * int(np.searchsorted(np.cumsum(counts), target)) / (bins - 1)


def mse_optimal(distribution: Distribution, bits: int, squared_error: SquaredError) -> float:
    """The threshold with the least squared error, found to within 0.15 dB of it.

    Where most elements lie within two octaves below max, bfloat16's own steps are as coarse as the quantiser's, and
    a threshold whose grid happens to meet them can be up to half a dB better than the one found.

    Candidates between max / 2^16 and max are ranked by an estimate (error of elements below half a step, s^2 / 12
    between, clipping above), the best are measured exactly, and the place between their neighbours is narrowed.

    Args:
        distribution: of the site.
        bits: of the quantiser; fixes the step of the estimate.
        squared_error: the exact sum of squared errors at a threshold.
    """
    top = distribution.largest
    if top == 0:
        return 0.0
    coarse = int(bits < 4)
    grid = top * _GRID
    order = np.argsort(_estimate(distribution, grid, bits), kind="stable").tolist()
    errors = {i: squared_error(float(grid[i])) for i in {*order[: _EXACT_CANDIDATES[coarse]], _CANDIDATES - 1}}
    best = min(errors, key=lambda i: (errors[i], i))
    found, error = float(grid[best]), errors[best]
    low, high = float(grid[max(best - 1, 0)]), float(grid[min(best + 1, _CANDIDATES - 1)])
    parts = _REFINEMENTS[coarse] + 1
    for place in range(1, parts):
        candidate = low * (high / low) ** (place / parts)
        if (here := squared_error(candidate)) < error:
            found, error = candidate, here
    return found


def _estimate(distribution: Distribution, thresholds: NDArray[np.float64], bits: int) -> NDArray[np.float64]:
    """Estimated sum of squared errors at each threshold."""
    side = distribution.folded
    scale = thresholds / find_integer(bits).level
    counts = side.running_count
    small, large = side.magnitudes.searchsorted(scale / 2, "right"), side.magnitudes.searchsorted(thresholds, "right")
    small = np.minimum(small, large)
    beyond_sum = side.running_sum[-1] - side.running_sum[large]
    beyond_squares = side.running_squares[-1] - side.running_squares[large]
    clipped = beyond_squares - 2 * thresholds * beyond_sum + thresholds**2 * (counts[-1] - counts[large])
    estimate: NDArray[np.float64] = (
        side.running_squares[small] + scale**2 / 12 * (counts[large] - counts[small]) + clipped
    )
    return estimate
