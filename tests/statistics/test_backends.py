"""Every backend leaves what the plain numpy judge finds, for any batches, padding, dtype and odd numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.statistics.accumulator import SiteAccumulator
from engine.statistics.backends import Backend, choose_backend
from engine.statistics.backends.torch_ import TorchBackend
from engine.statistics.rows import BatchRows
from engine.statistics.state import INTEGERS, REALS
from engine.statistics.totals import SiteTotals, merge
from tests.statistics.judge import assert_same_totals, judge
from tests.statistics.numbers import DTYPES, random_bits

TORCH_DTYPES = {name: getattr(torch, name) for name in DTYPES}


# The second is torch as it works where the host must not look at a number.
BACKENDS: dict[str, Backend] = {
    "torch": TorchBackend(),
    "torch-dense": TorchBackend(dense=True),
    "numba": choose_backend("numba", torch.device("cpu")),
}
on_every_backend = pytest.mark.parametrize("backend", BACKENDS.values(), ids=BACKENDS.keys())


@dataclass
class Text:
    """One sample's tokens in a batch: its number, its bits [tokens, D], and how many places of padding follow."""

    sample: int
    bits: np.ndarray


def as_tensor(bits: np.ndarray, dtype: str) -> torch.Tensor:
    signed = bits.view(np.int32 if dtype == "float32" else np.int16)
    return torch.from_numpy(signed.copy()).view(TORCH_DTYPES[dtype])


def padded_batch(texts: list[Text], dtype: str, left: bool) -> tuple[torch.Tensor, BatchRows, int]:
    """The tensor [B * T, D] of some texts, whose padding holds NaN, infinities and huge numbers; and its rows."""
    width = texts[0].bits.shape[1]
    longest = max(len(t.bits) for t in texts)
    filler = random_bits(np.random.default_rng(9), dtype, len(texts) * longest, width, 1.0)
    whole = filler.reshape(len(texts), longest, width)
    valid = np.zeros((len(texts), longest), bool)
    for row, text in enumerate(texts):
        place = slice(longest - len(text.bits), longest) if left else slice(0, len(text.bits))
        whole[row, place], valid[row, place] = text.bits, True
    index = None if valid.all() else np.flatnonzero(valid)
    sample = np.repeat([t.sample for t in texts], [len(t.bits) for t in texts])
    position = np.concatenate([np.arange(len(t.bits)) for t in texts])
    return as_tensor(whole.reshape(-1, width), dtype), BatchRows(index, sample, position, 100), len(sample)


def measure(
    backend: Backend, batches: list[list[Text]], dtype: str, *, detail: str, census: bool, left: bool = False
) -> SiteTotals:
    """The totals after sweeping the batches, read off after each of them."""
    totals = None
    accumulator = None
    for texts in batches:
        x, rows, _ = padded_batch(texts, dtype, left)
        before = x.view(torch.uint8).clone()
        if accumulator is None:
            scalars = torch.zeros(INTEGERS, dtype=torch.int64), torch.zeros(REALS, dtype=torch.float64)
            accumulator = SiteAccumulator(x, 100, detail, census, backend, scalars)
        accumulator.update(x, rows.of(x))
        assert torch.equal(x.view(torch.uint8), before), "the sweep must not write to the model's tensor"
        if texts[0].sample % 2:
            fresh = accumulator.read()
            totals = fresh if totals is None else merge(totals, fresh)
            accumulator.reset()
    assert accumulator is not None
    return accumulator.read() if totals is None else merge(totals, accumulator.read())


def judged(batches: list[list[Text]], dtype: str, *, detail: str, census: bool) -> SiteTotals:
    texts = [text for batch in batches for text in batch]
    return judge(
        np.concatenate([t.bits for t in texts]),
        dtype,
        np.repeat([t.sample for t in texts], [len(t.bits) for t in texts]),
        np.concatenate([np.arange(len(t.bits)) for t in texts]),
        samples=100,
        detail=detail,
        census=census,
    )


@st.composite
def corpora(draw: st.DrawFn) -> tuple[list[list[Text]], str]:
    """One to four batches of one to four texts of one to twelve tokens."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    dtype, width = draw(st.sampled_from(DTYPES)), draw(st.sampled_from([1, 2, 3, 8, 17]))
    specials = draw(st.sampled_from([0.0, 0.02, 0.3, 1.0]))
    even = draw(st.booleans())
    order = rng.permutation(100)
    batches, used = [], 0
    for _ in range(draw(st.integers(1, 4))):
        count = draw(st.integers(1, 4))
        numbers = np.sort(order[used : used + count])
        used += count
        lengths = np.full(count, 5) if even else rng.integers(1, 13, count)
        batches.append(
            [
                Text(int(s), random_bits(rng, dtype, int(n), width, specials))
                for s, n in zip(numbers, lengths, strict=True)
            ]
        )
    return batches, dtype


@on_every_backend
@settings(max_examples=120, deadline=None)
@given(corpora(), st.sampled_from(["lean", "standard", "compat"]), st.booleans(), st.booleans())
@pytest.mark.filterwarnings("error")
def test_the_sweep_finds_what_the_judge_finds(backend, corpus, detail, census, left) -> None:
    batches, dtype = corpus
    found = measure(backend, batches, dtype, detail=detail, census=census, left=left)
    assert_same_totals(found, judged(batches, dtype, detail=detail, census=census))
