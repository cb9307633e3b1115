"""What can be opened from the overview, narrow and wide; screens with tests of their own are pictured there."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from maxact_tui.screens.site import SiteScreen
from maxact_tui.shell.application import MaxactApp
from tests.screen.conftest import Shown, is_complete, pictured, settle, shows


@dataclass(frozen=True, slots=True)
class Picture:
    """A screen: its name, the keys that lead there from the overview, what it shows then, the keys that lead back."""

    name: str
    keys: tuple[str, ...]
    words: str
    back: tuple[str, ...] = ("escape",)


OVERVIEW = (
    Picture("monitor", (), "[Tokens]", ()),
    Picture("pane-1", ("1",), "[Tokens]", ()),
    Picture("pane-2", ("2",), "[Channels]", ("1",)),
    Picture("pane-3", ("3",), "by layer: max, •", ("1",)),
    Picture("pane-4", ("4",), "[Histogram]", ("1",)),
    Picture("measure-crest", ("m", "m", "m"), "crest", ("M", "M", "M")),
)
OPENED = (
    Picture("site-1", ("enter", "1"), "[Tokens]"),
    Picture("site-2", ("enter", "2"), "[Channels]"),
    Picture("site-3", ("enter", "3"), "[Distribution]"),
    Picture("site-4", ("enter", "4"), "[Samples]"),
    Picture("threads", ("t",), "Threads: "),
    Picture("events", ("v",), "Events"),
    Picture("sessions", ("o",), "clean"),
    Picture("palette", ("colon",), "type a few letters"),
    Picture("help", ("question_mark",), "lines 1-"),
)


# Only the overview is laid out in another way between 110 and 170 columns.
@pytest.mark.parametrize(
    ("columns", "rows", "pictures"), [(80, 24, OVERVIEW + OPENED), (120, 36, OVERVIEW), (200, 60, OVERVIEW + OPENED)]
)
async def test_every_screen_looks_as_pictured(
    shown: Shown,
    clean_session: Path,
    monkeypatch: pytest.MonkeyPatch,
    columns: int,
    rows: int,
    pictures: tuple[Picture, ...],
) -> None:
    monkeypatch.setenv("MAXACT_SESSIONS", str(clean_session.parent))
    async with shown(clean_session, columns, rows) as pilot:
        await settle(pilot, is_complete)
        for picture in pictures:
            await pilot.press(*picture.keys)
            await settle(pilot, shows(picture.words))
            await settle(pilot, has_arrays)
            await pictured(pilot, f"{picture.name}-{columns}x{rows}", timeless)
            await pilot.press(*picture.back)
            await settle(pilot, lambda app: app.screen is app.monitor)


def has_arrays(app: MaxactApp) -> bool:
    """Whether the arrays of the site that is shown have been read."""
    view, screen = app.snapshot.view, app.screen
    return view is not None and (not isinstance(screen, SiteScreen) or view.site == screen.site)


def timeless(text: str) -> str:
    """Without dates, folders, and the age and size of the session file."""
    text = re.sub(r"\d{4}-\d{2}-\d{2} \d{2}:\d{2}(:\d{2})?", "DATE", text)
    text = re.sub(r"^ Sessions  .*", " Sessions  FOLDER", text)
    return re.sub(r"(100 %) +\S+ +\d+ KiB", r"\1      AGE       SIZE", text)
