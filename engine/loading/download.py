"""The model hub, asked once with a short timeout; the files a load needs, fetched with progress in bytes.

- `Snapshot`        a model's files in the hub's local cache
- `fetch_snapshot`  find or download them
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corpus.network import transport_error
from engine.base.job import Job
from engine.loading.checkpoint import pickle_only
from engine.loading.errors import LoadError, classify
from engine.loading.progress import LoadProgress, ProgressBar, Reporter
from engine.messages import Code

_LOOKUP_SECONDS = 6.0
_TEXT_SUFFIXES = (".json", ".model", ".txt", ".tiktoken", ".jinja")
_CODE_SUFFIX = ".py"
_ONE_FILE = "model.safetensors"
_INDEX = "model.safetensors.index.json"
_PICKLE_FILE = "pytorch_model.bin"
_PICKLE_INDEX = "pytorch_model.bin.index.json"
# Weights of other frameworks and duplicates in other layouts carry indexes of their own, which nothing here reads.
_OTHER_INDEXES = ("tf_model.h5.index.json", "flax_model.msgpack.index.json", "consolidated.safetensors.index.json")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A model's files in the hub's local cache, at one commit."""

    folder: Path
    commit: str
    notes: tuple[str, ...] = ()


def fetch_snapshot(job: Job, reporter: Reporter) -> Snapshot:
    """The hub model's files on this machine, downloaded where they are missing.

    The hub is asked once, for at most a few seconds; without an answer the local cache is used, if it has the model.

    Raises:
        LoadError: unknown or private id, gated, bad revision, no network, no safetensors, no space.
    """
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]  # exported at run time only

    try:
        validate_repo_id(job.model)
    except HFValidationError as error:
        raise LoadError(
            f"'{job.model}' is neither a file or folder here nor a hub id",
            hint="check the path, or give an id such as Qwen/Qwen3-0.6B",
            kind="missing",
        ) from error
    try:
        info = _ask_hub(job)
    except (OfflineModeIsEnabled, transport_error()) as error:
        return _from_cache(job, error)
    except HfHubHTTPError as error:
        if error.response.status_code >= 500 or error.response.status_code == 429:
            return _from_cache(job, error)
        raise classify(error, job.model, revision=job.revision) from error
    sizes = {sibling.rfilename: int(sibling.size or 0) for sibling in info.siblings or []}
    try:
        wanted = _files_to_load(job, info.sha, sizes)
        folder = _download(job, info.sha, {name: sizes[name] for name in wanted}, reporter)
    except (HfHubHTTPError, transport_error(), OSError) as error:
        if reporter.cancelled is not None:
            raise
        raise classify(error, job.model, revision=job.revision) from error
    return Snapshot(folder, info.sha)


def _ask_hub(job: Job) -> Any:
    from huggingface_hub import HfApi

    return HfApi().model_info(job.model, revision=job.revision, timeout=_LOOKUP_SECONDS, files_metadata=True)


