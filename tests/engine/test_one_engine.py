"""One session, one engine: the lock, the token in every transaction, and who counts as alive."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from engine.process import start_engine
from engine.run import runner
from engine.run.recording import RunRecorder
from engine.session.engine_lock import EngineLock, LockedError, is_locked
from engine.session.library import boot_identity, lock_path
from engine.session.liveness import is_gone, own_identity
from engine.session.maxima import put_block
from engine.session.reader import SessionReader
from engine.session.records import ENDED, Status
from engine.session.schema import DamagedError, SessionError
from engine.session.tables import Tables
from engine.session.writer import SessionWriter, TakenOverError
from tests.engine.running import EVERY_BATCH, assert_equal_totals, new_session, read_totals, tiny_job, write_corpus
from tests.session.stamping import stamped

HOUR = 3600.0


@pytest.fixture
def session(tmp_path: Path, tiny_model_folder: Path) -> Path:
    job = tiny_job(tiny_model_folder, write_corpus(tmp_path / "texts.jsonl"), **EVERY_BATCH)
    return new_session(tmp_path / "run.maxact", job)


def wait_until_ended(path: Path) -> str:
    """The phase in which the run ended; pytest's time limit is the only one."""
    with SessionReader(path) as reader:
        while reader.status().phase not in ENDED:
            time.sleep(0.1)
        return reader.status().phase


def test_a_lock_is_held_once_and_leaves_nothing(session: Path) -> None:
    assert is_locked(session) is False
    with EngineLock.take(session) as lock:
        assert lock.is_held
        assert is_locked(session) is True
        assert is_locked(session, "service") is False
        with pytest.raises(LockedError, match="another engine works on"):
            EngineLock.take(session)
    assert is_locked(session) is False
    assert not lock_path(session).exists()


def test_a_lock_ends_with_the_process_that_was_given_it(session: Path) -> None:
    lock = EngineLock.take(session)
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=(lock.descriptor,))
    lock.hand_over()
    assert is_locked(session) is True
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert is_locked(session) is False
    EngineLock.take(session).release()


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_what_is_no_lock_file_is_refused(session: Path, tmp_path: Path, kind: str) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    path = lock_path(session)
    path.symlink_to(victim) if kind == "link" else os.mkfifo(path)
    with pytest.raises(SessionError, match="cannot lock"):
        EngineLock.take(session)
    assert victim.read_text() == "mine"


def test_of_many_starts_at_once_one_begins(session: Path) -> None:
    def start(_: int) -> str:
        try:
            start_engine(session)
        except LockedError:
            return "locked"
        return "started"

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(start, range(4))) == ["locked", "locked", "locked", "started"]
    assert wait_until_ended(session) == "finished"
    with SessionReader(session) as reader:
        assert len([event for event in reader.events() if event.text.startswith("started")]) == 1
        assert sorted(reader.samples_done().tolist()) == list(range(24))


def test_a_writer_that_another_engine_has_followed_writes_nothing_more(session: Path) -> None:
    first, second = SessionWriter.open(session), SessionWriter.open(session)
    first.claim()
    first.beat(1.0)
    second.claim()
    with pytest.raises(TakenOverError):
        first.beat(2.0)
    second.beat(3.0)
    first.close()
    second.close()
    with closing(sqlite3.connect(session)) as db:
        assert db.execute("SELECT heartbeat FROM status").fetchone() == (3.0,)


