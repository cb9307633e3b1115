"""Products of bfloat16 on a CPU without instructions for it: the numbers such instructions give."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from engine.base import computing as module
from engine.base.computing import computing, sums_in_float32
from tests.cpus import environment, is_possible


@pytest.fixture(params=[True, False], ids=["without instructions", "with them"])
def is_summed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Either kind of CPU, whichever this is."""
    monkeypatch.setattr(module, "has_bfloat16_products", lambda: not request.param)
    return bool(request.param)


def rounded(values: np.ndarray) -> torch.Tensor:
    """Float64 rounded to bfloat16 by way of float32, as an accumulator is."""
    return torch.from_numpy(values.astype(np.float32)).to(torch.bfloat16)


def random_bfloat16(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(torch.bfloat16)


@pytest.mark.parametrize(
    "product",
    [
        torch.nn.functional.linear,
        lambda x, w: torch.matmul(x, w.T),
        lambda x, w: torch.einsum("bti,oi->bto", x, w),
        lambda x, w: torch.bmm(x, w.T.expand(x.shape[0], -1, -1)),
        lambda x, w: torch.stack([torch.mm(one, w.T) for one in x]),
        lambda x, w: torch.stack([torch.addmm(torch.zeros(w.shape[0], dtype=x.dtype), one, w.T) for one in x]),
    ],
    ids=["linear", "matmul", "einsum", "bmm", "mm", "addmm"],
)
def test_a_product_is_summed_exactly_enough_and_rounded_once(product, is_summed: bool) -> None:
    x, w = random_bfloat16(2, 5, 64, seed=1), random_bfloat16(7, 64, seed=2)
    exact = x.double().numpy() @ w.double().numpy().T
    with computing(torch.nn.Linear(64, 7, dtype=torch.bfloat16)):
        found = product(x, w)
    assert found.dtype == torch.bfloat16
    step = np.abs(rounded(exact).double().numpy()) * 2**-7
    assert (np.abs(found.double().numpy() - exact) <= step + 1e-6).all()
    if is_summed:
        assert (found == rounded(exact)).double().mean() > 0.97, "only ties of float32 sums may round otherwise"


def test_float32_models_and_other_operations_are_left_alone(is_summed: bool) -> None:
    assert not sums_in_float32(torch.nn.Linear(4, 4))
    assert sums_in_float32(torch.nn.Linear(4, 4, dtype=torch.bfloat16)) == is_summed
    x = random_bfloat16(3, 8, seed=3)
    with torch.inference_mode():
        expected = torch.nn.functional.silu(x) * x
    with computing(torch.nn.Linear(8, 8, dtype=torch.bfloat16)):
        found = torch.nn.functional.silu(x) * x
        assert torch.equal(torch.nn.functional.linear(x.float(), torch.eye(8)), x.float())
    assert torch.equal(found, expected)


@pytest.mark.skipif(not is_possible("avx2"), reason="this CPU has no AVX2")
def test_a_cpu_with_avx2_alone_is_known_to_lack_the_instructions() -> None:
    """Torch is asked, and oneDNN is what torch asks: held back to AVX2 it takes this CPU for such a one."""
    code = (
        "import torch; from engine.base.computing import sums_in_float32; "
        "print(torch.backends.cpu.get_cpu_capability(), sums_in_float32(torch.nn.Linear(4, 4, dtype=torch.bfloat16)))"
    )
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, env=environment("avx2", 1), capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["AVX2", "True"]


def test_operations_are_looked_at_only_where_that_is_needed(is_summed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    entered: list[bool] = []
    plain = module._SummedInFloat32.__torch_dispatch__

    def noting(self, func, types, args=(), kwargs=None):
        entered.append(True)
        return plain(self, func, types, args, kwargs)

    monkeypatch.setattr(module._SummedInFloat32, "__torch_dispatch__", noting)
    model = torch.nn.Linear(4, 4, dtype=torch.bfloat16)
    with computing(model):
        model(random_bfloat16(2, 4, seed=4))
    assert bool(entered) == is_summed
