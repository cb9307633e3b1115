"""Every screen there is, found by pressing every key: hostile text stays text, columns stay aligned, nothing is sent.

A new screen is found by itself as soon as a key opens it.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import shutil
import unicodedata
from pathlib import Path

import pytest
from rich.cells import cell_len
from textual.pilot import Pilot
from textual.screen import Screen

import maxact_tui.screens
from engine.messages import as_written
from engine.session.writer import SessionWriter
from maxact_tui.keymap.actions import actions_of
from maxact_tui.screens.alarmed import Alarmed
from maxact_tui.screens.answering import AnsweringScreen
from maxact_tui.screens.asking import AskingScreen
from maxact_tui.screens.export import ExportScreen
from maxact_tui.screens.monitor import MonitorScreen
from maxact_tui.screens.narrowed import Narrowed
from maxact_tui.screens.palette import PaletteScreen
from maxact_tui.screens.panel import Paned
from maxact_tui.screens.probe import ProbeScreen
from maxact_tui.screens.reading import ReadingScreen
from maxact_tui.screens.steady import Steady
from maxact_tui.screens.watched import WatchedScreen
from maxact_tui.shell.application import MaxactApp
from maxact_tui.terminal.private import rows_of
from tests.screen.conftest import Shown, is_complete, settle
from tests.screen.probed import probed
from tests.screen.sessions import HOSTILE
from tests.screen.terminal import Terminal, sequences
from tests.screen.test_terminal import OWN_SEQUENCES

BASES = (Steady, Alarmed, WatchedScreen, AskingScreen, AnsweringScreen, Narrowed, Paned, ProbeScreen)
UNSAFE = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
# Leaving is tried last, moving changes nothing but the place, and the help and the palette are the same everywhere.
LEAVING = (
    "leave", "quit", "help_quit", "back", "close", "dismiss_none", "focus", "screen.", "theme", "repaint",
    "cursor", "scroll", "page", "edge", "move", "copy", "picture",
)  # fmt: skip
# What only opens where an engine may be asked; tests of their own draw these.
NEED_AN_ENGINE = {"PromptEditor", "NumberScreen", "PromptCompareScreen"}


def every_screen() -> dict[str, type[Screen[object]]]:
    """The screen classes of the package, by name, without those that are only bases of others."""
    modules = [
        importlib.import_module(module.name)
        for module in pkgutil.iter_modules(maxact_tui.screens.__path__, "maxact_tui.screens.")
    ]
    return {
        name: kind
        for module in modules
        for name, kind in inspect.getmembers(module, inspect.isclass)
        if issubclass(kind, Screen) and kind.__module__ == module.__name__ and kind not in BASES
    }


@pytest.fixture
def hostile_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished session with everything a session can hold, all of its names and texts hostile."""
    monkeypatch.setenv("MAXACT_SESSIONS", str(tmp_path))
    path = tmp_path / "\x1b]0;owned\x07[b].maxact"
    probed(path, hostile=True)
    writer = SessionWriter.open(path)
    for piece in HOSTILE:
        writer.add_event("problem", as_written(piece.decode("utf-8", "replace") + " \x1b[2J"), tokens=9, site=4)
    writer.close(final=True)
    return path


def check(app: MaxactApp, pressed: str) -> None:
    """Every row is as wide as the screen, and every character one that shows itself.

    Raises:
        AssertionError: not so.
    """
    for strip in rows_of(app.screen):
        text = strip.text
        assert cell_len(text) == app.size.width, (pressed, text)
        unsafe = [character for character in text if unicodedata.category(character) in UNSAFE]
        assert not unsafe, (pressed, text)


async def explore(pilot: Pilot[int], seen: set[str], path: str = "") -> None:
    """Press every key of this screen, and of every screen that opens."""
    app, screen = pilot.app, pilot.app.screen
    assert isinstance(app, MaxactApp)
    check(app, path)
    if type(screen).__name__ in seen:
        return
    seen.add(type(screen).__name__)
    skipped = LEAVING if isinstance(screen, MonitorScreen) else (*LEAVING, "palette", "help")
    # The report of an export comes some time later, over whatever is explored by then.
    skipped = (*skipped, "choose", "write") if isinstance(screen, ExportScreen | PaletteScreen) else skipped
    actions = {active.binding.action.removeprefix("app."): key for key, active in screen.active_bindings.items()}
    keys = [key for action, key in actions.items() if not action.startswith(skipped)]
    for key in sorted(keys, key=lambda key: (key == "enter", key)):
        await pilot.press(key)
        check(app, f"{path} {key}")
        if key == "slash":  # what follows would be typed into the filter
            await pilot.press("escape")
        if app.screen is not screen:
            await explore(pilot, seen, f"{path} {key}")
            for _ in range(8):
                if isinstance(app.screen, type(screen) | MonitorScreen):
                    break
                await pilot.press("escape")
            if not isinstance(app.screen, type(screen)):
                return


@pytest.mark.slow
async def test_hostile_text_on_every_screen_and_a_read_only_screen_sends_nothing(
    shown: Shown, hostile_session: Path, tmp_path: Path
) -> None:
    other = tmp_path / "\u202eother.maxact"
    shutil.copy(hostile_session, other)
    before = hostile_session.read_bytes()
    async with shown(hostile_session, read_only=True) as pilot:
        await settle(pilot, is_complete)
        seen: set[str] = set()
        await explore(pilot, seen)
        assert isinstance(pilot.app.screen, MonitorScreen)
        await pilot.press("e", "enter")
        await settle(pilot, lambda app: isinstance(app.screen, ReadingScreen))
        check(pilot.app, "exported")
        await pilot.press("escape")
        await pilot.app.open_comparison([hostile_session, other])
        await explore(pilot, seen, "comparison")
    assert set(every_screen()) - seen <= NEED_AN_ENGINE
    assert hostile_session.read_bytes() == before


def test_no_screen_lets_an_escape_of_a_token_through(hostile_session: Path) -> None:
    opening = [
        a.keys[0]
        for a in actions_of("monitor", "app")
        if a.keys and a.name.startswith("app.") and not a.name.startswith("app.ab")
    ]
    names = {"enter": "\r", "slash": "/", "colon": ":", "question_mark": "?", "space": " ",
             "left_parenthesis": "(", "right_parenthesis": ")"}  # fmt: skip
    with Terminal(hostile_session, 120, 36, arguments=("--read-only",)) as terminal:
        terminal.wait_for("token in context")
        for key in opening:
            for sent in (names.get(key, key), "12345", "\x1b", "\x1b"):
                terminal.press(sent)
                terminal.quiet(looks=3)
        assert sequences(bytes(terminal.raw)) <= OWN_SEQUENCES
        assert b"owned\x07" not in terminal.raw
        assert b"]52;c;b3duZWQ=\x07" not in terminal.raw
        assert terminal.status is None