def _from_cache(job: Job, reason: Exception) -> Snapshot:
    """The cached copy of a model whose hub does not answer; what it lacks is found out while it is loaded."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = Path(
            snapshot_download(
                job.model, revision=job.revision, local_files_only=True, allow_patterns=["config.json", "*.gguf"]
            )
        )
    except LocalEntryNotFoundError:
        raise classify(reason, job.model, revision=job.revision) from reason
    why = classify(reason, job.model, revision=job.revision).message
    return Snapshot(folder, folder.name, (f"using the copy in the local cache: {why}",))


def _files_to_load(job: Job, commit: str, sizes: dict[str, int]) -> list[str]:
    """The files of a repository that a load reads: configuration, tokenizer, and one set of weights."""
    top = [name for name in sizes if "/" not in name and name not in _OTHER_INDEXES]
    wanted = [name for name in top if name.endswith(_TEXT_SUFFIXES) and not name.endswith(".index.json")]
    wanted += [name for name in sizes if name.startswith("additional_chat_templates/")]
    if job.trust_remote_code:
        wanted += [name for name in sizes if name.endswith(_CODE_SUFFIX)]
    return wanted + _weight_files(job, commit, top)


def _weight_files(job: Job, commit: str, top: list[str]) -> list[str]:
    for one, index in ((_ONE_FILE, _INDEX), (_PICKLE_FILE, _PICKLE_INDEX)):
        if one not in top and index not in top:
            continue
        if one == _PICKLE_FILE and not job.allow_pickle:
            raise pickle_only(job.model)
        return [one] if one in top else [index, *_shards(job, commit, index, top)]
    ggufs = [name for name in top if name.lower().endswith(".gguf")]
    if len(ggufs) == 1:
        return ggufs
    if ggufs:
        raise LoadError(
            f"{job.model} holds {len(ggufs)} GGUF files",
            hint=f"fetch one, `hf download {job.model} {ggufs[0]}`, and give its path",
            kind="missing",
        )
    raise LoadError(
        f"{job.model} has no model.safetensors and no GGUF file",
        hint="it is not a transformers model; look for one converted to safetensors",
        kind="format",
    )


def _shards(job: Job, commit: str, index: str, top: list[str]) -> list[str]:
    from huggingface_hub import hf_hub_download

    path = Path(hf_hub_download(job.model, index, revision=commit))
    try:
        shards = sorted(set(json.loads(path.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LoadError(
            f"{index} of {job.model} is not a weight index", hint="report it to the model's authors", kind="format"
        ) from error
    missing = [name for name in shards if name not in top]
    if missing:
        raise LoadError(
            f"{job.model} lacks {missing[0]}, which its index names",
            hint="try another revision, or report it to the model's authors",
            kind="format",
        )
    return shards


def _download(job: Job, commit: str, sizes: dict[str, int], reporter: Reporter) -> Path:
    from huggingface_hub import constants, snapshot_download, try_to_load_from_cache

    cached = [n for n in sizes if isinstance(try_to_load_from_cache(job.model, n, revision=commit), str)]
    needed_bytes = sum(size for name, size in sizes.items() if name not in cached)
    _check_space(job.model, Path(constants.HF_HUB_CACHE), needed_bytes)
    if needed_bytes:
        reporter(LoadProgress(Code.DOWNLOADING, 0, needed_bytes, "bytes"))
    return Path(
        snapshot_download(
            job.model,
            revision=job.revision,
            allow_patterns=list(sizes),
            etag_timeout=_LOOKUP_SECONDS,
            tqdm_class=_byte_bars(reporter, needed_bytes),
        )
    )


def _check_space(model: str, cache: Path, needed_bytes: int) -> None:
    existing = cache
    while not existing.exists():
        existing = existing.parent
    free_bytes = shutil.disk_usage(existing).free
    if needed_bytes > free_bytes:
        raise LoadError(
            f"{model} needs {needed_bytes / 1e9:.1f} GB and {existing} has {free_bytes / 1e9:.1f} GB free",
            hint="make room, or set HF_HOME to a larger disk",
            kind="storage",
        )


def _byte_bars(reporter: Reporter, total_bytes: int) -> Any:
    """The bar class for `snapshot_download`, which makes three: bytes on the network, bytes on the disk, files."""

    class ByteBar(ProgressBar):
        def __init__(self, *_args: Any, **options: Any) -> None:
            super().__init__(reporter=reporter, phase=Code.DOWNLOADING, counts="bytes", **options)
            self._counts_disk = str(options.get("desc", "")).startswith("Reconstructing")

        def refresh(self, *_ignored: Any, **_also_ignored: Any) -> None:
            if self._counts_disk and total_bytes:
                reporter(LoadProgress(Code.DOWNLOADING, min(self.n, total_bytes), total_bytes, "bytes"))
            elif reporter.cancelled is not None:
                raise reporter.cancelled

    return ByteBar
