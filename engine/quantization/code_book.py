"""Code books per tensor: x' = scale * nearest level of x / scale, scale = T / the largest level.

- `code_book`   the error on a site
- `round_book`  numbers rounded to a code book
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.formats import CodeBook
from engine.quantization.distribution import Distribution
from engine.quantization.metrics import QuantError
from engine.quantization.uniform import check_threshold, error_sums, split


def code_book(distribution: Distribution, threshold: float, book: CodeBook) -> QuantError:
    """The error of the code book, scaled so that the threshold becomes its largest level."""
    scale = check_threshold(threshold) / book.largest
    zero = book.levels.index(0.0)
    # A number half-way between two levels becomes the lower one: of the negative ones that is not zero.
    small = book.boundaries[zero] * scale, np.nextafter(-book.boundaries[zero - 1] * scale, 0.0)
    sums = []
    for side, sign, least, edge in zip(
        distribution.by_sign, (1.0, -1.0), small, (book.levels[-1], -book.levels[0]), strict=True
    ):
        first, last = split(side, float(least), threshold)
        middle = side.magnitudes[first:last]
        error = sign * round_book(sign * middle / scale, book) * scale - middle if scale > 0 else -middle
        sums.append(error_sums(side, first, last, error, edge * scale))
    return QuantError.of(distribution, sums[0] + sums[1], threshold, scale)


def round_book(values: NDArray[np.float64], book: CodeBook) -> NDArray[np.float64]:
    """Signed numbers rounded to the levels as they are."""
    found: NDArray[np.float64] = np.array(book.levels)[np.searchsorted(book.boundaries, values, "left")]
    return found
