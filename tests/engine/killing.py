"""Engines that are killed with SIGKILL at random moments, and what is left of their sessions.

- `Killer`  starts engines as forks of a process that has torch loaded already, so that a round takes a second
- `Round`   what one round did
"""

from __future__ import annotations

import multiprocessing
import os
import random
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from engine.session.reader import SessionReader
from engine.session.writer import SessionWriter
from tests.engine.running import (
    EVERY_BATCH,
    assert_equal_parts,
    assert_equal_totals,
    new_session,
    read_totals,
    tiny_job,
)


def _run(path: str, journal: str) -> None:
    from engine.run.runner import run

    os.environ["MAXACT_JOURNAL"] = journal
    run(Path(path))


@dataclass(frozen=True, slots=True)
class Round:
    """One round: when it was killed (share of a whole run), in which phase, and what the file then held."""

    moment: float
    phase: str
    batches_lost: int
    batches_done: int
    kills: int


class Killer:
    """Runs one job again and again, killing it; every end is compared with an uninterrupted run.

    Args:
        folder: for the sessions.
        model: a folder.
        corpus: a file.
        seed: of the moments.
        journal: the sessions' mode, `wal` or `delete`.
    """

    def __init__(self, folder: Path, model: Path, corpus: Path, seed: int, journal: str = "wal") -> None:
        self._folder, self._journal = folder, journal
        self._job = tiny_job(model, corpus, **EVERY_BATCH, batch_tokens=256, quant="full")
        self._random = random.Random(seed)
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["engine.run.runner", "transformers.models.llama.modeling_llama"])
        self._whole = new_session(folder / "whole.maxact", self._job)
        self._finish(self._whole)
        # The first start also loads torch into the server; the second tells how long a run takes.
        again = new_session(folder / "again.maxact", self._job)
        started = time.monotonic()
        self._finish(again)
        self._seconds = time.monotonic() - started

    def seed(self, seed: str) -> None:
        """Begin the moments of the rounds that follow anew."""
        self._random = random.Random(seed)

    def play(self, number: int, rounds: int = 1) -> Round:
        """One round: start, kill at a random moment (some rounds twice), resume, finish, compare.

        The first moments of so many rounds are spread over the whole run.

        Raises:
            AssertionError: the session does not reopen, lost more than the batch after its last checkpoint, or ends
                with other numbers.
        """
        # Every other round saves in the background, as a user's run does; the others after every batch.
        in_background = number % 2 == 1
        job = replace(self._job, checkpoint_seconds=0.02) if in_background else self._job
        path = new_session(self._folder / f"{number}.maxact", job)
        moment, kills = (number % rounds + self._random.random()) / rounds, self._random.choice((1, 1, 2))
        for _ in range(kills):
            self._kill_after(path, moment * self._seconds)
            lost, done, phase = self._inspect(path)
            assert lost <= 1 or in_background, f"{lost} batches lost"
            moment = self._random.random()
        self._finish(path)
        with SessionReader(path) as reader:
            numbers = reader.samples_done().tolist()
        assert Counter(numbers).most_common(1)[0][1] == 1, "a sample was counted twice"
        assert_equal_totals(read_totals(path), read_totals(self._whole))
        assert_equal_parts(path, self._whole)
        path.unlink()
        return Round(moment, phase, lost, done, kills)

    def _kill_after(self, path: Path, seconds: float) -> None:
        process = self._context.Process(target=_run, args=(str(path), self._journal))
        process.start()
        process.join(seconds)
        process.kill()
        process.join()

    def _finish(self, path: Path) -> None:
        process = self._context.Process(target=_run, args=(str(path), self._journal))
        process.start()
        process.join()
        with SessionReader(path) as reader:
            assert reader.status().phase == "finished", reader.status().detail

    def _inspect(self, path: Path) -> tuple[int, int, str]:
        """The killed session opens for reading and for writing, and its totals are those of its finished samples."""
        SessionWriter.open(path).close()
        with SessionReader(path) as reader:
            status, saved = reader.status(), reader.checkpoint_status()
            assert status.phase in ("starting", "gone", "finished")
            done = saved.batches_done if saved else 0
            tokens = {number: count for number, _, count in reader.sample_labels()}
            for one in reader.all_totals():
                assert one is None or int(one.tokens) == sum(tokens[int(n)] for n in reader.samples_done())
        return status.batches_done - done, done, status.phase
