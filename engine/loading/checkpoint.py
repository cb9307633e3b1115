"""What a checkpoint's weight files hold, read from their headers, and a cheap identity of their content.

- `Checkpoint`       the files, and how many elements of which type they hold
- `read_checkpoint`  find and check the weight files of a folder, without reading a tensor
- `sampled_identity` a hash of names, sizes, headers and samples of files
- `pickle_only`      the refusal of a model whose weights are pickles
"""

from __future__ import annotations

import hashlib
import json
import struct
import zipfile
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from engine.loading.errors import LoadError

_SINGLE = {"safetensors": "model.safetensors", "pickle": "pytorch_model.bin"}
_LONGEST_HEADER_BYTES = 100_000_000  # the format's own limit
_SAMPLES = 64
_SAMPLE_BYTES = 4096
_AGAIN = "fetch the model again"

# safetensors' names of the types a model computes in; anything else in a file is packed, an index or a scale.
FLOAT_TYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
FLOAT8_TYPES = {"F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2"}
_ITEM_BYTES = {"F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2}


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The weight files of a folder.

    Attributes:
        files: the weight files, sorted by name.
        stored_bytes: their size together.
        elements: how many elements of each safetensors type they hold; empty for pickles, whose content is not read.
    """

    files: tuple[Path, ...]
    stored_bytes: int
    elements: Mapping[str, int]

    @property
    def dtype(self) -> str | None:
        """The type of most elements, in PyTorch's words; None when it cannot be told from the headers."""
        if not self.elements:
            return None
        most = max(self.elements, key=lambda name: self.elements[name])
        return {**FLOAT_TYPES, **FLOAT8_TYPES}.get(most, most.lower())

    def loaded_bytes(self, item_bytes: int | None, quant_method: str | None, *, dequantised: bool) -> int:
        """How many bytes the weights take once they are loaded.

        Args:
            item_bytes: size of an element in the type they are loaded in; None when they keep their own.
            quant_method: the checkpoint's quantisation.
            dequantised: whether it is undone on loading.
        """
        if not self.elements:
            return self.stored_bytes
        wide = item_bytes or 2
        total = 0
        for name, count in self.elements.items():
            if name in FLOAT_TYPES:
                total += count * (item_bytes or _ITEM_BYTES[name])
            elif not dequantised:
                total += count * _ITEM_BYTES.get(name, 1)
            else:
                total += count * _unpacked_values(name, quant_method) * wide
        return total


def _unpacked_values(name: str, quant_method: str | None) -> int:
    """How many weights a stored element unpacks to: MXFP4 has two in a byte, 4-bit integers eight in 32 bits."""
    if name == "U8":
        return 2 if quant_method == "mxfp4" else 1
    return 8 if name in {"I32", "U32"} else 1


def read_checkpoint(folder: Path, *, allow_pickle: bool, model: str) -> Checkpoint:
    """Find the weight files transformers would load, and check that each is there and as long as its header says.

    Raises:
        LoadError: no weights, a missing or broken file, or pickles that were not allowed.
    """
    for kind, single in _SINGLE.items():
        files = _files(folder, single, model)
        if not files:
            continue
        if kind == "pickle":
            if not allow_pickle:
                raise pickle_only(model)
            for path in files:
                _check_archive(path)
            return Checkpoint(files, sum(path.stat().st_size for path in files), {})
        elements: Counter[str] = Counter()
        for path in files:
            for tensor in _read_header(path).values():
                elements[str(tensor["dtype"])] += prod(tensor["shape"])
        return Checkpoint(files, sum(path.stat().st_size for path in files), dict(elements))
    raise LoadError(
        f"{model} has no weights: neither model.safetensors nor model.safetensors.index.json in {folder}",
        hint=_AGAIN,
        kind="format",
    )


def _files(folder: Path, single: str, model: str) -> tuple[Path, ...]:
    if (folder / single).exists():
        return (folder / single,)
    index = folder / f"{single}.index.json"
    if not index.exists():
        return ()
    try:
        weight_map = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        names = sorted(set(map(str, weight_map.values())))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LoadError(f"{index} is not a weight index", hint=_AGAIN, kind="format") from error
    outside = [name for name in names if Path(name).name != name]
    if outside:
        raise LoadError(f"{index} names a file outside its folder: {outside[0]}", hint=_AGAIN, kind="format")
    missing = [name for name in names if not (folder / name).exists()]
    if missing:
        raise LoadError(
            f"{model} lacks {len(missing)} of its {len(names)} weight files, the first is {missing[0]}",
            hint=_AGAIN,
            kind="format",
        )
    return tuple(folder / name for name in names)


def _check_archive(path: Path) -> None:
    """Refuse a .bin file that begins as the archive torch writes and does not end as one (old ones are no archive)."""
    with path.open("rb") as stream:
        start = stream.read(2)
    if not start or (start == b"PK" and not zipfile.is_zipfile(path)):
        raise LoadError(f"{path} is cut off", hint=_AGAIN, kind="format")


def _read_header(path: Path) -> dict[str, Any]:
    """The tensors of a safetensors file: name to dtype, shape and data_offsets."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        start = stream.read(8)
        if start.startswith(b"version "):
            raise LoadError(
                f"{path} is a Git LFS pointer, not the file itself",
                hint="run `git lfs pull` in its folder",
                kind="format",
            )
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= length <= min(size - 8, _LONGEST_HEADER_BYTES):
            raise LoadError(f"{path} is not a safetensors file, or cut off in its header", hint=_AGAIN, kind="format")
        header = stream.read(length)
    try:
        tensors: dict[str, Any] = json.loads(header)
        tensors.pop("__metadata__", None)
        needed = 8 + length + max((tensor["data_offsets"][1] for tensor in tensors.values()), default=0)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise LoadError(f"{path} has a broken safetensors header", hint=_AGAIN, kind="format") from error
    if needed != size:
        raise LoadError(
            f"{path} is {'cut off' if size < needed else 'too long'}: {size:,} bytes, and its header says {needed:,}",
            hint=_AGAIN,
            kind="format",
        )
    return tensors


def sampled_identity(files: Iterable[Path]) -> str:
    """A sha256 over, for every file: name, size, and 65 samples of 4 KiB (start, end, and evenly between).

    Safetensors files begin with their header and GGUF files with their metadata, so other tensors, types or shapes
    always change it; other values change it unless all differences lie between the samples. It reads 260 KiB a file,
    whatever its size.

    Returns:
        `sampled-sha256:` and 64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for path in sorted(files, key=lambda path: path.name):
        size = path.stat().st_size
        digest.update(f"{path.name}\0{size}\0".encode())
        with path.open("rb") as stream:
            for number in range(_SAMPLES + 1):
                stream.seek(max(size - _SAMPLE_BYTES, 0) * number // _SAMPLES)
                digest.update(stream.read(_SAMPLE_BYTES))
    return f"sampled-sha256:{digest.hexdigest()}"


def pickle_only(model: str) -> LoadError:
    """The refusal of a model whose weights are pickles, which can carry code."""
    return LoadError(
        f"{model} has its weights as pickle files (.bin) only, which can carry code",
        hint="add --allow-pickle if you trust it, or look for a safetensors version",
        kind="policy",
    )
