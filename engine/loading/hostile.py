"""What a model's files may ask of this machine, checked before any library reads them.

- `check_files`     a folder's files are plain files, of sizes that can be read
- `check_config`    config.json names counts that a model can have, and no code of strangers
- `check_blocks`    the same for the count of a GGUF file
- `check_tokenizer` a tokenizer adds no more tokens than can be loaded in a minute

A pipe would be waited for without an end, a device read without an end, a billion layers built until memory is gone.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from engine.loading.errors import LoadError

MOST_LAYERS = 10_000  # ten times the deepest published models
MOST_COUNT = 1_000_000  # of heads, experts, groups
MOST_WIDTH = 1 << 27  # of a width or a vocabulary
MOST_ADDED_TOKENS = 200_000  # speech models add some ten thousand
_MIB = 1 << 20
# Of files that are read as a whole; the largest published tokenizers have some 40 MiB, indices of shards 20 MiB.
_MOST_BYTES = {".json": 256 * _MIB, ".jinja": _MIB, ".txt": 256 * _MIB, ".model": 256 * _MIB, ".tiktoken": 256 * _MIB,
               ".py": 16 * _MIB}  # fmt: skip
_MOST_CONFIG_BYTES = 16 * _MIB
_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".gguf")
# What transformers may read beside a GGUF file, which stands in a folder of anything.
_BESIDE_GGUF = frozenset(
    {"config.json", "tokenizer_config.json", "tokenizer.json", "special_tokens_map.json", "added_tokens.json",
     "generation_config.json", "chat_template.json", "chat_template.jinja", "processor_config.json",
     "preprocessor_config.json"}
)  # fmt: skip
_TEMPLATES = "additional_chat_templates"
_LAYERS = re.compile(r"(^|_)(n|num|max)?_?(hidden_|decoder_|encoder_|nextn_predict_|mtp_)*(layers?|blocks?|depth)$")
_COUNTS = re.compile(r"(heads?|experts?|groups?|codebooks?|kernels?)$")
_WIDTHS = re.compile(r"(_size|_dim|_width|^d_model|^n_embd|^n_inner|^n_positions|rank)$")
_IMPLEMENTATION = re.compile(r"implementation")


def check_files(place: Path) -> None:
    """Refuse what is no plain file, or longer than such a file can be, in a model's folder or beside a GGUF file.

    A name that leads nowhere is left for whoever needs the file.

    Raises:
        LoadError: there is one; the message names it.
    """
    if place.is_dir():
        files = [path for path in _entries(place) if path.suffix in _MOST_BYTES or path.suffix in _WEIGHTS]
        files += _entries(place / _TEMPLATES) if (place / _TEMPLATES).is_dir() else []
    else:
        files = [path for path in _entries(place.parent) if path.name in _BESIDE_GGUF]
    for path in files:
        _check_file(path)


def _entries(folder: Path) -> list[Path]:
    return sorted(Path(entry.path) for entry in os.scandir(folder) if not entry.is_dir())


def _check_file(path: Path) -> None:
    try:
        state = path.stat()
    except FileNotFoundError:
        return
    if not stat.S_ISREG(state.st_mode):
        raise LoadError(
            f"{path} is a pipe or a device, not a file", hint="put the model's own file in its place", kind="format"
        )
    most = _MOST_CONFIG_BYTES if path.name.endswith("config.json") else _MOST_BYTES.get(path.suffix)
    if most is not None and state.st_size > most:
        raise LoadError(
            f"{path} has {state.st_size:,} bytes, and at most {most:,} are read",
            hint="check that it is this model's file, and fetch it again",
            kind="format",
        )


def check_config(declared: Mapping[str, Any], model: str, *, trust_remote_code: bool) -> None:
    """Refuse a configuration that asks for more than a model can have, or for code from elsewhere.

    An attention or expert implementation with a slash is a repository of kernels, which transformers would fetch and
    run: that needs the same permission as the model's own code.

    Raises:
        LoadError: it does; the message names the field.
    """
    for name, value in _fields(declared):
        if isinstance(value, int) and not isinstance(value, bool):
            _check_count(name, value, model)
        elif isinstance(value, str) and "/" in value and _IMPLEMENTATION.search(name) and not trust_remote_code:
            raise LoadError(
                f"config.json of {model} wants code of {value} to be fetched and run ({name})",
                hint="add --trust-remote-code if you trust both, or remove that line from config.json",
                kind="policy",
            )


def check_blocks(count: Any, model: str) -> None:
    """Refuse a GGUF file whose header says more blocks than a model can have.

    Raises:
        LoadError: it does.
    """
    if isinstance(count, int):
        _check_count("block", count, model)


def _check_count(name: str, value: int, model: str) -> None:
    for pattern, most in ((_LAYERS, MOST_LAYERS), (_COUNTS, MOST_COUNT), (_WIDTHS, MOST_WIDTH)):
        if pattern.search(name):
            if value > most:
                raise LoadError(
                    f"the configuration of {model} says {name} = {value:,}, and no model has more than {most:,}",
                    hint="fetch the model again, or correct it",
                    kind="format",
                )
            return


def _fields(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of a JSON document with the name it stands under, without recursion into what is deep."""
    rest: list[tuple[str, Any]] = [(name, value)]
    while rest:
        name, value = rest.pop()
        if isinstance(value, Mapping):
            # An implementation may be given by part of the model: the outer name says what it is.
            outer = name if _IMPLEMENTATION.search(name) else ""
            rest += [(outer or str(key), one) for key, one in value.items()]
        elif isinstance(value, list):
            rest += [(name, one) for one in value]
        else:
            yield name, value


def check_tokenizer(folder: Path, model: str) -> None:
    """Refuse a tokenizer with more added tokens than can be loaded: each is put into the tokenizer by itself.

    Raises:
        LoadError: it has; or a file is no JSON.
    """
    for file, lists in (
        ("tokenizer.json", ("added_tokens",)),
        ("tokenizer_config.json", ("added_tokens_decoder", "additional_special_tokens", "extra_special_tokens")),
        ("added_tokens.json", ("",)),
        ("special_tokens_map.json", ("additional_special_tokens",)),
    ):
        path = folder / file
        if not path.is_file():
            continue
        try:
            content = json.loads(path.read_bytes())
        except (ValueError, RecursionError):
            continue  # whoever reads it next says what is wrong
        for name in lists:
            found = content.get(name) if name and isinstance(content, dict) else content
            count = len(found) if isinstance(found, (list, dict)) else 0
            if count > MOST_ADDED_TOKENS:
                raise LoadError(
                    f"the tokenizer of {model} adds {count:,} tokens ({file}), and at most {MOST_ADDED_TOKENS:,} "
                    "are loaded",
                    hint="check that it is this model's tokenizer, and fetch it again",
                    kind="format",
                )
