"""One table of actions: every key does something, and help and footer know about it."""

from __future__ import annotations

import itertools
import re

import pytest

from maxact_tui.actions import ACTIONS, commands, footer, help_sections
from maxact_tui.application import MaxactApp
from maxact_tui.footer import footer_line
from maxact_tui.palette import choose_look
from maxact_tui.screens.monitor import MonitorScreen
from maxact_tui.screens.palette import matching

FORBIDDEN = re.compile(r"ctrl\+(enter|m|h|i|j|a|b|s|z)$|shift\+enter")


def test_no_key_is_taken_twice_in_one_place() -> None:
    for place in {action.place for action in ACTIONS}:
        keys = [key for a in ACTIONS if a.place in (place, "app") for key in a.keys]
        assert len(keys) == len(set(keys)), place


def test_no_key_is_one_that_terminals_or_multiplexers_take() -> None:
    for key in itertools.chain.from_iterable(action.keys for action in ACTIONS):
        assert not FORBIDDEN.match(key), key


@pytest.mark.parametrize(("place", "owner"), [("app", MaxactApp), ("monitor", MonitorScreen)])
def test_every_action_exists(place: str, owner: type) -> None:
    for action in ACTIONS:
        if action.place == place:
            name = action.name.partition("(")[0]
            at, method = (MaxactApp, name.removeprefix("app.")) if name.startswith("app.") else (owner, name)
            assert callable(getattr(at, f"action_{method}", None)), action.name


def test_help_tells_of_every_action() -> None:
    told = [sentence for _, entries in help_sections() for _, sentence in entries]
    assert told.count("") == 0
    assert {a.help for a in ACTIONS} == set(told)


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
def test_the_footer_fits_and_always_has_help_and_quit(width: int) -> None:
    text = footer_line(choose_look("256"), width, "monitor").text
    assert len(text) <= width
    assert "? help" in text
    assert "q quit" in text


def test_the_widest_footer_has_every_label() -> None:
    text = footer_line(choose_look("256"), 400, "monitor").text
    assert all(f"{key} {label}" in text for key, label in footer("monitor", "app"))


def test_the_palette_finds_commands_by_any_word_and_by_label_first() -> None:
    every = commands("monitor", "app")
    assert matching(every, "threads")[0].label == "threads"
    assert [a.name for a in matching(every, "pause batch")] == ["app.pause"]
    assert matching(every, "no such thing") == []
    assert matching(every, "") == every
