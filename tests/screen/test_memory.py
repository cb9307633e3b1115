"""The screen stays small: what was computed for a moment, and what was drawn on screens that are gone, is let go."""

from __future__ import annotations

import gc
import sys
from pathlib import Path

import psutil
import pytest
from textual.containers import Horizontal, Vertical
from textual.strip import Strip

from maxact_tui.screens.board import BoardScreen
from maxact_tui.screens.channels import ChannelsScreen
from maxact_tui.screens.watched import WatchedScreen
from maxact_tui.shell import ahead, application
from maxact_tui.watching import memory
from maxact_tui.widgets.heatcolumn import HeatColumn
from maxact_tui.widgets.lines import Lines
from tests.private import drawn_widgets
from tests.screen.conftest import Shown, is_complete, settle
from tests.screen.pictures import screen_text


@pytest.mark.parametrize(
    ("key", "words", "kind"), [("c", "largest of", ChannelsScreen), ("i", "fp16/e4m3", BoardScreen)]
)
async def test_a_closed_screen_is_let_go_and_with_it_its_lines(
    shown: Shown, clean_session: Path, key: str, words: str, kind: type[WatchedScreen]
) -> None:
    strips = []
    async with shown(clean_session, 120, 36) as pilot:
        await settle(pilot, is_complete)
        for _ in range(3):
            await pilot.press(key)
            await settle(pilot, lambda app: words in screen_text(app))
            await pilot.press("escape")
            await settle(pilot, lambda app: app.screen is app.monitor)
            await pilot.pause()
            gc.collect()
            strips.append(sum(type(one) is Strip for one in gc.get_objects()))

        def is_let_go(_: object) -> bool:
            gc.collect()
            return not [one for one in gc.get_objects() if isinstance(one, kind)]

        await settle(pilot, is_let_go)
    assert strips[2] - strips[0] < 300  # a screen draws some 1,500


async def test_what_only_holds_others_is_not_drawn(shown: Shown, clean_session: Path) -> None:
    async with shown(clean_session, 120, 36) as pilot:
        await settle(pilot, is_complete)
        drawn = {type(one) for one in drawn_widgets(pilot.app)}
    assert not drawn & {Vertical, Horizontal}
    assert {HeatColumn, Lines} <= drawn


async def test_old_garbage_waits_until_no_key_was_pressed_for_a_while(
    shown: Shown, clean_session: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []

    def note(phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            looks.append(info["generation"])

    monkeypatch.setattr(memory, "QUIET_SECONDS", 3_600.0)
    async with shown(clean_session, 120, 36) as pilot:
        await settle(pilot, is_complete)
        gc.callbacks.append(note)
        try:
            for key in ("c", "escape", "i", "escape", "t", "escape", "y", "escape", "question_mark", "escape"):
                await pilot.press(key)
                await pilot.pause()
            assert 0 in looks
            assert 2 not in looks
            monkeypatch.setattr(memory, "QUIET_SECONDS", 0.0)
            monkeypatch.setattr(memory, "WORTHWHILE", 0)
            await settle(pilot, lambda _: 2 in looks)
        finally:
            gc.callbacks.remove(note)


async def test_what_the_first_frame_did_not_wait_for_is_loaded_soon_after_it(
    shown: Shown, clean_session: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(application, "AHEAD_SECONDS", 0.01)
    for name in ahead.MODULES:
        monkeypatch.delitem(sys.modules, name, raising=False)
    async with shown(clean_session) as pilot:
        await settle(pilot, lambda _: sys.modules.keys() >= set(ahead.MODULES))


@pytest.mark.skipif(memory._malloc_trim() is None, reason="the C library has no malloc_trim")
def test_free_memory_goes_back_to_the_system() -> None:
    process = psutil.Process()
    # glibc gives back by itself only what lies at the end of its heap, and what it maps by itself: larger pieces.
    pieces = [bytearray(b"x" * 16_000) for _ in range(4_000)]
    kept = pieces[::100]
    del pieces
    before = process.memory_info().rss
    memory.give_back()
    assert before - process.memory_info().rss > 32e6
    assert len(kept) == 40
