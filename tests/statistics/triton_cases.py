"""What the Triton kernels are tried on, in the interpreter and on a GPU: odd tensors, and the two judges."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from engine.base.job import Detail
from engine.statistics.backends.torch_ import TorchBackend
from engine.statistics.backends.triton_ import WINDOWS, TritonBackend
from engine.statistics.reading import read_state
from engine.statistics.rows import Rows
from engine.statistics.state import DTYPES, INTEGERS, REALS, SiteState, new_state
from tests.statistics.judge import assert_same_totals, judge
from tests.statistics.numbers import random_bits

SAMPLES = 40
EXACT = ("integers", "histogram", "token_maxima", "log_histogram", "channel_keys", "channel_tokens", "sample_keys")

Maker = Callable[[np.random.Generator, str, int, int], np.ndarray]


def to_bits(numbers: np.ndarray, dtype: str) -> np.ndarray:
    x = torch.from_numpy(numbers.astype(np.float32)).to(getattr(torch, dtype))
    size = (torch.int32, np.uint32) if dtype == "float32" else (torch.int16, np.uint16)
    return x.view(size[0]).numpy().view(size[1])


def mixed(rng: np.random.Generator, dtype: str, rows: int, width: int) -> np.ndarray:
    """Rows on several scales with some zeros, ties, NaN and infinities."""
    return random_bits(rng, dtype, rows, width, 0.03)


def odd(rng: np.random.Generator, dtype: str, rows: int, width: int) -> np.ndarray:
    """Nearly nothing but zeros, ties, NaN and infinities; some rows without a finite element."""
    bits = random_bits(rng, dtype, rows, width, 0.9)
    bits[::7] = bits.dtype.type({"bfloat16": 0xFF80, "float16": 0x7E00, "float32": 0x7FC00000}[dtype])
    return bits


def calm(rng: np.random.Generator, dtype: str, rows: int, width: int) -> np.ndarray:
    """What a model mostly has: a few binades, a large channel, a massive activation; and one NaN in the first tile."""
    x = rng.normal(size=(rows, width)) * 0.4
    x[rng.random(x.shape) < 0.2] = 0.0
    x[rng.random(x.shape) < 0.1] = -0.0
    x[:, 3] *= 300.0
    x[rows // 2, 5] = 600.0
    x[2, 7] = np.nan
    return to_bits(x, dtype)


def edges_of_window(rng: np.random.Generator, dtype: str, rows: int, width: int) -> np.ndarray:
    """bfloat16 ones; the middle row of each tile of 16 holds the magnitude beyond, or at, an end of their window."""
    bits = np.full((rows, width), 0x3F80, np.uint16)
    start = 0x3F80 - WINDOWS[dtype] * 5 // 8
    for tile, key in enumerate((start - 1, start, start + WINDOWS[dtype] - 2, start + WINDOWS[dtype] - 1)):
        bits[16 * tile + 8, 9] = key
        bits[16 * tile + 8, 10] = 0x8000 | key
    return bits


def wild(rng: np.random.Generator, dtype: str, rows: int, width: int) -> np.ndarray:
    """Magnitudes all over the format."""
    return to_bits(rng.normal(size=(rows, width)) * 2.0 ** rng.integers(-130, 125, (rows, width)), dtype)


def huge(rng: np.random.Generator, dtype: str, rows: int, width: int) -> np.ndarray:
    """Just below infinity, and infinity."""
    x = 2.0 ** rng.uniform(120, 127.9, (rows, width))
    x[rng.random(x.shape) < 0.01] = np.inf
    return to_bits(x, dtype)


def equal(rng: np.random.Generator, dtype: str, rows: int, width: int) -> np.ndarray:
    """One magnitude in all places, of either sign: only the addresses tell the largest."""
    return to_bits(np.where(rng.random((rows, width)) < 0.5, -7.0, 7.0), dtype)


def tied(rng: np.random.Generator, dtype: str, rows: int, width: int) -> np.ndarray:
    """Few magnitudes: the hundredth largest has hundreds of equals, spread over rows of different maxima."""
    x = rng.choice([1.0, 2.0, 3.0], (rows, width), p=[0.9, 0.09, 0.01])
    x[::3] = 1.0
    return to_bits(x, dtype)


def negative(rng: np.random.Generator, dtype: str, rows: int, width: int) -> np.ndarray:
    return to_bits(-1.0 - rng.random((rows, width)), dtype)


def zeros(rng: np.random.Generator, dtype: str, rows: int, width: int) -> np.ndarray:
    return to_bits(np.where(rng.random((rows, width)) < 0.5, -0.0, 0.0), dtype)


def none_finite(rng: np.random.Generator, dtype: str, rows: int, width: int) -> np.ndarray:
    return to_bits(np.full((rows, width), np.nan), dtype)


@dataclass(frozen=True)
class Case:
    """Batches of rows, of which some count.

    Attributes:
        dtype: of the tensors.
        width: D.
        rows: rows of each tensor.
        named: how many of them count; None for all, without an index.
        make: (generator, dtype, rows, width) -> bits of one tensor.
        batches: how many tensors; the later ones hold the earlier samples.
    """

    dtype: str = "bfloat16"
    width: int = 70
    rows: int = 24
    named: int | None = 17
    detail: Detail = "standard"
    census: bool = True
    make: Maker = mixed
    batches: int = 2


KINDS = [Case(dtype=dtype, detail=detail) for dtype in ("bfloat16", "float16", "float32")
         for detail in ("lean", "standard", "compat")]  # fmt: skip
SHAPES = [
    Case(width=1),
    Case(width=1, dtype="float32", detail="compat", batches=1),
    Case(width=576, make=calm, rows=70, named=67, batches=1),
    Case(width=1000, rows=5, named=3),
    Case(width=256, rows=140, named=None, make=calm, batches=1),
    Case(width=256, rows=36, named=33, make=calm, detail="lean", batches=1),
    Case(width=256, rows=36, named=35, make=calm, dtype="float32", detail="compat", batches=1),
    Case(width=256, rows=64, named=None, make=edges_of_window, batches=1),
    Case(width=12288, rows=3, named=2, batches=1, make=calm),
    Case(width=8, rows=1, named=None),
]
NUMBERS = [
    Case(make=equal, rows=130, named=None, width=8),
    Case(make=tied, rows=130, named=118, width=64),
    Case(make=tied, dtype="float32", detail="lean", batches=3),
    Case(make=odd),
    Case(make=odd, dtype="float32", detail="compat"),
    Case(make=wild, width=256),
    Case(make=wild, dtype="float16", detail="compat", batches=1),
    Case(make=wild, dtype="float32", census=False, detail="compat", batches=1),
    Case(make=huge, width=256, batches=1),
    Case(make=negative, batches=1),
    Case(make=zeros, detail="compat", batches=1),
    Case(make=none_finite),
    Case(make=calm, census=False, batches=1),
]
CASES = KINDS + SHAPES + NUMBERS


def name(case: Case) -> str:
    return (
        f"{case.make.__name__}-{case.dtype}-{case.rows}x{case.width}-{case.detail}{'' if case.census else '-no-census'}"
    )


def empty_state(case: Case, device: torch.device) -> SiteState:
    scalars = (
        torch.zeros(INTEGERS, dtype=torch.int64, device=device),
        torch.zeros(REALS, dtype=torch.float64, device=device),
    )
    return new_state(
        DTYPES[getattr(torch, case.dtype)], case.width, SAMPLES, case.detail, case.census, scalars
    )  # fmt: skip


def batches(case: Case, device: torch.device) -> list[tuple[np.ndarray, torch.Tensor, Rows]]:
    """(bits of the rows that count, tensor, rows), the samples of later batches below those of earlier ones."""
    rng = np.random.default_rng(5)
    made = []
    for batch in range(case.batches):
        bits = case.make(rng, case.dtype, case.rows, case.width)
        signed = bits.view(np.int32 if case.dtype == "float32" else np.int16)
        x = torch.from_numpy(signed.copy()).view(getattr(torch, case.dtype))
        index = None if case.named is None else np.sort(rng.choice(case.rows, case.named, replace=False))
        count = case.rows if index is None else len(index)
        highest = SAMPLES - 10 * batch
        sample = np.sort(rng.integers(highest - 10, highest, count)).astype(np.int32)
        position = np.concatenate([np.arange(n) for n in np.unique(sample, return_counts=True)[1]]).astype(np.int32)
        where = None if index is None else torch.from_numpy(index).to(device)
        rows = Rows(where, torch.from_numpy(sample).to(device), torch.from_numpy(position).to(device))
        made.append((bits if index is None else bits[index], x.to(device), rows))
    return made


def assert_same_state(found: SiteState, expected: SiteState) -> None:
    """Every integer the same, and every number that is no sum."""
    for field_name in EXACT:
        left, right = getattr(found, field_name).cpu(), getattr(expected, field_name).cpu()
        np.testing.assert_array_equal(left.numpy(), right.numpy(), err_msg=field_name)
    assert found.tokens == expected.tokens
    assert_same_totals(read_state(found), read_state(expected))


def check(case: Case, device: torch.device) -> None:
    """Triton's state against torch's after each batch, and against the plain judge at the end."""
    found, expected = empty_state(case, device), empty_state(case, device)
    made = batches(case, device)
    for _, x, rows in made:
        before = x.view(torch.uint8).clone()
        TritonBackend().sweep(found, x, rows)
        TorchBackend().sweep(expected, x, rows)
        assert torch.equal(x.view(torch.uint8), before), "the sweep must not write to the model's tensor"
        assert_same_state(found, expected)
    order = range(len(made) - 1, -1, -1)
    whole = judge(
        np.concatenate([made[i][0] for i in order]),
        case.dtype,
        np.concatenate([made[i][2].sample.cpu().numpy() for i in order]),
        np.concatenate([made[i][2].position.cpu().numpy() for i in order]),
        samples=SAMPLES,
        detail=case.detail,
        census=case.census,
    )
    assert_same_totals(read_state(found), whole)
