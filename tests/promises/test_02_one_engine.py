"""Promise 2: one session, one engine, whoever starts it and however often."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from engine.messages import as_written
from engine.session.engine_lock import EngineLock, LockedError
from engine.session.reader import SessionReader
from engine.session.writer import SessionWriter, TakenOverError
from tests.session.making import fill


def test_of_many_that_start_at_once_one_has_the_session(tmp_path: Path) -> None:
    session = tmp_path / "run.maxact"
    fill(session).close()

    def start(_: int) -> EngineLock | None:
        try:
            return EngineLock.take(session)
        except LockedError:
            return None

    with ThreadPoolExecutor(8) as pool:
        held = [lock for lock in pool.map(start, range(8)) if lock is not None]
    assert len(held) == 1
    held[0].release()


def test_one_that_was_taken_over_writes_nothing_more(tmp_path: Path) -> None:
    session = tmp_path / "run.maxact"
    fill(session).close()
    first, second = SessionWriter.open(session), SessionWriter.open(session)
    first.claim()
    second.claim()
    with SessionReader(session) as reader:
        before = reader.events()
        try:
            first.add_event("run", as_written("too late"))
        except TakenOverError:
            pass
        else:
            raise AssertionError("it wrote")
        assert reader.events() == before
    first.close()
    second.close()
