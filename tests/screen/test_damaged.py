"""Damaged sessions on the screen: the damage is a message, the app goes on, and leaving it asks nothing."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
from textual.pilot import Pilot

from engine.session.library import log_path
from engine.session.reader import SessionReader
from maxact_tui.pages.waiting import DAMAGED
from maxact_tui.screens.board import BoardScreen
from maxact_tui.screens.browser import BrowserScreen
from maxact_tui.screens.choice import ChoiceScreen
from maxact_tui.screens.monitor import MonitorScreen
from maxact_tui.screens.site import SiteScreen
from maxact_tui.shell import ordering
from maxact_tui.shell.application import MaxactApp
from maxact_tui.terminal.private import failure_of
from maxact_tui.watching.looking import Look
from maxact_tui.watching.snapshot import Snapshot, Wish
from tests.screen import sessions
from tests.screen.conftest import Shown, settle
from tests.screen.pictures import screen_text
from tests.session.damages import BEGINNING, EVERYTHING, NUMBERS

KEYS = (
    "y",
    "escape",
    "i",
    "escape",
    "c",
    "escape",
    "t",
    "escape",
    "enter",
    "2",
    "3",
    "4",
    "5",
    "escape",
    "2",
    "3",
    "4",
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A finished session, as bytes."""
    path = tmp_path_factory.mktemp("whole") / "run.maxact"
    sessions.finished(path, layers=3, samples=5)
    return path.read_bytes()


@pytest.fixture
def bad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: bytes) -> Path:
    """A session to be damaged, beside a whole one."""
    monkeypatch.setenv("MAXACT_SESSIONS", str(tmp_path))
    (tmp_path / "good.maxact").write_bytes(whole)
    path = tmp_path / "bad.maxact"
    path.write_bytes(whole)
    return path


def head(pilot: Pilot[int]) -> str:
    return "\n".join(screen_text(pilot.app).splitlines()[:2])


@pytest.mark.parametrize("damage", ["pages from 20", "arrays cut short", "no samples", "a vocabulary of numbers"])
async def test_every_key_does_no_harm_to_damaged_numbers(
    shown: Shown, bad: Path, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ordering, "LONGEST_HOLD_SECONDS", 0.1)  # keys wait for numbers, which here never come
    NUMBERS[damage](bad)
    async with shown(bad, 100, 30) as pilot:
        await settle(pilot, lambda app: "it is damaged: " in app.snapshot.problem)
        assert "it is damaged: " in head(pilot)
        for key in KEYS:
            await pilot.press(key)
            await settle(pilot, lambda app: not app._held)  # the key has been obeyed, with or without numbers
        assert pilot.app.is_running
    assert failure_of(pilot.app) is None


@pytest.mark.parametrize("damage", BEGINNING)
async def test_what_cannot_be_read_at_all_is_said_and_left_without_a_question(
    shown: Shown, bad: Path, damage: str
) -> None:
    BEGINNING[damage](bad)
    async with shown(bad) as pilot:
        await settle(pilot, lambda app: app.snapshot.problem != "")
        assert " it is damaged: " in head(pilot)
        await pilot.press("q")
    assert pilot.app.return_code == 1


async def test_a_run_that_goes_on_is_still_asked_about(shown: Shown, bad: Path) -> None:
    bad.unlink()
    script = sessions.running(bad, layers=3, samples=5)
    async with shown(bad) as pilot:
        await settle(pilot, lambda app: app.snapshot.status is not None)
        await pilot.press("q")
        await settle(pilot, lambda app: isinstance(app.screen, ChoiceScreen))
    script.writer.close()


async def test_the_browser_shows_it_and_why_once_it_is_chosen(shown: Shown, bad: Path) -> None:
    BEGINNING["a job cut short"](bad)
    async with shown(None, 100, 24) as pilot:
        await settle(pilot, lambda app: isinstance(app.screen, BrowserScreen) and "bad" in screen_text(app))
        rows = [row for row in screen_text(pilot.app).splitlines() if "bad" in row or "good" in row]
        assert ["damaged" in row for row in rows] == ["bad" in row for row in rows]
        assert "finished" in next(row for row in rows if "good" in row)
        chosen = pilot.app.screen
        assert isinstance(chosen, BrowserScreen)
        while chosen._sessions[chosen.chosen or 0].path != bad:
            await pilot.press("down")
        await pilot.press("enter")
        await settle(pilot, lambda app: isinstance(app.screen, MonitorScreen) and app.snapshot.problem != "")
        assert (
            "it is damaged: what it says of its run cannot be read (a row is not what was written: its checksum"
            in head(pilot)
        )
        await pilot.press("q")
    assert failure_of(pilot.app) is None


