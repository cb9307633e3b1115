"""Calibration and evaluation samples stay apart, whatever happens to a run, and their histograms are exactly theirs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from corpus.sampling import choose_samples
from engine.base.job import Job
from engine.merging import merge_sessions
from engine.preparation.splitting import arrange, choose_split
from engine.quantization.board import summarise_schemes
from engine.quantization.populations import board_of, board_schemes, read_board, read_session_board
from engine.run import runner
from engine.session.reader import SessionReader
from engine.session.requests import send_command
from engine.session.splits import CALIBRATION, EVALUATION, SplitRecord
from tests.engine.running import (
    assert_equal_parts,
    assert_equal_totals,
    new_session,
    read_parts,
    read_totals,
    stop_after_batches,
    tiny_job,
    write_corpus,
)
from tests.engine.test_run import fail_above
from tests.quantization.at_once import read_populations

SAMPLES = 30


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus") / "short.jsonl", samples=SAMPLES)


def split_job(model: Path, corpus: Path, **changes: object) -> Job:
    """8 calibration and 12 evaluation samples of 30, one a batch: no sample depends on its neighbours."""
    fields = {"calibration": 8, "evaluation": 12, "quant": "full", "sites": "all", "batch_tokens": 1}
    return tiny_job(model, corpus, **{**fields, **changes})


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path, corpus: Path) -> Path:
    """A finished, uninterrupted run."""
    path = new_session(tmp_path_factory.mktemp("whole") / "whole.maxact", split_job(tiny_model_folder, corpus))
    assert runner.run(path) == 0
    return path


def read_split(path: Path) -> SplitRecord:
    with SessionReader(path) as reader:
        return SplitRecord.from_json(reader.meta().raw["split"])


def run_only(folder: Path, job: Job, source: Path, numbers: tuple[int, ...]) -> Path:
    """A run over these samples of a corpus alone, without parts."""
    lines = source.read_text(encoding="utf-8").splitlines()
    part = folder / "part.jsonl"
    part.write_text("\n".join(lines[number] for number in numbers), encoding="utf-8")
    path = new_session(folder / "part.maxact", replace(job, corpus=str(part), quant="off"))
    assert runner.run(path) == 0
    return path


def test_calibration_runs_first_then_evaluation_and_both_hold_every_category(whole: Path) -> None:
    split = read_split(whole)
    assert (len(split.calibration), len(split.evaluation)) == (8, 12)
    with SessionReader(whole) as reader:
        order = reader.samples_done().tolist()
        category = {number: name for number, name, _ in reader.sample_labels()}
    assert sorted(order[:8]) == list(split.calibration)
    assert sorted(order[8:20]) == list(split.evaluation)
    assert sorted(order) == list(range(SAMPLES))
    for part in (split.calibration, split.evaluation):
        assert {category[number] for number in part} == set(category.values())


@pytest.mark.parametrize(("kind", "field"), [(CALIBRATION, "calibration"), (EVALUATION, "evaluation")])
def test_the_histograms_are_those_of_a_run_over_these_samples_alone(
    tmp_path: Path, tiny_model_folder: Path, corpus: Path, whole: Path, kind: str, field: str
) -> None:
    alone = run_only(tmp_path, split_job(tiny_model_folder, corpus), corpus, getattr(read_split(whole), field))
    histograms, _ = read_parts(whole)
    for site, totals in enumerate(read_totals(alone)):
        assert totals is not None
        np.testing.assert_array_equal(histograms[f"{kind}{site}"], totals.histogram)
    if kind == CALIBRATION:
        with SessionReader(whole) as reader:
            kept = reader.extra(f"{CALIBRATION}0")
        np.testing.assert_array_equal(kept["channel_max"], read_totals(alone)[0].channel_max)  # type: ignore[union-attr]


def test_splitting_changes_no_total(tmp_path: Path, tiny_model_folder: Path, corpus: Path, whole: Path) -> None:
    path = new_session(tmp_path / "off.maxact", split_job(tiny_model_folder, corpus, quant="off"))
    assert runner.run(path) == 0
    assert_equal_totals(read_totals(path), read_totals(whole))
    histograms, sums = read_parts(path)
    assert not sums
    assert not any(len(histogram) for histogram in histograms.values())


def test_sums_are_over_evaluation_samples_and_smoothing_where_weights_read(whole: Path) -> None:
    with SessionReader(whole) as reader:
        plan = reader.meta().plan
        tokens = {number: count for number, _, count in reader.sample_labels()}
    assert plan is not None
    evaluated = sum(tokens[number] for number in read_split(whole).evaluation)
    _, sums = read_parts(whole)
    totals = read_totals(whole)
    for number, site in enumerate(plan.sites):
        one = totals[number]
        assert one is not None
        row = sums[number].row("nvfp4")
        assert row is not None
        assert row[6] == evaluated * one.width, site.name
        assert ("int8-token-smooth0.5" in sums[number].names) == bool(site.readers), site.name
    assert any(site.readers for site in plan.sites)


def test_a_run_stopped_again_and_again_ends_with_the_same_parts(
    tmp_path: Path, tiny_model_folder: Path, corpus: Path, whole: Path
) -> None:
    path = new_session(tmp_path / "stopped.maxact", split_job(tiny_model_folder, corpus))
    for batches in (3, 6, 1, 4, 9, 4, 99):  # stops within parts and right at both boundaries (after 8 and 20)
        stop_after_batches(path, batches)
        assert runner.run(path) == 0
        with SessionReader(path) as reader:
            if reader.status().phase == "finished":
                break
    assert_equal_parts(path, whole)
    assert_equal_totals(read_totals(path), read_totals(whole))


def test_memory_running_out_mixes_no_parts(
    tmp_path: Path, tiny_model_folder: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches are halved in the calibration, in the evaluation and in the rest, with much to take back each time."""
    job = split_job(tiny_model_folder, corpus, batch_tokens=700, checkpoint_seconds=1e9, quant="basic")
    with monkeypatch.context() as patched:
        fail_above(patched, tokens=200)
        path = new_session(tmp_path / "oom.maxact", job)
        assert runner.run(path) == 0
    split = read_split(path)
    with SessionReader(path) as reader:
        assert any("halved" in event.text for event in reader.events())
        order = reader.samples_done().tolist()
        tokens = {number: count for number, _, count in reader.sample_labels()}
    assert sorted(order[:8]) == list(split.calibration)
    assert sorted(order[8:20]) == list(split.evaluation)
    histograms, _ = read_parts(path)
    for site, one in enumerate(read_totals(path)):
        assert one is not None
        for kind, numbers in ((CALIBRATION, split.calibration), (EVALUATION, split.evaluation)):
            assert histograms[f"{kind}{site}"].sum() == sum(tokens[n] for n in numbers) * one.width


