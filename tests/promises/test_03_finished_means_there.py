"""Promise 3: "finished" and exit code 0 mean that the numbers are in the file of that name."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.run import runner
from engine.run.recording import RunRecorder
from engine.session.reader import SessionReader
from tests.engine.running import assert_equal_totals, new_session, read_totals, tiny_job, write_corpus


def move(session: Path) -> None:
    """Somebody renames the file."""
    session.rename(session.with_name("elsewhere.maxact"))


def remove(session: Path) -> None:
    """Somebody deletes it."""
    session.unlink()


def replace(session: Path) -> None:
    """Somebody puts another session in its place."""
    other = session.with_name("other.maxact")
    shutil.copy(session, other)
    other.replace(session)


@pytest.mark.parametrize("journal", ["wal", "delete"])
@pytest.mark.parametrize("act", [move, remove, replace])
def test_a_session_that_loses_its_name_is_saved_beside_and_the_run_has_failed(
    tmp_path: Path, tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch, act: Callable[[Path], None], journal: str
) -> None:
    monkeypatch.setenv("MAXACT_JOURNAL", journal)
    job = tiny_job(tiny_model_folder, write_corpus(tmp_path / "texts.jsonl"))
    whole = new_session(tmp_path / "whole.maxact", job)
    assert runner.run(whole) == 0
    session = new_session(tmp_path / "run.maxact", job)
    begin, counted = RunRecorder.begin_checkpoint, []

    def act_at_the_third(self: RunRecorder, collect: object, samples: object) -> None:
        counted.append(samples)
        if len(counted) == 3:
            act(session)
        begin(self, collect, samples)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(RunRecorder, "begin_checkpoint", act_at_the_third)
        assert runner.run(session) == 1
    saved = tmp_path / "run-saved.maxact"
    with SessionReader(saved) as reader:
        assert reader.status().phase == "stopped"
        assert "run.maxact was moved while it ran" in reader.status().detail
        assert len(reader.samples_done()) == len(set(reader.samples_done().tolist())) > 0
    assert runner.run(saved) == 0
    assert_equal_totals(read_totals(saved), read_totals(whole))
