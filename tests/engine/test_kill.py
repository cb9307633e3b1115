"""A run that is killed loses at most what came after its last checkpoint, and ends as if it had not been."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engine.killing import Killer
from tests.engine.running import write_corpus

ROUNDS = 10


@pytest.mark.slow
def test_killed_runs_resume_to_the_numbers_of_an_uninterrupted_one(tmp_path: Path, tiny_model_folder: Path) -> None:
    killer = Killer(tmp_path, tiny_model_folder, write_corpus(tmp_path / "corpus.jsonl", samples=40), seed=1)
    rounds = [killer.play(number, ROUNDS) for number in range(ROUNDS)]
    # When a run is killed goes by the clock; on a machine whose load changes all may have been too early or too late.
    while not any(one.batches_done > 0 and one.phase == "gone" for one in rounds):
        assert len(rounds) < 5 * ROUNDS, "no round was killed in the middle of its run"
        rounds.append(killer.play(len(rounds), ROUNDS))
