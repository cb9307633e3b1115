"""A session whose writer was killed in the middle of a transaction, with a rollback journal."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from engine.session.reader import SessionReader
from tests.screen import sessions


def test_what_a_killed_writer_left_half_done_is_rolled_back_by_whoever_reads_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAXACT_JOURNAL", "delete")
    script = sessions.running(tmp_path / "run.maxact", layers=4, massive=2, hostile=False)
    script.writer.close()
    killed = tmp_path / "killed"
    killed.mkdir()
    with closing(sqlite3.connect(script.path, isolation_level=None)) as db:
        db.execute("PRAGMA cache_size = 1")  # what is changed goes into the file before it is committed
        db.execute("BEGIN IMMEDIATE")
        db.execute("UPDATE arrays SET data = zeroblob(length(data))")
        for path in tmp_path.glob("run.maxact*"):
            shutil.copy(path, killed)
        db.execute("ROLLBACK")
    session = killed / "run.maxact"
    assert (killed / "run.maxact-journal").exists()
    assert session.read_bytes() != script.path.read_bytes()
    with SessionReader(session) as reader, SessionReader(script.path) as whole:
        found, wanted = reader.all_totals(), whole.all_totals()
    assert [one is not None and one.extremes.tolist() for one in found] == [
        one is not None and one.extremes.tolist() for one in wanted
    ]
    assert session.read_bytes() == script.path.read_bytes()
