"""The packed types of GGUF files that transformers' newer reader lacks, read by its older one with gguf's own code.

transformers 5.17 unpacks four types by itself, 5.23 seventeen; its older loader, which gguf's code unpacks for, knows
all that gguf does, for fewer architectures. Both give the same bits.

- `unpackable`           whether gguf can unpack a type
- `packed_name`          what a type is called; None for plain floats
- `needs_older_loader`   whether a header holds a type that the newer reader cannot unpack
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, quants

_PLAIN = frozenset({GGMLQuantizationType.F32, GGMLQuantizationType.F16, GGMLQuantizationType.BF16})


def unpackable(ggml_type: int) -> bool:
    """Whether gguf can unpack a type, found by unpacking one block of it."""
    try:
        packed = GGMLQuantizationType(ggml_type)
        quants.dequantize(np.zeros(GGML_QUANT_SIZES[packed][1], np.uint8), packed)
    except (ValueError, NotImplementedError):
        return False
    return True


def packed_name(ggml_type: int) -> str | None:
    """A type in GGUF's words, such as `Q4_1`; None for plain floats."""
    packed = GGMLQuantizationType(ggml_type)
    return None if packed in _PLAIN else packed.name


def needs_older_loader(ggml_types: Iterable[int]) -> bool:
    """Whether the newer reader lacks one of these types."""
    from transformers.integrations.gguf.dequant import GGML_BLOCK

    return any(ggml_type not in GGML_BLOCK and ggml_type not in _PLAIN for ggml_type in ggml_types)
