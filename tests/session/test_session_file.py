"""What the engine writes is what everybody reads."""

from __future__ import annotations

import os
import socket
import sqlite3
import stat
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from engine.base.job import Job
from engine.messages import Code, as_written, message
from engine.session import schema
from engine.session.layout import SCHEMA_VERSION
from engine.session.library import boot_identity, new_path
from engine.session.listing import list_sessions
from engine.session.liveness import SILENCE_SECONDS, is_gone
from engine.session.reader import SessionReader
from engine.session.records import Status
from engine.session.requests import send_command
from engine.session.schema import SessionError
from engine.session.writer import SessionWriter
from engine.statistics.fields import LIVE_FIELDS
from tests.session.making import PLAN, expert_totals, fill, totals


@pytest.fixture
def session(tmp_path: Path) -> Path:
    path = tmp_path / "run.maxact"
    fill(path).close()
    return path


def test_totals_come_back_exactly(session: Path) -> None:
    with SessionReader(session) as reader:
        first, none, third = reader.all_totals()
    assert none is None
    for read, written in ((first, totals(1)), (third, totals(2))):
        assert read is not None
        for name, array in written.to_arrays().items():
            assert np.array_equal(read.to_arrays()[name], array, equal_nan=array.dtype.kind == "f"), name


def test_meta_plan_and_job_come_back(session: Path) -> None:
    with SessionReader(session) as reader:
        meta = reader.meta()
    assert meta.plan == PLAN
    assert meta.job == Job(model="tiny")
    assert meta.created == 1_700_000_000.0
    assert meta.corpus == {"hash": "def"}


def test_expert_totals_come_back_exactly(session: Path) -> None:
    with SessionReader(session) as reader:
        found = reader.expert_totals()
    assert list(found) == [1]
    for name, array in expert_totals().to_arrays().items():
        np.testing.assert_array_equal(found[1].to_arrays()[name], array)


def test_samples_and_the_bytes_of_their_tokens_come_back(session: Path) -> None:
    with SessionReader(session) as reader:
        sample = reader.sample(3)
        assert sample is not None
        assert sample.category == "math"
        assert reader.pieces(sample.token_ids) == [b"Sum", b" \xe2\x82", b"\xac", b"mer"]
        assert reader.pieces([99]) == [b""]
        assert reader.sample(17) is None
        assert reader.sample_labels()[1] == (1, "math", 2)


def test_checkpoints_append_sample_maxima(session: Path) -> None:
    writer = SessionWriter.open(session)
    later = totals(3)
    later.sample_max[:] = [9, 8, 7, 6]
    later.tokens[...] = 80  # eight times those of the samples
    writer.checkpoint(Status(samples_done=4), [later, None, later], np.array([3, 1]))
    writer.close()
    with SessionReader(session) as reader:
        assert reader.samples_done().tolist() == [0, 2, 3, 1]
        maxima = reader.sample_maxima()
        assert reader.checkpoint_number() == 2
        sites = [reader.totals(0), reader.totals(2), *(one for one in reader.iter_totals() if one is not None)]
        (partly, _, _) = reader.iter_totals(("tokens", "histogram"))
    assert maxima[0].tolist() == [1.5, 8, 300.0, 6]
    assert np.isnan(maxima[1]).all()
    for one in sites:
        assert one is not None
        assert one.sample_max.tolist() == maxima[0].tolist()
    # A screen keeps one site: not with it the table of all of them.
    assert sites[0] is not None
    assert sites[0].sample_max.base is not None
    assert sites[0].sample_max.base.nbytes == sites[0].sample_max.nbytes
    assert partly is not None
    assert (int(partly.tokens), len(partly.sample_max), partly.channel_max.any()) == (80, 0, False)
    assert np.array_equal(partly.histogram, totals(3).histogram)


def test_a_checkpoint_is_all_or_nothing(session: Path) -> None:
    """A failure in its middle leaves the previous one untouched."""
    writer = SessionWriter.open(session)
    broken = totals(5)
    object.__setattr__(broken, "sample_max", np.zeros(1, np.float32))
    with pytest.raises(IndexError):
        writer.checkpoint(Status(samples_done=4), [broken, None, broken], np.array([3, 1]))
    writer.close()
    with SessionReader(session) as reader:
        assert reader.checkpoint_number() == 1
        assert reader.samples_done().tolist() == [0, 2]
        read = reader.totals(0)
    assert read is not None
    assert np.array_equal(read.histogram, totals(1).histogram)


