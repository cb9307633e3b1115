"""One site's numbers, judged by plain numpy in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest

from engine.analysis.site import summarise
from engine.statistics.totals import SiteTotals
from tests.analysis.sessions import to_bits
from tests.statistics.judge import decode, judge

DTYPES = ("bfloat16", "float16", "float32")


def site(numbers: np.ndarray, dtype: str = "bfloat16", **options):
    """The summary of a [tokens, width] array, and the numbers as the dtype holds them."""
    bits = to_bits(numbers, dtype)
    tokens = len(numbers)
    totals = judge(bits, dtype, np.arange(tokens) // 4, np.arange(tokens) % 4, samples=(tokens + 3) // 4, **options)
    return summarise(totals), decode(bits, dtype)


def mixed(tokens: int = 40, width: int = 24) -> np.ndarray:
    draws = np.random.default_rng(3)
    numbers = draws.normal(0.3, 1.7, (tokens, width)) * 10 ** draws.uniform(-2, 1, (tokens, width))
    numbers[::7, 2] = 0.0
    numbers[4, 5] = -7000.0
    numbers[8, 5] = 5000.0
    numbers[12, 5] = 400.0
    return numbers


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_field_agrees_with_plain_numpy(dtype: str) -> None:
    found, x = site(mixed(), dtype)
    a = np.abs(x)
    assert (found.count, found.tokens, found.width) == (x.size, 40, 24)
    assert (found.max, found.min, found.magnitude) == (x.max(), x.min(), a.max())
    for name, expected in {
        "mean": x.mean(), "std": x.std(), "abs_mean": a.mean(), "rms": np.sqrt((x * x).mean()),
        "kurtosis": ((x - x.mean()) ** 4).mean() / x.var() ** 2, "crest": a.max() / np.sqrt((x * x).mean()),
    }.items():  # fmt: skip
        assert getattr(found, name) == pytest.approx(expected, rel=1e-9), name
    assert found.zero_share == (x == 0).mean()
    tolerance = 0 if dtype != "float32" else 2**-7
    for name, level in {"abs_q25": 0.25, "abs_median": 0.5, "abs_q75": 0.75, "abs_q90": 0.9, "abs_q99": 0.99,
                        "abs_q999": 0.999, "abs_q9999": 0.9999}.items():  # fmt: skip
        expected = np.quantile(a, level, method="lower")
        assert getattr(found, name) == pytest.approx(expected, rel=tolerance, abs=0), name
    assert found.exact == (dtype != "float32")


def test_the_largest_come_with_their_addresses() -> None:
    found, x = site(mixed())
    first = found.top[0]
    assert (first.value, first.sample, first.position, first.channel) == (x[4, 5], 1, 0, 5)
    assert len(found.top) == 100
    assert [found.top[place] for place in range(-100, 0)] == list(found.top) == list(found.top[:])
    assert found.top[1:] == site(mixed())[0].top[1:] != found.top
    short, _ = site(mixed()[:2, :8])
    assert len(short.top) == 16


@pytest.mark.parametrize("dtype", DTYPES)
def test_both_verdicts_follow_their_definitions(dtype: str) -> None:
    found, x = site(mixed(), dtype)
    a = np.abs(x)
    median = np.quantile(a, 0.5, method="lower")
    passing = (a.max(1) > max(100, 1000 * median)).sum()
    assert found.sun_layer.passes and found.sun_layer.certain
    assert found.sun_layer.ratio == pytest.approx(a.max() / median, rel=0 if dtype != "float32" else 2**-7)
    assert found.sun_layer.tokens.lower <= passing <= found.sun_layer.tokens.upper
    assert dtype == "float32" or found.sun_layer.tokens.is_exact
    medians = np.quantile(a, 0.5, axis=1, method="lower")
    assert found.sun_token.tokens == ((a.max(1) > 100) & (a.max(1) > 1000 * medians)).sum()
    assert found.sun_token.peak_ratio == pytest.approx(a[4].max() / medians[4], rel=1e-12)


def test_a_token_that_is_inflated_as_a_whole_passes_by_the_layer_only() -> None:
    numbers = np.full((400, 9), 0.5)
    numbers[0] = 8.0
    numbers[0, 3] = 4000.0
    found, _ = site(numbers)
    assert found.sun_layer.passes
    assert found.sun_token.passes is False
    assert found.sun_token.peak_ratio == 500
    assert found.sun_layer.tokens.lower == found.sun_layer.tokens.upper == 1


def test_a_zero_median_under_a_large_maximum_passes_with_an_infinite_ratio() -> None:
    numbers = np.zeros((6, 5))
    numbers[2, 1] = 200.0
    found, _ = site(numbers)
    assert found.sun_layer.passes and found.sun_layer.ratio == math.inf
    assert found.sun_token.passes and found.sun_token.peak_ratio == math.inf


def test_exactly_a_thousand_times_the_median_does_not_pass() -> None:
    numbers = np.full((6, 5), 0.25)
    numbers[2, 1] = 250.0
    found, _ = site(numbers)
    assert found.sun_layer.ratio == 1000 and found.sun_layer.passes is False
    assert found.sun_token.passes is False


def test_a_float32_verdict_within_one_pattern_of_the_threshold_is_called_uncertain() -> None:
    numbers = np.full((6, 5), 0.2501)
    numbers[2, 1] = 250.5
    assert site(numbers, "float32")[0].sun_layer.certain is False
    numbers[2, 1] = 260.0
    assert site(numbers, "float32")[0].sun_layer.certain is True


def test_lean_detail_leaves_the_verdicts_open_above_100_and_decides_them_below() -> None:
    large, _ = site(mixed(), detail="lean")
    assert large.sun_layer.passes is None and large.sun_token.passes is None
    assert large.magnitude == 6976.0 and math.isnan(large.rms) and not large.measured  # -7000 truncated to bf16
    small, _ = site(np.ones((4, 3)), detail="lean")
    assert small.sun_layer.passes is False and small.sun_token.passes is False


def test_non_finite_elements_are_counted_located_and_kept_out_of_every_number() -> None:
    numbers = mixed()
    clean, _ = site(numbers)
    numbers[9, 1], numbers[10, 2], numbers[11, 0] = np.nan, np.inf, -np.inf
    found, x = site(numbers)
    alarm = found.nonfinite
    assert (alarm.nan, alarm.positive_infinity, alarm.negative_infinity, alarm.count) == (1, 1, 1, 3)
    assert (alarm.sample, alarm.position, alarm.channel) == (2, 1, 1)
    seen = x[np.isfinite(x)]
    assert found.count == clean.count - 3
    assert found.mean == pytest.approx(seen.mean(), rel=1e-12)
    assert found.magnitude == clean.magnitude


def test_a_site_that_saw_nothing_has_no_numbers_and_raises_nothing() -> None:
    found = summarise(SiteTotals.empty("bfloat16", 8, 3, census=True))
    assert found.count == 0 and math.isnan(found.max) and math.isnan(found.abs_median) and not found.top
    assert found.sun_layer.passes is None and found.sun_token.passes is None and found.channels == ()


def test_a_massive_channel_and_an_outlier_channel_are_told_apart() -> None:
    draws = np.random.default_rng(1)
    numbers = draws.normal(0, 1, (200, 24))
    numbers[:3, 7] = 9000.0
    numbers[:, 11] = draws.uniform(700, 900, 200) * draws.choice([-1, 1], 200)
    numbers[:70, 13] = 7500.0
    found, _ = site(numbers)
    kinds = {c.channel: c for c in found.channels}
    assert {c: s.kind for c, s in kinds.items()} == {7: "massive", 11: "outlier", 13: "mixed"}
    assert kinds[7].massive_tokens.lower == kinds[7].massive_tokens.upper == 3
    assert kinds[11].large_tokens.lower == 200


def test_channel_token_counts_lie_within_their_brackets() -> None:
    draws = np.random.default_rng(5)
    numbers = draws.normal(0, 1, (300, 12)) * 1.0
    numbers[:, 4] = np.exp(draws.normal(6.8, 0.6, 300))
    found, x = site(numbers)
    for channel in found.channels:
        column = np.abs(x[:, channel.channel])
        massive = int((column > found.sun_layer.threshold).sum())
        large = int((column > max(100, 8.9 * found.abs_median)).sum())
        assert channel.massive_tokens.lower <= massive <= channel.massive_tokens.upper
        assert channel.large_tokens.lower <= large <= channel.large_tokens.upper
    assert found.channels


def test_channels_that_were_not_counted_are_not_claimed_to_be_absent() -> None:
    assert site(mixed(), census=False)[0].channels is None
