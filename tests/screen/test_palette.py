"""Every terminal can tell the levels apart, and never by colour alone."""

from __future__ import annotations

import numpy as np
import pytest
from rich.color import ColorSystem

from maxact_tui.terminal.palette import Scale, choose_look, scale_of

LOOKS = [("truecolor", False), ("256", False), ("standard", False), (None, False), ("256", True)]


@pytest.mark.parametrize(("system", "no_colour"), LOOKS)
@pytest.mark.parametrize("ascii_only", [False, True])
def test_levels_differ_in_colour_or_glyph(system: str | None, no_colour: bool, ascii_only: bool) -> None:
    look = choose_look(system, no_colour=no_colour, ascii_only=ascii_only)
    depth = {"truecolor": ColorSystem.EIGHT_BIT, "256": ColorSystem.EIGHT_BIT}.get(system or "", ColorSystem.STANDARD)
    shown = {
        (None if style.bgcolor is None else style.bgcolor.downgrade(depth).number, glyph)
        for style, glyph in zip(look.ramp, look.level_glyphs, strict=True)
    }
    assert len(shown) == look.levels


def test_the_256_colour_ramp_needs_no_downgrading() -> None:
    for style in choose_look("256").ramp:
        assert style.bgcolor is not None
        assert 16 <= (style.bgcolor.number or 0) < 232


def test_without_colour_no_style_carries_any() -> None:
    assert not any(style.color or style.bgcolor for style in choose_look("256", no_colour=True).ramp)


@pytest.mark.parametrize("system", ["256", "standard", None])
def test_ascii_looks_have_ascii_glyphs(system: str | None) -> None:
    look = choose_look(system, ascii_only=True)
    assert look.level_glyphs.isascii()
    assert look.own("▸ … · ◆ ─ ‹x› █").isascii()


def test_a_scale_holds_its_values_between_whole_decades() -> None:
    scale = scale_of(np.array([np.nan, -3.0, 23168.0, 0.0]))
    assert (scale.low, scale.high) == (1.0, 100_000.0)
    levels = scale.levels(np.array([np.nan, 0.0, 1.0, -3.0, 23168.0, 99_999.0, np.inf]), 10)
    assert levels.tolist() == [-1, 0, 0, 0, 8, 9, 9]


def test_a_linear_scale_has_whole_tens() -> None:
    assert scale_of(np.array([-3.0, 41.0]), log=False) == Scale(-10.0, 50.0, False)


@pytest.mark.parametrize("values", [[], [np.nan], [0.0], [np.inf]])
def test_a_scale_without_values_is_still_a_scale(values: list[float]) -> None:
    scale = scale_of(np.array(values))
    assert scale.low < scale.high
