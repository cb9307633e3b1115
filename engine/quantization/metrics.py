"""How large a quantiser's error is.

- `ErrorSums`   the sums over all elements that every metric follows from
- `QuantError`  the metrics of one site under one quantiser
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.quantization.distribution import Distribution


@dataclass(frozen=True, slots=True)
class ErrorSums:
    """Sums over elements, apart for those beyond the threshold (clipped) and the others (rounded)."""

    rounded_abs: float = 0.0
    rounded_squares: float = 0.0
    clipped_abs: float = 0.0
    clipped_squares: float = 0.0
    clipped_count: float = 0.0
    zeroed_count: float = 0.0

    def __add__(self, other: ErrorSums) -> ErrorSums:
        return ErrorSums(
            self.rounded_abs + other.rounded_abs,
            self.rounded_squares + other.rounded_squares,
            self.clipped_abs + other.clipped_abs,
            self.clipped_squares + other.clipped_squares,
            self.clipped_count + other.clipped_count,
            self.zeroed_count + other.zeroed_count,
        )


@dataclass(frozen=True, slots=True)
class QuantError:
    """The error x' - x of one quantiser on one site; population: its finite elements.

    Attributes:
        threshold: T, the |x| up to which nothing is clipped; NaN where scales change within the tensor.
        scale: x' = q * scale; 0 where every element becomes 0; NaN where scales change within the tensor.
        count: elements.
        nonfinite: elements left out because they are not finite.
        mae, rmse: mean |error| and root mean square error, in the activation's unit.
        rel_mae, rel_rmse: mae / mean|x| and rmse / rms; 0 for a site of zeros.
        sqnr_db: 10 log10(sum x^2 / sum error^2); infinite for no error.
        clip_rate: share of elements with |x| > T, T being that of the element's own scale.
        clipping_share: share of the squared error that is due to clipping; 0 for no error.
        is_zero: every element is zero: the scale is arbitrary and the error 0.
        is_exact: False where the site's histogram does not hold exact values (float32).
        zeroed: share of the elements that were not 0 and became 0; NaN where it was not counted.
        bulk_db: SQNR of the elements that are not massive; NaN where it was not taken.
        below_top_db: SQNR of all but the 100 largest |x|; NaN where it was not taken.
    """

    threshold: float
    scale: float
    count: int
    nonfinite: int
    mae: float
    rmse: float
    rel_mae: float
    rel_rmse: float
    sqnr_db: float
    clip_rate: float
    clipping_share: float
    is_zero: bool
    is_exact: bool
    zeroed: float = math.nan
    bulk_db: float = math.nan
    below_top_db: float = math.nan

    @classmethod
    def of(cls, distribution: Distribution, sums: ErrorSums, threshold: float, scale: float) -> QuantError:
        """The metrics that follow from the sums."""
        count = distribution.count
        absolute = sums.rounded_abs + sums.clipped_abs
        squares = sums.rounded_squares + sums.clipped_squares
        signal_abs, signal_squares = distribution.sum_abs, distribution.sum_squares
        nonzero = float(distribution.folded.running_count[-1])
        return cls(
            threshold=threshold,
            scale=scale,
            count=count,
            nonfinite=distribution.nonfinite,
            mae=absolute / count if count else 0.0,
            rmse=math.sqrt(squares / count) if count else 0.0,
            rel_mae=absolute / signal_abs if signal_abs > 0 else 0.0,
            rel_rmse=math.sqrt(squares / signal_squares) if signal_squares > 0 else 0.0,
            sqnr_db=10 * math.log10(signal_squares / squares) if squares > 0 and signal_squares > 0 else math.inf,
            clip_rate=sums.clipped_count / count if count else 0.0,
            clipping_share=sums.clipped_squares / squares if squares > 0 else 0.0,
            is_zero=signal_abs == 0,
            is_exact=distribution.is_exact,
            zeroed=sums.zeroed_count / nonzero if nonzero else 0.0,
        )

    @classmethod
    def of_sums(cls, sums: NDArray[np.float64]) -> QuantError:
        """The metrics that follow from sums taken in the pass, float64 [len(SUM_FIELDS)]."""
        # In the order of SUM_FIELDS; by name it would take a tenth of a board's time.
        squares, absolute, signal_squares, signal_abs, clipped_squares, clipped, elements, nonfinite = sums.tolist()
        count = int(elements)
        return cls(
            threshold=math.nan,
            scale=math.nan,
            count=count,
            nonfinite=int(nonfinite),
            mae=absolute / count if count else 0.0,
            rmse=math.sqrt(squares / count) if count else 0.0,
            rel_mae=absolute / signal_abs if signal_abs > 0 else 0.0,
            rel_rmse=math.sqrt(squares / signal_squares) if signal_squares > 0 else 0.0,
            sqnr_db=10 * math.log10(signal_squares / squares) if squares > 0 and signal_squares > 0 else math.inf,
            clip_rate=clipped / count if count else 0.0,
            clipping_share=clipped_squares / squares if squares > 0 else 0.0,
            is_zero=signal_abs == 0,
            is_exact=True,
        )
