"""GGUF files: converted once to a safetensors folder in the cache, which loads in a fraction of the time.

- `Conversion`    a converted copy
- `convert_gguf`  the cached copy, made if it is not there or not whole

The copy's folder is named after the file's identity, the type of its weights, and the versions of what converts. A copy
is written under another name and renamed when it is complete, so that converters running at the same time, or killed,
leave either a whole copy or none, on the disk, too. A copy whose files are not, byte for byte, what was written is made
again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from corpus.owned import owned_folder, sync_folder
from engine.loading.cache import cache_dir, whole_identity
from engine.loading.device import free_bytes
from engine.loading.environment import hub_offline
from engine.loading.errors import LoadError
from engine.loading.gguf_header import GgufFacts
from engine.loading.progress import LoadProgress, ProgressBar, Reporter, bars_reported
from engine.messages import Code

CONVERTER_VERSION = 2

_MANIFEST = "maxact.json"
_STALE_SECONDS = 24 * 3600
_OVERHEAD = 1.02  # config and tokenizer beside the weights


@dataclass(frozen=True, slots=True)
class Conversion:
    """A converted copy.

    Attributes:
        folder: config, tokenizer and safetensors.
        temporary: whether the caller has to delete the folder after loading, because the cache could not take it.
        notes: what the user should know.
    """

    folder: Path
    temporary: bool = False
    notes: tuple[str, ...] = ()


def convert_gguf(path: Path, dtype: str, facts: GgufFacts, identity: str, reporter: Reporter) -> Conversion:
    """The cached safetensors copy of a GGUF file, made if it is not there or not whole.

    Args:
        path: the GGUF file.
        dtype: the type of the copy's weights, in PyTorch's words.
        facts: what `inspect_gguf` said.
        identity: what `gguf_identity` said.
        reporter: told of the conversion, in tensors.

    Raises:
        LoadError: the file lacks weights of its architecture, or there is no room for the copy, in memory or anywhere.
    """
    final = cache_dir() / "gguf" / f"{path.stem[:40]}-{_key(identity, dtype)}"
    manifest = _whole(final, reporter)
    if manifest is not None:
        return Conversion(final, notes=tuple(manifest["notes"]))
    needed_bytes = require_memory(path, dtype, facts)
    try:
        building = _new_folder(owned_folder(cache_dir(), "gguf"), needed_bytes)
    except OSError as problem:
        return _convert_aside(path, dtype, facts, needed_bytes, problem, reporter)
    try:
        notes = _convert(path, dtype, facts, building, reporter)
        return Conversion(_publish(building, final, reporter), notes=notes)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def require_memory(path: Path, dtype: str, facts: GgufFacts) -> int:
    """Bytes that a conversion needs in memory, and again on the disk.

    Raises:
        LoadError: there are not so many free.
    """
    needed_bytes = int(facts.elements * getattr(torch, dtype).itemsize * _OVERHEAD)
    free_memory_bytes = free_bytes("cpu")
    if needed_bytes > free_memory_bytes:
        raise LoadError(
            f"{path.name} does not fit: its weights need {needed_bytes / 2**30:.1f} GiB in {dtype} to be converted and "
            f"this machine has {free_memory_bytes / 2**30:.1f} GiB free",
            hint="close other programs, or use a smaller model",
            kind="memory",
        )
    return needed_bytes


def _key(identity: str, dtype: str) -> str:
    import gguf
    import transformers

    versions = f"{CONVERTER_VERSION} {transformers.__version__} {getattr(gguf, '__version__', '')}"
    return hashlib.sha256(f"{identity} {dtype} {versions}".encode()).hexdigest()[:32]


def _whole(folder: Path, reporter: Reporter) -> dict[str, Any] | None:
    """The manifest of a copy whose files are as it says; None when there is none, or they are not."""
    try:

        def report(done: int, total: int) -> None:
            reporter(LoadProgress(Code.CHECKING_COPY, done, total, "bytes"))

        manifest: dict[str, Any] = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        files = [folder / name for name in manifest["files"]]
        stats = {path.name: [path.stat().st_size, path.stat().st_mtime_ns] for path in files}
        same = stats == manifest["files"] and whole_identity(files, report) == manifest["identity"]
        return manifest if same and isinstance(manifest["notes"], list) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _new_folder(parent: Path, needed_bytes: int) -> Path:
    """An empty folder to convert into; OSError if it cannot be made or there is too little room."""
    for left in parent.glob("building-*"):
        if time.time() - left.stat().st_mtime > _STALE_SECONDS:
            shutil.rmtree(left, ignore_errors=True)
    free_bytes = shutil.disk_usage(parent).free
    if free_bytes < needed_bytes:
        raise OSError(f"{parent} has {free_bytes >> 20:,} MiB free of the {needed_bytes >> 20:,} MiB needed")
    return Path(tempfile.mkdtemp(prefix="building-", dir=parent))


def _convert_aside(
    path: Path, dtype: str, facts: GgufFacts, needed_bytes: int, problem: OSError, reporter: Reporter
) -> Conversion:
    try:
        folder = _new_folder(Path(tempfile.gettempdir()), needed_bytes)
    except OSError as error:
        raise LoadError(
            f"there is nowhere to put the converted copy of {path.name} ({problem}; {error})",
            hint="point MAXACT_CACHE to a folder with room",
            kind="storage",
        ) from error
    try:
        notes = _convert(path, dtype, facts, folder, reporter)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    note = f"the converted copy was not kept, so the next load is as slow ({problem}); point MAXACT_CACHE elsewhere"
    return Conversion(folder, True, (*notes, note))


def _convert(path: Path, dtype: str, facts: GgufFacts, folder: Path, reporter: Reporter) -> tuple[str, ...]:
    """Convert into an empty folder, its manifest last; returns what the user should know."""
    from transformers.utils import logging

    from engine.loading.gguf_patches import fast_gguf, older_loader

    reporter(LoadProgress(Code.CONVERTING))
    bar = partial(ProgressBar, reporter=reporter, phase=Code.CONVERTING, counts="tensors")
    verbosity = logging.get_verbosity()
    try:
        # Only here: the loader advises about packed weights, which a converted copy does not have.
        logging.set_verbosity_error()
        older = older_loader() if facts.older_loader else contextlib.nullcontext()
        with hub_offline(), fast_gguf(bar) as wanted, bars_reported(reporter, None), older:
            model, tokenizer, lacking = _read(path, getattr(torch, dtype))
            if lacking:
                raise LoadError(
                    f"{path} lacks {len(lacking)} weights of its architecture, the first is {sorted(lacking)[0]}",
                    hint="use another conversion of the model, or its safetensors version",
                    kind="format",
                )
            _save(model, tokenizer, folder)
    finally:
        logging.set_verbosity(verbosity)
    notes = _unused(facts, wanted)
    files = sorted(entry for entry in folder.iterdir() if entry.is_file())
    manifest = {
        "source": str(path),
        "notes": notes,
        "identity": whole_identity(files),
        "files": {entry.name: [entry.stat().st_size, entry.stat().st_mtime_ns] for entry in files},
    }
    (folder / _MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    return tuple(notes)


def _unused(facts: GgufFacts, wanted: set[str]) -> list[str]:
    # The newer loader names no tensors; what it does not use, it reports as unexpected.
    unused = [name for name in facts.tensors if name not in wanted] if wanted else []
    if not unused:
        return []
    return [f"{len(unused)} tensors of the GGUF file were not used, the first is {unused[0]}"]


def _read(path: Path, dtype: torch.dtype) -> tuple[Any, Any, set[str]]:
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GgufConfig

    where = {"gguf_file": path.name, "local_files_only": True, "trust_remote_code": False}
    config = AutoConfig.from_pretrained(path.parent, **where)
    tokenizer = AutoTokenizer.from_pretrained(path.parent, **where)
    model, info = AutoModelForCausalLM.from_pretrained(
        path.parent,
        config=config,
        dtype=dtype,
        quantization_config=GgufConfig(dequantize=True),
        output_loading_info=True,
        **where,
    )
    return model, tokenizer, set(info["missing_keys"])


def _save(model: Any, tokenizer: Any, folder: Path) -> None:
    # The weights are dense by now, but a model that came through a quantiser refuses to be saved.
    model.hf_quantizer = None
    model.config.__dict__.pop("quantization_config", None)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _publish(building: Path, final: Path, reporter: Reporter) -> Path:
    """Give a finished copy its name once it is on the disk; when somebody else was quicker, theirs is used."""
    for file in building.iterdir():
        with file.open("rb") as stream:
            os.fsync(stream.fileno())
    sync_folder(building)
    for _attempt in range(3):
        try:
            building.rename(final)
        except OSError:
            if _whole(final, reporter) is not None:
                return final
            aside = Path(tempfile.mkdtemp(prefix="building-", dir=final.parent))
            with contextlib.suppress(FileNotFoundError):
                final.rename(aside / "broken")
            shutil.rmtree(aside, ignore_errors=True)
        else:
            sync_folder(final.parent)
            return final
    raise LoadError(f"{final} cannot be replaced", hint="delete it, or point MAXACT_CACHE elsewhere", kind="storage")
