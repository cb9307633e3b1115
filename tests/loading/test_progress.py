"""Progress is shown while it happens, not more often than a screen can draw, and is a way to stop."""

import threading
from types import SimpleNamespace

import pytest

from engine.base.job import Job
from engine.loading.load import load_model
from engine.loading.progress import LoadProgress, ProgressBar, Reporter
from engine.messages import Code


def test_every_phase_and_every_end_is_reported_and_little_between(monkeypatch):
    seen: list[LoadProgress] = []
    now = [0.0]
    monkeypatch.setattr("engine.loading.progress.time", SimpleNamespace(monotonic=lambda: now[0]))
    reporter = Reporter(seen.append)
    for phase in (Code.HASHING, Code.LOADING_WEIGHTS):
        for done in range(10_001):
            now[0] += 1e-4  # a second for each phase
            reporter(LoadProgress(phase, done, 10_000))
    assert seen[0] == LoadProgress(Code.HASHING, 0, 10_000)
    assert LoadProgress(Code.HASHING, 10_000, 10_000) in seen
    assert LoadProgress(Code.LOADING_WEIGHTS, 0, 10_000) in seen
    assert seen[-1] == LoadProgress(Code.LOADING_WEIGHTS, 10_000, 10_000)
    assert 2 * 18 <= len(seen) <= 2 * 22


def test_a_callback_that_raises_stops_every_thread():
    class StopRequested(Exception):
        pass

    def report(progress):
        raise StopRequested

    reporter = Reporter(report)
    with pytest.raises(StopRequested):
        reporter(LoadProgress(Code.HASHING))
    caught = []

    def work():
        try:
            reporter(LoadProgress(Code.HASHING, 5, 10))
        except StopRequested as error:
            caught.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert caught == [reporter.cancelled]


def test_a_bar_looks_like_tqdm_to_a_library():
    seen: list[LoadProgress] = []
    with ProgressBar(
        range(3), reporter=Reporter(seen.append), phase=Code.HASHING, counts="tensors", desc="x", unit="it"
    ) as bar:
        assert list(bar) == [0, 1, 2]
        bar.set_description("y")
        bar.set_postfix_str("z", refresh=False)
        bar.close()
    assert seen[-1] == LoadProgress(Code.HASHING, 3, 3, "tensors")


def test_a_folder_is_loaded_in_named_phases(tiny_model_folder):
    phases: list[tuple[str, int, int | None]] = []
    load_model(Job(model=str(tiny_model_folder), device="cpu"), lambda p: phases.append((p.phase, p.done, p.total)))
    names = list(dict.fromkeys(phase for phase, _, _ in phases))
    assert names == [
        Code.LOOKING_UP,
        Code.IMPORTING,
        Code.READING_CONFIG,
        Code.READING_TOKENIZER,
        Code.LOADING_WEIGHTS,
    ]
    last = phases[-1]
    assert last[0] == Code.LOADING_WEIGHTS and last[1] == last[2] and last[1] > 20


def test_a_load_is_cancelled_by_an_exception_which_comes_out_unchanged(tiny_model_folder):
    class StopRequested(Exception):
        pass

    def report(progress):
        if progress.phase == Code.LOADING_WEIGHTS:
            raise StopRequested("by the user")

    with pytest.raises(StopRequested, match="by the user"):
        load_model(Job(model=str(tiny_model_folder), device="cpu"), report)


def test_nothing_is_drawn_on_the_terminal(tiny_gguf, own_cache, capfd):
    load_model(Job(model=str(tiny_gguf), device="cpu"), lambda progress: None)
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")
