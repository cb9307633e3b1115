"""One table of actions: every key does something, and help and footer know about it."""

from __future__ import annotations

import itertools
import re
from abc import abstractmethod

import pytest

from maxact_tui.keymap import actions
from maxact_tui.keymap.actions import TABLES, actions_of, commands, everywhere, footer, help_sections
from maxact_tui.keymap.keys import printed
from maxact_tui.pages.footer import footer_line
from maxact_tui.screens.board import BoardScreen
from maxact_tui.screens.browser import BrowserScreen
from maxact_tui.screens.channels import ChannelsScreen
from maxact_tui.screens.choice import ChoiceScreen
from maxact_tui.screens.compare import ComparisonScreen
from maxact_tui.screens.export import ExportScreen
from maxact_tui.screens.monitor import MonitorScreen
from maxact_tui.screens.number import NumberScreen
from maxact_tui.screens.palette import PaletteScreen, matching
from maxact_tui.screens.prompt import PromptScreen
from maxact_tui.screens.promptcompare import PromptCompareScreen
from maxact_tui.screens.prompteditor import PromptEditor
from maxact_tui.screens.prompthistory import PromptHistoryScreen
from maxact_tui.screens.reading import ReadingScreen
from maxact_tui.screens.sample import SampleScreen
from maxact_tui.screens.site import SiteScreen
from maxact_tui.screens.threads import ThreadsScreen
from maxact_tui.shell.application import MaxactApp
from maxact_tui.terminal.palette import choose_look

FORBIDDEN = re.compile(r"ctrl\+(enter|m|h|i|j|a|b|s|z)$|shift\+enter")
OWNERS: dict[actions.Place, tuple[type, ...]] = {
    "monitor": (MonitorScreen,),
    "site": (SiteScreen,),
    "board": (BoardScreen,),
    "tuning": (BoardScreen, SiteScreen),
    "list": (BrowserScreen, ThreadsScreen),
    "compare": (ComparisonScreen,),
    "channels": (ChannelsScreen,),
    "probe": (SampleScreen, PromptScreen),
    "prompt": (PromptScreen,),
    "writing": (PromptEditor,),
    "prompts": (PromptHistoryScreen,),
    "versus": (PromptCompareScreen,),
    "threads": (ThreadsScreen,),
    "reading": (ReadingScreen,),
    "choice": (ChoiceScreen,),
    "palette": (PaletteScreen,),
    "number": (NumberScreen,),
    "export": (ExportScreen,),
    "app": (MaxactApp,),
}


@pytest.mark.parametrize("place", TABLES)
def test_no_key_and_no_name_is_taken_twice_in_one_place(place: actions.Place) -> None:
    elsewhere = [] if place == "app" else everywhere(place)
    keys = [key for action in [*actions_of(place), *elsewhere] for key in action.keys]
    assert len(keys) == len(set(keys))
    names = [action.key_name for action in actions_of(place)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("place", TABLES)
def test_no_key_is_one_that_terminals_or_multiplexers_take(place: actions.Place) -> None:
    for key in itertools.chain.from_iterable(action.keys for action in actions_of(place)):
        assert not FORBIDDEN.match(key), key


@pytest.mark.parametrize("place", TABLES)
def test_every_action_exists_on_every_screen_of_its_place(place: actions.Place) -> None:
    for action in actions_of(place):
        for owner in OWNERS[place]:
            at = MaxactApp if action.name.startswith("app.") else owner
            method = action.name.removeprefix("app.").partition("(")[0]
            assert callable(getattr(at, f"action_{method}", None)), action.name


@pytest.mark.parametrize("owner", [ThreadsScreen, BrowserScreen, MaxactApp])
def test_a_screen_that_leaves_out_what_its_base_asks_for_cannot_be_made(owner: type) -> None:
    unfinished = type("Unfinished", (owner,), {"missing": abstractmethod(lambda self: None)})
    with pytest.raises(TypeError, match="abstract"):
        unfinished()


def test_help_tells_of_every_action() -> None:
    told = [sentence for _, entries in help_sections() for _, sentence in entries]
    assert told.count("") == 0
    assert {a.help for place in TABLES for a in actions_of(place)} == set(told)


@pytest.mark.parametrize("place", TABLES)
def test_no_two_lines_of_the_help_say_the_same_of_one_place_and_none_has_the_key_of_another(
    place: actions.Place,
) -> None:
    told = [(action.key_text, action.help) for action in actions_of(place)]
    assert len({sentence for _, sentence in told}) == len(told)
    others = {printed(key): action for action in actions_of(place) for key in action.keys[:1]}
    for action in actions_of(place):
        written = set(action.key_text.split()) - {printed(key) for key in action.keys}
        assert not written & others.keys(), "the help says which of two paired keys does what"


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
