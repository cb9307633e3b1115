"""SmoothQuant's divisors (Xiao et al., arXiv 2211.10438, equation 4); numpy only, for the pass and for recipes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def smoothing_divisors(
    channel_max: NDArray[np.float32], weight_max: NDArray[np.float32], alpha: float
) -> NDArray[np.float32]:
    """SmoothQuant's s_j, float32 [D]; 1 for a channel or a weight column of zeros, as there is nothing to balance."""
    x, w = np.asarray(channel_max, np.float64), np.asarray(weight_max, np.float64)
    usable = (x > 0) & (w > 0) & np.isfinite(x) & np.isfinite(w)
    divisors = np.ones(len(x))
    divisors[usable] = np.clip(x[usable] ** alpha / w[usable] ** (1 - alpha), 1e-5, 1e5)
    return divisors.astype(np.float32)
