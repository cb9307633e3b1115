"""The Triton kernels in Triton's interpreter, on the CPU; `test_triton.py` runs this file in a process of its own.

The interpreter must be chosen before triton is imported, so these tests cannot share a process with others.
"""

from __future__ import annotations

import pytest
import torch

from engine.statistics.backends.torch_ import TorchBackend
from engine.statistics.backends.triton_ import TritonBackend
from engine.statistics.reading import read_state
from engine.statistics.rows import Rows
from tests.statistics.triton_cases import CASES, Case, assert_same_state, batches, calm, check, empty_state, name, tied

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def memory_holds_rubbish(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that reads what nobody wrote finds what might pass for a result."""
    torch.manual_seed(0)
    rubbish = torch.tensor([-1, 0, 1, 2, 0x3F80, 0x4400])

    def used_memory(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
        return rubbish[torch.randint(len(rubbish), shape)].to(device=device, dtype=dtype)

    monkeypatch.setattr(torch, "empty", used_memory)


@pytest.mark.parametrize("case", CASES, ids=name)
def test_the_sweep_finds_what_torch_and_the_judge_find(case: Case) -> None:
    check(case, CPU)


def test_a_state_that_was_reset_starts_anew() -> None:
    case = Case(dtype="float32")
    (_, first, rows), (_, second, later) = batches(case, CPU)
    used, fresh = empty_state(case, CPU), empty_state(case, CPU)
    TritonBackend().sweep(used, first, rows)
    used.reset()
    TritonBackend().sweep(used, second, later)
    TritonBackend().sweep(fresh, second, later)
    assert_same_state(used, fresh)


def test_a_smaller_batch_leaves_the_peak_and_its_median_alone() -> None:
    case = Case(make=calm, width=8, named=None)
    (_, x, rows), (_, _, earlier) = batches(case, CPU)
    found, expected = empty_state(case, CPU), empty_state(case, CPU)
    for numbers, whose in ((x, rows), (x * 0.9, earlier)):
        TritonBackend().sweep(found, numbers, whose)
        TorchBackend().sweep(expected, numbers, whose)
        assert_same_state(found, expected)
    assert len({token["sample"] < 30 for token in read_state(found).top}) == 2, "both batches are in the list"


def test_a_token_that_comes_twice_is_listed_as_torch_lists_it() -> None:
    case = Case(make=tied, rows=2, named=None, width=30)
    (_, x, rows), _ = batches(case, CPU)
    twice = Rows(torch.tensor([0, 0, 1, 1]), rows.sample.repeat_interleave(2), rows.position.repeat_interleave(2))
    found, expected = empty_state(case, CPU), empty_state(case, CPU)
    for visit in (rows, rows, twice):
        TritonBackend().sweep(found, x, visit)
        TorchBackend().sweep(expected, x, visit)
        assert_same_state(found, expected)
    assert len(read_state(found).top) == 100
