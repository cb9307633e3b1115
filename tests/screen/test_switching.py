"""Several sessions open in one application."""

from __future__ import annotations

from pathlib import Path

import pytest

from maxact_tui.screens.browser import BrowserScreen
from tests.screen import sessions
from tests.screen.conftest import Shown, is_complete, settle
from tests.screen.pictures import screen_text


async def test_each_session_is_shown_where_it_was_left(
    shown: Shown, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAXACT_SESSIONS", str(tmp_path))
    for name, layers in (("one", 30), ("two", 6)):
        sessions.finished(tmp_path / f"{name}.maxact", layers=layers, massive=3, hostile=False)
    async with shown(tmp_path / "one.maxact", 120, 36) as pilot:
        app = pilot.app
        await settle(pilot, is_complete)
        await pilot.press("right_parenthesis")
        await settle(pilot, lambda app: "no other session is open here" in screen_text(app))
        await pilot.press("up", "up", "left", "m")
        await settle(pilot, lambda app: app.monitor._maker.measure.name == "rms")
        left_at = app.monitor.site
        await pilot.press("o")
        await settle(pilot, lambda app: "• SmolLM2-135M-Instruct  one" in screen_text(app))
        assert isinstance(app.screen, BrowserScreen)
        assert "• SmolLM2-135M-Instruct  two" not in screen_text(app)
        await pilot.press("up", "down", "home")
        rows = [row for row in screen_text(app).split("\n") if row.startswith("▸")]
        if "two" not in rows[0]:
            await pilot.press("down")
        await pilot.press("enter")
        await settle(pilot, lambda app: app.snapshot.path.stem == "two" and is_complete(app))
        assert app.monitor.site != left_at
        await pilot.press("right_parenthesis")
        await settle(pilot, lambda app: app.snapshot.path.stem == "one" and is_complete(app))
        assert "session 1 of 2: one" in screen_text(app)
        assert app.monitor.site == left_at
        assert app.monitor._maker.measure.name == "rms"
        await pilot.press("left_parenthesis")
        await settle(pilot, lambda app: app.snapshot.path.stem == "two" and is_complete(app))
