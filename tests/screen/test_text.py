"""Foreign text becomes visible, harmless, and as wide as it says."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from maxact_tui.texts.visible import cell_width, fitted, visible
from tests.screen.sessions import HOSTILE

ANYTHING = st.text(st.characters(codec=None), max_size=40) | st.binary(max_size=40)


@pytest.mark.parametrize(
    ("foreign", "shown"),
    [
        ("plain", "plain"),
        (" the", "·the"),
        ("a\r\n\tb", "a␍↵⇥b"),
        ("\x1b]0;owned\x07", "\\x1b]0;owned\\x07"),
        (b"\x9b31m", "\\x9b31m"),
        ("\x9b31m", "\\x9b31m"),
        (b"\xe4\xb8", "\\xe4\\xb8"),
        ("深度", "深度"),
        ("\u202eevil", "\\u{202e}evil"),
        ("a\u200bb\ufeff", "a\\u{200b}b\\u{feff}"),
        ("\u2003\u00a0", "\\u{2003}\\xa0"),
        ("☺\ufe0f1\u20e3", "☺\\u{fe0f}1\\u{20e3}"),
        ("👍🏽", "👍\\u{1f3fd}"),
        ("🇩🇪", "\\u{1f1e9}\\u{1f1ea}"),
        ("\u0301e", "◌\u0301e"),
        ("\u093e\u0902 \u093e", "◌\u093e\u0902·◌\u093e"),
        ("ढ\u093c\u0940\u0902", "ढ\u093c\u0940\u0902"),
        ("မြို့", "မြို့"),
        ("ก้ำ", "ก้ำ"),
        ("x\u0301\u0301\u0301", "x\u0301\u0301\\u{301}"),
        ("\ud800", "\\u{d800}"),
        ("\ue000\u0378", "\\u{e000}\\u{378}"),
    ],
)
def test_each_kind_of_dangerous_text_has_a_visible_form(foreign: str | bytes, shown: str) -> None:
    assert visible(foreign) == shown


@given(ANYTHING)
def test_nothing_invisible_or_control_survives(foreign: str | bytes) -> None:
    for character in visible(foreign):
        assert unicodedata.category(character) not in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Me"}
        assert character != " "


@given(ANYTHING)
def test_what_is_visible_already_stays_as_it_is(foreign: str | bytes) -> None:
    once = visible(foreign)
    assert visible(once) == once


@given(ANYTHING, st.integers(0, 30))
def test_a_cut_text_is_never_wider_than_asked(foreign: str | bytes, width: int) -> None:
    cut = visible(foreign, width)
    assert cell_len(cut) <= width
    if cut != visible(foreign):
        assert cut.endswith("…") or width == 0


@given(ANYTHING, st.integers(1, 30), st.booleans())
def test_fitted_text_is_exactly_as_wide_as_asked(foreign: str | bytes, width: int, right: bool) -> None:
    assert cell_len(fitted(visible(foreign), width, right=right)) == width


@given(ANYTHING)
def test_ascii_mode_writes_ascii_only(foreign: str | bytes) -> None:
    assert visible(foreign, ascii_only=True).isascii()
    assert fitted(visible(foreign, ascii_only=True), 5, ascii_only=True).isascii()


@pytest.mark.parametrize("piece", HOSTILE)
def test_width_is_what_a_terminal_will_use(piece: bytes) -> None:
    assert cell_width(visible(piece)) == cell_len(visible(piece))
