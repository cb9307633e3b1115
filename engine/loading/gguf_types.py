"""The packed types of GGUF files that transformers' newer reader lacks, read by its older one with gguf's own code.

transformers 5.17 unpacks four types by itself, 5.23 seventeen; its older loader, which gguf's code unpacks for, knows
all that gguf does, for fewer architectures. Both give the same bits.

- `every_type_sized`     a context in which a header may hold any type that gguf can unpack
- `packed_name`          what a type is called; None for plain floats
- `needs_older_loader`   whether a header holds a type that the newer reader cannot unpack
- `older_loader`         a context in which the older loader is taken
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, quants

_PLAIN = frozenset({GGMLQuantizationType.F32, GGMLQuantizationType.F16, GGMLQuantizationType.BF16})


@contextmanager
def every_type_sized() -> Iterator[None]:
    """Sizes come from gguf's table where transformers' own has none."""
    from transformers.integrations.gguf import reader

    with swapped(reader, "_byte_count", _sized(reader._byte_count)):
        yield


def _sized(known: Callable[[int, int, str], int]) -> Callable[[int, int, str], int]:
    def byte_count(ggml_type: int, elements: int, gguf_path: str) -> int:
        if not _unpackable(ggml_type):
            return known(ggml_type, elements, gguf_path)
        block_elements, block_bytes = GGML_QUANT_SIZES[GGMLQuantizationType(ggml_type)]
        return elements // block_elements * block_bytes

    return byte_count


def _unpackable(ggml_type: int) -> bool:
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


@contextmanager
def older_loader() -> Iterator[None]:
    """Every architecture is left to the older loader."""
    from transformers.quantizers import quantizer_gguf

    with swapped(quantizer_gguf, "is_gguf_arch_supported", lambda architecture: False):
        yield


@contextmanager
def swapped(owner: Any, name: str, value: Any) -> Iterator[None]:
    """`owner.name` is `value` within the context."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)