@pytest.mark.parametrize("damage", EVERYTHING)
def test_a_damaged_file_is_read_once_and_not_four_times_a_second(bad: Path, damage: str) -> None:
    EVERYTHING[damage](bad)
    look, wish = Look(bad), Wish(model=True, board=True)
    seen = [snapshot for _ in range(12) if (snapshot := look.again(wish)) is not None]
    assert "it is damaged: " in seen[-1].problem
    assert all(look.again(wish) is None for _ in range(3))
    assert look._reader is None or damage in NUMBERS, "it was not even opened"
    look.close()


def spoil(session: Path, site: int) -> None:
    """One bit of the histogram of a site."""
    with closing(sqlite3.connect(session)) as db:
        owner, name, data = db.execute(
            "SELECT owner, name, data FROM arrays WHERE owner = ? AND name = 'histogram'", (str(site),)
        ).fetchone()
        changed = bytes([data[0] ^ 1]) + data[1:]
        db.execute("UPDATE arrays SET data = ? WHERE owner = ? AND name = ?", (changed, owner, name))
        db.commit()


def test_one_damaged_site_is_named_and_the_others_are_shown(bad: Path) -> None:
    spoil(bad, 3)
    look = Look(bad)

    def last(wish: Wish) -> Snapshot:
        seen = [snapshot for _ in range(6) if (snapshot := look.again(wish)) is not None]
        return seen[-1]

    board = last(Wish(focus=1, board=True, model=True))
    assert "it is damaged" in board.problem
    assert board.view is not None
    assert board.damages.view == ""
    assert "its checksum differs" in board.damages.board
    assert "its checksum differs" in board.damages.model
    assert len(board.labels) == 5
    site = last(Wish(focus=3, board=True, model=True))
    assert site.view is None
    assert "its checksum differs" in site.damages.view
    assert last(Wish(focus=2)).view is not None
    look.close()


async def test_damaged_numbers_are_called_so_where_they_would_stand(shown: Shown, bad: Path) -> None:
    with SessionReader(bad) as reader:
        sites = len(reader.all_totals())
    for site in range(sites):
        spoil(bad, site)
    async with shown(bad, 100, 30) as pilot:
        await settle(pilot, lambda app: "it is damaged: " in screen_text(app))
        await pilot.press("i")
        await settle(pilot, lambda app: isinstance(app.screen, BoardScreen) and DAMAGED in screen_text(app))
        assert "reading" not in screen_text(pilot.app)
        await pilot.press("escape")
        await settle(pilot, lambda app: isinstance(app.screen, MonitorScreen))
        await pilot.press("enter")
        await settle(pilot, lambda app: isinstance(app.screen, SiteScreen) and DAMAGED in screen_text(app))
        assert "reading" not in screen_text(pilot.app)


def test_a_file_that_is_mended_is_read_again(bad: Path, whole: bytes) -> None:
    BEGINNING["no status"](bad)
    look = Look(bad)
    broken, broken_at = look.again(Wish()), bad.stat().st_mtime_ns
    assert broken is not None
    assert broken.problem
    assert look.again(Wish()) is None
    bad.write_bytes(whole)
    later = broken_at + 1_000_000  # the clock of a file system may be coarse
    os.utime(bad, ns=(later, later))
    mended = look.again(Wish())
    assert mended is not None
    assert (mended.problem, mended.has_ended) == ("", True)
    look.close()


async def test_a_full_disk_is_the_reason_that_the_log_gives(shown: Shown, bad: Path) -> None:
    bad.unlink()
    script = sessions.running(bad, layers=3, samples=5)
    script.writer.set_status(script.status.changed(boot="earlier"))
    script.writer.close()
    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(script.status.started + 9))
    reason = "checkpoint not written: database or disk is full; free some space, then continue with ..."
    log_path(bad).write_text(f"{stamp},001 INFO engine.run.recording: run: failed: {reason}\n")
    async with shown(bad, 120, 36) as pilot:
        await settle(pilot, lambda app: "saved:" in screen_text(app))
        text = " ".join(screen_text(pilot.app).split())
    app = pilot.app
    assert isinstance(app, MaxactApp)
    assert "the run failed: checkpoint not written: database or disk is full; free some space" in text
    assert "gave no reason" not in text
