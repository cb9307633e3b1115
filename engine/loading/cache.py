"""The cache folder, and file hashes remembered by size and modification time.

- `cache_dir`    the folder of everything that can be made again
- `file_sha256`  the sha256 of a file; instant the second time
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

_CHUNK_BYTES = 1 << 22


def cache_dir() -> Path:
    """The folder for converted models and remembered hashes: `$MAXACT_CACHE`, else the user's cache folder.

    It is not created here; whatever lies in it can be deleted at any time.
    """
    override = os.environ.get("MAXACT_CACHE")
    if override:
        return Path(override).expanduser().absolute()
    from platformdirs import user_cache_path

    return user_cache_path("maxact-tui", appauthor=False)


def file_sha256(path: Path, report: Callable[[int, int], None] | None = None) -> str:
    """The sha256 of a file in hexadecimal, read once per (path, size, modification time, inode).

    Args:
        path: the file.
        report: called with (bytes hashed, bytes in all) while the file is read.

    Raises:
        OSError: the file cannot be read. A cache that cannot be written is not an error.
    """
    path = path.resolve()
    stat = path.stat()
    key = [str(path), stat.st_size, stat.st_mtime_ns, stat.st_ino]
    name = hashlib.sha256(str(path).encode()).hexdigest()[:24]
    note = cache_dir() / "hashes" / f"{name}.json"
    remembered = _read_note(note)
    if remembered is not None and remembered.get("key") == key:
        return str(remembered["sha256"])
    digest = hashlib.sha256()
    done = 0
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
            done += len(chunk)
            if report is not None:
                report(done, stat.st_size)
    sha256 = digest.hexdigest()
    _write_note(note, {"key": key, "sha256": sha256})
    return sha256


def _read_note(note: Path) -> dict[str, object] | None:
    try:
        data = json.loads(note.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) and isinstance(data.get("sha256"), str) else None


def _write_note(note: Path, data: dict[str, object]) -> None:
    temporary = note.with_suffix(f".{os.getpid()}.tmp")
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(data), encoding="utf-8")
        temporary.replace(note)
    except OSError:
        # A read-only or full cache costs time at the next start, never the run.
        with contextlib.suppress(OSError):
            temporary.unlink()
