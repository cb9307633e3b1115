"""What remains without first tokens or channels: bounds that hold, and exact numbers where the totals allow them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from engine.quantization.carriers import error_carriers
from engine.quantization.distribution import Distribution
from engine.quantization.removal import largest_channels, remainder_error, remove
from engine.quantization.schemes import evaluate, fake_quantise, threshold_of
from engine.scheme_names import parse_scheme
from engine.statistics.totals import TOP_DTYPE, SiteTotals, order_top
from tests.values import some

SAMPLES, LENGTH, WIDTH = 12, 40, 64


def measured(massive: float, *, seed: int = 5) -> tuple[np.ndarray, SiteTotals]:
    """Elements [samples, positions, channels] of bfloat16 numbers, and the totals of them."""
    x = np.random.default_rng(seed).standard_t(4, (SAMPLES, LENGTH, WIDTH)) + 0.1
    x[:, 0, 17] = massive * np.linspace(1, 0.6, SAMPLES)
    x[:, 0, 3] = -massive / 3
    x[:, :, 9] += 30.0  # a channel that is large in every token
    bits = (x.astype(np.float32).view(np.uint32) >> 16).astype(np.uint32)
    x = (bits << 16).view(np.float32).astype(np.float64)
    totals = SiteTotals.empty("bfloat16", WIDTH, SAMPLES, census=False)
    totals.tokens[...] = SAMPLES * LENGTH
    totals.histogram[:] = np.bincount(bits.reshape(-1), minlength=65_536)
    totals.extremes[:] = x.max(), x.min()
    totals.channel_max[:] = np.abs(x).max(axis=(0, 1))
    entries = np.zeros(x.size, TOP_DTYPE)
    entries["value"] = x.reshape(-1)
    entries["sample"], entries["position"], entries["channel"] = (i.reshape(-1) for i in np.indices(x.shape))
    arrays = {**totals.to_arrays(), "top": order_top(entries)}
    return x, SiteTotals.from_arrays("bfloat16", WIDTH, arrays)


def sqnr(x: np.ndarray, scheme: str, threshold: float, whole: Distribution) -> float:
    error = fake_quantise(x, parse_scheme(scheme), threshold, whole) - x
    return 10 * math.log10(float((x**2).sum()) / float((error**2).sum()))


@pytest.mark.parametrize("scheme", ["int8", "int8-q0.99", "int4", "int4-mse", "int8-asym", "e4m3"])
@pytest.mark.parametrize("massive", [2000.0, 60.0])
@pytest.mark.parametrize(("first", "channels"), [(True, ()), (False, (17, 3)), (True, (9,)), (False, (9,))])
def test_the_true_error_lies_within_the_bounds(
    scheme: str, massive: float, first: bool, channels: tuple[int, ...]
) -> None:
    x, totals = measured(massive)
    true = np.delete(x[:, 1:] if first else x, channels, axis=2).reshape(-1)
    left = remove(totals, first_tokens=SAMPLES if first else 0, channels=channels)
    assert left is not None
    assert left.removed + len(true) + left.uncertain == x.size
    assert left.distribution.largest >= np.abs(true).max()
    if left.is_largest_exact:
        assert left.distribution.largest == np.abs(true).max()
    threshold = threshold_of(parse_scheme(scheme), left.distribution)
    found = remainder_error(left, parse_scheme(scheme), threshold)
    assert found.lowest_db <= found.error.sqnr_db + 1e-9 and found.error.sqnr_db <= found.highest_db + 1e-9
    assert found.lowest_db <= sqnr(true, scheme, threshold, left.distribution) <= found.highest_db


def test_what_the_totals_know_is_exact() -> None:
    x, totals = measured(2000.0)
    assert largest_channels(totals, 3) == (17, 3, 9)
    # Every one of the 100 largest is in channel 9 or at position 0, so what is left is known only by a bound ...
    assert not some(remove(totals, first_tokens=SAMPLES, channels=(9,))).is_largest_exact
    # ... while without channel 9 the two massive ones are told apart from everything else.
    left = remove(totals, channels=(17, 3))
    assert left is not None
    assert left.is_largest_exact and left.distribution.largest == np.abs(np.delete(x, (17, 3), axis=2)).max()
    assert left.removed >= 2 * SAMPLES
    nothing = remove(totals)
    assert nothing is not None
    assert (nothing.removed, nothing.uncertain) == (0, 0)
    assert nothing.distribution.sum_squares == some(Distribution.of(totals)).sum_squares


def test_keeping_massive_channels_in_bfloat16_helps_as_much_as_it_does() -> None:
    x, totals = measured(20_000.0)
    others = np.delete(x, (17, 3), axis=2).reshape(-1)
    before = remainder_error(some(remove(totals, channels=(17, 3))), parse_scheme("int8"), 20_000.0)
    left = remove(totals, channels=largest_channels(totals, 2))
    assert left is not None
    after = remainder_error(left, parse_scheme("int8"), left.distribution.largest)
    whole = Distribution.of(totals)
    assert whole is not None
    assert before.lowest_db <= sqnr(others, "int8", 20_000.0, whole) <= before.highest_db
    assert after.error.sqnr_db == pytest.approx(sqnr(others, "int8", left.distribution.largest, whole), abs=0.3)
    assert after.lowest_db > before.highest_db + 20


def test_the_carriers_of_the_error_are_those_of_the_elements() -> None:
    x, totals = measured(2000.0)
    whole, scheme = Distribution.of(totals), parse_scheme("int8-q0.99")
    assert whole is not None
    threshold = threshold_of(scheme, whole)
    squares = (fake_quantise(x, scheme, threshold, whole) - x) ** 2
    found = error_carriers(totals.top, whole, scheme, threshold)
    assert found.elements == 100 and found.listed <= 1
    first = found.channels[0]
    assert first.address == (17,) and first.elements == SAMPLES
    assert first.share == pytest.approx(squares[:, 0, 17].sum() / squares.sum(), rel=1e-9)
    sample, position = found.tokens[0].address
    assert position == 0 and found.tokens[0].share <= squares[sample, position].sum() / squares.sum() + 1e-12
    assert [c.share for c in found.tokens] == sorted((c.share for c in found.tokens), reverse=True)


@pytest.mark.parametrize("kind", ["zeros", "nothing", "nonfinite"])
def test_sites_without_numbers_are_no_trouble(kind: str) -> None:
    totals = SiteTotals.empty("bfloat16", 4, 2, census=False)
    if kind == "nothing":
        assert remove(totals, channels=(1,)) is None
        return
    totals.tokens[...] = 3
    totals.histogram[0] = 12 if kind == "zeros" else 10
    totals.extremes[:] = 0.0, 0.0
    if kind == "nonfinite":
        totals.histogram[0x7F80] = 2
        totals.nonfinite[1] = 2
    left = remove(totals, first_tokens=2, channels=(1,))
    assert left is not None
    found = remainder_error(left, parse_scheme("int8"), left.distribution.largest)
    assert left.distribution.largest == 0 and found.error.is_zero
    assert found.lowest_db == found.highest_db == math.inf
    assert error_carriers(totals.top, some(Distribution.of(totals)), parse_scheme("int8"), 0.0).listed == 0
    assert evaluate(left.distribution, parse_scheme("int4-mse")).rmse == 0
