"""Whether a session file at rest is whole: its pages, its indices, and what it says twice.

- `why_not_whole`  what is wrong with one that is not

Checksums tell that what is read is what was written; that nothing is missing, only the whole file can tell.
"""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Final

from engine.session.contradictions import contradiction
from engine.session.engine_lock import is_locked
from engine.session.library import files_of
from engine.session.tables import Tables

_KEPT: Final = 256
# Files that were found whole by this process, as (device, inode, size, time) of the file and its log.
_whole: OrderedDict[tuple[tuple[int, int, int, int], ...], None] = OrderedDict()


def why_not_whole(path: Path, tables: Tables) -> str:
    """What is wrong with the file; empty if nothing is, if an engine is at work on it, or if that was asked before.

    Arrays are looked up by their names: one that has another name now would seem not to have been measured.

    Raises:
        UnsoundError: an array is not what was written.
        sqlite3.DatabaseError: it cannot be read.
    """
    if is_locked(path):
        return ""
    key = _identity(path)
    if key in _whole:
        return ""
    connection = tables.connection
    (said,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if said != "ok":
        return "its pages do not fit together"
    first, last, count = connection.execute(
        "SELECT coalesce(min(sample), 0), coalesce(max(sample), -1), count(*) FROM samples"
    ).fetchone()
    if first != 0 or last + 1 != count:
        return "samples are missing"
    if tables.is_checked:
        tables.verify("totals")
        tables.verify("arrays")
        if why := contradiction(tables):
            return f"it contradicts itself: {why}"
    _whole[key] = None
    while len(_whole) > _KEPT:
        _whole.popitem(last=False)
    return ""


def _identity(path: Path) -> tuple[tuple[int, int, int, int], ...]:
    found = []
    for file in files_of(path)[:2]:
        try:
            state = file.stat()
        except OSError:
            continue
        found.append((state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns))
    return tuple(found)
