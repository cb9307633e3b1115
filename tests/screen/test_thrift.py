"""Writing only what differs: the terminal shows the same, for fewer bytes."""

from __future__ import annotations

import pyte
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from maxact_tui.terminal.thrift import Shadow

COLUMNS, ROWS = 30, 6
STYLES = ("", "1", "2", "7", "49", "1;36", "38;5;231;48;5;91", "4")
WORDS = st.text(alphabet=" abc█▸·", min_size=1, max_size=24)
WIDE = st.sampled_from(("深度", "a深b", "e\u0301x", "👍 ok"))


def part(row: int, column: int, style: str, text: str) -> str:
    shown = f"\x1b[{style}m{text}\x1b[0m" if style else text
    return f"\x1b[{row + 1};{column + 1}H{shown}"


@st.composite
def frames(draw: st.DrawFn, words: st.SearchStrategy[str] = WORDS) -> str:
    parts = []
    for _ in range(draw(st.integers(1, 5))):
        text = draw(words)
        column = draw(st.integers(0, COLUMNS - 1 - len(text) if len(text) < COLUMNS else 0))
        parts.append(part(draw(st.integers(0, ROWS - 1)), column, draw(st.sampled_from(STYLES)), text))
    return "".join(parts)


class Screen:
    def __init__(self) -> None:
        self.screen = pyte.Screen(COLUMNS, ROWS)
        self.stream = pyte.Stream(self.screen)

    def cells(self) -> list[list[tuple[object, ...]]]:
        """Every cell with how it looks; the colour of the text of a blank cell cannot be seen."""
        return [
            [
                (c.data, c.bg, c.reverse, c.underscore, *((c.fg, c.bold) if c.data.strip() else ()))
                for c in (self.screen.buffer[row][column] for column in range(COLUMNS))
            ]
            for row in range(ROWS)
        ]


@settings(max_examples=150, deadline=None)
@given(st.lists(frames(), min_size=1, max_size=6))
def test_the_terminal_shows_the_same(drawn: list[str]) -> None:
    plain, thrifty, shadow = Screen(), Screen(), Shadow()
    for frame in drawn:
        plain.stream.feed(frame)
        thrifty.stream.feed(shadow.reduced(frame))
        assert thrifty.cells() == plain.cells()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.lists(WORDS | WIDE, min_size=1, max_size=2)), min_size=1, max_size=8))
def test_wide_and_combining_characters_arrive_whole(drawn: list[tuple[int, list[str]]]) -> None:
    plain, thrifty, shadow = Screen(), Screen(), Shadow()
    for row, words in drawn:  # whole lines, as Textual draws them: never half of a character
        text = "".join(words)[:20]
        frame = part(row, 0, "", text + " " * (COLUMNS - cell_len(text)))
        plain.stream.feed(frame)
        thrifty.stream.feed(shadow.reduced(frame))
        assert thrifty.cells() == plain.cells()


def test_what_is_shown_already_costs_nothing() -> None:
    shadow = Shadow()
    frame = part(0, 0, "1", "M 29,440") + part(1, 0, "", "a" * 20) + "\r\n"
    assert shadow.reduced(frame)
    assert shadow.reduced(frame) == ""


def test_a_changed_number_costs_itself() -> None:
    shadow = Shadow()
    shadow.reduced(part(0, 0, "", "samples 24/69   tokens 5,070"))
    assert shadow.reduced(part(0, 0, "", "samples 25/69   tokens 5,070")) == "\x1b[1;10H5"


def test_blanks_are_erased() -> None:
    assert Shadow().reduced(part(0, 0, "", "a" + " " * 90)) == "\x1b[1;1Ha\x1b[90X"


@pytest.mark.parametrize("other", ["\x1b[?1049h", "\x1b[2J", "\x1b[3A", "\x07"])
def test_after_anything_unknown_everything_is_written_again(other: str) -> None:
    shadow, frame = Shadow(), part(2, 3, "", "token")
    first = shadow.reduced(frame)
    assert shadow.reduced(other) == other
    assert shadow.reduced(frame) == first


@pytest.mark.parametrize("other", ["\x1b[6n", "\x1b[?25l", "\x1b[?2026h", "\x1b]52;c;YQ==\x07", "\x1b[?2026$p"])
def test_what_leaves_the_picture_alone_is_passed_on(other: str) -> None:
    shadow, frame = Shadow(), part(2, 3, "", "token")
    shadow.reduced(frame)
    assert shadow.reduced(other + frame) == other


@pytest.mark.parametrize("text", ["\u0b95\u0bbe\u0baf", "e\u0301x", "\U0001f44d ok"])
def test_what_terminals_show_in_other_widths_is_wiped_to_the_end_of_the_row(text: str) -> None:
    """A terminal that takes more cells than we think has pushed its end beyond ours."""
    shadow = Shadow()
    shadow.reduced(part(0, 0, "", text) + part(0, cell_len(text), "", " " * 12))
    wiped = Screen()
    wiped.stream.feed("#" * COLUMNS)
    wiped.stream.feed(shadow.reduced(part(0, 0, "", " " * (cell_len(text) + 12))))
    assert [cell[0] for cell in wiped.cells()[0][: cell_len(text) + 12]] == [" "] * (cell_len(text) + 12)
