"""From what the user typed to files on this machine: a folder or a GGUF file.

- `Source`      what was found
- `find_local`  find it on this machine
- `resolve`     find it, downloading from the hub when the name is a hub id
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from engine.base.job import Job
from engine.loading.download import fetch_snapshot
from engine.loading.errors import LoadError
from engine.loading.progress import LoadProgress, Reporter
from engine.messages import Code

_GGUF_MAGIC = b"GGUF"
_MOST_NAMED = 3


@dataclass(frozen=True, slots=True)
class Source:
    """Where the model's files are.

    Attributes:
        kind: a folder with a config, or one GGUF file.
        path: the folder or the file, absolute.
        hub_id: the id on the hub, when that is where it came from.
        commit: the hub's commit hash.
        notes: what the user should know about how it was found.
    """

    kind: Literal["folder", "gguf"]
    path: Path
    hub_id: str | None = None
    commit: str | None = None
    notes: tuple[str, ...] = ()


def find_local(name: str) -> Source | None:
    """Find a model's files on this machine; None for a name that can only be a hub id.

    A name that exists as a path is a path, whatever else it could be.

    Raises:
        LoadError: there is no such file or folder, or it holds nothing that can be loaded.
    """
    if not name.strip():
        raise LoadError("no model was named", hint="give a hub id, a folder or a GGUF file", kind="missing")
    path = Path(name).expanduser()
    try:
        exists = path.exists()
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise _unreadable(path, error) from error
        raise LoadError(f"{name[:40]}… is too long for a path", hint="check the path", kind="missing") from error
    if exists:
        return _local(path.absolute())
    if _looks_like_a_path(name):
        raise LoadError(f"{name} does not exist", hint=_nearby(path), kind="missing")
    return None


def resolve(job: Job, reporter: Reporter) -> Source:
    """Find the model's files, downloading them when `job.model` is a hub id.

    Raises:
        LoadError: there is no such file, folder or hub id, or it holds nothing that can be loaded.
    """
    reporter(LoadProgress(Code.LOOKING_UP))
    name = job.model
    if (local := find_local(name)) is not None:
        return local
    try:
        snapshot = fetch_snapshot(job, reporter)
    except LoadError as error:
        if error.kind not in ("missing", "network") or "/" not in name or job.revision:
            raise
        # Paths that exist were made absolute where they were typed, so this one does not.
        either = f"{error.message} (nor is there a folder or file {name} where it was typed)"
        raise LoadError(either, hint=error.hint, kind=error.kind) from error
    found = _local(snapshot.folder)
    return Source(found.kind, found.path, name, snapshot.commit, snapshot.notes)


def _local(path: Path) -> Source:
    try:
        if path.is_dir():
            return _folder(path)
        if path.is_file():
            return _file(path)
    except OSError as error:
        raise _unreadable(path, error) from error
    raise LoadError(f"{path} is neither a file nor a folder", hint="give a folder or a GGUF file", kind="missing")


def _folder(path: Path) -> Source:
    names = {entry.name for entry in os.scandir(path)}
    if "config.json" in names:
        return Source("folder", path)
    ggufs = sorted(name for name in names if name.lower().endswith(".gguf"))
    if len(ggufs) == 1:
        return Source("gguf", path / ggufs[0])
    if ggufs:
        raise LoadError(
            f"{path} holds {len(ggufs)} GGUF files",
            hint=f"name one of them: {_some(ggufs)}",
            kind="missing",
        )
    if "adapter_config.json" in names:
        raise LoadError(
            f"{path} is a LoRA adapter, not a model",
            hint="merge it into its base model (`merge_and_unload`), save that, and give its folder",
            kind="unsupported",
        )
    if "snapshots" in names:
        hint = "give one of the folders inside its snapshots/ folder, or the hub id"
    else:
        nested = sorted(entry.parent.name for entry in path.glob("*/config.json"))
        hint = f"did you mean {path / nested[0]}?" if nested else "give the folder that holds config.json"
    raise LoadError(f"{path} has no config.json, so it is not a model folder", hint=hint, kind="missing")


def _file(path: Path) -> Source:
    with path.open("rb") as stream:
        magic = stream.read(len(_GGUF_MAGIC))
    if magic == _GGUF_MAGIC or path.suffix.lower() == ".gguf":
        return Source("gguf", path)
    raise LoadError(
        f"{path} is a file, but not a GGUF file",
        hint="give the folder that holds config.json and the weights, or a .gguf file",
        kind="format",
    )


def _looks_like_a_path(name: str) -> bool:
    if name.startswith((".", "~", os.sep)) or os.sep + os.sep in name or "\\" in name:
        return True
    return name.count("/") > 1 or name.endswith("/") or name.lower().endswith(".gguf")


def _nearby(path: Path) -> str:
    parent = path.absolute().parent
    while not parent.exists():
        parent = parent.parent
    try:
        candidates = sorted(entry.name for entry in os.scandir(parent) if not entry.name.startswith("."))
    except OSError:
        candidates = []
    inside = f" (in {parent}: {_some(candidates)})" if candidates else f" ({parent} is empty or unreadable)"
    return f"check the path{inside}"


def _some(names: list[str]) -> str:
    rest = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {rest} more" if rest > 0 else "")


def _unreadable(path: Path, error: OSError) -> LoadError:
    return LoadError(f"{path} cannot be read ({error.strerror})", hint="check its permissions", kind="access")
