"""Thresholds follow their policies; schemes have names; the board sums up honestly."""

from __future__ import annotations

import math

import numpy as np
import pytest

from engine.formats import QuantizationError
from engine.quantization.board import best_within, compute_board, find_overflows, summarise_schemes
from engine.quantization.distribution import Distribution
from engine.quantization.schemes import evaluate
from engine.quantization.thresholds import mse_optimal, quantile, reference_quantile
from engine.quantization.uniform import symmetric, symmetric_squares
from engine.scheme_names import find_scheme, parse_scheme, title_of
from engine.schemes import DEFAULT_SCHEMES, SMOOTH_SCHEMES, Scheme
from tests.analysis.sessions import to_bits
from tests.statistics.judge import decode
from tests.values import some


def site(numbers: np.ndarray, dtype: str = "bfloat16") -> tuple[Distribution, np.ndarray]:
    bits = to_bits(numbers, dtype)
    return Distribution(dtype, np.bincount(bits, minlength=65536)), decode(bits, dtype)


def massive(count: int = 20_000) -> np.ndarray:
    numbers = np.random.default_rng(4).normal(0, 2, count)
    numbers[:3] = 9000.0, -8000.0, 7000.0
    numbers[10:60] = 0.0
    return numbers


@pytest.mark.parametrize("level", [1e-4, 0.002, 0.5, 0.9, 0.999, 0.9999, 1.0])
def test_a_quantile_is_an_element_at_its_place(level: float) -> None:
    found, x = site(massive())
    assert quantile(found, level) == np.sort(np.abs(x))[math.floor(level * (len(x) - 1))]


@pytest.mark.parametrize("numbers", [massive(), np.random.default_rng(5).standard_t(4, 30_000), np.full(7, 3.0)])
def test_the_references_quantile_is_the_lower_edge_of_its_bin(numbers: np.ndarray) -> None:
    found, x = site(numbers)
    magnitudes, top = np.abs(x).astype(np.float32), np.float32(np.abs(x).max())
    places = np.clip(np.floor(magnitudes / top * np.float32(2047)).astype(int), 0, 2047)
    running = np.cumsum(np.bincount(places, minlength=2048))
    for level in (0.5, 0.99, 0.999, 1.0):
        place = int(np.flatnonzero(running >= max(1, math.ceil(level * len(x))))[0])
        assert reference_quantile(found, level) == pytest.approx(float(top) * place / 2047, rel=1e-12, abs=0)


def test_under_massive_activations_the_references_quantile_is_one_bin() -> None:
    found, _ = site(massive())
    assert reference_quantile(found, 0.999) / found.largest * 2047 == pytest.approx(1.0)
    assert quantile(found, 0.999) > 1.4 * reference_quantile(found, 0.999)


@pytest.mark.parametrize("bits", [2, 3, 4, 6, 8])
@pytest.mark.parametrize("kind", ["massive", "normal", "uniform", "two values", "lognormal"])
def test_no_threshold_is_noticeably_better_than_the_mse_optimal_one(bits: int, kind: str) -> None:
    draws = np.random.default_rng(6)
    numbers = {
        "massive": massive(), "normal": draws.normal(0, 1, 20_000), "uniform": draws.uniform(-3, 3, 20_000),
        "two values": np.r_[np.full(1000, 1.0), np.full(5, 50.0)], "lognormal": draws.lognormal(0, 2, 20_000),
    }[kind]  # fmt: skip
    found, _ = site(numbers)
    best = mse_optimal(found, bits, lambda t: symmetric_squares(found, t, bits))
    mine = symmetric(found, best, bits).rmse
    brute = min(symmetric(found, found.largest * 2.0**-e, bits).rmse for e in np.linspace(0, 16, 4000))
    allowed = 0.5 if kind == "uniform" else 0.15  # a lattice of few values has narrow optima
    assert 20 * math.log10(mine / brute) < allowed if brute > 0 else mine == 0
    assert mine <= symmetric(found, found.largest, bits).rmse


def test_thresholds_may_come_from_other_samples() -> None:
    calibration, _ = site(np.linspace(-2, 2, 100))
    other, x = site(np.linspace(-4, 4, 100))
    found = evaluate(other, Scheme(), calibration)
    assert found.threshold == 2.0 and found.clip_rate == (np.abs(x) > 2.0).mean()


@pytest.mark.parametrize(
    "name",
    ["int8", "int2", "int8-asym", "int8-q0.999", "int5-asym-mse", "int8-paper0.999", "int8-t12.5", "e4m3",
     "e5m2-q0.9999", "e4m3-unscaled", "e4m3-mse"],
)  # fmt: skip
def test_names_are_read_back(name: str) -> None:
    assert parse_scheme(name).name == name == parse_scheme(f" {name.upper()} ").name


