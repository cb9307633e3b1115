"""Promise 6: a full or failing disk costs at most what came after the last checkpoint, and says so."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from engine.messages import words
from engine.run import runner
from engine.run.recording import RunRecorder
from engine.run.storage import disk_trouble
from engine.session.reader import SessionReader
from tests.engine.running import EVERY_BATCH, assert_equal_totals, new_session, read_totals, tiny_job, write_corpus


def test_a_disk_that_fills_up_keeps_the_last_checkpoint_and_the_rest_is_measured_again(
    tmp_path: Path, tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = tiny_job(tiny_model_folder, write_corpus(tmp_path / "texts.jsonl"), **EVERY_BATCH)
    whole, session = (new_session(tmp_path / name, job) for name in ("whole.maxact", "run.maxact"))
    assert runner.run(whole) == 0
    begin, counted = RunRecorder.begin_checkpoint, []

    def fill_up_after_two(self: RunRecorder, collect: object, samples: object) -> None:
        counted.append(samples)
        if len(counted) == 3:
            self._writer._connection.execute("PRAGMA max_page_count = 1")  # what there is, and not a page more
        begin(self, collect, samples)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(RunRecorder, "begin_checkpoint", fill_up_after_two)
        assert runner.run(session) == 1
    with SessionReader(session) as reader:
        status, done = reader.status(), reader.samples_done()
        assert (status.phase, 0 < len(done) < 24) == ("failed", True)
        assert status.detail.startswith("checkpoint not written: database or disk is full; free some space, then")
    assert runner.run(session) == 0
    assert_equal_totals(read_totals(session), read_totals(whole))


@pytest.mark.parametrize(
    ("code", "step"),
    [
        (sqlite3.SQLITE_FULL, "free some space"),
        (sqlite3.SQLITE_IOERR, "its disk fails"),
        (sqlite3.SQLITE_READONLY, "writable again"),
        (sqlite3.SQLITE_BUSY, "close what reads it"),
    ],
)
def test_the_step_is_that_of_the_trouble(code: int, step: str) -> None:
    error = sqlite3.OperationalError("in the way")
    error.sqlite_errorcode = code | 3 << 8  # an extended code
    assert step in words(disk_trouble(error))
    assert ("free some space" in words(disk_trouble(error))) == (code == sqlite3.SQLITE_FULL)
