"""A run measures a model, survives what happens to it, and says what it did."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from engine.base.memory import split_batches
from engine.preparation.prepare import Prepared
from engine.preparation.prepare import prepare as plain_prepare
from engine.process import start_engine
from engine.run import runner
from engine.session.reader import SessionReader
from engine.session.records import ENDED
from engine.session.requests import send_command
from engine.session.schema import JOURNAL_VARIABLE
from engine.session.writer import SessionWriter
from tests.engine.running import (
    EVERY_BATCH,
    assert_equal_totals,
    limit_pages,
    new_session,
    read_totals,
    stop_after_batches,
    tiny_job,
    write_corpus,
)
from tests.waiting import until

MANY = 20_000  # samples of a run that is paused, stopped or killed long before its end on any machine


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus") / "short.jsonl")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path, corpus: Path) -> Path:
    """A finished, uninterrupted run."""
    path = new_session(tmp_path_factory.mktemp("whole") / "whole.maxact", tiny_job(tiny_model_folder, corpus))
    assert runner.run(path) == 0
    return path


def wait_until_ended(path: Path) -> str:
    with SessionReader(path) as reader:
        until(lambda: reader.status().phase in ENDED, reader.status)
        return reader.status().phase


def test_a_finished_run_has_counted_every_token_at_every_site(whole: Path) -> None:
    with SessionReader(whole) as reader:
        meta, status, totals = reader.meta(), reader.status(), reader.all_totals()
        tokens = sum(label[2] for label in reader.sample_labels())
        live = reader.live()
    assert status.phase == "finished"
    assert (status.samples_done, status.samples_total, status.tokens_done) == (24, 24, tokens)
    assert meta.plan is not None
    assert len(totals) == len(meta.plan.sites) > 8
    for site, one in zip(meta.plan.sites, totals, strict=True):
        assert one is not None, site.name
        assert int(one.tokens) == tokens, site.name
        assert int(one.histogram.sum()) == tokens * one.width, site.name
        assert np.abs(one.extremes).max() == np.abs(one.top["value"][0]) == np.nanmax(one.sample_max)
    assert live is not None
    assert live.magnitude.tolist() == [np.abs(one.extremes).max() for one in totals if one is not None]


def test_a_run_without_a_write_ahead_log_ends_the_same_while_a_screen_reads_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_model_folder: Path, corpus: Path, whole: Path
) -> None:
    """As on a network file system, where readers and the writer lock each other out."""
    monkeypatch.setenv(JOURNAL_VARIABLE, "delete")
    path = new_session(tmp_path / "far away.maxact", tiny_job(tiny_model_folder, corpus, **EVERY_BATCH))
    over, looks = threading.Event(), []

    def watch() -> None:
        with SessionReader(path) as reader:
            while not over.is_set():
                looks.append((reader.status().phase, len([one for one in reader.all_totals() if one is not None])))

    screen = threading.Thread(target=watch)
    screen.start()
    code = runner.run(path)
    over.set()
    screen.join()
    assert code == 0
    assert not path.with_name(path.name + "-wal").exists()
    assert len(looks) > 3
    assert any(sites for _, sites in looks)
    assert_equal_totals(read_totals(path), read_totals(whole))
    with SessionReader(path) as reader:
        assert [event.text for event in reader.events() if event.kind == "run"][-1] == "finished after 24 samples"


def test_the_maximum_is_the_one_transformers_returns(whole: Path, tiny_model_folder: Path) -> None:
    """Hidden states as `output_hidden_states` gives them, one sample at a time, are an independent second opinion."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_model_folder).eval()
    expected = np.zeros(3)
    with SessionReader(whole) as reader, torch.inference_mode():
        plan = reader.meta().plan
        for number, _, _ in reader.sample_labels():
            sample = reader.sample(number)
            assert sample is not None
            states = model.model(
                input_ids=torch.from_numpy(sample.token_ids.astype(np.int64))[None], output_hidden_states=True
            ).hidden_states
            expected[:2] = np.maximum(expected[:2], [float(s.abs().max()) for s in states[:2]])
            expected[2] = max(expected[2], float(states[-1].abs().max()))
        assert plan is not None
        numbers = {site.name: i for i, site in enumerate(plan.sites)}
        found = [reader.totals(numbers[name]) for name in ("embedding", "layer_0_hidden", "final_norm")]
    measured = [np.abs(one.extremes).max() for one in found if one is not None]
    np.testing.assert_allclose(measured, expected, rtol=1e-5)


