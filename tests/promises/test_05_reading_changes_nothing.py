"""Promise 5: reading never changes a session; merge and migration are whole or absent."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from engine.merging import MergeError, merge_sessions
from engine.session.layout import NEWEST_UNCHECKED
from engine.session.schema import SessionError
from engine.session.writer import SessionWriter
from tests.screen.sessions import finished
from tests.torture import flips

VERSION_1 = Path(__file__).parents[1] / "session" / "data" / "version-1.maxact"


def state(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Content and time of every session."""
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.glob("*.maxact")}


@pytest.mark.parametrize("older", [False, True])
def test_everything_that_is_shown_is_read_without_a_trace(tmp_path: Path, older: bool) -> None:
    path = tmp_path / "run.maxact"
    if older:
        path.write_bytes(VERSION_1.read_bytes())
    else:
        finished(path, layers=3, samples=5)
    before = state(tmp_path)
    flips.shown(path)
    assert state(tmp_path) == before


def test_a_merge_that_fails_leaves_nothing(tmp_path: Path) -> None:
    first, second, target = (tmp_path / name for name in ("a.maxact", "b.maxact", "both.maxact"))
    finished(first, layers=3, samples=5)
    second.write_bytes(first.read_bytes())
    before = state(tmp_path)
    with pytest.raises(MergeError, match=r"were measured in a\.maxact, too"):
        merge_sessions([first, second], target)
    assert state(tmp_path) == before


def test_a_migration_that_fails_leaves_the_older_file(tmp_path: Path) -> None:
    path = tmp_path / "old.maxact"
    path.write_bytes(VERSION_1.read_bytes())
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(SessionError):
            SessionWriter.open(path, wait_seconds=0)
        other.execute("ROLLBACK")
        assert other.execute("PRAGMA user_version").fetchone() == (1,)
    SessionWriter.open(path).close(final=True)
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (NEWEST_UNCHECKED,)
