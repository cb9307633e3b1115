"""The box a prompt is typed in: `p` opens it every time, and what leads out of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.pilot import Pilot

from maxact_tui.screens import asking
from maxact_tui.screens.asking import READ_ONLY
from maxact_tui.screens.monitor import MonitorScreen
from maxact_tui.screens.prompt import PromptScreen
from maxact_tui.screens.promptcompare import PromptCompareScreen
from maxact_tui.screens.prompteditor import PromptArea, PromptEditor
from maxact_tui.screens.prompthistory import PromptHistoryScreen
from maxact_tui.screens.reading import ReadingScreen
from maxact_tui.shell.application import MaxactApp
from tests.screen import probed
from tests.screen.conftest import Shown, is_complete, settle, shows
from tests.screen.pictures import screen_text

HERE = 14  # rows of a page at 80x24 that its first section is within


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("probed") / "run.maxact"
    probed.probed(path)
    return path


def typed(pilot: Pilot[int]) -> str:
    """What is in the box, which is open."""
    assert isinstance(pilot.app.screen, PromptEditor)
    return pilot.app.screen.query_one(PromptArea).text


def has_values(app: MaxactApp) -> bool:
    return isinstance(app.screen, PromptScreen) and app.screen.view is not None


async def test_p_opens_the_box_every_time_with_the_last_prompt_to_type_over(shown: Shown, session: Path) -> None:
    async with shown(session) as pilot:
        await settle(pilot, is_complete)
        await pilot.press("p")
        assert typed(pilot) == "Winter is warm."
        await settle(pilot, shows("[+BOS]"))
        # Letters that are keys of the screens below are only text here.
        await pilot.press(*"poqc?")
        assert typed(pilot) == "poqc?"
        await pilot.press("escape")
        await settle(pilot, has_values)
        await settle(pilot, shows("M 5,792"))
        await pilot.press("p")
        assert typed(pilot) == "Winter is warm."
        await pilot.press("escape", "escape")
        assert isinstance(pilot.app.screen, MonitorScreen)
        await pilot.press("p", "x")
        assert typed(pilot) == "x"


async def test_the_earlier_prompts_are_one_key_away_and_what_was_typed_is_kept(shown: Shown, session: Path) -> None:
    async with shown(session) as pilot:
        await settle(pilot, is_complete)
        await pilot.press("p", *"half", "ctrl+n", *"done", "tab")
        await settle(pilot, shows("ctrl+o earlier"))
        await pilot.press("ctrl+o")
        assert isinstance(pilot.app.screen, PromptHistoryScreen)
        await pilot.press("escape", "p")
        assert typed(pilot) == "half\ndone"
        await settle(pilot, shows("[chat template]"))
        await pilot.press("ctrl+o", "down", "enter")
        await settle(pilot, lambda app: "M 23,168" in screen_text(app))
        await pilot.press("p")
        assert typed(pilot) == "half\ndone"
        await pilot.press("escape", "p")  # left without running it: it is given up
        assert typed(pilot).startswith("Summer is warm.")


async def test_without_an_earlier_prompt_none_is_offered(shown: Shown, clean_session: Path) -> None:
    async with shown(clean_session) as pilot:
        await settle(pilot, is_complete)
        await pilot.press("p")
        assert "earlier" not in screen_text(pilot.app)
        await pilot.press("ctrl+o")
        assert typed(pilot) == ""


async def test_the_box_has_help_of_its_own_and_no_palette(shown: Shown, session: Path) -> None:
    async with shown(session) as pilot:
        await settle(pilot, is_complete)
        await pilot.press("p", "ctrl+p")
        assert isinstance(pilot.app.screen, PromptEditor), "a command would act on the screen below"
        await pilot.press("f1")
        assert "The box for a prompt" in first_rows(pilot)
        await pilot.press("escape")
        assert isinstance(pilot.app.screen, PromptEditor)


async def test_the_help_of_the_list_and_of_two_prompts_begins_with_their_keys(shown: Shown, session: Path) -> None:
    async with shown(session) as pilot:
        await settle(pilot, is_complete)
        await pilot.press("p", "ctrl+o", "question_mark")
        told = first_rows(pilot)
        assert "Earlier prompts" in told
        assert "space       Mark the prompt" in told
        assert "c           Compare the two marked prompts." in told
        assert "Filter" not in told
        assert "Sort" not in told
        await pilot.press("escape", "space", "down", "space", "c")
        await settle(pilot, lambda app: isinstance(app.screen, PromptCompareScreen))
        await pilot.press("question_mark")
        told = first_rows(pilot)
        assert "Two prompts" in told
        assert "Filter" not in told


def first_rows(pilot: Pilot[int]) -> str:
    """The first rows of the page that is open."""
    assert isinstance(pilot.app.screen, ReadingScreen)
    return "\n".join(screen_text(pilot.app).splitlines()[:HERE])


async def test_a_read_only_screen_says_whole_why_it_has_no_box(
    shown: Shown, clean_session: Path, session: Path
) -> None:
    for path in (clean_session, session):
        async with shown(path, 80, 24, read_only=True) as pilot:
            await settle(pilot, is_complete)
            await pilot.press("p")
            await settle(pilot, lambda app: READ_ONLY in screen_text(app))
            assert isinstance(pilot.app.screen, PromptScreen)
            assert (pilot.app.screen.view is None) == (path == clean_session)


async def test_what_went_wrong_is_wrapped_and_the_text_is_below_it(
    shown: Shown, session: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = "the engine has ended: " + " ".join(f"word{number}" for number in range(24))
    monkeypatch.setattr(asking, "READ_ONLY", words)
    async with shown(session, 80, 24, read_only=True) as pilot:
        await settle(pilot, is_complete)
        await pilot.press("y")  # of a sample whose values the session does not hold
        await settle(pilot, lambda app: "word23" in screen_text(app))
        said = " ".join(row.strip() for row in screen_text(pilot.app).splitlines()[1:4])
        assert said == words
        await settle(pilot, shows("Summer"))
        await pilot.resize_terminal(120, 36)
        await settle(pilot, lambda app: "word23" in screen_text(app).splitlines()[2])
