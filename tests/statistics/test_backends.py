"""Every backend leaves what the plain numpy judge finds, for any batches, padding, dtype and odd numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.base.job import Detail
from engine.statistics import patterns
from engine.statistics.accumulator import SiteAccumulator
from engine.statistics.backends import Backend, choose_backend
from engine.statistics.backends.torch_ import TorchBackend
from engine.statistics.rows import BatchRows, Rows
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
    backend: Backend, batches: list[list[Text]], dtype: str, *, detail: Detail, census: bool, left: bool = False
) -> SiteTotals:
    """The totals after sweeping the batches, read off after each of them."""
    totals: SiteTotals | None = None
    accumulator: SiteAccumulator | None = None
    for texts in batches:
        x, rows, _ = padded_batch(texts, dtype, left)
        before = x.view(torch.uint8).clone()
        if accumulator is None:
            scalars = torch.zeros(INTEGERS, dtype=torch.int64), torch.zeros(REALS, dtype=torch.float64)
            accumulator = SiteAccumulator(x, 100, detail, census, backend, scalars)
        counted = rows.of(x)
        assert isinstance(counted, Rows)
        accumulator.update(x, counted)
        assert torch.equal(x.view(torch.uint8), before), "the sweep must not write to the model's tensor"
        if texts[0].sample % 2:
            fresh = accumulator.read()
            totals = fresh if totals is None else merge(totals, fresh)
            accumulator.reset()
    assert accumulator is not None
    return accumulator.read() if totals is None else merge(totals, accumulator.read())


def judged(batches: list[list[Text]], dtype: str, *, detail: Detail, census: bool) -> SiteTotals:
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
@settings(max_examples=80, deadline=None)
@given(corpora(), st.sampled_from(["lean", "standard", "compat"]), st.booleans(), st.booleans())
@pytest.mark.filterwarnings("error")
def test_the_sweep_finds_what_the_judge_finds(backend, corpus, detail, census, left) -> None:
    batches, dtype = corpus
    found = measure(backend, batches, dtype, detail=detail, census=census, left=left)
    assert_same_totals(found, judged(batches, dtype, detail=detail, census=census))


def one_site(backend: Backend, bits: np.ndarray, dtype: str, detail: Detail = "standard") -> SiteTotals:
    """The totals of a single text of sample 0."""
    return measure(backend, [[Text(0, bits)]], dtype, detail=detail, census=True)


def bits_of(numbers: np.ndarray | list, dtype: str) -> np.ndarray:
    tensor = torch.tensor(np.asarray(numbers), dtype=TORCH_DTYPES[dtype])
    return tensor.view(torch.int32 if dtype == "float32" else torch.int16).numpy().view(
        np.uint32 if dtype == "float32" else np.uint16
    )  # fmt: skip


@on_every_backend
@pytest.mark.parametrize("dtype", DTYPES)
def test_wide_sites_and_long_texts_agree_with_the_judge(backend: Backend, dtype: str) -> None:
    # Wide enough for several blocks of the counting loops, long enough that several threads share the rows.
    rng = np.random.default_rng(3)
    texts = [Text(s, random_bits(rng, dtype, 130, 1031, 0.001)) for s in (4, 7)]
    found = measure(backend, [texts], dtype, detail="compat", census=True)
    assert_same_totals(found, judged([texts], dtype, detail="compat", census=True))


@on_every_backend
def test_a_spread_far_smaller_than_the_mean_is_not_cancelled_away(backend: Backend) -> None:
    numbers = np.random.default_rng(0).normal(1e4, 1e-3, (200, 64)).astype(np.float32)
    moments = patterns.moments(one_site(backend, bits_of(numbers, "float32"), "float32"))
    wide = numbers.astype(np.float64)
    assert moments is not None
    # A pass that summed x and x^2 would lose 8 of the 16 digits of the spread, one in float32 all of them.
    assert moments.std == pytest.approx(wide.std(), rel=1e-9)
    assert moments.mean == pytest.approx(math.fsum(wide.ravel()) / wide.size, rel=1e-14)
    assert moments.kurtosis == pytest.approx(np.mean((wide - wide.mean()) ** 4) / wide.var() ** 2, rel=1e-6)


@on_every_backend
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_zero_median_under_a_large_maximum_is_an_infinite_ratio_and_a_pass(backend: Backend, dtype: str) -> None:
    found = one_site(backend, bits_of([[0, 0, 0, 512.0], [1, 1, 1, 101.0]], dtype), dtype)
    assert found.sun_tokens == 1
    assert found.sun_ratio.tolist() == [np.inf, 512.0, 0.0, 0.0, 0.0]
    assert found.peak_median == 0.0


@on_every_backend
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_thresholds_of_suns_criterion_are_strict(backend: Backend, dtype: str) -> None:
    at, above = [0.0, 0.0, 0.0, 100.0], [0.0, 0.0, 0.0, 101.0]
    assert one_site(backend, bits_of([at], dtype), dtype).sun_tokens == 0
    assert one_site(backend, bits_of([above], dtype), dtype).sun_tokens == 1
    exactly = [0.125, 0.125, 0.125, 125.0]
    assert one_site(backend, bits_of([exactly], dtype), dtype).sun_tokens == 0
    assert one_site(backend, bits_of([at], dtype), dtype).channel_tokens[0].tolist() == [0, 0, 0, 0]
    assert one_site(backend, bits_of([above], dtype), dtype).channel_tokens[:2].tolist() == [[0, 0, 0, 1], [0, 0, 0, 0]]


@on_every_backend
@pytest.mark.parametrize("dtype", DTYPES)
def test_ties_go_to_the_lowest_sample_position_and_channel(backend: Backend, dtype: str) -> None:
    ones = bits_of(np.where(np.arange(60).reshape(20, 3) % 2, 1.0, -1.0), dtype)
    late, early = [Text(9, ones)], [Text(2, ones), Text(5, ones)]
    top = measure(backend, [late, early], dtype, detail="lean", census=False).top
    expected = [(s, p, c) for s in (2, 5, 9) for p in range(20) for c in range(3)][:100]
    assert [tuple(entry)[1:] for entry in top.tolist()] == expected
    assert top["value"][:3].tolist() == [-1.0, 1.0, -1.0]


@on_every_backend
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("number", [3.5, -3.5, 0.0, np.nan, np.inf, -np.inf])
def test_a_site_of_one_element(backend: Backend, dtype: str, number: float) -> None:
    bits = bits_of([[number]], dtype)
    for detail in ("lean", "standard", "compat"):
        assert_same_totals(
            one_site(backend, bits, dtype, detail), judged([[Text(0, bits)]], dtype, detail=detail, census=True)
        )


@on_every_backend
@pytest.mark.parametrize("dtype", DTYPES)
def test_batches_split_any_way_leave_the_same_integers(backend: Backend, dtype: str) -> None:
    rng = np.random.default_rng(5)
    texts = [Text(s, random_bits(rng, dtype, 7, 12, 0.05)) for s in range(12)]
    splits = ([texts], [[t] for t in texts], [texts[6:], texts[:6]], [texts[::3], texts[1::3], texts[2::3]])
    results = [measure(backend, list(split), dtype, detail="compat", census=True) for split in splits]
    for other in results[1:]:
        assert_same_totals(other, results[0])


@pytest.mark.parametrize("dtype", DTYPES)
def test_all_backends_agree_on_real_activations(dtype: str) -> None:
    torch.manual_seed(0)
    hidden = torch.randn(512, 192) * torch.logspace(-2, 3, 512)[:, None]
    hidden[::37, 5] *= 3000.0
    texts = [Text(0, bits_of(hidden.numpy(), dtype))]
    results = [measure(b, [texts], dtype, detail="compat", census=True) for b in BACKENDS.values()]
    for other in results[1:]:
        assert_same_totals(other, results[0])


def test_tensors_too_large_for_one_sweep_are_swept_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(6)
    texts = [Text(s, random_bits(rng, "bfloat16", 9, 5, 0.1)) for s in range(4)]
    ragged = [*texts, Text(4, texts[0].bits[:3])]
    monkeypatch.setattr("engine.statistics.accumulator.MAX_ELEMENTS", 5 * 7)
    for backend in BACKENDS.values():
        for batch in (texts, ragged):
            found = measure(backend, [batch], "bfloat16", detail="compat", census=True)
            assert_same_totals(found, judged([batch], "bfloat16", detail="compat", census=True))
