"""The screen stays small: what was computed for a moment, and what was drawn on screens that are gone, is let go."""

from __future__ import annotations

import gc
from pathlib import Path

import psutil
import pytest
from textual.strip import Strip

from maxact_tui.watching import memory
from tests.screen.conftest import Shown, is_complete, settle
from tests.screen.pictures import screen_text


@pytest.mark.parametrize(("key", "words"), [("c", "largest of"), ("i", "fp16/e4m3")])
async def test_a_screen_opened_again_takes_no_more_memory(
    shown: Shown, clean_session: Path, key: str, words: str
) -> None:
    strips = []
    async with shown(clean_session, 120, 36) as pilot:
        await settle(pilot, is_complete)
        for _ in range(4):
            await pilot.press(key)
            await settle(pilot, lambda app: words in screen_text(app))
            await pilot.press("escape")
            await settle(pilot, lambda app: app.screen is app.monitor)
            await pilot.pause()
            gc.collect()
            strips.append(sum(type(one) is Strip for one in gc.get_objects()))
    # A thread that waits may hold the newest of them; each takes some 3,000.
    assert strips[3] - strips[1] < 1_000


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
