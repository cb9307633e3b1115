"""Damage in a run: measured once where evaluation ends, the same after a resume, added up by a merge."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.base.job import Job
from engine.merging import merge_sessions
from engine.quantization.populations import read_board
from engine.quantization.ranking import rank
from engine.run import runner
from engine.session.reader import SessionReader
from engine.statistics.local_errors import LocalErrors, merge_local, replayed
from tests.engine.running import new_session, stop_after_batches, tiny_job, write_corpus


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus") / "c.jsonl", samples=20)


def gemm_job(model: Path, corpus: Path, **changes: object) -> Job:
    return tiny_job(
        model, corpus, **{"sites": "gemm", "calibration": 6, "evaluation": 10, "batch_tokens": 1, **changes}
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path, corpus: Path) -> Path:
    path = new_session(tmp_path_factory.mktemp("whole") / "a.maxact", gemm_job(tiny_model_folder, corpus))
    assert runner.run(path) == 0
    return path


def read_local(path: Path) -> dict[int, LocalErrors]:
    with SessionReader(path) as reader:
        plan = reader.meta().plan
        assert plan is not None
        found = {number: reader.local_errors(number) for number in range(len(plan.sites))}
    return {number: one for number, one in found.items() if one is not None}


def assert_close(left: dict[int, LocalErrors], right: dict[int, LocalErrors]) -> None:
    assert left.keys() == right.keys()
    for number, one in left.items():
        assert one.names == right[number].names
        np.testing.assert_allclose(one.sums, right[number].sums, rtol=1e-6)
        np.testing.assert_array_equal(one.relative.sum(1), right[number].relative.sum(1))
        np.testing.assert_allclose(one.worst, right[number].worst, rtol=1e-6)


def test_a_run_measures_the_damage_of_every_site_and_says_so(whole: Path) -> None:
    found = read_local(whole)
    with SessionReader(whole) as reader:
        plan, events, board = reader.meta().plan, [event.text for event in reader.events()], read_board(reader)
    assert plan is not None
    assert found.keys() == set(range(len(plan.sites)))
    assert all(one.names == replayed("basic", ()) for one in found.values())
    assert sum(text.startswith("damage by quantisers at ") for text in events) == 1
    ranked = rank(board)
    assert [one.by for one in ranked] == ["damage"] * len(plan.sites)
    assert [one.value for one in ranked] == sorted((one.value for one in ranked), reverse=True)


def test_a_run_that_was_stopped_ends_with_the_same_damage(
    tmp_path: Path, tiny_model_folder: Path, corpus: Path, whole: Path
) -> None:
    path = new_session(tmp_path / "b.maxact", gemm_job(tiny_model_folder, corpus))
    stop_after_batches(path, 9)
    assert runner.run(path) == 0
    assert not read_local(path)
    assert runner.run(path) == 0
    assert_close(read_local(path), read_local(whole))


def test_a_merge_adds_damage_up(tmp_path: Path, tiny_model_folder: Path, corpus: Path) -> None:
    lines, paths = corpus.read_text(encoding="utf-8").splitlines(), []
    for name, part in (("a", lines[:10]), ("b", lines[10:])):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(part), encoding="utf-8")
        job = gemm_job(tiny_model_folder, tmp_path / f"{name}.jsonl", calibration=4, evaluation=6)
        paths.append(new_session(tmp_path / f"{name}.maxact", job))
        assert runner.run(paths[-1]) == 0
    merge_sessions(paths, tmp_path / "both.maxact")
    first, second = map(read_local, paths)
    assert_close(read_local(tmp_path / "both.maxact"), {n: merge_local(first[n], second[n]) for n in first})


def test_a_session_without_it_is_ranked_by_relative_mae(tmp_path: Path, tiny_model_folder: Path, corpus: Path) -> None:
    path = new_session(tmp_path / "off.maxact", gemm_job(tiny_model_folder, corpus, quant="off"))
    assert runner.run(path) == 0
    assert not read_local(path)
    with SessionReader(path) as reader:
        assert {one.by for one in rank(read_board(reader))} == {"rel_mae"}
