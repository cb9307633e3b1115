"""The cache folder, and whole-file hashes remembered as long as a file's inode says it was not touched.

- `cache_dir`       the folder of everything that can be made again
- `file_sha256`     the sha256 of a file; instant the second time
- `is_hashed`       whether it is known already
- `whole_identity`  the same of several files, as one
- `Hashing`         the same in a thread, beside a load that reads the same files
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYetError
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from corpus.owned import open_part, owned_folder
from engine.base.weights import WHOLE

_CHUNK_BYTES = 1 << 22
_LOOK_SECONDS: Final = 0.1
Report = Callable[[int, int], None]


def cache_dir() -> Path:
    """The folder for converted models and remembered hashes: `$MAXACT_CACHE`, else the user's cache folder.

    It is not created here; whatever lies in it can be deleted at any time.
    """
    override = os.environ.get("MAXACT_CACHE")
    if override:
        return Path(override).expanduser().absolute()
    from platformdirs import user_cache_path

    return user_cache_path("maxact-tui", appauthor=False)


def file_sha256(path: Path, report: Report | None = None) -> str:
    """The sha256 of a file in hexadecimal, read once per (path, device, inode, size, times of content and inode).

    The time of the inode cannot be set back: who changes bytes and then sets the modification time is found out.

    Args:
        path: the file.
        report: called with (bytes hashed, bytes in all) while the file is read.

    Raises:
        OSError: the file cannot be read. A cache that cannot be written is not an error.
    """
    path = path.resolve()
    with path.open("rb") as stream:
        stat = os.fstat(stream.fileno())
        key, name = _key(path, stat), _note_name(path)
        remembered = _read_note(name)
        if remembered is not None and remembered.get("key") == key:
            return str(remembered["sha256"])
        digest = hashlib.sha256()
        done = 0
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
            done += len(chunk)
            if report is not None:
                report(done, stat.st_size)
    sha256 = digest.hexdigest()
    _write_note(name, {"key": key, "sha256": sha256})
    return sha256


def is_hashed(path: Path) -> bool:
    """Whether `file_sha256` knows this file and need not read it.

    Raises:
        OSError: there is no such file.
    """
    path = path.resolve()
    remembered = _read_note(_note_name(path))
    return remembered is not None and remembered.get("key") == _key(path, path.stat())


def _key(path: Path, stat: os.stat_result) -> list[object]:
    return [str(path), stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]


def _note_name(path: Path) -> str:
    return f"{hashlib.sha256(str(path).encode()).hexdigest()[:24]}.json"


def whole_identity(files: Sequence[Path], report: Report | None = None) -> str:
    """A sha256 over names, sizes and sha256s of files; their folder does not matter.

    Args:
        files: in any order.
        report: called with (bytes hashed, bytes in all).

    Returns:
        `sha256:` and 64 hexadecimal digits.

    Raises:
        OSError: a file cannot be read.
    """
    digest = hashlib.sha256()
    sizes = {path: path.stat().st_size for path in files}
    before, total = 0, sum(sizes.values())
    for path in sorted(files, key=lambda path: path.name):

        def told(done: int, _: int, before: int = before) -> None:
            if report is not None:
                report(before + done, total)

        digest.update(f"{path.name}\0{sizes[path]}\0{file_sha256(path, told)}\0".encode())
        before += sizes[path]
    return f"{WHOLE}{digest.hexdigest()}"


class Hashing:
    """`whole_identity` in a thread: what a load reads from the disk is hashed while it is in memory.

    Use as a context manager; leaving it by an error ends the thread within a chunk.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = files
        self._given_up = threading.Event()
        self._done = (0, 0)
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="hashing")
        self._future: Future[str] | None = None

    def __enter__(self) -> Self:
        self._future = self._pool.submit(whole_identity, self._files, self._note)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._given_up.set()
        self._pool.shutdown()

    def result(self, report: Report) -> str:
        """The identity, waited for.

        Args:
            report: called with (bytes hashed, bytes in all) meanwhile; what it raises comes out.

        Raises:
            OSError: a file cannot be read.
        """
        assert self._future is not None
        while True:
            try:
                return self._future.result(_LOOK_SECONDS)
            except NotYetError:
                report(*self._done)

    def _note(self, done: int, total: int) -> None:
        self._done = (done, total)
        if self._given_up.is_set():
            raise OSError("given up")


def _read_note(name: str) -> dict[str, object] | None:
    try:
        note = owned_folder(cache_dir(), "hashes") / name
        data = json.loads(note.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) and isinstance(data.get("sha256"), str) else None


def _write_note(name: str, data: dict[str, object]) -> None:
    # A read-only or full cache, or one of others, costs time at the next start, never the run.
    with contextlib.suppress(OSError):
        note = owned_folder(cache_dir(), "hashes") / name
        with open_part(note) as (part, stream):
            stream.write(json.dumps(data).encode())
        part.replace(note)