def test_samples_added_later_belong_to_the_rest(
    tmp_path: Path, tiny_model_folder: Path, corpus: Path, whole: Path
) -> None:
    more = write_corpus(tmp_path / "more.jsonl", samples=SAMPLES + 6)
    lines = more.read_text(encoding="utf-8").splitlines()[SAMPLES:]
    more.write_text("\n".join(lines), encoding="utf-8")
    path = new_session(tmp_path / "grown.maxact", split_job(tiny_model_folder, corpus))
    stop_after_batches(path, 11)
    assert runner.run(path) == 0
    send_command(path, "add", {"corpus": str(more)})
    assert runner.run(path) == 0
    with SessionReader(path) as reader:
        assert len(reader.samples_done()) == SAMPLES + 6
    assert read_split(path) == read_split(whole)
    assert_equal_parts(path, whole)


def test_merged_sessions_hold_the_parts_of_both(tmp_path: Path, tiny_model_folder: Path, corpus: Path) -> None:
    lines = corpus.read_text(encoding="utf-8").splitlines()
    paths = []
    for number, half in enumerate((lines[:15], lines[15:])):
        source = tmp_path / f"{number}.jsonl"
        source.write_text("\n".join(half), encoding="utf-8")
        job = split_job(tiny_model_folder, source, calibration=4, evaluation=6)
        paths.append(new_session(tmp_path / f"{number}.maxact", job))
        assert runner.run(paths[-1]) == 0
    target = tmp_path / "both.maxact"
    merge_sessions(paths, target)
    split = read_split(target)
    assert (len(split.calibration), len(split.evaluation)) == (8, 12)
    with SessionReader(target) as reader, SessionReader(paths[1]) as second:
        origin = reader.sample(split.calibration[-1])
        expected = second.sample(read_split(paths[1]).calibration[-1])
        assert origin is not None
        assert expected is not None
        np.testing.assert_array_equal(origin.token_ids, expected.token_ids)
        assert read_populations(reader).errors_over == "evaluation"
    (merged, sums), (first, first_sums), (other, other_sums) = (read_parts(p) for p in (target, *paths))
    for owner, histogram in merged.items():
        np.testing.assert_array_equal(histogram, first[owner] + other[owner])
    for site, one in sums.items():
        np.testing.assert_allclose(one.table, first_sums[site].table + other_sums[site].table, rtol=1e-12)


