"""Windows that are dragged: the last size counts, however many are on their way."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from textual.events import Resize
from textual.geometry import Size

from maxact_tui.screens.board import BoardScreen
from maxact_tui.screens.monitor import MonitorScreen
from maxact_tui.screens.palette import PaletteScreen
from maxact_tui.screens.steady import Steady
from tests.screen.conftest import Shown, is_complete, settle
from tests.screen.test_every_screen import every_screen


def test_every_screen_passes_over_sizes_of_the_past() -> None:
    for name, kind in every_screen().items():
        assert Steady in kind.__mro__, name


@pytest.mark.timeout(60, method="signal")  # a screen that chases sizes lets no other task run
@pytest.mark.parametrize("key", ["", "i", "colon"])
async def test_two_sizes_on_their_way_at_once_end_in_the_second(shown: Shown, clean_session: Path, key: str) -> None:
    async with shown(clean_session, 120, 36) as pilot:
        await settle(pilot, is_complete)
        if key:
            await pilot.press(key)
        screen = pilot.app.screen
        assert isinstance(screen, {"": MonitorScreen, "i": BoardScreen, "colon": PaletteScreen}[key])
        first, last = Size(80, 24), Size(100, 30)
        pilot.app._size = last
        for size in (first, last):
            screen.post_message(Resize(size, size))
            screen.call_later(lambda: None)  # so that Textual cannot make one event of the two
        await asyncio.sleep(0.2)
        await settle(pilot, lambda app: all(one.size == last for one in app.screen_stack))
