"""Merged sessions read as one run over all their samples."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from engine.merging import MergeError, merge_sessions
from engine.run import runner
from engine.session.reader import SessionReader
from engine.session.schema import SessionError
from tests.engine.running import assert_equal_totals, new_session, read_totals, tiny_job, write_corpus


def run_over(folder: Path, name: str, model: Path, lines: list[str], **changes: object) -> Path:
    corpus = folder / f"{name}.jsonl"
    corpus.write_text("\n".join(lines), encoding="utf-8")
    # One sample a batch: what a forward pass computes may depend on its neighbours in the last bit.
    path = new_session(folder / f"{name}.maxact", tiny_job(model, corpus, batch_tokens=1, **changes))
    assert runner.run(path) == 0
    return path


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    corpus = write_corpus(tmp_path_factory.mktemp("lines") / "all.jsonl", samples=18)
    return corpus.read_text(encoding="utf-8").splitlines()


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path, lines: list[str]) -> list[Path]:
    folder = tmp_path_factory.mktemp("parts")
    cuts = {"a": lines[:5], "b": lines[5:12], "c": lines[12:]}
    return [run_over(folder, name, tiny_model_folder, part) for name, part in cuts.items()]


def test_parts_merge_to_the_whole(tmp_path: Path, tiny_model_folder: Path, lines: list[str], parts: list[Path]) -> None:
    whole = run_over(tmp_path, "whole", tiny_model_folder, lines)
    merge_sessions(parts, tmp_path / "merged.maxact")
    assert_equal_totals(read_totals(tmp_path / "merged.maxact"), read_totals(whole))
    with SessionReader(tmp_path / "merged.maxact") as reader, SessionReader(whole) as one:
        assert reader.status().phase == "finished"
        assert reader.status().tokens_done == one.status().tokens_done
        left, right = reader.live(), one.live()
        assert left is not None
        assert right is not None
        np.testing.assert_allclose(left.data, right.data, rtol=1e-6)
        for number in range(18):
            sample, other = reader.sample(number), one.sample(number)
            assert sample is not None
            assert other is not None
            assert sample.token_ids.tolist() == other.token_ids.tolist()
            assert reader.pieces(sample.token_ids) == one.pieces(other.token_ids)


def test_a_sample_measured_twice_is_refused(
    tmp_path: Path, tiny_model_folder: Path, lines: list[str], parts: list[Path]
) -> None:
    again = run_over(tmp_path, "again", tiny_model_folder, lines[4:6])
    with pytest.raises(MergeError, match="measured in a"):
        merge_sessions([parts[0], again], tmp_path / "merged.maxact")
    assert not (tmp_path / "merged.maxact").exists()


def test_different_settings_are_refused(
    tmp_path: Path, tiny_model_folder: Path, lines: list[str], parts: list[Path]
) -> None:
    other = run_over(tmp_path, "other", tiny_model_folder, lines[12:], detail="lean", policy="bos")
    with pytest.raises(MergeError, match="token policy, detail"):
        merge_sessions([parts[0], other], tmp_path / "merged.maxact")


def test_an_existing_file_is_not_overwritten(parts: list[Path]) -> None:
    with pytest.raises(SessionError, match="exists already"):
        merge_sessions(parts[:2], parts[2])


def test_a_merge_that_cannot_be_written_to_its_end_leaves_nothing_and_the_next_removes_what_a_killed_one_left(
    tmp_path: Path, parts: list[Path]
) -> None:
    target = tmp_path / "merged.maxact"
    command = [sys.executable, "-P", "-m", "maxact_tui", "merge", *map(str, parts), "-o", str(target)]
    # No file may grow beyond this: the disk is full in the middle of the merged one.
    full = subprocess.run(
        command, capture_output=True, text=True, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)),
    )  # fmt: skip
    assert (full.returncode, full.stdout) == (1, ""), full.stderr
    assert full.stderr.startswith(f"maxact-tui: {target} could not be written")
    assert full.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []

    ended = subprocess.Popen(["true"])
    ended.wait()
    for suffix in ("", "-wal"):
        (tmp_path / f".merged.maxact.{ended.pid}.part{suffix}").write_bytes(b"half")
    foreign = tmp_path / f".merged.maxact.{os.getpid()}.part"
    foreign.write_bytes(b"of a merge that goes on")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"{target}\n"), done.stderr
    assert sorted(tmp_path.iterdir()) == sorted([foreign, target])
    assert target.stat().st_mode & 0o777 == 0o600
