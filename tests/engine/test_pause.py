"""A paused run: what is asked of it meanwhile, and how it goes on."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from engine.run import runner
from engine.run.measuring import Measurement
from engine.session.reader import SessionReader
from engine.session.records import ENDED, Status
from engine.session.requests import send_command
from tests.engine.running import (
    assert_equal_totals,
    new_session,
    read_totals,
    tiny_job,
    write_corpus,
)
from tests.waiting import until

PAUSED = ("paused", "paused; space or `resume` continues")


class User:
    """Somebody in front of a screen, while the engine has the main thread to itself."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def status(self) -> Status:
        with SessionReader(self._path) as reader:
            return reader.status()

    def ask(self, name: str, *, answer: str = "done", **arguments: object) -> None:
        """Ask for something and wait until it is done, or answered otherwise."""
        number = send_command(self._path, name, arguments)
        self.wait(lambda: self._state(number) == answer)

    def _state(self, number: int) -> str:
        with SessionReader(self._path) as reader:
            return reader.commands(number - 1)[0].state

    def wait(self, condition: Callable[[], bool]) -> None:
        def holds() -> bool:
            found = condition()
            assert found or self.status().phase not in ENDED, self.status()
            return found

        until(holds, self.status)


def run_with(path: Path, acts: Callable[[User], None]) -> None:
    """Run the engine here, while a user does something; it is stopped if that fails."""

    def act() -> None:
        with ExitStack() as stack:
            stack.callback(send_command, path, "stop")
            acts(User(path))
            stack.pop_all()

    with ThreadPoolExecutor(max_workers=1) as pool:
        done = pool.submit(act)
        assert runner.run(path) == 0
    done.result()


@pytest.fixture
def texts(tmp_path: Path) -> tuple[Path, Path, Path]:
    """A corpus, more texts, and both together."""
    both = write_corpus(tmp_path / "both.jsonl", samples=12)
    lines = both.read_text(encoding="utf-8").splitlines(keepends=True)
    first, more = tmp_path / "first.jsonl", tmp_path / "more.jsonl"
    first.write_text("".join(lines[:9]), encoding="utf-8")
    more.write_text("".join(lines[9:]), encoding="utf-8")
    return first, more, both


def pause_after_batches(path: Path, batches: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask for a pause during the last of so many batches of the next run, or before its first."""
    if not batches:
        send_command(path, "pause")
        return
    original, left = Measurement.run_batch, iter(range(batches - 1, -1, -1))

    def run_batch(self: Measurement, numbers: tuple[int, ...]) -> None:
        original(self, numbers)
        if next(left, None) == 0:
            send_command(path, "pause")

    monkeypatch.setattr(Measurement, "run_batch", run_batch)


@pytest.mark.parametrize("done", [0, 4, 9], ids=["before-the-first-batch", "between-two", "after-the-last"])
def test_texts_added_to_a_paused_run_leave_it_paused_and_are_measured_once_it_goes_on(
    tmp_path: Path, tiny_model_folder: Path, texts: tuple[Path, Path, Path], done: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, more, both = texts
    path = new_session(tmp_path / "run.maxact", tiny_job(tiny_model_folder, first, batch_tokens=1))
    pause_after_batches(path, done, monkeypatch)

    def acts(user: User) -> None:
        user.wait(lambda: user.status().phase == "paused")
        user.ask("add", corpus=str(more))
        for _ in range(3):  # each answer says that the engine has looked round once more
            user.ask("dance", answer="refused")
            status = user.status()
            assert (status.phase, status.detail) == PAUSED
        assert (status.samples_done, status.samples_total, status.batches_total) == (done, 12, 12)
        assert status.tokens_total > status.tokens_done
        send_command(path, "resume")

    run_with(path, acts)
    whole = new_session(tmp_path / "both.maxact", tiny_job(tiny_model_folder, both, batch_tokens=1))
    assert runner.run(whole) == 0
    assert_equal_totals(read_totals(path), read_totals(whole))
    with SessionReader(path) as reader:
        assert reader.status().phase == "finished"
        assert sorted(reader.samples_done()) == list(range(12))


def test_a_run_that_was_paused_and_added_to_can_be_stopped_and_continued_with_the_new_texts(
    tmp_path: Path, tiny_model_folder: Path, texts: tuple[Path, Path, Path]
) -> None:
    first, more, _ = texts
    path = new_session(tmp_path / "run.maxact", tiny_job(tiny_model_folder, first))
    send_command(path, "pause")

    def acts(user: User) -> None:
        user.wait(lambda: user.status().phase == "paused")
        user.ask("add", corpus=str(more))
        send_command(path, "stop")

    run_with(path, acts)
    with SessionReader(path) as reader:
        assert (reader.status().phase, reader.status().samples_total) == ("stopped", 12)
    assert runner.run(path) == 0
    with SessionReader(path) as reader:
        assert sorted(reader.samples_done()) == list(range(12))
