"""A pattern histogram gives the moments and quantiles of the numbers it counted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.statistics import patterns
from engine.statistics.totals import SiteTotals
from tests.statistics.judge import decode, judge, lower_median
from tests.statistics.numbers import DTYPES, random_bits
from tests.values import some

ORACLES = Path(__file__).parents[1] / "oracles"


def totals_of(bits: np.ndarray, dtype: str, detail: str = "compat", pivot: float = 0.0) -> SiteTotals:
    zeros = np.zeros(len(bits), np.int64)
    return judge(bits, dtype, zeros, np.arange(len(bits)), samples=1, detail=detail, pivot=pivot)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_pattern_values_are_torchs(dtype: str) -> None:
    every = torch.arange(65536).to(torch.int32).to(torch.int16).view(getattr(torch, dtype)).double().numpy()
    np.testing.assert_array_equal(patterns.pattern_values(dtype), np.where(np.isfinite(every), every, np.nan))


def test_a_float32_pattern_is_valued_within_its_own_range() -> None:
    values = patterns.magnitude_values("float32")
    seen = np.arange(1, 0x7F80)
    low = (seen.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    assert values[0] == 0
    assert (values[seen] > low).all()
    assert (values[seen[:-1]] < low[1:]).all()
    assert not np.isfinite(values[0x7F80:]).any()
    assert not patterns.is_exact("float32")
    assert patterns.is_exact("bfloat16")


def test_an_unknown_dtype_is_refused() -> None:
    with pytest.raises(ValueError, match="int8"):
        patterns.pattern_values("int8")


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(DTYPES), st.integers(1, 40), st.integers(1, 9))
def test_moments_are_those_of_the_numbers(seed: int, dtype: str, tokens: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    bits = random_bits(rng, dtype, tokens, width, 0.1)
    x = decode(bits, dtype)
    x = x[np.isfinite(x)]
    # A pivot as the sweep chooses it: not the mean, but among the numbers.
    found = patterns.moments(totals_of(bits, dtype, pivot=float(rng.choice(x)) if len(x) else 0.0))
    if not len(x):
        assert found is None
        return
    assert found is not None
    assert found.count == len(x)
    assert found.zeros == np.sum(np.abs(x) < (2.0**-133 if dtype == "float32" else 2.0**-149))
    assert found.mean == pytest.approx(x.mean(), abs=1e-10 * np.abs(x).mean())
    assert found.abs_mean == pytest.approx(np.abs(x).mean(), rel=1e-12)
    assert found.rms == pytest.approx(np.sqrt(np.mean(x**2)), rel=1e-12)
    assert found.std == pytest.approx(x.std(), rel=1e-9, abs=1e-12 * np.abs(x).max())
    if x.std() > 1e-2 * np.abs(x).max():
        assert found.kurtosis == pytest.approx(np.mean((x - x.mean()) ** 4) / x.var() ** 2, rel=1e-6)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(["bfloat16", "float16"]), st.integers(1, 60))
def test_quantiles_are_elements_at_their_place(seed: int, dtype: str, tokens: int) -> None:
    bits = random_bits(np.random.default_rng(seed), dtype, tokens, 3, 0.1)
    x = decode(bits, dtype)
    x = np.sort(np.abs(x[np.isfinite(x)]))
    levels = [0.0, 0.25, 0.5, 0.75, 0.9, 0.999, 1.0]
    found = patterns.quantiles(dtype, totals_of(bits, dtype).histogram, levels)
    if not len(x):
        assert np.isnan(found).all()
        return
    np.testing.assert_array_equal(found, np.quantile(x, levels, method="lower"))
    assert patterns.layer_median(totals_of(bits, dtype)) == lower_median(x) == torch.tensor(x).median().item()


def test_float32_quantiles_are_within_their_pattern() -> None:
    x = np.abs(np.random.default_rng(0).normal(size=(50, 40))).astype(np.float32)
    found = patterns.quantiles("float32", totals_of(x.view(np.uint32), "float32").histogram, [0.25, 0.5, 0.99])
    np.testing.assert_allclose(found, np.quantile(x, [0.25, 0.5, 0.99], method="lower"), rtol=2**-8)


def test_constant_numbers_have_no_spread() -> None:
    x = np.full((10, 10), 1e4, np.float32)
    moments = patterns.moments(totals_of((x.view(np.uint32) >> 16).astype(np.uint16), "bfloat16"))
    assert moments is not None
    assert moments.std == 0
    assert np.isnan(moments.kurtosis)


def test_lean_and_empty_sites_have_no_moments_and_unknown_quantiles() -> None:
    bits = np.array([[0x3F80]], np.uint16)
    assert patterns.moments(totals_of(bits, "bfloat16", "lean")) is None
    empty = SiteTotals.empty("bfloat16", 4, 1, census=True)
    assert patterns.moments(empty) is None
    assert np.isnan(patterns.layer_median(empty))
    assert np.isnan(patterns.compat_quantiles(empty, [0.5])).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_references_bins_hold_every_nonzero_number(dtype: str) -> None:
    bits = random_bits(np.random.default_rng(2), dtype, 40, 30, 0.05)
    x = decode(bits, dtype)
    x = np.abs(x[np.isfinite(x) & (x != 0)])
    expected = np.histogram(np.clip(np.log10(x), -8, 8 - 1e-9), bins=512, range=(-8, 8))[0]
    found = patterns.log_bins(totals_of(bits, dtype))
    assert found.sum() == len(x)
    # Only numbers next to an edge may fall on either side of it.
    assert np.abs(np.cumsum(found) - np.cumsum(expected)).max() <= 2


def test_compat_quantiles_count_zeros_first() -> None:
    x = np.array([[0, 0, 0, 1.0]], np.float32)
    found = patterns.compat_quantiles(
        totals_of((x.view(np.uint32) >> 16).astype(np.uint16), "bfloat16"), [0.5, 0.75, 1.0]
    )
    assert found[:2].tolist() == [0.0, 0.0]
    assert found[2] == pytest.approx(10 ** (1 / 32))


@pytest.mark.demo_model
def test_the_embeddings_quantiles_are_the_references_to_the_last_digit(loaded_demo) -> None:
    # The embedding involves no arithmetic, so the reference's own numbers must come out.
    lines = (ORACLES / "smollm2_tokens.jsonl").read_text().splitlines()
    ids = torch.tensor([i for line in lines for i in json.loads(line)["input_ids"]])
    bits = loaded_demo.model.get_input_embeddings().weight[ids].detach().view(torch.int16).numpy().view(np.uint16)
    histogram = np.bincount(bits.ravel(), minlength=65536)
    totals = SiteTotals.empty("bfloat16", 576, 1, census=False)
    totals.histogram[:] = histogram
    expected = json.loads((ORACLES / "smollm2_fp32_activation_stats.json").read_text())["per_layer_stats"][
        "embedding_output"
    ]
    names = {"abs_median": 0.5, "abs_q25": 0.25, "abs_q75": 0.75, "abs_q90": 0.9, "abs_q99": 0.99, "abs_q999": 0.999}
    found = patterns.compat_quantiles(totals, list(names.values()))
    np.testing.assert_allclose(found, [expected[name] for name in names], rtol=1e-14)
    assert some(patterns.histogram_moments("bfloat16", histogram)).std == pytest.approx(expected["std"], rel=1e-7)
