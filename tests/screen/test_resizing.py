"""Windows that are dragged: the last size counts, however many are on their way; whatever is pressed meanwhile."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual.app import ComposeResult
from textual.events import Resize
from textual.geometry import Size

from maxact_tui.screens.board import BoardScreen
from maxact_tui.screens.channels import ChannelsScreen
from maxact_tui.screens.events import EventsScreen
from maxact_tui.screens.monitor import MonitorScreen
from maxact_tui.screens.palette import PaletteScreen
from maxact_tui.screens.site import SiteScreen
from maxact_tui.screens.steady import Steady
from maxact_tui.screens.threads import ThreadsScreen
from maxact_tui.screens.watched import WatchedScreen
from maxact_tui.shell.application import MaxactApp
from maxact_tui.terminal.typing import KeyParser
from maxact_tui.watching.snapshot import Wish
from tests.private import set_size
from tests.screen import sessions
from tests.screen.conftest import Shown, is_complete, settle
from tests.screen.pictures import screen_text
from tests.screen.test_every_screen import every_screen
from tests.screen.test_terminal import ticking
from tests.waiting import PATIENCE_SECONDS


def test_every_screen_passes_over_sizes_of_the_past() -> None:
    for name, kind in every_screen().items():
        assert Steady in kind.__mro__, name


async def test_a_screen_that_is_being_made_is_not_drawn_whoever_asks(
    shown: Shown, clean_session: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, int] = {}

    def watched(kind: type[WatchedScreen], compose: Callable[[Any], ComposeResult]) -> None:
        def compose_late(self: WatchedScreen) -> ComposeResult:
            asked[kind.__name__] = asked.get(kind.__name__, 0) + 1
            assert not self.draw()
            assert not self.show(self.snapshot)
            self.ask()
            assert isinstance(self.app, MaxactApp)
            self.app.on_watched_screen_view_wished(WatchedScreen.ViewWished(Wish()))
            yield from compose(self)

        monkeypatch.setattr(kind, "compose", compose_late)

    for kind in (MonitorScreen, BoardScreen, SiteScreen, ChannelsScreen, ThreadsScreen, EventsScreen):
        watched(kind, kind.compose)
    async with shown(clean_session, 120, 36) as pilot:
        await settle(pilot, is_complete)
        for key in ("enter", "i", "c", "t", "v"):
            await pilot.press(key)
            await pilot.app.action_theme()  # makes the widgets of every open screen anew
            await pilot.press("escape")
        await settle(pilot, lambda app: "M " in screen_text(app))
    assert len(asked) == 6
    assert min(asked.values()) >= 2


@pytest.mark.timeout(300, method="signal")  # a screen that chases sizes lets no other task run
@pytest.mark.parametrize("key", ["", "i", "colon"])
async def test_two_sizes_on_their_way_at_once_end_in_the_second(shown: Shown, clean_session: Path, key: str) -> None:
    async with shown(clean_session, 120, 36) as pilot:
        await settle(pilot, is_complete)
        if key:
            await pilot.press(key)
        screen = pilot.app.screen
        assert isinstance(screen, {"": MonitorScreen, "i": BoardScreen, "colon": PaletteScreen}[key])
        first, last = Size(80, 24), Size(100, 30)
        set_size(pilot.app, last)
        for size in (first, last):
            screen.post_message(Resize(size, size))
            screen.call_later(lambda: None)  # so that Textual cannot make one event of the two
        await settle(pilot, lambda app: all(one.size == last for one in app.screen_stack))
        assert all(one.size == last for one in pilot.app.screen_stack), "and it stays"


# Everything a user can press but what leaves the program; text that is typed and pasted into whatever is open.
PRESSED = (
    *"bcdefghijklmnoprstuvwxyBCDEFGHIJKLMNOPRSTUVWXYZ0123456789.,=+-[](){}<>/:?'\"! ",
    "\x1b[A", "\x1b[B", "\x1b[C", "\x1b[D", "\x1b[5~", "\x1b[6~", "\x1b[H", "\x1b[F", "\x1b[Z", "\r", "\t", "\x7f",
    *["\x1b"] * 8, ":threads\r", ":theme\r", "/L3 value>1\r", "\x1b[200~[/] \x1b[2J\x1b[201~",
)  # fmt: skip
SIZES = ((80, 24), (120, 36), (200, 60), (60, 16), (40, 10), (1, 1), (300, 80))


@pytest.mark.slow
@pytest.mark.timeout(600, method="signal")
@pytest.mark.parametrize("seed", range(3))
async def test_no_keys_sizes_and_themes_at_random_break_a_screen_while_a_run_streams(
    shown: Shown, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setenv("MAXACT_SESSIONS", str(tmp_path))
    chance, parser = random.Random(seed), KeyParser()
    script = sessions.running(tmp_path / "run.maxact")
    async with shown(script.path, 120, 36, read_only=True) as pilot:
        with ticking(script, 0.3):
            await settle(pilot, lambda app: app.snapshot.live is not None)
            for _ in range(160):
                for message in (*parser.feed(chance.choice(PRESSED)), *parser.tick()):
                    pilot.app.post_message(message)
                if chance.random() < 0.1:
                    size = Size(*chance.choice(SIZES))
                    pilot.app.post_message(Resize(size, size))
                await asyncio.sleep(chance.choice((0, 0, 0.005, 0.02)))
        pilot.app.post_message(Resize(Size(120, 36), Size(120, 36)))
        # The pilot would wait for every widget there is, also for those that a theme on its way is about to replace.
        end = time.monotonic() + PATIENCE_SECONDS
        while not (pilot.app.screen is pilot.app.monitor and "M 23,168" in screen_text(pilot.app)):
            assert time.monotonic() < end, screen_text(pilot.app)
            for message in (*parser.feed("\x1b"), *parser.tick()):
                pilot.app.post_message(message)
            await asyncio.sleep(0.05)