def test_a_reader_sees_what_is_committed_while_the_writer_is_open(tmp_path: Path) -> None:
    writer = fill(tmp_path / "run.maxact")
    with SessionReader(tmp_path / "run.maxact") as reader:
        before = reader.data_version()
        live = reader.live()
        assert live is not None
        assert live.magnitude[2] == 300.0
        writer.tick(Status(phase="running", samples_done=3), np.zeros((3, 8)))
        assert reader.data_version() != before
        again = reader.live()
        assert again is not None
        assert again.tick == live.tick + 1
    writer.close()


@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_both_journal_modes_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, journal: str) -> None:
    monkeypatch.setenv(schema.JOURNAL_VARIABLE, journal)
    path = tmp_path / "run.maxact"
    writer = fill(path)
    mode = sqlite3.connect(path).execute("PRAGMA journal_mode").fetchone()[0]
    assert mode == journal
    with SessionReader(path) as reader:
        assert reader.checkpoint_number() == 1
    writer.close()


def journal_of(path: Path) -> str:
    with closing(sqlite3.connect(path)) as db:
        return str(db.execute("PRAGMA journal_mode").fetchone()[0])


def test_an_engine_that_goes_on_with_an_ended_session_writes_ahead_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else every tick of a resumed run would wait for the disk and for its readers."""
    path = tmp_path / "run.maxact"
    fill(path).close(final=True)
    assert journal_of(path) == "delete"
    send_command(path, "stop")
    assert journal_of(path) == "delete", "only an engine changes it"
    with SessionReader(path) as reader:
        writer = SessionWriter.open(path, live=True)
        assert journal_of(path) == "wal"
        writer.add_event("run", as_written("resumed"))
        assert reader.events()[-1].text == "resumed"
        writer.close(final=True)
    monkeypatch.setenv(schema.JOURNAL_VARIABLE, "delete")
    SessionWriter.open(path, live=True).close()
    assert journal_of(path) == "delete"


def test_a_finished_session_is_one_file(tmp_path: Path) -> None:
    writer = fill(tmp_path / "run.maxact")
    writer.close(final=True)
    assert [p.name for p in tmp_path.iterdir()] == ["run.maxact"]


def test_a_session_can_be_read_where_nothing_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / "run.maxact"
    fill(path).close(final=True)
    path.chmod(0o400)
    tmp_path.chmod(0o500)
    try:
        with SessionReader(path) as reader:
            assert reader.checkpoint_number() == 1
    finally:
        tmp_path.chmod(0o700)


def test_only_the_owner_can_read_it(session: Path) -> None:
    assert stat.S_IMODE(session.stat().st_mode) == 0o600


def test_commands_and_answers_travel_through_the_file(session: Path) -> None:
    number = send_command(session, "pause", {"why": "lunch"})
    writer = SessionWriter.open(session)
    (command,) = writer.new_commands()
    assert (command.number, command.name, command.arguments) == (number, "pause", {"why": "lunch"})
    writer.answer(command, "done", message(Code.NOW_PAUSED))
    assert writer.new_commands() == []
    writer.close()
    with SessionReader(session) as reader:
        (answered,) = reader.commands()
    assert (answered.state, answered.answer) == ("done", message(Code.NOW_PAUSED).to_json())


def test_events_are_read_from_where_one_left_off(session: Path) -> None:
    writer = SessionWriter.open(session)
    writer.add_event("maximum", as_written("new maximum"), tokens=5, site=2)
    writer.add_event("memory", as_written("halved"))
    writer.close()
    with SessionReader(session) as reader:
        first, second = reader.events()
        assert (first.kind, first.site, second.site) == ("maximum", 2, None)
        assert reader.events(after=first.number) == [second]


class TestGone:
    """An engine that should beat and does not is called gone; everything else is not."""

    def status(self, **changes: object) -> Status:
        base = Status(phase="running", pid=os.getpid(), host=socket.gethostname(), boot=boot_identity())
        return base.changed(started=time.time(), heartbeat=time.time(), **changes)

    def test_a_living_process_is_not_gone(self) -> None:
        assert not is_gone(self.status(), created=0.0)

    def test_a_dead_process_is_gone(self) -> None:
        process = subprocess.Popen([sys.executable, "-c", ""])
        process.wait()
        assert is_gone(self.status(pid=process.pid), created=0.0)

    def test_a_zombie_is_gone(self) -> None:
        process = subprocess.Popen([sys.executable, "-c", ""])
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and nobody has taken note
        assert is_gone(self.status(pid=process.pid), created=0.0)
        process.wait()

    def test_another_boot_is_gone(self) -> None:
        assert is_gone(self.status(boot="earlier"), created=0.0)

    def test_a_recycled_process_id_is_gone(self) -> None:
        assert is_gone(self.status().changed(started=time.time() - 1e6), created=0.0)

    def test_another_host_is_judged_by_its_heartbeat(self) -> None:
        there = self.status(host="elsewhere")
        assert not is_gone(there, created=0.0)
        assert is_gone(there, created=0.0, now=time.time() + SILENCE_SECONDS + 1)

    def test_an_engine_that_never_started_is_gone_after_a_while(self) -> None:
        waiting = Status(phase="starting")
        assert not is_gone(waiting, created=100.0, now=110.0)
        assert is_gone(waiting, created=100.0, now=1000.0)

    def test_an_ended_run_is_never_gone(self) -> None:
        assert not is_gone(self.status(pid=1, boot="earlier").changed(phase="finished"), created=0.0)


class TestRefusals:
    """Files that cannot be used are refused in one line."""

    def refused(self, path: Path) -> str:
        with pytest.raises(SessionError) as caught:
            SessionReader(path)
        message = str(caught.value)
        assert "\n" not in message
        return message

    def test_missing(self, tmp_path: Path) -> None:
        assert "no session file" in self.refused(tmp_path / "none.maxact")

    def test_folder(self, tmp_path: Path) -> None:
        assert "is a folder" in self.refused(tmp_path)

    def test_text_file(self, tmp_path: Path) -> None:
        path = tmp_path / "x.maxact"
        path.write_text("hello" * 1000)
        assert "not a session file" in self.refused(path)

    def test_empty_file(self, tmp_path: Path) -> None:
        path = tmp_path / "x.maxact"
        path.touch()
        assert "not a session file" in self.refused(path)

    def test_truncated(self, session: Path) -> None:
        session.write_bytes(session.read_bytes()[:5000])
        assert "run.maxact is damaged: its database cannot be read" in self.refused(session)

    def test_foreign_database(self, tmp_path: Path) -> None:
        path = tmp_path / "x.maxact"
        db = sqlite3.connect(path)
        db.execute("CREATE TABLE meta (a)")
        db.commit()
        db.close()
        assert "not a maxact-tui session" in self.refused(path)

    def test_newer_schema(self, session: Path) -> None:
        db = sqlite3.connect(session)
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
        db.close()
        assert "newer maxact-tui" in self.refused(session)

    def test_an_existing_file_is_not_overwritten(self, session: Path) -> None:
        with pytest.raises(SessionError, match="exists already"):
            SessionWriter.create(session, Job(model="tiny"))

    def test_a_place_that_cannot_be_written(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(SessionError, match="choose another place"):
            SessionWriter.create(tmp_path / "file" / "run.maxact", Job(model="tiny"))


def test_the_list_shows_every_session_and_nothing_else(session: Path) -> None:
    (session.parent / "other.maxact").write_text("not a session")
    (info,) = list_sessions(session.parent)
    assert (info.path, info.model, info.magnitude) == (session, "tiny", 300.0)
    assert info.status.phase == "gone"


def test_the_size_of_a_session_counts_what_is_not_in_its_file_yet(tmp_path: Path) -> None:
    writer = fill(tmp_path / "run.maxact")
    (info,) = list_sessions(tmp_path)
    assert info.size_bytes == sum(path.stat().st_size for path in tmp_path.iterdir())
    assert info.size_bytes > info.path.stat().st_size
    writer.close(final=True)
    (info,) = list_sessions(tmp_path)
    assert info.size_bytes == info.path.stat().st_size


def test_new_names_are_readable_and_never_taken(tmp_path: Path) -> None:
    first = new_path("Qwen/Qwen3-8B", tmp_path)
    assert first.name.startswith("Qwen3-8B-")
    first.touch()
    assert new_path("Qwen/Qwen3-8B", tmp_path) != first
    assert new_path("../..", tmp_path).parent == tmp_path


def test_what_a_broken_off_run_lost_is_not_in_the_list(session: Path) -> None:
    """Its live numbers are of batches that were not saved; the summary and the exports do not know them."""
    writer = SessionWriter.open(session)
    live = np.full((len(PLAN.sites), len(LIVE_FIELDS)), np.nan)
    live[2, :8] = (5_000.0, -300.0, 5.0, 154, 0, 2, 1, 3)
    running = Status(phase="running", pid=os.getpid(), host=socket.gethostname(), boot=boot_identity())
    status = running.changed(started=time.time(), heartbeat=time.time(), samples_done=4, samples_total=4)
    writer.tick(status, live)
    (info,) = list_sessions(session.parent)
    assert (info.magnitude, info.status.samples_done) == (5_000.0, 4)
    writer.set_status(status.changed(boot="earlier"))
    writer.close()
    (info,) = list_sessions(session.parent)
    with SessionReader(session) as reader:
        saved = max(float(abs(totals(seed).extremes).max()) for seed in (1, 2))
        assert reader.saved_magnitude()[2] == saved
    assert (info.status.phase, info.magnitude, info.status.samples_done) == ("gone", saved, 2)
