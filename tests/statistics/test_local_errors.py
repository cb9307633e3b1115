"""The sums over a few tokens: quantiles to the width of their bins, and merging that is adding."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.statistics.local_errors import BINS, SUMS, LocalErrors, bin_of, merge_local

NAMES = ("int8", "int8-token", "nvfp4")


def errors_of(names: tuple[str, ...], seed: int, tokens: int = 40) -> LocalErrors:
    """Sums of whole numbers, so that float64 adds them exactly in any order."""
    random = np.random.default_rng(seed)
    found = LocalErrors.empty(names)
    found.sums[:] = random.integers(0, 1000, found.sums.shape)
    for place in range(len(names)):
        relative = np.exp(random.normal(-3, 2, tokens))
        np.add.at(found.relative[place], bin_of(relative), 1)
        found.worst[place] = relative.max()
    return found


def assert_same(a: LocalErrors, b: LocalErrors) -> None:
    assert set(a.names) == set(b.names)
    for name in a.names:
        one, other = a.names.index(name), b.names.index(name)
        for field in ("sums", "relative", "worst"):
            np.testing.assert_array_equal(getattr(a, field)[one], getattr(b, field)[other], err_msg=f"{name} {field}")


some = st.builds(
    errors_of, st.lists(st.sampled_from(NAMES), unique=True, max_size=3).map(tuple), st.integers(0, 1 << 30)
)


@given(some, some, some)
def test_merging_is_commutative_and_associative_and_nothing_changes_nothing(
    a: LocalErrors, b: LocalErrors, c: LocalErrors
) -> None:
    assert_same(merge_local(a, b), merge_local(b, a))
    assert_same(merge_local(merge_local(a, b), c), merge_local(a, merge_local(b, c)))
    assert_same(merge_local(a, LocalErrors.empty(())), a)
    again = LocalErrors.from_arrays(a.to_arrays())
    assert again is not None
    assert_same(again, a)
    assert LocalErrors.from_arrays({"names": a.to_arrays()["names"]}) is None


@given(st.lists(st.floats(1e-6, 200), min_size=1, max_size=60), st.integers(0, 59))
def test_parts_say_what_the_whole_says(values: list[float], cut: int) -> None:
    parts = []
    for part in (values[:cut], values[cut:], values):
        one = LocalErrors.empty(("int8",))
        one.sums[0, SUMS.index("tokens")] = len(part)
        np.add.at(one.relative[0], bin_of(np.array(part)), 1)
        one.worst[0] = max(part, default=0.0)
        parts.append(one)
    first, second, whole = parts
    assert_same(merge_local(first, second), whole)
    numbers = whole.numbers("int8")
    assert numbers is not None
    assert numbers.token_worst == max(values)
    for found, level in ((numbers.token_median, 0.5), (numbers.token_q90, 0.9)):
        assert found == pytest.approx(np.quantile(values, level, method="lower"), rel=0.023)


def test_bins_hold_zero_and_what_lies_beyond_them() -> None:
    assert bin_of(np.array([0.0, 1e-30, 1.0, 1e30])).tolist() == [0, 0, 24 * 16, BINS - 1]
    nothing = LocalErrors.empty(("int8",))
    assert nothing.numbers("int8") is None and nothing.numbers("int4") is None
    nothing.sums[0, SUMS.index("tokens")] = 3
    nothing.relative[0, 0] = 3
    found = nothing.numbers("int8")
    assert found is not None
    assert (found.token_median, found.token_worst, found.zeroed, found.bulk_db) == (0.0, 0.0, 0.0, math.inf)
    assert math.isnan(found.damage)


@given(st.floats(1e-6, 100.0))
def test_no_quantile_of_tokens_is_above_the_worst(error: float) -> None:
    found = LocalErrors.empty(("int8",))
    found.sums[:, SUMS.index("tokens")] = 1
    found.relative[0, bin_of(np.array([error]))] = 1
    found.worst[0] = error
    numbers = found.numbers("int8")
    assert numbers is not None
    assert numbers.token_median <= numbers.token_worst == error and numbers.token_q90 <= error
    assert numbers.token_median == pytest.approx(error, rel=0.05)


def test_without_a_finite_token_nothing_is_known_of_the_error() -> None:
    found = LocalErrors.empty(("int8",))
    found.sums[:, SUMS.index("stream_tokens")] = 3
    numbers = found.numbers("int8")
    assert numbers is not None and numbers.tokens == 0
    unknown = (numbers.zeroed, numbers.bulk_db, numbers.rel_mae, numbers.token_median, numbers.token_worst)
    assert all(map(math.isnan, unknown))
