"""What a GGUF file holds, read from its header and checked before anything is converted.

- `GgufFacts`      what a file's header says
- `inspect_gguf`   read and check the header
- `gguf_identity`  a hash of the file's content
"""

from __future__ import annotations

import re
import struct
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from engine.loading.cache import file_sha256
from engine.loading.errors import LoadError
from engine.loading.gguf_types import needs_older_loader, packed_name
from engine.loading.hostile import check_blocks, check_files
from engine.loading.progress import LoadProgress, Reporter
from engine.messages import Code

_SPLIT_NAME = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$", re.IGNORECASE)
_BROKEN = (ValueError, struct.error, KeyError, IndexError, OverflowError, MemoryError)


@dataclass(frozen=True, slots=True)
class GgufFacts:
    """What a file's header says.

    Attributes:
        architecture: in GGUF's words, such as `llama`.
        elements: how many weights the file holds.
        quantization: the packed type most weights have, such as `Q4_1`; None if all are plain floats.
        stored: the same for a packed file; of a plain one the type of its matrices, in PyTorch's words.
        dtype: the type `--dtype auto` stands for: float32 for a file of float32, else bfloat16.
        tensors: their names.
        older_loader: whether a packed type is there that only transformers' older loader unpacks.
    """

    architecture: str
    elements: int
    quantization: str | None
    stored: str
    dtype: str
    tensors: tuple[str, ...]
    older_loader: bool


def inspect_gguf(path: Path) -> GgufFacts:
    """Read a file's header, and check that the file is as long as the header says.

    Raises:
        LoadError: not a GGUF file, cut off, one part of several, or of a type that cannot be converted.
    """
    from transformers.integrations.gguf.reader import GgufHeader, read_gguf_metadata
    from transformers.integrations.gguf.utils import is_gguf_arch_supported
    from transformers.modeling_gguf_pytorch_utils import GGUF_SUPPORTED_ARCHITECTURES

    from engine.loading.gguf_patches import every_type_sized

    check_files(path)
    part = _SPLIT_NAME.search(path.name)
    if part is not None and part.group(2) != "00001":
        raise LoadError(
            f"{path} is part {int(part.group(1))} of {int(part.group(2))}",
            hint="merge the parts with `llama-gguf-split --merge` and give the merged file",
            kind="unsupported",
        )
    with path.open("rb") as stream:
        if stream.read(4) != b"GGUF":
            raise LoadError(f"{path} is not a GGUF file (wrong magic bytes)", hint="fetch it again", kind="format")
    try:
        with every_type_sized():
            header = GgufHeader.from_file(str(path))
            metadata, _names = read_gguf_metadata(str(path))
        needed = header.data_start + max((info.offset + info.nbytes for info in header.tensors), default=0)
    except _BROKEN as error:
        if "not supported yet" in str(error):
            raise LoadError(str(error), hint="use another quantisation of the model", kind="unsupported") from error
        if "this reader handles" in str(error):
            raise LoadError(
                str(error).rstrip("."), hint="update transformers, or use a newer conversion", kind="unsupported"
            ) from error
        raise LoadError(f"{path} is cut off or damaged in its header", hint="fetch it again", kind="format") from error
    size = path.stat().st_size
    if size < needed:
        raise LoadError(
            f"{path} is cut off: {size:,} bytes, and its header says {needed:,}", hint="fetch it again", kind="format"
        )
    check_blocks(metadata.get(f"{header.architecture}.block_count"), str(path))
    facts = _facts(header)
    by_older = header.architecture in _architectures(GGUF_SUPPORTED_ARCHITECTURES)
    by_newer = is_gguf_arch_supported(header.architecture)
    if by_newer and not by_older and facts.older_loader:
        raise LoadError(
            f"transformers cannot unpack {facts.quantization} in GGUF files of architecture '{header.architecture}'",
            hint="use another quantisation of the model, or update transformers",
            kind="unsupported",
        )
    if not by_newer and not by_older:
        raise LoadError(
            f"transformers cannot load GGUF files of architecture '{header.architecture}'",
            hint="use the model's safetensors version",
            kind="unsupported",
        )
    return facts


def _facts(header: Any) -> GgufFacts:
    elements: Counter[str] = Counter()
    for info in header.tensors:
        elements[packed_name(info.ggml_type) or ""] += prod(info.shape)
    total = elements.total()
    del elements[""]
    packed = elements.most_common(1)[0][0] if elements else None
    plain = str(header.dtype).removeprefix("torch.")
    return GgufFacts(
        architecture=header.architecture,
        elements=total,
        quantization=packed,
        stored=packed or plain,
        dtype="float32" if plain == "float32" else "bfloat16",
        tensors=tuple(info.name for info in header.tensors),
        older_loader=needs_older_loader(info.ggml_type for info in header.tensors),
    )


def _architectures(legacy: Sequence[str]) -> set[str]:
    """The decoder architectures of transformers' older loader, in GGUF's words."""
    spelt_otherwise = {"qwen2moe", "qwen3moe", "gpt-oss", "minimax-m2"}
    return (set(legacy) | spelt_otherwise) - {"t5", "t5encoder", "umt5"}


def gguf_identity(path: Path, reporter: Reporter) -> str:
    """`sha256:` and the sha256 of the file."""

    def hashed(done: int, total: int) -> None:
        reporter(LoadProgress(Code.HASHING_FILE, done, total, "bytes"))

    return f"sha256:{file_sha256(path, hashed)}"