@pytest.mark.parametrize(
    ("name", "title"),
    [("int8", "int8"), ("int8-q0.999", "int8-q99.9"), ("e5m2-q0.9999", "e5m2-q99.99"), ("int8-q1", "int8-q1"),
     ("int8-q0.5", "int8-q50"), ("int8-q0.4", "int8-q0.4"), ("int8-q0.9999999999999", "int8-q0.9999999999999"),
     ("int8-paper0.999", "int8-paper0.999"), ("int4-t578", "int4-t578"), ("int8-mse", "int8-mse")],
)  # fmt: skip
def test_a_name_as_it_is_shown_is_read_as_well(name: str, title: str) -> None:
    assert title_of(name) == title
    assert parse_scheme(title) == parse_scheme(name)


def test_the_shorter_name_of_smoothing_is_read_as_well() -> None:
    for scheme in SMOOTH_SCHEMES:
        assert find_scheme(title_of(scheme.name)) == find_scheme(scheme.name) == scheme


@pytest.mark.parametrize("value", [578.0, 577.999773625, 577.9997736251, 1e-5, 2.5e-7, 1 / 3, 3e38, 1e16])
def test_a_name_gives_the_threshold_to_the_last_bit(value: float) -> None:
    scheme = Scheme(policy="value", value=value)
    assert parse_scheme(scheme.name) == scheme


@pytest.mark.parametrize(
    ("name", "says"),
    [("int9", "2 to 8"), ("int1", "2 to 8"), ("fp4", "there is no scheme"), ("int8-q1.5", "quantile"),
     ("int8-q0", "quantile"), ("int8-unscaled", "unscaled"), ("int8-q1.2.3", "not a number"), ("", "no scheme")],
)  # fmt: skip
def test_a_name_that_cannot_be_meant_is_one_clear_line(name: str, says: str) -> None:
    with pytest.raises(QuantizationError, match=says) as caught:
        parse_scheme(name)
    assert "\n" not in str(caught.value)


def test_the_board_has_a_row_per_site_and_summaries_hide_neither_the_worst_nor_the_infinite() -> None:
    good, _ = site(np.random.default_rng(1).normal(0, 1, 1000))
    bad, _ = site(massive())
    perfect, _ = site(np.array([1.0, -1.0, 0.0]))
    zeros, _ = site(np.zeros(5))
    board = compute_board([good, None, bad, perfect, zeros])
    assert [row is None for row in board.rows] == [False, True, False, False, False]
    assert len(some(board.rows[0])) == len(DEFAULT_SCHEMES) == 12
    first = summarise_schemes(board)[0]
    good_error, bad_error = some(some(board.rows[0])[0]), some(some(board.rows[2])[0])
    weighted = (good_error.sqnr_db * 1000 + bad_error.sqnr_db * 20_000) / 21_000
    assert first.sqnr_db == pytest.approx(weighted) and first.infinite_sites == 2 and first.sites == 4
    assert first.worst_site == 2 and first.worst_sqnr_db == bad_error.sqnr_db
    assert first.rel_rmse == pytest.approx((good_error.rel_rmse * 1000 + bad_error.rel_rmse * 20_000) / 21_008)
    assert math.isnan(summarise_schemes(compute_board([None]))[0].sqnr_db)
    assert summarise_schemes(compute_board([zeros]))[0].sqnr_db == math.inf


def test_the_best_scheme_within_a_bit_budget_has_the_highest_sqnr() -> None:
    found, _ = site(massive())
    board = compute_board([found, None])
    scheme, error = some(best_within(board, 0, 4))
    assert scheme.bits <= 4
    assert error.sqnr_db == max(
        some(e).sqnr_db for s, e in zip(board.schemes, some(board.rows[0]), strict=True) if s.bits <= 4
    )
    assert best_within(board, 0, 1) is None and best_within(board, 1, 8) is None


def test_overflows_begin_at_the_first_site_above_the_limit() -> None:
    fp16, e4m3 = find_overflows(np.array([10.0, 500.0, np.nan, 70_000.0, 65_504.0]))
    assert (fp16.sites, e4m3.sites) == ((3,), (1, 3, 4))
    assert fp16.headroom_bits == pytest.approx(math.log2(65504 / 70000))
    assert math.isnan(find_overflows(np.array([np.nan]))[0].headroom_bits)
    assert find_overflows(np.array([0.0]))[0].headroom_bits == math.inf
