"""What is pasted is text, whatever is in it, however it arrives and however long it is."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from textual.events import Key, Paste

from maxact_tui.terminal.pasting import PASTE_BEGINS, PASTE_ENDS, Pastes
from maxact_tui.terminal.typing import KeyParser
from tests.screen.terminal import Terminal, sequences
from tests.screen.test_terminal import OWN_SEQUENCES

NASTY = "one\x1bq two\r\nthree\x1b]52;c;b3duZWQ=\x07\x1b[2J\rfour \x1b[200~\x1b[A\x9b31m \x00\x1b"


@given(st.text("a\x1b[201~\r\n0", max_size=40), st.lists(st.integers(1, 9), min_size=1, max_size=60))
def test_a_paste_comes_as_it_was_sent_in_whatever_pieces(text: str, pieces: list[int]) -> None:
    assume(PASTE_ENDS not in f"{text}{PASTE_ENDS}"[:-1])  # such a text ends itself
    data, read = f"k{PASTE_BEGINS}{text}{PASTE_ENDS}z", []
    parser = Pastes(KeyParser())
    for number in range(len(data)):
        size = pieces[number % len(pieces)]
        read += list(parser.feed(data[:size])) if data else []
        data = data[size:]
    kinds = [(type(message), getattr(message, "text", getattr(message, "key", ""))) for message in read]
    assert kinds == [(Key, "k"), (Paste, text), (Key, "z")]


def paste(terminal: Terminal, text: str) -> None:
    terminal.press(f"{PASTE_BEGINS}{text}{PASTE_ENDS}")


def test_escapes_and_line_ends_in_a_paste_are_its_text_and_reach_no_key_and_no_wire(finished_session: Path) -> None:
    with Terminal(finished_session, 100, 30) as terminal:
        terminal.wait_for("token in context")
        paste(terminal, "q\x1bq\x1b[A?")
        terminal.press("p")
        terminal.wait_for("0 characters")
        paste(terminal, NASTY)
        terminal.wait_for(f"{len(NASTY) - 1} characters")  # a carriage return and a newline are one end of a line
        terminal.wait_for("four �[200~�[A�31m ��")
        terminal.wait_for("� stands for \\x1b")
        assert "ctrl+n" in terminal.text
        terminal.press("!")
        terminal.wait_for("��!")
        terminal.press("\x1b")
        terminal.wait_for("no prompt yet")
        assert sequences(bytes(terminal.raw)) <= OWN_SEQUENCES


@pytest.mark.parametrize("text", ["word " * 200_000, "a line of a log\r\n" * 62_500], ids=["one line", "many lines"])
def test_a_megabyte_is_cut_to_what_the_field_holds_and_the_user_told(finished_session: Path, text: str) -> None:
    with Terminal(finished_session, 100, 30) as terminal:
        terminal.wait_for("token in context")
        terminal.press("p")
        terminal.wait_for("0 characters")
        paste(terminal, text)
        terminal.wait_for(f"only 200,000 of the {len(text):,} characters pasted have room here", 20)
        terminal.press("\x7f")
        terminal.wait_for("enter run")
        terminal.press("\x1b")
        terminal.wait_for("no prompt yet")
