"""Totals are a commutative monoid: parts merged in any order and grouping are the whole."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.base.stored import UnsoundError
from engine.statistics.totals import ARRAY_FIELDS, SiteTotals, TotalsMismatchError, merge
from tests.statistics.judge import assert_same_totals, judge
from tests.statistics.numbers import DTYPES, random_bits


@st.composite
def three_parts(draw: st.DrawFn) -> tuple[list[SiteTotals], SiteTotals]:
    """Totals of three parts of some tokens (any of them may be empty), and of all of them."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    dtype, detail = draw(st.sampled_from(DTYPES)), draw(st.sampled_from(["lean", "standard", "compat"]))
    tokens, width, census = draw(st.integers(0, 30)), draw(st.integers(1, 9)), draw(st.booleans())
    bits = random_bits(rng, dtype, tokens, width, draw(st.sampled_from([0.0, 0.3, 1.0])))
    address = np.sort(rng.choice(5 * 20, size=tokens, replace=False))
    part = rng.integers(0, 3, tokens)

    def of(chosen: np.ndarray, pivot: float) -> SiteTotals:
        where = address[chosen]
        return judge(
            bits[chosen], dtype, where // 20, where % 20, samples=5, detail=detail, census=census, pivot=pivot
        )  # fmt: skip

    pivots = rng.normal(size=3)
    return [of(part == p, pivots[p]) for p in range(3)], of(part < 3, 0.25)


def _pivots(*parts: SiteTotals) -> list[float]:
    return [float(part.pivot) for part in parts]


@settings(max_examples=150, deadline=None)
@given(three_parts())
def test_merged_parts_are_the_whole(parts_and_whole: tuple[list[SiteTotals], SiteTotals]) -> None:
    (a, b, c), whole = parts_and_whole
    assert_same_totals(merge(merge(a, b), c), whole, pivots=_pivots(a, b, c))


@settings(max_examples=150, deadline=None)
@given(three_parts())
def test_merging_is_commutative_associative_and_has_an_identity(
    parts_and_whole: tuple[list[SiteTotals], SiteTotals],
) -> None:
    (a, b, c), _ = parts_and_whole
    nothing = SiteTotals.empty(a.dtype, a.width, len(a.sample_max), census=a.channel_tokens.shape[1] > 0)
    relative, pivots = 0.0 if a.dtype != "float32" else 1e-12, _pivots(a, b, c)
    assert_same_totals(merge(a, b), merge(b, a), relative=relative, pivots=pivots)
    assert_same_totals(merge(merge(a, b), c), merge(a, merge(b, c)), pivots=pivots)
    assert_same_totals(merge(a, nothing), a)
    assert merge(a, nothing).pivot.tobytes() == a.pivot.tobytes()


def test_every_field_has_a_merge_rule_and_comes_back_from_arrays() -> None:
    assert set(ARRAY_FIELDS) == set(SiteTotals.__dataclass_fields__) - {"dtype", "width", "missing"}
    rng = np.random.default_rng(1)
    whole = judge(random_bits(rng, "float32", 9, 4, 0.2), "float32", np.arange(9) // 3, np.arange(9) % 3, samples=4)
    again = SiteTotals.from_arrays("float32", 4, whole.to_arrays())
    for name in ARRAY_FIELDS:
        np.testing.assert_array_equal(getattr(again, name), getattr(whole, name), err_msg=name)


def test_the_same_peak_in_two_visits_of_a_token_merges_the_same_way_round() -> None:
    entry = judge(np.array([[0x42C9]], np.uint16), "bfloat16", np.array([0]), np.array([0]), samples=1)
    other = replace(entry, peak_median=np.asarray(1.0))
    assert float(merge(entry, other).peak_median) == float(merge(other, entry).peak_median) == 1.0
    assert len(merge(entry, other).top) == 2


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"width": 5}, "widths"),
        ({"dtype": "float16"}, "dtypes"),
        ({"samples": 4}, "numbers of samples"),
        ({"census": False}, "censuses"),
    ],
)
def test_totals_of_different_things_are_refused(change: dict[str, object], word: str) -> None:
    kind: dict = {"dtype": "bfloat16", "width": 4, "samples": 3, "census": True}
    with pytest.raises(TotalsMismatchError, match=word):
        merge(SiteTotals.empty(**kind), SiteTotals.empty(**{**kind, **change}))


def test_lean_totals_do_not_silently_thin_out_a_histogram() -> None:
    bits, zero = np.array([[0x3F80, 0x4000]], np.uint16), np.zeros(1, np.int64)
    full, lean = (judge(bits, "bfloat16", zero, zero, samples=1, detail=d) for d in ("standard", "lean"))
    with pytest.raises(TotalsMismatchError, match="lean"):
        merge(full, lean)


def test_a_misshapen_array_is_named() -> None:
    arrays = SiteTotals.empty("bfloat16", 4, 3, census=True).to_arrays()
    with pytest.raises(UnsoundError, match="channel_max"):
        SiteTotals.from_arrays("bfloat16", 8, {**arrays, "channel_tokens": np.zeros((16, 8), np.int64)})
    with pytest.raises(UnsoundError, match="tokens holds another kind of numbers"):
        SiteTotals.from_arrays("bfloat16", 4, {**arrays, "tokens": np.asarray(1.5)})


@pytest.mark.parametrize("name", ARRAY_FIELDS)
def test_an_array_that_is_not_there_is_the_identity_and_stays_missing(name: str) -> None:
    random = np.random.default_rng(3)
    whole = judge(random_bits(random, "float32", 9, 4, 0.2), "float32", np.arange(9) // 3, np.arange(9) % 3, samples=3)
    arrays = {one: array for one, array in whole.to_arrays().items() if one != name}
    found = SiteTotals.from_arrays("float32", 4, arrays)
    empty = SiteTotals.empty("float32", 4, 0 if name == "sample_max" else 3, census=name != "channel_tokens")
    np.testing.assert_array_equal(getattr(found, name), getattr(empty, name))
    assert found.missing == {name}
    assert name not in found.to_arrays()
    if name != "sample_max":  # the session gives it in any case: its length is that of the corpus
        merged = merge(found, whole), merge(whole, found)
        assert [one.missing for one in merged] == [{name}, {name}]
        for one in arrays.keys() - {"power_sums", "pivot", "peak_median"}:
            np.testing.assert_array_equal(getattr(merged[0], one), getattr(merge(whole, whole), one), err_msg=one)
