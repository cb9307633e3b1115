"""Numbers fit their cells and do not claim digits they have not."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.base import wording
from maxact_tui.pages.cells import compact_bound, decibel_text
from maxact_tui.terminal.palette import choose_look
from maxact_tui.texts import numbers
from maxact_tui.widgets.plot import round_ticks


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (1e-5, "1.0e-5"),
        (0.00123, "1.2e-3"),
        (0.0123, "0.0123"),
        (0.5, "0.500"),
        (9.996, "10.0"),
        (99.96, "100"),
        (999.6, "1.00k"),
        (23168.0, "23.2k"),
        (123456.0, "123k"),
        (999_900.0, "1.00e6"),
        (1.05e6, "1.05e6"),
        (3.4e38, "3.4e38"),
        (math.inf, "inf"),
        (math.nan, "-"),
    ],
)
def test_compact_numbers_have_three_honest_digits(value: float, text: str) -> None:
    assert numbers.compact(value) == text


@given(st.floats(allow_nan=True, allow_infinity=True, width=32))
def test_every_float32_fits_a_cell_of_the_heatmap(value: float) -> None:
    assert len(numbers.compact(value)) <= 6
    assert len(numbers.signed(value)) <= 6


@given(st.floats(min_value=1e-30, max_value=1e30))
def test_a_compact_number_is_within_its_last_digit(value: float) -> None:
    text = numbers.compact(value)
    read = float(text.removesuffix("k")) * (1000 if text.endswith("k") else 1)
    # Six cells hold two digits beside an exponent of two places, and one beside a negative one.
    assert read == pytest.approx(value, rel=0.51 if value < 1e-9 else 0.051)


@pytest.mark.parametrize(
    ("value", "text"),
    [(23168.0, "23,168"), (-0.015625, "-0.015625"), (46.5, "46.5"), (-1234567.0, "-1,234,567"), (3.4e38, "3.4e+38")],
)
def test_exact_numbers_keep_every_digit(value: float, text: str) -> None:
    assert numbers.exact(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-"), (0.4, "0:00"), (32, "0:32"), (725, "12:05"), (3723, "1:02:03"), (183_600, "2d 03h"), (-1, "-")],
)
def test_durations_read_like_a_clock(seconds: float | None, text: str) -> None:
    assert numbers.duration(seconds) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.0, "0 %"), (0.0004, "<0.1 %"), (0.004, "0.4 %"), (0.349, "34 %"), (0.9999, "99 %"), (1.0, "100 %")],
)
def test_a_share_is_never_called_complete_before_it_is(share: float, text: str) -> None:
    assert numbers.percent(share) == text


@pytest.mark.parametrize(("count", "text"), [(512, "512 B"), (1536, "1.5 KiB"), (2**31, "2.0 GiB"), (2**47, "128 TiB")])
def test_sizes_use_binary_units(count: int, text: str) -> None:
    assert numbers.size(count) == text


_LOOK = choose_look("256")
FORMATTERS: dict[str, Callable[[float], str]] = {
    "compact": numbers.compact,
    "signed": numbers.signed,
    "exact": numbers.exact,
    "fixed": numbers.fixed,
    "percent": numbers.percent,
    "share": numbers.share_text,
    "bits": numbers.bits,
    "duration": numbers.duration,
    "rate": lambda value: numbers.rate(value, "tok"),
    "decibels": lambda value: decibel_text(value, _LOOK),
    "bound": compact_bound,
    "report's exact": wording.exact,
    "report's short": wording.short,
    "report's share": wording.share,
}


@pytest.mark.parametrize("name", FORMATTERS)
@given(st.floats(-1e6, 1e6) | st.floats(-1.0, 1e-12) | st.sampled_from([-0.0, -0.04, -1e-300, 0.0]))
def test_no_number_is_a_negative_zero(name: str, value: float) -> None:
    assert not re.search(r"(?<![\w.])-[0.]+(?![\d.e])", FORMATTERS[name](value))


@given(st.floats(min_value=1e-6, max_value=1e30))
def test_a_number_can_be_typed_as_it_is_shown(value: float) -> None:
    for text in (numbers.compact(value), numbers.exact(value), f"{value:e}", f" {value!r} "):
        assert numbers.read_number(text) == pytest.approx(value, rel=0.051)


@given(st.integers(1000, 9_999_999))
def test_thousands_are_read_to_the_last_digit(value: int) -> None:
    assert numbers.read_number(f"{value // 1000}.{value % 1000:03}k") == value


@pytest.mark.parametrize("text", ["", ".", "-", "k", "1,5", "12,34", "nan", "inf", "1_000", "ab", "3 4", "٣", "1e"])
def test_what_is_no_number_is_not_taken_for_one(text: str) -> None:
    assert math.isnan(numbers.read_number(text))


@pytest.mark.parametrize(
    ("share", "text"),
    [(-0.0, "0 %"), (-1e-17, "<0.01 %"), (0.001, "0.10 %"), (0.314, "31.4 %"), (0.9999, ">99.9 %"), (1.3, "130.0 %")],
)
def test_an_error_s_share_keeps_two_digits_and_may_exceed_the_whole(share: float, text: str) -> None:
    assert numbers.share_text(share) == text


@given(st.floats(1e-6, 1e7), st.integers(2, 12))
def test_round_ticks_begin_at_zero_stay_inside_and_are_few(high: float, most: int) -> None:
    ticks = round_ticks(high, most)
    assert ticks[0] == (0.0, "0")
    assert 1 <= len(ticks) <= most
    assert all(0 <= place <= high * (1 + 1e-9) for place, _ in ticks)
    assert len({text for _, text in ticks}) == len(ticks)


def test_round_ticks_are_round() -> None:
    assert [text for _, text in round_ticks(29_440, 4)] == ["0", "10k", "20k"]
    assert [text for _, text in round_ticks(14_474, 7)] == ["0", "5k", "10k"]
    assert round_ticks(0, 4) == [(0.0, "0")]


@pytest.mark.parametrize("style", get_args(wording.Style))
def test_every_style_has_its_number_and_says_what_is_unknown(style: wording.Style) -> None:
    for value in (None, math.nan):
        assert wording.written(value, style) == wording.UNKNOWN
        assert numbers.brief(value, style) == numbers.full(value, style) == numbers.UNKNOWN
    for value in (0.0, 0.5, 17.0, 23_168.0, 1e5, 3e8, math.inf):
        if (style == "count" and math.isinf(value)) or (style == "share" and value > 1):
            continue
        assert len(numbers.brief(value, style)) <= (6 if style != "decibels" or value < 1e4 else 12)
        assert numbers.brief(value, style).isascii()
        assert wording.written(value, style)


@given(st.floats(allow_nan=False, allow_infinity=False, width=32))
def test_screens_and_reports_write_the_same_digits(value: float) -> None:
    assert numbers.exact(value) == numbers.full(value, "exact") == wording.written(value, "exact")
