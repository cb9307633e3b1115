"""Boards of both kinds of columns, thresholds from one distribution and errors over another."""

from __future__ import annotations

import math

import numpy as np
import pytest

from engine.quantization.board import best_within, compute_board, pass_error, summarise_schemes
from engine.quantization.distribution import Distribution
from engine.quantization.metrics import QuantError
from engine.quantization.schemes import evaluate
from engine.scheme_names import find_scheme, title_of
from engine.schemes import DEFAULT_SCHEMES, FULL_SCHEMES, Scheme, UnknownScheme
from engine.statistics.pass_sums import SUM_FIELDS, PassSums
from tests.values import some


def bfloat16(x: np.ndarray) -> tuple[np.ndarray, Distribution]:
    """Numbers cut to bfloat16, and their distribution."""
    patterns = (x.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    values = (patterns.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    return values, Distribution("bfloat16", np.bincount(patterns, minlength=65_536))


def sums(**fields: float) -> PassSums:
    row = [fields.get(name, 0.0) for name in SUM_FIELDS]
    return PassSums(("int8-token",), np.array([row]))


def test_the_asymmetric_range_is_that_of_the_calibration() -> None:
    random = np.random.default_rng(0)
    calibration, first = bfloat16(random.standard_normal(5_000) + 1)
    x, second = bfloat16(3 * random.standard_normal(5_000) + 2)
    low, high = max(-calibration.min(), 0), calibration.max()
    scale = (low + high) / 255
    zero = np.round(low / scale)
    error = (np.clip(np.rint(x / scale) + zero, 0, 255) - zero) * scale - x
    found = evaluate(second, Scheme("int8-asym"), first)
    assert found.scale == pytest.approx(scale)
    assert found.rmse == pytest.approx(math.sqrt((error**2).mean()), rel=1e-9)
    assert found.clip_rate == pytest.approx(((x > high) | (x < -low)).mean())


def test_sums_of_the_pass_give_the_metrics_of_their_definitions() -> None:
    x = np.array([1.0, -2.0, 3.0, 0.0])
    error = np.array([0.5, 0.0, -1.0, 0.0])
    found = QuantError.of_sums(
        np.array([(error**2).sum(), abs(error).sum(), (x**2).sum(), abs(x).sum(), 1.0, 1, 4, 2], np.float64)
    )
    assert (found.count, found.nonfinite, found.is_zero, found.is_exact) == (4, 2, False, True)
    assert found.mae == abs(error).mean()
    assert found.rmse == math.sqrt((error**2).mean())
    assert found.rel_mae == abs(error).sum() / abs(x).sum()
    assert found.sqnr_db == pytest.approx(10 * math.log10((x**2).sum() / (error**2).sum()))
    assert found.rel_rmse == pytest.approx(10 ** (-found.sqnr_db / 20))
    assert (found.clip_rate, found.clipping_share) == (0.25, 0.8)
    assert math.isnan(found.threshold)


def test_zero_sites_and_perfect_ones_are_named_and_out_of_the_means() -> None:
    scheme = find_scheme("int8-token")
    assert scheme is not None
    _, site = bfloat16(np.random.default_rng(1).standard_normal(100))
    measured = [
        sums(elements=100),
        sums(elements=100, signal_squares=50, absolute_signal=80),
        sums(elements=300, signal_squares=100, absolute_signal=80, squared_error=1, absolute_error=4),
        None,
        sums(),
    ]
    board = compute_board([site] * 5, [Scheme()], [site] * 5, measured)
    column = [row[1] if row else None for row in board.rows]
    assert [one and one.is_zero for one in column] == [True, False, False, None, None]
    assert [one and one.sqnr_db for one in column[:3]] == [math.inf, math.inf, pytest.approx(20)]
    (_, line) = summarise_schemes(board)
    assert (line.sites, line.infinite_sites, line.worst_site) == (3, 2, 2)
    assert line.sqnr_db == pytest.approx(20)
    assert not any(math.isnan(v) for v in (line.rel_rmse, line.rel_mae, line.clip_rate))
    assert pass_error(None, scheme) is None


def test_columns_say_how_they_were_computed_and_compete_for_the_budget() -> None:
    _, site = bfloat16(np.random.default_rng(2).standard_normal(1_000))
    names = tuple(s.name for s in FULL_SCHEMES)
    table = np.tile([1.0, 10, 1e6, 1e4, 0, 0, 1_000, 0], (len(names), 1))
    table[names.index("nvfp4"), 0] = 0.1
    unknown = PassSums(("of-a-\x1blater-version",), table[:1])
    board = compute_board([site, site, None], DEFAULT_SCHEMES, None, [PassSums(names, table), None, unknown])
    assert [s.source for s in board.schemes] == ["from histogram"] * 12 + ["in pass"] * 16
    assert board.rows[1] is not None
    assert board.rows[1][12:] == (None,) * 16
    # A name that this version does not know is shown with its numbers, and competes for nothing.
    assert board.schemes[-1] == UnknownScheme("of-a-\x1blater-version")
    assert title_of(board.schemes[-1].name) == "of-a-?later-version"
    assert some(some(board.rows[2])[-1]).sqnr_db == pytest.approx(60)
    assert best_within(board, 2, 8) is None
    assert (board.errors_over, board.thresholds_from) == ("all", "all")
    best = {bits: best_within(board, 0, bits) for bits in (4, 8)}
    assert best[4] is not None
    assert best[8] is not None
    assert best[4][0].name == "nvfp4"
    assert best[8][0].source == "in pass"
    assert find_scheme("nvfp4").bits_with_scales == 4.5  # type: ignore[union-attr]
