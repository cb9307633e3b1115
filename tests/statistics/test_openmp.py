"""Work runs on torch's own threads, and its errors come back."""

from __future__ import annotations

import threading

import pytest
import torch

from engine.statistics.backends.openmp import team


@pytest.fixture
def helpers():
    found = team()
    if found is None:
        pytest.skip("torch's OpenMP library on this machine is not GNU's or compatible")
    return found


def test_each_thread_takes_part_once(helpers) -> None:
    # Both wait until all are there, so one thread cannot have played both parts.
    calls: list[tuple[int, int]] = []
    together = threading.Barrier(2, timeout=60)

    def work(number: int, count: int) -> None:
        together.wait()
        calls.append((number, count))

    helpers.run(2, work)
    assert sorted(calls) == [(0, 2), (1, 2)]


def test_an_error_on_any_thread_reaches_the_caller(helpers) -> None:
    def work(number: int, count: int) -> None:
        if number == count - 1:
            raise ValueError("from the last thread")

    with pytest.raises(ValueError, match="last thread"):
        helpers.run(2, work)


def test_torch_works_on_after_its_threads_were_borrowed(helpers) -> None:
    helpers.run(2, lambda number, count: None)
    assert float(torch.ones(1 << 20).sum()) == 1 << 20
