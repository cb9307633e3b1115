"""The site screen, threads and the session browser: from a number to its cause in a few keys."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.session.library import FOLDER_VARIABLE
from maxact_tui.screens.browser import BrowserScreen
from maxact_tui.screens.monitor import MonitorScreen
from maxact_tui.screens.site import SiteScreen
from maxact_tui.screens.threads import ThreadsScreen
from maxact_tui.shell.application import MaxactApp
from maxact_tui.widgets.picker import Picker
from tests.screen import sessions
from tests.screen.conftest import Shown, is_complete, settle, shows
from tests.screen.pictures import screen_text
from tests.values import some


def has_model(app: MaxactApp) -> bool:
    return app.snapshot.model is not None and "channel" in screen_text(app)


async def test_the_detail_shows_the_exact_value_id_and_bytes(shown: Shown, finished_session: Path) -> None:
    async with shown(finished_session, 120, 36) as pilot:
        await settle(pilot, is_complete)
        await pilot.press("enter")
        await settle(pilot, lambda app: isinstance(app.screen, SiteScreen) and "x = " in screen_text(app))
        await pilot.press("down")
        await pilot.pause()
        text = screen_text(pilot.app)
        assert "x = 22656.0, sample 1, position 0" in text
        assert r"= b'\x1b[2J\x1b[H'" in text


async def test_brackets_walk_through_the_layers_and_esc_keeps_the_place(shown: Shown, clean_session: Path) -> None:
    async with shown(clean_session) as pilot:
        await settle(pilot, is_complete)
        await pilot.press("home", "down", "enter")
        await settle(pilot, lambda app: isinstance(app.screen, SiteScreen))
        before = pilot.app.screen.site
        await pilot.press("right_square_bracket", "right_square_bracket")
        await settle(pilot, lambda app: app.snapshot.view is not None and app.snapshot.view.site == app.screen.site)
        after = pilot.app.screen.site
        assert after != before
        await pilot.press("escape")
        await settle(pilot, lambda app: isinstance(app.screen, MonitorScreen))
        assert pilot.app.screen.site == after


async def test_threads_lead_to_the_site_of_their_peak(shown: Shown, clean_session: Path) -> None:
    async with shown(clean_session, 120, 36) as pilot:
        await settle(pilot, is_complete)
        await pilot.press("home", "t")
        await settle(pilot, lambda app: isinstance(app.screen, ThreadsScreen) and has_model(app))
        await pilot.pause()
        thread = some(pilot.app.snapshot.model).threads[0]
        await pilot.press("enter")
        await settle(pilot, lambda app: isinstance(app.screen, SiteScreen))
        site = some(pilot.app.snapshot.plan).sites[pilot.app.screen.site]
        assert (site.layer, site.component) == (thread.peak_layer, "hidden")


async def test_a_model_without_massive_activations_says_so(shown: Shown, tmp_path: Path) -> None:
    path = tmp_path / "calm.maxact"
    sessions.finished(path, massive=None, hostile=False)
    async with shown(path) as pilot:
        await settle(pilot, is_complete)
        await pilot.press("t")
        await settle(pilot, lambda app: "No activation is massive" in screen_text(app))


async def test_the_browser_lists_sessions_and_opens_one(
    shown: Shown, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    sessions.finished(tmp_path / "older.maxact", hostile=False, model="org/older", layers=4, massive=2)
    sessions.running(tmp_path / "newer.maxact", model="org/newer\x1b[31m", layers=6, massive=2)
    (tmp_path / "not-a-session.maxact").write_text("hello")
    async with shown(None) as pilot:
        await settle(pilot, lambda app: isinstance(app.screen, BrowserScreen) and "older" in screen_text(app))
        text = screen_text(pilot.app)
        assert text.index("newer") < text.index("older")
        assert "newer\\x1b[31m" in text
        assert "not-a-session" not in text
        await pilot.press("end", "enter")
        await settle(pilot, lambda app: isinstance(app.screen, MonitorScreen) and app.snapshot.view is not None)
        await settle(pilot, shows("FINISHED"))
        await pilot.press("o", "home", "enter")
        await settle(pilot, lambda app: "RUNNING" in screen_text(app) and "L5" in screen_text(app))


async def test_leaving_the_browser_without_a_choice_ends_the_app(
    shown: Shown, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    async with shown(None) as pilot:
        await settle(pilot, lambda app: isinstance(app.screen, BrowserScreen))
        await pilot.press("escape")
        await pilot.pause()
    assert pilot.app.return_value == 0


async def test_the_selection_stays_in_view_and_within_the_list(shown: Shown, clean_session: Path) -> None:
    async with shown(clean_session) as pilot:
        await settle(pilot, is_complete)
        await pilot.press("enter")
        await settle(pilot, lambda app: isinstance(app.screen, SiteScreen) and "x = " in screen_text(app))
        picker = pilot.app.screen.query_one(Picker)
        for key, expected in [("up", 0), ("end", 99), ("down", 99), ("home", 0), ("pagedown", None), ("k", None)]:
            await pilot.press(key)
            await pilot.pause()
            assert expected is None or picker.selected == expected
            await settle(pilot, shows(f"▸ {picker.selected + 1:>5} "))