def test_a_stopped_run_resumes_to_the_same_numbers(
    tmp_path: Path, tiny_model_folder: Path, corpus: Path, whole: Path
) -> None:
    path = new_session(tmp_path / "stopped.maxact", tiny_job(tiny_model_folder, corpus))
    stops = 0
    while True:
        stop_after_batches(path, 3)
        assert runner.run(path) == 0
        with SessionReader(path) as reader:
            if reader.status().phase == "finished":
                break
        stops += 1
    assert stops >= 2
    assert_equal_totals(read_totals(path), read_totals(whole))


@pytest.mark.parametrize("limit", [400, 200])
def test_out_of_memory_halves_the_batches_and_counts_nothing_twice(
    tmp_path: Path, tiny_model_folder: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    """The second block raises CUDA's error for batches that are too large, after earlier sites were measured."""
    fail_above(monkeypatch, tokens=limit)
    path = new_session(
        tmp_path / "oom.maxact", tiny_job(tiny_model_folder, corpus, batch_tokens=700, checkpoint_seconds=1e9)
    )
    assert runner.run(path) == 0
    with SessionReader(path) as reader:
        assert reader.status().phase == "finished"
        assert any("halved" in event.text for event in reader.events() if event.kind == "memory")
        tokens = sum(label[2] for label in reader.sample_labels())
        assert reader.status().tokens_done == tokens
        assert sorted(reader.samples_done()) == list(range(24))
        for one in reader.all_totals():
            assert one is not None
            assert int(one.tokens) == tokens
            assert int(one.histogram.sum()) == tokens * one.width


def test_a_sample_that_never_fits_is_skipped_and_named(
    tmp_path: Path, tiny_model_folder: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_above(monkeypatch, tokens=70)
    path = new_session(tmp_path / "oom.maxact", tiny_job(tiny_model_folder, corpus))
    assert runner.run(path) == 0
    with SessionReader(path) as reader:
        too_long = {number for number, _, tokens in reader.sample_labels() if tokens > 70}
        assert too_long
        skipped = [event.text for event in reader.events() if "skipped" in event.text]
        assert len(skipped) == len(too_long)
        assert set(range(24)) - set(reader.samples_done().tolist()) == too_long


def fail_above(monkeypatch: pytest.MonkeyPatch, tokens: int) -> None:

    def prepare(*arguments: Any, **options: Any) -> Prepared:
        prepared: Prepared = plain_prepare(*arguments, **options)

        def out_of_memory(module: object, args: tuple[torch.Tensor, ...]) -> None:
            if args[0].shape[0] * args[0].shape[1] > tokens:
                raise torch.OutOfMemoryError("CUDA out of memory.")

        prepared.text_model.get_submodule("layers.1").register_forward_pre_hook(out_of_memory)
        return prepared

    monkeypatch.setattr(runner, "prepare", prepare)


def test_batches_are_halved_until_they_fit() -> None:
    lengths = np.array([10, 10, 10, 10, 50])
    assert split_batches([(0, 1, 2, 3), (4,)], lengths, 20) == [(0, 1), (2, 3), (4,)]


def test_a_changed_corpus_is_refused_and_can_be_overridden(tmp_path: Path, tiny_model_folder: Path) -> None:
    corpus = write_corpus(tmp_path / "short.jsonl")
    path = new_session(tmp_path / "run.maxact", tiny_job(tiny_model_folder, corpus))
    stop_after_batches(path, 2)
    assert runner.run(path) == 0
    corpus.write_text(corpus.read_text(encoding="utf-8").replace("river", "brook"), encoding="utf-8")
    assert runner.run(path) == 1
    with SessionReader(path) as reader:
        status = reader.status()
    assert status.phase == "failed"
    assert "corpus changed" in status.detail
    assert "--anyway" in status.detail


@pytest.fixture
def detached() -> Iterator[Callable[[Path], int]]:
    """Start engines that do not outlive the test, whatever it does."""
    pids: list[int] = []

    def start(path: Path) -> int:
        pids.append(start_engine(path))
        return pids[-1]

    yield start
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def is_refused(reader: SessionReader, number: int) -> bool:
    return reader.commands(number - 1)[0].state == "refused"


class TestDetached:
    """The engine as its own process."""

    def slow_session(self, tmp_path: Path, model: Path) -> Path:
        corpus = write_corpus(tmp_path / "long.jsonl", samples=MANY)
        return new_session(tmp_path / "run.maxact", tiny_job(model, corpus, batch_tokens=64, checkpoint_seconds=0.1))

    def wait_for(self, path: Path, phase: str) -> None:
        with SessionReader(path) as reader:

            def is_there() -> bool:
                status = reader.status()
                assert status.phase == phase or status.phase not in ENDED, status
                return status.phase == phase

            until(is_there, reader.status)

    def wait_for_checkpoints(self, path: Path, more: int) -> None:
        """Wait until the run has saved so many times more."""
        with SessionReader(path) as reader:
            before = reader.checkpoint_number()

            def has_saved() -> bool:
                assert reader.status().phase not in ENDED, reader.status()
                return reader.checkpoint_number() >= before + more

            until(has_saved, reader.status)

    @pytest.mark.slow
    def test_pause_resume_kill_resume_and_stop(
        self, tmp_path: Path, tiny_model_folder: Path, detached: Callable[[Path], int]
    ) -> None:
        path = self.slow_session(tmp_path, tiny_model_folder)
        pid = detached(path)
        self.wait_for_checkpoints(path, 2)
        send_command(path, "pause")
        self.wait_for(path, "paused")
        with SessionReader(path) as reader:
            before = reader.status().tokens_done
            for _ in range(3):  # the engine has looked for commands, and would have measured a batch since
                asked = send_command(path, "dance")
                until(partial(is_refused, reader, asked), reader.status)
            assert reader.status().tokens_done == before
        send_command(path, "resume")
        self.wait_for(path, "running")
        os.kill(pid, signal.SIGHUP)
        self.wait_for_checkpoints(path, 2)  # it goes on as if nothing had happened
        os.kill(pid, signal.SIGKILL)
        assert wait_until_ended(path) == "gone"
        with SessionReader(path) as reader:
            done = len(reader.samples_done())
            tokens = {number: count for number, _, count in reader.sample_labels()}
            assert 0 < done < MANY
        detached(path)
        self.wait_for(path, "running")
        self.wait_for_checkpoints(path, 1)
        send_command(path, "stop")
        assert wait_until_ended(path) == "stopped"
        with SessionReader(path) as reader:
            finished = reader.samples_done().tolist()
            totals = reader.totals(0)
        assert len(finished) == len(set(finished)) > done
        assert totals is not None
        assert int(totals.tokens) == sum(tokens[number] for number in finished)

    def test_a_terminated_engine_saves_what_it_has(
        self, tmp_path: Path, tiny_model_folder: Path, detached: Callable[[Path], int]
    ) -> None:
        path = self.slow_session(tmp_path, tiny_model_folder)
        pid = detached(path)
        self.wait_for_checkpoints(path, 2)
        os.kill(pid, signal.SIGTERM)
        assert wait_until_ended(path) == "stopped"

    def test_a_failure_reaches_the_session_file_in_one_line(
        self, tmp_path: Path, detached: Callable[[Path], int]
    ) -> None:
        path = new_session(tmp_path / "run.maxact", tiny_job(tmp_path / "nowhere", tmp_path / "missing.jsonl"))
        detached(path)
        assert wait_until_ended(path) == "failed"
        with SessionReader(path) as reader:
            detail = reader.status().detail
        assert "missing.jsonl" in detail
        assert "\n" not in detail

    def test_called_wrongly_the_engine_says_how(self) -> None:
        result = subprocess.run([sys.executable, "-P", "-m", "engine"], capture_output=True, text=True, check=False)
        assert result.returncode == 2
        assert "usage:" in result.stderr


def test_samples_added_to_a_finished_run_are_as_if_they_had_been_there(
    tmp_path: Path, tiny_model_folder: Path, corpus: Path
) -> None:
    """The texts come in two files, once together from the start and once the second one later, twice interrupted."""
    more = write_corpus(tmp_path / "more.jsonl", samples=30)
    lines = more.read_text(encoding="utf-8").splitlines()[24:]
    more.write_text("\n".join(lines), encoding="utf-8")
    both = tmp_path / "both.jsonl"
    both.write_text(corpus.read_text(encoding="utf-8") + "\n".join(lines), encoding="utf-8")
    # One sample a batch: what a forward pass computes may depend on its neighbours in the last bit.
    expected = new_session(tmp_path / "both.maxact", tiny_job(tiny_model_folder, both, batch_tokens=1))
    assert runner.run(expected) == 0
    path = new_session(tmp_path / "grown.maxact", tiny_job(tiny_model_folder, corpus, batch_tokens=1))
    assert runner.run(path) == 0
    send_command(path, "add", {"corpus": str(more)})
    stop_after_batches(path, 3)
    assert runner.run(path) == 0
    with SessionReader(path) as reader:
        assert reader.status().phase == "stopped"
        assert 24 < len(reader.samples_done()) < 30
        assert reader.status().samples_total == 30
    assert runner.run(path) == 0
    assert_equal_totals(read_totals(path), read_totals(expected))
    with SessionReader(path) as reader:
        assert reader.status().phase == "finished"
        assert reader.meta().corpus["samples"] == 30
        sample = reader.sample(29)
        assert sample is not None
        assert b"".join(reader.pieces(sample.token_ids)).decode() in lines[-1]


def test_samples_that_cannot_be_read_are_refused_and_the_run_goes_on(
    tmp_path: Path, tiny_model_folder: Path, corpus: Path
) -> None:
    path = new_session(tmp_path / "run.maxact", tiny_job(tiny_model_folder, corpus))
    send_command(path, "add", {"corpus": str(tmp_path / "none.jsonl")})
    assert runner.run(path) == 0
    with SessionReader(path) as reader:
        (command,) = reader.commands()
        assert reader.status().samples_done == 24
    assert command.state == "refused"
    assert "none.jsonl" in command.text


def test_commands_that_are_not_known_are_refused(tmp_path: Path, tiny_model_folder: Path, corpus: Path) -> None:
    path = new_session(tmp_path / "run.maxact", tiny_job(tiny_model_folder, corpus))
    send_command(path, "dance")
    assert runner.run(path) == 0
    with SessionReader(path) as reader:
        (command,) = reader.commands()
    assert command.state == "refused"
    assert "dance" in command.text


def test_a_disk_that_stays_full_fails_the_run_and_it_can_be_resumed(
    tmp_path: Path, tiny_model_folder: Path, corpus: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = new_session(tmp_path / "run.maxact", tiny_job(tiny_model_folder, corpus, **EVERY_BATCH))
    with monkeypatch.context() as patched:
        limit_pages(patched, full=range(3, 1000))
        assert runner.run(path) == 1
    with SessionReader(path) as reader:
        status = reader.status()
        assert 0 < len(reader.samples_done()) < 24
    assert status.phase == "failed"
    assert "full" in status.detail
    assert runner.run(path) == 0
    assert_equal_totals(read_totals(path), read_totals(whole))


def test_a_session_file_removed_in_the_run_fails_it(tmp_path: Path, tiny_model_folder: Path, corpus: Path) -> None:
    from engine.session import writer

    path = new_session(tmp_path / "run.maxact", tiny_job(tiny_model_folder, corpus))
    original = writer.SessionWriter.set_batches

    def remove(self: SessionWriter, *arguments: object) -> None:
        original(self, *arguments)  # type: ignore[arg-type]
        path.unlink()

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(writer.SessionWriter, "set_batches", remove)
        assert runner.run(path) == 1
    assert not path.exists()


def test_a_full_disk_keeps_the_last_good_checkpoint(
    tmp_path: Path, tiny_model_folder: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite's own page limit stands in for the end of the disk: the error is the same."""
    path = new_session(tmp_path / "run.maxact", tiny_job(tiny_model_folder, corpus, **EVERY_BATCH))
    limit_pages(monkeypatch, full=range(2, 4))
    assert runner.run(path) == 0
    with SessionReader(path) as reader:
        assert reader.status().phase == "finished"
        assert sorted(reader.samples_done()) == list(range(24))
        tokens = sum(label[2] for label in reader.sample_labels())
        for one in reader.all_totals():
            assert one is not None
            assert int(one.tokens) == tokens
