"""Watching a session: never behind, never in the way, never lost."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from maxact_tui.watching.snapshot import Snapshot, Wish
from maxact_tui.watching.watcher import Watcher
from tests.screen import sessions
from tests.values import some
from tests.waiting import PATIENCE_SECONDS, until


class Counter:
    """Counts announcements."""

    def __init__(self) -> None:
        self.count = 0
        self._lock = threading.Lock()

    def __call__(self) -> None:
        with self._lock:
            self.count += 1


@contextmanager
def watching(path: Path, announce: Callable[[], None] | None = None) -> Iterator[Watcher]:
    watcher = Watcher(path, announce or (lambda: None))
    watcher.start()
    try:
        yield watcher
    finally:
        watcher.stop()
        watcher.join(PATIENCE_SECONDS)
        assert not watcher.is_alive()


def wait(watcher: Watcher, holds: Callable[[Snapshot], bool]) -> Snapshot:
    seen = [watcher.collect()]

    def look() -> bool:
        seen[0] = watcher.collect()
        return holds(seen[0])

    until(look, lambda: seen[0])
    return seen[0]


def wait_for_looks(watcher: Watcher, looks: int) -> None:
    """Wait until the watcher has looked so many times, whatever it found."""
    done, look = 0, watcher._look.again

    def again(wish: Wish) -> Snapshot | None:
        nonlocal done
        found = look(wish)
        done += found is None  # as it ends every turn but those that find something twice
        return found

    watcher._look.again = again  # type: ignore[method-assign]
    until(lambda: done >= looks)


def has_events(count: int) -> Callable[[Snapshot], bool]:
    return lambda snapshot: len(snapshot.events) >= count


def has_ticked(watcher: Watcher, tick: int) -> bool:
    """Whether the watcher has seen this tick, without collecting it."""
    return watcher._newest.live is not None and watcher._newest.live.tick == tick


def is_at(site: int) -> Callable[[Snapshot], bool]:
    return lambda snapshot: snapshot.focus == site


def test_a_file_that_is_not_there_is_a_problem_and_then_none(tmp_path: Path) -> None:
    path = tmp_path / "later.maxact"
    with watching(path) as watcher:
        assert "no session file" in wait(watcher, lambda s: s.problem != "").problem
        sessions.SessionScript(path)
        snapshot = wait(watcher, lambda s: s.status is not None)
        assert snapshot.problem == ""


def test_damage_is_told_and_the_last_data_kept(tmp_path: Path) -> None:
    script = sessions.running(tmp_path / "run.maxact")
    with watching(script.path) as watcher:
        before = wait(watcher, lambda s: s.view is not None)
        script.writer.close(final=True)
        for name in ("run.maxact-wal", "run.maxact-shm"):
            (tmp_path / name).unlink(missing_ok=True)
        script.path.write_bytes(b"garbage" * 5000)
        after = wait(watcher, lambda s: s.problem != "")
        assert after.live is before.live or some(after.live).tick == some(before.live).tick
        assert after.maximum == before.maximum


def test_updates_do_not_queue_up_while_nobody_collects(tmp_path: Path) -> None:
    script = sessions.SessionScript(tmp_path / "run.maxact").load()
    counter = Counter()
    with watching(script.path, counter) as watcher:
        for tick in range(1, 7):
            script.tick()
            until(partial(has_ticked, watcher, tick))
        assert counter.count == 1
        ticks = some(watcher.collect().live).tick
        assert ticks == 6
        script.tick()
        wait(watcher, lambda s: some(s.live).tick > ticks)
        assert counter.count >= 2


def test_nothing_is_announced_while_nothing_changes(tmp_path: Path) -> None:
    path = tmp_path / "done.maxact"
    sessions.finished(path, layers=4, massive=2)
    counter = Counter()
    with watching(path, counter) as watcher:
        wait(watcher, lambda s: s.view is not None)
        wait_for_looks(watcher, 2)
        watcher.collect()
        count = counter.count
        wait_for_looks(watcher, 6)
        assert counter.count == count


def test_an_engine_that_died_is_gone(tmp_path: Path) -> None:
    script = sessions.running(tmp_path / "run.maxact", layers=4, massive=2)
    with watching(script.path) as watcher:
        wait(watcher, lambda s: s.status is not None and s.status.phase == "running")
        script.status = script.status.changed(pid=2**22 - 3)
        script.writer.set_status(script.status)
        snapshot = wait(watcher, lambda s: s.has_ended)
        assert some(snapshot.status).phase == "gone"
        assert snapshot.live is not None


def test_events_arrive_once_and_in_order(tmp_path: Path) -> None:
    script = sessions.SessionScript(tmp_path / "run.maxact").load()
    with watching(script.path) as watcher:
        for number in range(5):
            script.event("note", f"event {number}", after=number)
            wait(watcher, has_events(number + 1))
        assert [e.text for e in watcher.collect().events] == [f"event {n}" for n in range(5)]


def test_a_wish_is_answered_at_once_with_the_new_site(tmp_path: Path) -> None:
    path = tmp_path / "done.maxact"
    sessions.finished(path)
    with watching(path) as watcher:
        wait(watcher, lambda s: s.view is not None)
        for site in (3, 77, 12):
            watcher.wish(Wish(site))
            snapshot = wait(watcher, is_at(site))
            assert snapshot.view is not None
            assert snapshot.view.site == site


def test_the_model_is_analysed_only_when_wished_for(tmp_path: Path) -> None:
    path = tmp_path / "done.maxact"
    sessions.finished(path, layers=4, massive=2)
    with watching(path) as watcher:
        wait(watcher, lambda s: s.view is not None)
        wait_for_looks(watcher, 3)
        assert watcher.collect().model is None
        watcher.wish(Wish(None, model=True))
        snapshot = wait(watcher, lambda s: s.model is not None)
        assert len(snapshot.summaries) == len(some(snapshot.plan).sites)
        assert len(snapshot.thread_places) == len(some(snapshot.model).threads)
