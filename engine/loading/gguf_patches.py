"""What makes the conversion of a GGUF file fast, in force only while it takes place.

transformers 5.23 parses a GGUF file's metadata several times, element by element through memory-mapped slices, and
builds the table of tensor names once for every module of the model. Both give the same answer every time.

- `fast_gguf`         a context in which metadata is parsed once, quickly, and name tables are built once
- `every_type_sized`  a context in which a header may hold any type that gguf can unpack
- `older_loader`      a context in which transformers' older loader is taken
- `QuickReader`       gguf's reader on a plain array, with long arrays read in one go
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from gguf import GGUFReader, GGUFValueType
from numpy.typing import NDArray
from transformers import modeling_gguf_pytorch_utils as legacy
from transformers.integrations.gguf import reader as packed_reader

from engine.loading.gguf_types import unpackable


class QuickReader(GGUFReader):
    """Reads the same fields as gguf's reader; a 49 k vocabulary in 0.2 s instead of 3.

    The elements of string arrays are `bytes`, those of number arrays one-element tuples; both are what the callers in
    transformers index, and neither costs a memory-mapped view for each element.
    """

    @property  # type: ignore[override]  # the base class stores a memmap here, this one a view of it
    def data(self) -> NDArray[np.uint8]:
        """The file's bytes as a plain array: slicing a memmap is several times slower."""
        return self._bytes

    @data.setter
    def data(self, mapped: NDArray[np.uint8]) -> None:
        self._bytes = mapped.view(np.ndarray)

    def _get_field_parts(self, orig_offs: int, raw_type: int) -> tuple[int, list[Any], list[int], list[GGUFValueType]]:
        if raw_type != GGUFValueType.ARRAY or self.byte_order != "I":
            return super()._get_field_parts(orig_offs, raw_type)
        item_type = GGUFValueType(int(self._get(orig_offs, np.uint32)[0]))
        count = int(self._get(orig_offs + 4, np.uint64)[0])
        values: list[Any]
        if item_type == GGUFValueType.STRING:
            end, values = _strings(self._bytes.data, orig_offs + 12, count)
        elif item_type == GGUFValueType.ARRAY:
            return super()._get_field_parts(orig_offs, raw_type)
        else:
            numbers = self._get(orig_offs + 12, self.gguf_scalar_to_np[item_type], count)
            end, values = orig_offs + 12 + numbers.nbytes, [(number,) for number in numbers.tolist()]
        return end - orig_offs, values, list(range(len(values))), [GGUFValueType.ARRAY, item_type]


def _strings(view: memoryview, start: int, count: int) -> tuple[int, list[bytes]]:
    """`count` strings, each a 64-bit length and that many bytes; and the offset behind the last."""
    unpack = struct.Struct("<Q").unpack_from
    values = []
    for _ in range(count):
        (length,) = unpack(view, start)
        start += 8
        values.append(bytes(view[start : start + length]))
        start += length
    return start, values


@contextmanager
def fast_gguf(bar: Callable[..., Any]) -> Iterator[set[str]]:
    """Within it, transformers reads GGUF files quickly, and its conversion bar is made by `bar(iterable, desc=...)`.

    Yields a set to which the names of the file's tensors are added that belong to the model; the older loader drops all
    others without a word. It swaps attributes of modules, so no other thread may read a GGUF file meanwhile.
    """
    readers = functools.lru_cache(maxsize=1)(QuickReader)
    name_maps = functools.lru_cache(gguf.get_tensor_name_map)
    wanted: set[str] = set()
    with ExitStack() as stack:
        stack.enter_context(_swapped(gguf, "GGUFReader", lambda path, mode="r": readers(str(path), mode)))
        stack.enter_context(_swapped(gguf, "get_tensor_name_map", name_maps))
        stack.enter_context(_swapped(legacy, "load_gguf_checkpoint", _metadata_once(legacy.load_gguf_checkpoint)))
        stack.enter_context(
            _swapped(legacy, "get_gguf_hf_weights_map", _noting(legacy.get_gguf_hf_weights_map, wanted))
        )
        stack.enter_context(_swapped(legacy, "_gguf_parse_value", _quick_value(legacy._gguf_parse_value)))
        stack.enter_context(_swapped(legacy, "tqdm", bar))
        stack.enter_context(_swapped(packed_reader, "_mapped", _plain_bytes))
        yield wanted


@contextmanager
def every_type_sized() -> Iterator[None]:
    """Sizes come from gguf's table where transformers' own has none."""
    with _swapped(packed_reader, "_byte_count", _sized(packed_reader._byte_count)):
        yield


def _sized(known: Callable[[int, int, str], int]) -> Callable[[int, int, str], int]:
    def byte_count(ggml_type: int, elements: int, gguf_path: str) -> int:
        if not unpackable(ggml_type):
            return known(ggml_type, elements, gguf_path)
        block_elements, block_bytes = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType(ggml_type)]
        return elements // block_elements * block_bytes

    return byte_count


@contextmanager
def older_loader() -> Iterator[None]:
    """Every architecture is left to the older loader."""
    from transformers.quantizers import quantizer_gguf

    with _swapped(quantizer_gguf, "is_gguf_arch_supported", lambda architecture: False):
        yield


@contextmanager
def _swapped(owner: Any, name: str, value: Any) -> Iterator[None]:
    """`owner.name` is `value` within the context."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def _quick_value(parse: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """The value of an element `QuickReader` made, without a loop over its bytes; `parse` is for all others."""

    def value_of(element: Any, types: Any) -> Any:
        if isinstance(element, bytes):
            return element.decode()
        return element[0] if isinstance(element, tuple) else parse(element, types)

    return value_of


def _noting(make_map: Callable[..., dict[str, str]], wanted: set[str]) -> Callable[..., dict[str, str]]:
    def make_and_note(*args: Any, **options: Any) -> dict[str, str]:
        names = make_map(*args, **options)
        wanted.update(names)
        return names

    return make_and_note


def _metadata_once(load: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """`load_gguf_checkpoint`, remembering what it read of the metadata; tensors are never remembered."""
    remembered: dict[str, dict[str, Any]] = {}

    def load_once(gguf_checkpoint_path: str, return_tensors: bool = False, **options: Any) -> dict[str, Any]:
        if return_tensors:
            return load(gguf_checkpoint_path, return_tensors=True, **options)
        if gguf_checkpoint_path not in remembered:
            remembered[gguf_checkpoint_path] = load(gguf_checkpoint_path)
        return {section: dict(values) for section, values in remembered[gguf_checkpoint_path].items()}

    return load_once


def _plain_bytes(gguf_path: str) -> NDArray[np.uint8]:
    return np.memmap(Path(gguf_path), mode="r", dtype=np.uint8).view(np.ndarray)
