"""The comparison screen: what differs first, ratios with their colours, profiles on one axis; the way back."""

from __future__ import annotations

import math
import shutil
import sys
from pathlib import Path

import pytest
from rich.style import Style

from engine.session.library import FOLDER_VARIABLE
from maxact_tui.pages.comparing import LEVELS, MIDDLE, RatioScale, diverging, read_comparison
from maxact_tui.screens.browser import BrowserScreen
from maxact_tui.screens.compare import ComparisonScreen
from maxact_tui.screens.monitor import MonitorScreen
from maxact_tui.shell.application import MaxactApp
from maxact_tui.terminal.palette import choose_look
from tests.screen import sessions
from tests.screen.conftest import AppPilot, Shown, is_complete, pictured, settle, shows
from tests.screen.pictures import screen_text
from tests.screen.terminal import Terminal

TABS = {"summary": "1", "sites": "2", "profile": "3", "threads": "4", "int8": "5"}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two sessions of one model; the massive activation of the second begins three layers later."""
    folder = tmp_path_factory.mktemp("compare")
    base, later = folder / "base.maxact", folder / "later.maxact"
    sessions.finished(base, hostile=False)
    sessions.finished(later, hostile=False, massive=14, seed=1)
    return [base, later]


def is_read(app: MaxactApp) -> bool:
    return isinstance(app.screen, ComparisonScreen) and "What was" in screen_text(app)


async def open_comparison(pilot: AppPilot, paths: list[Path]) -> None:
    await settle(pilot, is_complete)
    await pilot.app.open_comparison(paths)
    await settle(pilot, lambda app: "reading" not in screen_text(app) and "Summary" in screen_text(app))


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (200, 60)])
@pytest.mark.parametrize("tab", ["summary", "sites", "profile"])
async def test_each_tab_looks_as_pictured(shown: Shown, pair: list[Path], tab: str, columns: int, rows: int) -> None:
    async with shown(pair[0], columns, rows) as pilot:
        await open_comparison(pilot, pair)
        await pilot.press(TABS[tab])
        await settle(pilot, lambda app: f"{TABS[tab]}[" in screen_text(app))
        await pictured(pilot, f"compare-{tab}-{columns}x{rows}")


async def test_the_cursor_starts_at_the_site_that_differs_most_and_tells_both_values(
    shown: Shown, pair: list[Path]
) -> None:
    view = read_comparison(pair)
    rows = view.rows()
    async with shown(pair[0], 120, 36) as pilot:
        await open_comparison(pilot, pair)
        await pilot.press("2")
        await settle(pilot, lambda app: "max|x| of B / A" in screen_text(app))
        await pilot.pause()
        text = screen_text(pilot.app)
        worst = max(rows.values(), key=lambda row: row.distance)
        assert worst.name in text and f"x {worst.ratios[1]:.4g}" in text
        await pilot.press("up")
        await settle(pilot, lambda app: worst.name not in screen_text(app).splitlines()[-3])


async def test_the_other_session_is_chosen_in_the_browser_and_esc_leads_back(
    shown: Shown, pair: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(pair[0].parent))
    async with shown(pair[0], 120, 36) as pilot:
        await settle(pilot, is_complete)
        await pilot.press("d")
        await settle(pilot, lambda app: isinstance(app.screen, BrowserScreen) and "later" in screen_text(app))
        assert "base" not in screen_text(pilot.app).split("Compare with")[1].split("\n", 1)[1]
        await pilot.press("enter")
        await settle(pilot, lambda app: isinstance(app.screen, ComparisonScreen) and "later" in screen_text(app))
        await pilot.press("escape")
        await settle(pilot, lambda app: isinstance(app.screen, MonitorScreen))


async def test_a_session_that_is_alone_says_what_to_do_and_a_second_run_is_asked_for_first(
    shown: Shown, pair: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    alone = Path(shutil.copy(pair[0], tmp_path / "alone.maxact"))
    async with shown(alone) as pilot:
        await settle(pilot, is_complete)
        await pilot.press("d")
        await settle(pilot, lambda app: "no other session yet: esc, then b" in screen_text(app))
        await pilot.press("escape", "b")
        await settle(pilot, lambda app: "samples again with BOS?" in screen_text(app))
        await settle(pilot, shows("the model is loaded once more"))
        await pilot.press("c")
        await settle(pilot, lambda app: isinstance(app.screen, MonitorScreen))
    assert [path.name for path in tmp_path.glob("*.maxact")] == ["alone.maxact"]


async def test_of_three_sessions_each_is_set_against_the_first(shown: Shown, pair: list[Path]) -> None:
    async with shown(pair[0], 120, 36) as pilot:
        await open_comparison(pilot, [*pair, pair[0]])
        await pilot.press("2")
        await settle(pilot, lambda app: "max|x| of B / A" in screen_text(app))
        await pilot.press("n")
        await settle(pilot, lambda app: "max|x| of C / A" in screen_text(app))
        # C is A itself: nothing differs, and nothing has a colour.
        cells = [row.split()[1:5] for row in screen_text(pilot.app).splitlines() if row.startswith("  L1")]
        assert cells and all(cell in ("=", "▸") for row in cells for cell in row)


async def test_a_session_that_cannot_be_read_is_one_line(shown: Shown, pair: list[Path], tmp_path: Path) -> None:
    (tmp_path / "broken.maxact").write_text("hello")
    async with shown(pair[0], 80, 24) as pilot:
        await settle(pilot, is_complete)
        await pilot.app.open_comparison([pair[0], tmp_path / "broken.maxact"])
        await settle(pilot, lambda app: "not a session file" in " ".join(screen_text(app).split()))


async def test_hostile_names_and_tokens_stay_text(shown: Shown, pair: list[Path], tmp_path: Path) -> None:
    evil = tmp_path / "evil\x1b[31m\u202e[bold].maxact"
    sessions.finished(evil, model="x/\x1b]0;owned\x07[/]")
    async with shown(pair[0], 120, 36) as pilot:
        await open_comparison(pilot, [pair[0], evil])
        for key in TABS.values():
            await pilot.press(key)
            await settle(pilot, shows(f"{key}["))
            text = screen_text(pilot.app)
            assert "\x1b" not in text and "\u202e" not in text and "evil" in text


def test_in_a_terminal_the_command_opens_the_screen_and_esc_the_session(pair: list[Path]) -> None:
    command = [sys.executable, "-P", "-m", "maxact_tui", "compare", *map(str, pair)]
    with Terminal(pair[0], 100, 30, command=command) as terminal:
        terminal.wait_for("Findings")
        terminal.press("2")
        terminal.wait_for("max|x| of B / A")
        terminal.press("\x1b")
        terminal.wait_for("token in context")
        terminal.quiet()
        assert len(terminal.raw) < 60 * 1024
        terminal.press("q")
        assert terminal.exit_code() == 0


def test_the_ramp_has_its_middle_for_noise_alone() -> None:
    scale = RatioScale(2.0)
    assert [scale.level(r) for r in (0.0, 0.5, 0.99, 1.01, 2.0, math.inf)] == [0, 0, MIDDLE - 1, MIDDLE + 1, 8, 8]
    assert scale.level(1.0) == scale.level(0.99, is_noise=True) == MIDDLE and scale.level(math.nan) == -1


@pytest.mark.parametrize("system", ["256", "standard", None])
@pytest.mark.parametrize("ascii_only", [False, True])
def test_smaller_and_larger_are_told_apart_in_every_terminal(system: str | None, ascii_only: bool) -> None:
    look = diverging(choose_look(system, ascii_only=ascii_only))
    assert len(look.ramp) == len(look.level_glyphs) == LEVELS
    signs = [(str(style), glyph) for style, glyph in zip(look.ramp, look.level_glyphs, strict=True)]
    assert len(set(signs)) >= 5 and not set(signs[:MIDDLE]) & set(signs[MIDDLE + 1 :])
    assert look.ramp[MIDDLE] == Style() and look.level_glyphs[MIDDLE] == " "
    assert not ascii_only or look.level_glyphs.isascii()
