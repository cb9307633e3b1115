"""esc leads back to where the user was, with the cursor where it was, and pages do not pile up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.screen import Screen

from maxact_tui.screens.channels import ChannelsScreen
from maxact_tui.screens.monitor import MonitorScreen
from maxact_tui.screens.prompt import PromptScreen
from maxact_tui.screens.prompteditor import PromptEditor
from maxact_tui.screens.sample import SampleScreen
from maxact_tui.screens.site import SiteScreen
from maxact_tui.screens.threads import ThreadsScreen
from maxact_tui.shell.application import MaxactApp
from maxact_tui.shell.textsapp import DEEPEST
from maxact_tui.widgets.heatmap import Heatmap
from maxact_tui.widgets.tokenview import TokenCursor
from tests.screen import probed
from tests.screen.conftest import Shown, is_complete, settle
from tests.screen.pictures import screen_text
from tests.screen.test_ordering import send
from tests.values import some


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("probed") / "run.maxact"
    probed.probed(path)
    return path


def has_values(app: MaxactApp) -> bool:
    screen = app.screen
    return isinstance(screen, SampleScreen | PromptScreen) and screen.view is not None and not screen.is_reading


def has_list(app: MaxactApp) -> bool:
    view, screen = app.snapshot.view, app.screen
    return isinstance(screen, SiteScreen) and view is not None and view.site == screen.site and screen._sought is None


def selected(app: MaxactApp) -> tuple[int, int, int]:
    """Address of the element that is selected on the page of a site."""
    screen = app.screen
    assert isinstance(screen, SiteScreen)
    assert screen.chosen is not None
    entry = some(screen.snapshot.view).summary.top[screen.chosen]
    return entry.sample, entry.position, entry.channel


def kinds(app: MaxactApp) -> list[type[Screen[object]]]:
    return [type(screen) for screen in app.screen_stack]


async def back(pilot: Pilot[int], screen: Screen[Any]) -> None:
    await pilot.press("escape")
    assert pilot.app.screen is screen


async def test_a_thread_leads_to_its_element_and_esc_back_to_the_thread(shown: Shown, session: Path) -> None:
    async with shown(session, read_only=True) as pilot:
        await settle(pilot, is_complete)
        await pilot.press("t")
        await settle(pilot, lambda app: "L11-L28" in screen_text(app))
        await pilot.press("down", "down", "down")
        screen = pilot.app.screen
        assert isinstance(screen, ThreadsScreen)
        thread = some(pilot.app.snapshot.model).threads[3]
        await pilot.press("enter")
        await settle(pilot, has_list)
        assert selected(pilot.app) == (thread.sample, thread.position, thread.channel) != (0, 0, 50)
        # The page is left on another site; the list of threads stays where it was.
        await pilot.press("right_square_bracket")
        await back(pilot, screen)
        assert screen.chosen == 3
        await pilot.press("y")
        await settle(pilot, lambda app: isinstance(app.screen, SampleScreen))
        assert pilot.app.screen.site == some(pilot.app.snapshot.plan).sites.index(
            next(s for s in some(pilot.app.snapshot.plan).sites if s.name == f"layer_{thread.peak_layer}_hidden")
        )
        await back(pilot, screen)
        await pilot.press("escape")
        assert isinstance(pilot.app.screen, MonitorScreen)


async def test_a_channel_leads_to_its_element_and_esc_back_to_the_cell(shown: Shown, session: Path) -> None:
    async with shown(session, read_only=True) as pilot:
        await settle(pilot, is_complete)
        await pilot.press("c")
        await settle(pilot, lambda app: "massive in 14" in screen_text(app))
        await pilot.press("right", "down")
        screen = pilot.app.screen
        assert isinstance(screen, ChannelsScreen)
        here, cell = screen.pointed(), screen.query_one(Heatmap).cursor
        assert here is not None
        assert here.element is not None
        await pilot.press("enter")
        await settle(pilot, has_list)
        assert selected(pilot.app) == here.element
        assert pilot.app.screen.site == here.site
        await back(pilot, screen)
        assert screen.query_one(Heatmap).cursor == cell
        # From the page of a site that lies over the channels `c` is the way back, too.
        await pilot.press("enter", "right_square_bracket", "c")
        assert pilot.app.screen is screen
        assert screen.query_one(Heatmap).cursor == (cell[0] + 1, cell[1])
        await pilot.press("escape")
        assert isinstance(pilot.app.screen, MonitorScreen)


async def test_a_token_of_a_sample_leads_to_its_element_where_it_is_listed(shown: Shown, session: Path) -> None:
    async with shown(session, read_only=True) as pilot:
        await settle(pilot, is_complete)
        await pilot.press("enter", "down", "down", "down", "y")
        await settle(pilot, has_values)
        sample = pilot.app.screen
        assert isinstance(sample, SampleScreen)
        # Another layer, so that the page of the site is not the one below.
        await pilot.press("right_square_bracket", "right", "right", "enter")
        await settle(pilot, has_list)
        assert kinds(pilot.app) == [MonitorScreen, SiteScreen, SampleScreen, SiteScreen]
        assert selected(pilot.app)[:2] == (probed.SAMPLE, 2)
        await back(pilot, sample)
        await pilot.press("end", "enter")
        await settle(pilot, lambda app: "position 28 of sample 3 is not among" in screen_text(app))
        await back(pilot, sample)
        assert sample.cursor.token == 28
        await pilot.press("escape", "escape")
        assert isinstance(pilot.app.screen, MonitorScreen)


async def test_what_lies_directly_below_is_gone_back_to(shown: Shown, session: Path) -> None:
    async with shown(session, read_only=True) as pilot:
        await settle(pilot, is_complete)
        await pilot.press("enter", "down", "down", "down", "y")
        await settle(pilot, has_values)
        page = pilot.app.screen_stack[-2]
        for _ in range(6):
            await pilot.press("right", "enter")
            assert pilot.app.screen is page
            await pilot.press("y")
            await settle(pilot, has_values)
            assert kinds(pilot.app) == [MonitorScreen, SiteScreen, SampleScreen]
        # A site of its own lies above the sample; `y` on it is the way back to the sample, at the selected token.
        sample = pilot.app.screen
        await pilot.press("right_square_bracket", "enter")
        await settle(pilot, has_list)
        await pilot.press("y")
        assert pilot.app.screen is sample
        assert isinstance(sample, SampleScreen)
        assert sample.cursor == TokenCursor(selected_token(page), sample.cursor.layer)
        await pilot.press("escape", "escape")
        assert isinstance(pilot.app.screen, MonitorScreen)


def selected_token(page: Screen[object]) -> int:
    """The token of the row that is selected on the page of a site."""
    assert isinstance(page, SiteScreen)
    assert page.chosen is not None
    return some(page.snapshot.view).summary.top[page.chosen].position


async def test_however_long_the_way_few_screens_lie_over_each_other(shown: Shown, session: Path) -> None:
    async with shown(session, read_only=True) as pilot:
        await settle(pilot, is_complete)
        await pilot.press("enter")
        for _ in range(3):
            await send(pilot, "c\x1b[B\r")
            assert isinstance(pilot.app.screen, SiteScreen)
            await pilot.press("p")
            await settle(pilot, has_values)
            await send(pilot, "]\r")
            assert isinstance(pilot.app.screen, SiteScreen)
            assert len(pilot.app.screen_stack) <= DEEPEST + 1
        assert len(pilot.app.screen_stack) == DEEPEST + 1
        for depth in range(DEEPEST, 0, -1):
            await pilot.press("escape")
            assert len(pilot.app.screen_stack) == depth
        assert isinstance(pilot.app.screen, MonitorScreen)


async def test_keys_in_one_go_go_in_and_back(shown: Shown, session: Path) -> None:
    async with shown(session, 120, 36, read_only=True) as pilot:
        await settle(pilot, is_complete)
        await send(pilot, "\r\x1b[B\x1b[B\x1b[By]\x1b[C\r")
        await settle(pilot, has_list)
        assert kinds(pilot.app) == [MonitorScreen, SiteScreen, SampleScreen, SiteScreen]
        assert selected(pilot.app)[:2] == (probed.SAMPLE, 1)
        await send(pilot, "\x1b\x1b\x1bc\t\x1b[B\r")
        assert kinds(pilot.app) == [MonitorScreen, ChannelsScreen, SiteScreen]
        assert some(pilot.app.snapshot.plan).sites[pilot.app.screen.site].name == "layer_12_attn_output"
        await send(pilot, "\x1b\x1bt\x1b[B\r")
        assert kinds(pilot.app) == [MonitorScreen, ThreadsScreen, SiteScreen]


async def test_a_prompt_is_below_the_page_of_its_site(shown: Shown, session: Path) -> None:
    async with shown(session) as pilot:
        await settle(pilot, is_complete)
        await pilot.press("p", "escape")
        await settle(pilot, has_values)
        prompt = pilot.app.screen
        assert isinstance(prompt, PromptScreen)
        await pilot.press("down", "enter")
        assert isinstance(pilot.app.screen, SiteScreen)
        await back(pilot, prompt)
        assert prompt.cursor.token == 1
        await pilot.press("enter", "p")
        assert kinds(pilot.app) == [MonitorScreen, PromptScreen, PromptEditor]
        await pilot.press("escape", "escape")
        assert isinstance(pilot.app.screen, MonitorScreen)


async def test_enter_on_a_prompt_without_values_stays_there(shown: Shown, clean_session: Path) -> None:
    async with shown(clean_session, read_only=True) as pilot:
        await settle(pilot, is_complete)
        await pilot.press("p", "enter")
        await settle(pilot, lambda app: "no site is known here yet" in screen_text(app))
        assert isinstance(pilot.app.screen, PromptScreen)