def test_a_run_that_is_taken_over_ends_and_the_numbers_stay_those_of_one_engine(
    session: Path, tmp_path: Path, tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = new_session(tmp_path / "whole.maxact", tiny_job(tiny_model_folder, tmp_path / "texts.jsonl"))
    assert runner.run(whole) == 0
    begin, counted = RunRecorder.begin_checkpoint, []

    def take_over_at_the_third(self: RunRecorder, collect: object, samples: object) -> None:
        counted.append(samples)
        if len(counted) == 3:
            other = SessionWriter.open(session)
            other.claim()
            other.close()
        begin(self, collect, samples)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(RunRecorder, "begin_checkpoint", take_over_at_the_third)
        assert runner.run(session) == 1
    with SessionReader(session) as reader:
        assert 0 < len(reader.samples_done()) < 24
    assert runner.run(session) == 0
    assert_equal_totals(read_totals(session), read_totals(whole))


def test_samples_that_were_counted_twice_are_damage(session: Path) -> None:
    assert runner.run(session) == 0
    with stamped(session) as db:
        sites, data = db.execute("SELECT sites, data FROM sample_maxima LIMIT 1").fetchone()
        block = np.frombuffer(data, "<f4").reshape(sites, -1)
        put_block(Tables(db), np.arange(block.shape[1]), block)
    with SessionReader(session) as reader, pytest.raises(DamagedError, match="counted twice"):
        reader.samples_done()


class TestWhoIsAlive:
    """The lock is right on any clock and in any container."""

    def status(self, **changes: object) -> Status:
        now = time.time()
        return Status(phase="running", started=now, heartbeat=now, lock=1, **own_identity()).changed(**changes)

    def test_who_holds_the_lock_is_alive(self) -> None:
        for strange in (
            self.status(heartbeat=time.time() - HOUR, started=time.time() + HOUR),
            self.status(pid=2**22 + 1),
            self.status(namespace="pid:[1]"),
            self.status(host="elsewhere", heartbeat=0.0),
        ):
            assert not is_gone(strange, created=0.0, locked=True)

    def test_a_lock_that_nobody_holds_is_of_an_engine_that_is_gone(self) -> None:
        assert is_gone(self.status(), created=0.0, locked=False)
        assert is_gone(self.status(pid=0, phase="starting"), created=time.time(), locked=False)

    def test_without_a_lock_the_process_is_told_by_its_start_since_boot_on_any_clock(self) -> None:
        shifted = self.status(lock=0, started=time.time() - HOUR, heartbeat=0.0)
        assert not is_gone(shifted, created=0.0)
        assert is_gone(shifted.changed(start_ticks=1), created=0.0)

    def test_a_process_id_of_another_container_says_nothing(self) -> None:
        there = self.status(lock=0, namespace="pid:[1]", pid=2**22 + 1)
        assert there.boot == boot_identity()
        assert not is_gone(there, created=0.0)
        assert is_gone(there, created=0.0, now=time.time() + HOUR)

    def test_a_reader_asks_for_the_lock(self, session: Path) -> None:
        writer = SessionWriter.open(session)
        writer.set_status(self.status(pid=2**22 + 1))
        writer.close()
        with SessionReader(session) as reader:
            assert reader.status().phase == "gone"
            with EngineLock.take(session):
                assert reader.status().phase == "running"
            assert reader.status().phase == "gone"


class TestRollbackJournal:
    """Sessions on file systems without shared memory."""

    @pytest.fixture
    def rolled(self, tmp_path: Path, tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setenv("MAXACT_JOURNAL", "delete")
        return new_session(tmp_path / "run.maxact", tiny_job(tiny_model_folder, write_corpus(tmp_path / "t.jsonl")))

    def test_a_commit_that_meets_a_reader_is_taken_back_and_the_next_one_counts(self, rolled: Path) -> None:
        writer = SessionWriter.open(rolled)
        writer.wait_for_others(0)
        with closing(sqlite3.connect(rolled, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM meta").fetchone()
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                writer.beat(1.0)
            reader.execute("COMMIT")
        writer.beat(2.0)
        with closing(sqlite3.connect(rolled)) as other:  # seen by others: it was committed
            assert other.execute("SELECT heartbeat FROM status").fetchone() == (2.0,)
        writer.close()

    def test_what_a_killed_engine_had_half_written_is_taken_back_by_the_first_reader(
        self, rolled: Path, tmp_path: Path
    ) -> None:
        broken = tmp_path / "broken.maxact"
        with closing(sqlite3.connect(rolled, isolation_level=None)) as db:
            db.execute("PRAGMA cache_size = 1")  # pages reach the file before the transaction ends
            db.execute("BEGIN IMMEDIATE")
            db.execute("UPDATE status SET heartbeat = 77.0")
            db.executemany("INSERT INTO vocabulary VALUES (0, ?, ?)", ((i, bytes(3000)) for i in range(200)))
            journal = rolled.with_name(rolled.name + "-journal")
            broken.write_bytes(rolled.read_bytes())
            broken.with_name(broken.name + "-journal").write_bytes(journal.read_bytes())
            db.execute("ROLLBACK")
        with SessionReader(broken) as reader:
            assert reader.meta().job.model == str(reader.meta().job.model)
            assert reader.pieces([0, 199]) == [b"", b""]
        with closing(sqlite3.connect(broken)) as db:
            assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            assert db.execute("SELECT heartbeat FROM status").fetchone() != (77.0,)
