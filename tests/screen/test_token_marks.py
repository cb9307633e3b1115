"""What stands above, below and in a text with values: names of layers, marks of tokens, and the legend of both."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from maxact_tui.pages.probelines import legend_line
from maxact_tui.screens.reading import help_lines
from maxact_tui.screens.sample import SampleScreen
from maxact_tui.terminal.palette import Look, choose_look
from maxact_tui.terminal.private import rows_of
from maxact_tui.texts.pieces import shown_pieces
from maxact_tui.watching.probes import ProbeView, Tokens
from maxact_tui.widgets.grid import make_grid
from maxact_tui.widgets.layertokens import LayerTokens, make_layers
from maxact_tui.widgets.tokenmap import slider_lines
from maxact_tui.widgets.tokentext import lay_out
from tests.screen import probed
from tests.screen.conftest import Shown, is_complete, settle, shows
from tests.screen.pictures import screen_text
from tests.screen.sessions import SessionScript

COLOURS, PLAIN, ASCII = choose_look("256"), choose_look(None, no_colour=True), choose_look("256", ascii_only=True)
KOREAN = (b"\xed\x95\xa0", b"\xeb\xa8", b"\xb8", b"\xeb", b"\x8b", b"\x88", b" ", b"\xeb\xa7\xa4")


def tokens_of(*pieces: bytes) -> Tokens:
    return Tokens(None, np.arange(len(pieces), dtype=np.int32), pieces, shown_pieces(pieces))


def layers_of(folder: Path, tokens: Tokens, look: Look, *, layers: int = 30) -> LayerTokens:
    """The residual stream over a text, massive on its first token from layer 11 on."""
    plan = SessionScript(folder / "run.maxact", layers=layers).plan
    grid = make_grid(plan)
    maxima = np.ones((len(plan.sites), len(tokens)), np.float32)
    maxima[grid.column_sites(len(grid.columns) - 1)[12:-2], 0] = 5_000
    view = ProbeView(SimpleNamespace(data={}), tokens, maxima, np.zeros(maxima.shape, np.int32))  # type: ignore[arg-type]
    made = make_layers(view, grid, len(grid.columns) - 1, np.full(len(plan.sites), 1_000.0), look)
    assert made is not None
    return made


class TestLayers:
    @pytest.mark.parametrize(
        ("width", "chosen", "names"),
        [
            (80, 12, " layer  embed 2   4   6   8     11    14  16  18  20  22  24  26  28  norm"),
            (80, 0, " layer  embed 2   4   6   8   10  12  14  16  18  20  22  24  26  28  norm"),
            (80, 1, " layer  e 0   2   4   6   8   10  12  14  16  18  20  22  24  26  28  norm"),
            (80, 31, " layer  embed 2   4   6   8   10  12  14  16  18  20  22  24  26  28  norm"),
            (44, 12, " layer  embed 5     11  15   20   25   n"),
            (200, 0, " layer  embed 1  2  3  4  5  6  7  8  9  10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27"),
        ],
    )
    def test_what_is_outside_the_blocks_is_named_wherever_the_cursor_is(
        self, tmp_path: Path, width: int, chosen: int, names: str
    ) -> None:
        layers = layers_of(tmp_path, tokens_of(b"a", b"b"), COLOURS)
        shown, below = slider_lines(COLOURS, layers, chosen, width)
        assert shown.text.startswith(names)
        assert max(shown.cell_length, below.cell_length) <= width

    async def test_massive_cells_are_underlined_and_the_legend_says_so(self, shown: Shown, tmp_path: Path) -> None:
        path = tmp_path / "run.maxact"
        probed.probed(path)
        async with shown(path, read_only=True) as pilot:
            await settle(pilot, is_complete)
            await pilot.press("enter", "down", "down", "down", "y")
            await settle(pilot, lambda app: isinstance(app.screen, SampleScreen) and app.screen.view is not None)
            await settle(pilot, lambda app: "massive: |x| > " in screen_text(app))
            await settle(pilot, shows("underlined: massive"))
            await pilot.press("v", "down", "left_square_bracket")
            await settle(pilot, shows("underlined, *: massive"))
            rows = rows_of(pilot.app.screen)
            first = next(row for row in rows if row.text.startswith("    0 "))
            underlined = [one.text for one in first if one.style is not None and one.style.underline]
            assert "".join(underlined).strip().startswith("444")
            assert underlined[-1].strip().endswith("*")
            ordinary = next(row for row in rows if row.text.startswith("    2 "))
            assert not any(one.style is not None and one.style.underline for one in ordinary)


class TestContinuations:
    def test_a_token_that_goes_on_with_a_character_is_told_from_a_space(self) -> None:
        def text(look: Look) -> str:
            return "".join(run.text for row in lay_out(tokens_of(*KOREAN), 60, look) for run in row)

        assert text(COLOURS) == "할머‿니‿‿ 매"
        assert text(ASCII) == "\\u{d560}\\u{ba38}+\\u{b2c8}++ \\u{b9e4}"

    @pytest.mark.parametrize(("look", "mark"), [(COLOURS, "‿"), (PLAIN, "‿"), (ASCII, "+")])
    @pytest.mark.parametrize("width", [60, 80, 120, 200])
    def test_the_legend_explains_the_mark_only_where_there_is_one(
        self, tmp_path: Path, look: Look, mark: str, width: int
    ) -> None:
        korean, english = tokens_of(*KOREAN), tokens_of(b"a", b" b")
        layers = layers_of(tmp_path, korean, look)
        told = legend_line(look, korean, layers, width, is_map=False)
        assert f"{mark} same character" in told.text
        assert told.cell_length <= width
        assert f"{mark} same character" in legend_line(look, korean, None, width, is_map=False).text
        # The heatmap names the character and which of its tokens it is.
        assert "same character" not in legend_line(look, korean, layers, width, is_map=True).text
        assert "same character" not in legend_line(look, english, layers, width, is_map=False).text
        assert legend_line(look, english, None, width, is_map=False).text == ""

    def test_what_is_underlined_without_colours_is_not_only_massive(self, tmp_path: Path) -> None:
        tokens = tokens_of(b"a")
        for look, words in ((COLOURS, "underlined: massive"), (PLAIN, "underlined: massive or largest")):
            text = legend_line(look, tokens, layers_of(tmp_path, tokens, look), 120, is_map=False).text
            assert text.endswith(words)
            (tmp_path / "run.maxact").unlink()

    @pytest.mark.parametrize(("look", "signs"), [(COLOURS, ("· ↵ ⇥ ", "‿ ")), (ASCII, ("_ \\n \\t ", "+ "))])
    def test_the_help_has_the_signs_that_are_shown(self, look: Look, signs: tuple[str, ...]) -> None:
        told = [strip.text.strip() for strip in help_lines(look, 80)]
        for sign in signs:
            assert any(row.startswith(sign) for row in told), sign
