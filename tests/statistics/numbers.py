"""Random bit patterns for the tests of statistics: numbers on several scales, with zeros, ties, NaN and infinities."""

from __future__ import annotations

import numpy as np

DTYPES = ("bfloat16", "float16", "float32")
SPECIALS = {
    "bfloat16": [0x0000, 0x8000, 0x7F80, 0xFF80, 0x7FC0, 0x0001, 0x42C8, 0x42C9, 0xC7C0, 0x3F80],
    "float16": [0x0000, 0x8000, 0x7C00, 0xFC00, 0x7E00, 0x0001, 0x5640, 0x5641, 0xFBFF, 0x3C00],
    "float32": [0, 1 << 31, 0x7F800000, 0xFF800000, 0x7FC00000, 1, 0x42C80000, 0x42C80001, 0xC7C00000, 0x3F800000],
}


def random_bits(rng: np.random.Generator, dtype: str, tokens: int, width: int, specials: float) -> np.ndarray:
    """Patterns of normal numbers on several scales, with a share of special ones (zeros, ties, NaN, infinities)."""
    x = (rng.normal(size=(tokens, width)) * 10.0 ** rng.integers(-2, 4, (tokens, 1))).astype(np.float32)
    if dtype == "float16":
        bits = x.astype(np.float16).view(np.uint16)
    else:
        bits = x.view(np.uint32) if dtype == "float32" else (x.view(np.uint32) >> 16).astype(np.uint16)
    chosen = rng.choice(np.array(SPECIALS[dtype], bits.dtype), size=bits.shape)
    return np.where(rng.random(bits.shape) < specials, chosen, bits)