def test_a_board_takes_thresholds_and_errors_from_different_samples(whole: Path) -> None:
    with SessionReader(whole) as reader:
        populations, board, paper = (read_populations(reader), read_board(reader), board_schemes(None))
        totals = reader.all_totals()
    assert populations.in_words == "thresholds from 8 calibration samples, errors over 12 others"
    assert board == board_of(populations)
    assert (board.errors_over, board.thresholds_from) == ("evaluation", "calibration")
    assert board.schemes[: len(paper)] == paper
    assert {scheme.source for scheme in board.schemes} == {"from histogram", "in pass"}
    histograms, _ = read_parts(whole)
    for site, row in enumerate(board.rows):
        assert row is not None
        found, one, first = row[0], totals[site], populations.thresholds
        assert found is not None
        assert one is not None
        assert first is not None
        calibration = first[site]
        assert calibration is not None
        assert found.count == histograms[f"{EVALUATION}{site}"].sum()
        assert found.threshold == calibration.largest
    # A float32 site is known to 0.8 % from its histogram, exactly in the pass: by token never worse than per tensor.
    lines = {line.scheme.name: line for line in summarise_schemes(board)}
    assert lines["int8-token"].sqnr_db > lines["int8"].sqnr_db > lines["int4"].sqnr_db
    assert lines["int8-g32"].sqnr_db > lines["int8-g128"].sqnr_db >= lines["int8-token"].sqnr_db


def test_too_few_samples_make_a_smaller_split_and_it_is_said(
    tmp_path: Path, tiny_model_folder: Path, corpus: Path
) -> None:
    path = new_session(tmp_path / "few.maxact", tiny_job(tiny_model_folder, corpus))
    assert runner.run(path) == 0
    split = read_split(path)
    assert (len(split.calibration), len(split.evaluation)) == (10, 20)
    with SessionReader(path) as reader:
        (said,) = [event.text for event in reader.events() if event.kind == "split"]
    assert "30 samples are too few for 128 calibration and 256 evaluation samples: split into 10 and 20" in said


def test_a_single_sample_is_not_split_and_it_is_said(tmp_path: Path, tiny_model_folder: Path, corpus: Path) -> None:
    path = new_session(tmp_path / "one.maxact", tiny_job(tiny_model_folder, corpus, samples=1, quant="full"))
    assert runner.run(path) == 0
    with SessionReader(path) as reader:
        assert [event.kind for event in reader.events()].count("split") == 1
        board = read_board(reader)
    assert (board.errors_over, board.thresholds_from) == ("all", "all")


def test_an_unfinished_evaluation_is_judged_so_far(tmp_path: Path, tiny_model_folder: Path, corpus: Path) -> None:
    path = new_session(tmp_path / "early.maxact", split_job(tiny_model_folder, corpus))
    for batches, words in (
        (5, "thresholds and errors over all samples measured"),
        (9, "thresholds from 8 calibration samples, errors over those measured so far of 12 others"),
    ):
        stop_after_batches(path, batches)
        assert runner.run(path) == 0
        with SessionReader(path) as reader:
            populations, streamed = read_populations(reader), read_session_board(reader)
            assert populations.in_words == streamed.in_words == words
            assert streamed.board == board_of(populations)
            assert streamed.split == populations.split
            done = reader.samples_done().tolist()
            tokens = {number: count for number, _, count in reader.sample_labels()}
        judged = done if populations.split is None else done[8:]
        first, width = populations.errors[0], read_totals(path)[0].width  # type: ignore[union-attr]
        assert first is not None
        assert first.count == sum(tokens[number] for number in judged) * width


@pytest.mark.parametrize("protocol", ["exact", "paper"])
def test_the_papers_protocol_takes_the_first_samples(protocol: str) -> None:
    lengths, categories = np.array([3, 0, *[5] * 38]), [("code", "math")[n < 20] for n in range(40)]
    job = Job(model="m", protocol=protocol, calibration=8, evaluation=16)  # type: ignore[arg-type]
    record = choose_split(job, lengths, categories).record
    assert record is not None
    if protocol == "paper":
        assert record.calibration == (0, *range(2, 9))
        assert record.evaluation == tuple(range(9, 25))
        assert [s.name for s in board_schemes(record)][:3] == ["int8", "int8-paper0.999", "int8-paper0.9999"]
    else:
        assert {categories[n] for n in record.calibration} == {"code", "math"}
        assert 1 not in (*record.calibration, *record.evaluation)
        chosen = {*record.calibration, *record.evaluation}
        kept = [n for n in range(40) if n != 1]
        assert chosen == {kept[i] for i in choose_samples([categories[n] for n in kept], 24, job.seed)}


def test_batches_that_mix_parts_are_cut() -> None:
    assert arrange([(0, 1, 2), (3, 4)], {0: 1, 1: 0, 3: 1}) == [(1,), (0,), (3,), (2,), (4,)]


def test_sums_on_another_thread_count_and_backend_agree(
    tmp_path: Path, tiny_model_folder: Path, corpus: Path, whole: Path
) -> None:
    pytest.importorskip("numba")
    threads = torch.get_num_threads()
    try:
        path = new_session(tmp_path / "numba.maxact", split_job(tiny_model_folder, corpus, backend="numba", threads=2))
        assert runner.run(path) == 0
    finally:
        torch.set_num_threads(threads)
    (histograms, sums), (expected, judge) = read_parts(path), read_parts(whole)
    for site, one in judge.items():
        np.testing.assert_allclose(sums[site].table, one.table, rtol=2e-3, err_msg=str(site))
    assert histograms.keys() == expected.keys()
