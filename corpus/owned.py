"""Folders and files of this user that nobody else reads or writes.

- `owned_folder`  make such a folder, or refuse one that others can write into
- `open_part`     a new file to be given its name when it is whole
- `sync_folder`   have the names in a folder reach the disk

A cache holds texts of the user and compiled code that is run: who can write into it can run code.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final

_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH
_PART: Final = ".part"


def owned_folder(root: Path, *below: str) -> Path:
    """The folder `root` / `below`, made if need be; those below the root are this user's alone (0700).

    The root may be a folder that the user keeps other things in: it is made with 0700, and not changed.

    Raises:
        OSError: it cannot be made, belongs to somebody else, or others can write into it.
    """
    root.parent.mkdir(parents=True, exist_ok=True)
    folder = root
    for name in ("", *below):
        folder = folder / name if name else folder
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        state = folder.stat()
        if not stat.S_ISDIR(state.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, "is no folder", str(folder))
        if state.st_uid != os.geteuid() or state.st_mode & _OTHERS_WRITE:
            said = "others can write into it (chmod go-w, or set MAXACT_CACHE)"
            raise PermissionError(errno.EPERM, said, str(folder))
        if state.st_mode & 0o077 and folder != root:
            folder.chmod(0o700)
    return folder


@contextmanager
def open_part(final: Path, mode: int = 0o600) -> Iterator[tuple[Path, IO[bytes]]]:
    """A new hidden file beside `final`, which reaches the disk when the block ends; its caller gives it its name.

    Nobody can have put a link in its place. What a killed process has left of earlier ones is removed.

    Raises:
        OSError: it cannot be made or written.
    """
    remove_parts(final)
    part = part_of(final)
    handle = os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(handle, "wb") as stream:
            yield part, stream
            stream.flush()
            os.fsync(stream.fileno())
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def part_of(final: Path) -> Path:
    """The name of a new file that will be `final`; no other process of this user has it, and no one can foresee it."""
    return final.with_name(f".{final.name[:40]}.{os.getpid()}.{os.urandom(4).hex()}{_PART}")


def remove_parts(final: Path) -> None:
    """Remove what processes that are gone have left of `final`."""
    for part in final.parent.glob(f".{_literal(final.name[:40])}.*{_PART}"):
        words = part.name.removesuffix(_PART).split(".")
        number = next((word for word in words[-2:] if word.isdecimal()), "")
        if number and not _is_alive(int(number)):
            with suppress(OSError):  # somebody else's
                part.unlink()


def sync_folder(folder: Path) -> None:
    """Have new names in a folder survive a power cut, where the file system can do that."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _literal(name: str) -> str:
    return "".join(f"[{one}]" if one in "*?[" else one for one in name)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True
