"""Promise 1: after any kill or power cut a session opens, and goes on to the numbers it would have had."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from engine.run import runner
from engine.session.reader import SessionReader
from engine.session.writer import SessionWriter
from tests.engine.running import EVERY_BATCH, assert_equal_totals, new_session, read_totals, tiny_job, write_corpus


@pytest.mark.slow
@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_what_a_power_cut_leaves_goes_on_to_equal_numbers(
    tmp_path: Path, tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch, journal: str
) -> None:
    """The files as they lie on the disk in the middle of a run's writing, copied at every fourth transaction."""
    monkeypatch.setenv("MAXACT_JOURNAL", journal)
    corpus = write_corpus(tmp_path / "texts.jsonl")
    job = tiny_job(tiny_model_folder, corpus, **EVERY_BATCH, batch_tokens=256)
    session = new_session(tmp_path / "run.maxact", job)
    copies: list[Path] = []
    put = SessionWriter._append_sample_maxima

    def copy_in_the_middle(self: SessionWriter, totals: object, samples: object) -> None:
        put(self, totals, samples)  # type: ignore[arg-type]
        if len(copies) < 3:
            folder = tmp_path / f"cut {len(copies)}"
            folder.mkdir()
            for file in tmp_path.glob("run.maxact*"):
                shutil.copy(file, folder)
            copies.append(folder / "run.maxact")

    with monkeypatch.context() as patched:
        patched.setattr(SessionWriter, "_append_sample_maxima", copy_in_the_middle)
        assert runner.run(session) == 0
    whole = read_totals(session)
    for copy in copies:
        with SessionReader(copy) as reader:
            assert len(reader.samples_done()) < 24
        assert runner.run(copy) == 0
        assert_equal_totals(read_totals(copy), whole)
    assert copies
