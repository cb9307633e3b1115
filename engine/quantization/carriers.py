"""Who carries the error: tokens and channels by their share of a site's squared error.

- `Carrier`, `Carriers`
- `error_carriers`   from the 100 largest elements, whose addresses are known
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.quantization.distribution import Distribution
from engine.quantization.schemes import error_of, fake_quantise
from engine.schemes import Scheme


@dataclass(frozen=True, slots=True)
class Carrier:
    """A token or a channel.

    Attributes:
        address: (sample, position) of a token, (number,) of a channel.
        elements: how many of the listed elements it holds.
        share: of the site's squared error, by these elements alone: a lower bound for all of its elements.
    """

    address: tuple[int, ...]
    elements: int
    share: float


@dataclass(frozen=True, slots=True)
class Carriers:
    """Shares of a site's squared error.

    Attributes:
        elements: how many elements are listed.
        listed: by all of them.
        tokens, channels: those that carry most, largest share first.
    """

    elements: int
    listed: float
    tokens: tuple[Carrier, ...]
    channels: tuple[Carrier, ...]


def error_carriers(
    top: NDArray[Any], distribution: Distribution, scheme: Scheme, threshold: float, most: int = 3
) -> Carriers:
    """The tokens and channels that carry most of the squared error of a scheme with this threshold.

    Args:
        top: TOP_DTYPE, the listed elements.
        distribution: of the site.
        scheme: the quantiser.
        threshold: T.
        most: how many of either are given.
    """
    total = error_of(scheme, distribution, threshold).rmse ** 2 * distribution.count
    if total == 0 or not len(top):
        return Carriers(len(top), 0.0, (), ())
    values = top["value"].astype(np.float64)
    squares = (fake_quantise(values, scheme, threshold, distribution) - values) ** 2
    # A float32 histogram holds its elements to 0.8 %, the list holds them exactly: it can be above the whole.
    shares = squares / max(total, float(squares.sum()))
    tokens = np.stack([top["sample"], top["position"]], axis=1)
    return Carriers(
        len(top), float(shares.sum()), _largest(tokens, shares, most), _largest(top["channel"][:, None], shares, most)
    )


def _largest(addresses: NDArray[Any], shares: NDArray[np.float64], most: int) -> tuple[Carrier, ...]:
    found, which, counts = np.unique(addresses, axis=0, return_inverse=True, return_counts=True)
    sums = np.bincount(which.reshape(-1), shares, len(found))
    order = np.argsort(-sums, kind="stable")[:most].tolist()
    return tuple(Carrier(tuple(found[i].tolist()), int(counts[i]), float(sums[i])) for i in order)
