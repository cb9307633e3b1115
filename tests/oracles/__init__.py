"""What the reference implementation printed for SmolLM2-135M-Instruct (README.md beside this).

- `single_bf16_tolerance`  how near one number of a bfloat16 run has to come
- `near_zeros`             how near a share of exact zeros has to come
- `is_at_the_maximum`      whether a site is one of those that share the model's maximum
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Of the elements of a site that are exactly 0 in one CPU's float32 sums and next to 0 in another's: one was seen.
STRAY_ZEROS = 5


def single_bf16_tolerance(magnitude: float) -> float:
    """Relative tolerance of one element of a bfloat16 run, which depends on the kernels of the CPU's matrix products.

    Ordinary maxima of the reference's own bfloat16 run are up to 5.1 % from those of its float32 run; massive ones are
    sums of few large products and stay.
    """
    return 0.02 if abs(magnitude) > 100 else 0.08


def near_zeros(found: float, expected: float, count: float) -> bool:
    """Whether two shares of exact zeros, of `count` elements, are the same but for a few elements.

    A share may be expected to be 0, so that nothing can be relative to it. A product that gave 0 for a token or a
    channel would still be a hundred elements more.
    """
    return abs(found - expected) * count <= STRAY_ZEROS


def is_at_the_maximum(location: str, theirs: Mapping[str, Any]) -> bool:
    """Whether the reference has its maximum, to 2 %, at this `site (max|min)` of its, too.

    The massive activation stays in the residual stream for many blocks and moves by less than a step of bfloat16 there,
    so that the kernels decide which of these sites is the first; another channel or block is far off.
    """
    site, _, side = location.removesuffix(")").partition(" (")
    return bool(abs(theirs["per_layer_stats"][site][side]) >= 0.98 * abs(theirs["global_max_activation"]))
