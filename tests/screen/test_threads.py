"""One thread in a line: where it is born, peaks and dies is seen in every window."""

from __future__ import annotations

from dataclasses import replace

import pytest

from engine.analysis.threads import Thread
from maxact_tui.pages.threadlines import profile

VALUES = (27_400.0, 27_400.0, 27_200.0, 27_000.0, 29_000.0, -120.0, 27_000.0, 26_900.0, 26_800.0, 26_000.0, 13_000.0)
THREAD = Thread(
    sample=3,
    position=0,
    channel=507,
    birth=11,
    death=22,
    peak=29_000.0,
    peak_layer=15,
    values=VALUES,
    birth_certain=True,
    death_certain=True,
)


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (20, "…  L22 gone"),
        (34, "…  L15 29.0k  …  L22 gone"),
        (46, "L11 27.4k  …  L15 29.0k  …  L22 gone"),
        (78, "L11 27.4k  L12 27.4k  L13 27.2k  …  L15 29.0k  …  L21 13.0k  L22 gone"),
        (
            200,
            "L11 27.4k  L12 27.4k  L13 27.2k  L14 27.0k  L15 29.0k  L16 -120  L17 27.0k  L18 26.9k  L19 26.8k"
            "  L20 26.0k  L21 13.0k  L22 gone",
        ),
    ],
)
def test_birth_peak_and_death_come_first_and_the_middle_is_left_out(width: int, shown: str) -> None:
    found = profile(THREAD, width)
    assert len(found) <= width
    assert found == shown
    if width >= 46:
        assert found.startswith("L11 27.4k  ")
        assert "L15 29.0k" in found
        assert found.endswith("  L22 gone")


def test_a_thread_that_lives_on_ends_with_its_last_layer_and_doubt_is_shown() -> None:
    assert profile(replace(THREAD, death=None), 46).endswith("  L21 13.0k")
    assert profile(replace(THREAD, death_certain=False), 46).endswith("  L22 gone?")


def test_a_short_thread_is_shown_whole() -> None:
    short = replace(THREAD, values=(500.0,), death=12, peak=500.0, peak_layer=11)
    assert profile(short, 78) == "L11 500  L12 gone"
