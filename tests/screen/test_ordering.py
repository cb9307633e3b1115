"""Keys typed faster than screens open and close: each one reaches the screen it was meant for."""

from __future__ import annotations

import asyncio
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest
from textual.events import Key, MouseDown, Paste
from textual.pilot import Pilot

from engine.session.library import FOLDER_VARIABLE
from maxact_tui.screens import filterable
from maxact_tui.screens.board import BoardScreen
from maxact_tui.screens.choice import ChoiceScreen
from maxact_tui.screens.filterable import Filterable
from maxact_tui.screens.monitor import MonitorScreen
from maxact_tui.screens.palette import PaletteScreen
from maxact_tui.screens.reading import ReadingScreen
from maxact_tui.screens.site import SiteScreen
from maxact_tui.screens.watched import Awaiting
from maxact_tui.shell.application import MaxactApp
from maxact_tui.terminal.pasting import Pastes
from maxact_tui.terminal.typing import KeyParser, TogetherKey
from maxact_tui.widgets.heatmap import Heatmap
from maxact_tui.widgets.picker import Picker
from tests.screen.conftest import Shown, is_complete, settle, shows
from tests.screen.pictures import screen_text
from tests.screen.terminal import Terminal
from tests.waiting import PATIENCE_SECONDS, until

# What opens, closes, moves, sorts and types; `enter` and letters mean something else on every screen.
TYPED = (
    "i",
    "t",
    "v",
    "c",
    "?",
    "Q",
    "s",
    "S",
    "/",
    "]",
    "4",
    "5",
    "0",
    ".",
    "\x1b[B",
    "\r",
    ":threads\rs",
    ":INT8\rS",
)
ESC = "\x1b"


@contextmanager
def busy_machine() -> Iterator[None]:
    """Every core has something else to do."""
    burning = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(3)]
    try:
        yield
    finally:
        for process in burning:
            process.kill()
            process.wait()


def typed_at_random(seed: int, count: int) -> list[str]:
    """Keys, as a terminal sends them; about every third one is esc."""
    chance = random.Random(seed)
    return [ESC if chance.random() < 0.35 else chance.choice(TYPED) for _ in range(count)]


async def send(pilot: Pilot[int], sent: str) -> None:
    """What a terminal would send at once; waits until every key has been obeyed."""
    parser, app = KeyParser(), pilot.app
    assert isinstance(app, MaxactApp)
    for message in parser.feed(sent + "\x1b[1;1R"):  # a report that ends an esc
        app.post_message(message)
    obeyed: list[bool] = []
    app.call_later(obeyed.append, True)
    end = time.monotonic() + PATIENCE_SECONDS
    while not obeyed or app._held or (isinstance(app.screen, Awaiting) and app.screen.awaits("sort")):
        assert time.monotonic() < end, (sent, app._held)
        await asyncio.sleep(0.01)


def state(app: MaxactApp) -> list[object]:
    """Which screens are open, and where the user is on each."""
    found: list[object] = []
    for screen in app.screen_stack[1:]:
        found.append(type(screen).__name__)
        if isinstance(screen, Filterable):
            found += [screen.kept.text, screen.prompt.text]
        found += [picker.selected for picker in screen.query(Picker)]
        found += [heatmap.cursor for heatmap in screen.query(Heatmap)]
        found += [str(getattr(screen, name)) for name in ("sorting", "tuning", "_tab") if hasattr(screen, name)]
    return found


async def test_keys_in_a_burst_lead_where_the_same_keys_lead_one_by_one(
    shown: Shown, clean_session: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    session = Path(shutil.copy(clean_session, tmp_path / "run.maxact"))
    bursts = [typed_at_random(seed, 16) for seed in range(4)]
    reached: list[list[object]] = []
    for is_slow in (True, False):
        filterable._HISTORY.clear()
        async with shown(session, 120, 36, read_only=True) as pilot:
            await settle(pilot, is_complete)
            with nullcontext() if is_slow else busy_machine():
                for number, burst in enumerate(bursts):
                    for sent in burst if is_slow else ["".join(burst)]:
                        await send(pilot, sent)
                    if is_slow:
                        reached.append(state(pilot.app))
                    else:
                        assert state(pilot.app) == reached[number], burst
    assert len({str(one[:1]) for one in reached}) > 1, "the bursts end on several screens"


async def test_a_key_waits_for_what_it_works_on(shown: Shown, clean_session: Path) -> None:
    async with shown(clean_session, 120, 36, read_only=True) as pilot:
        await send(pilot, "i")  # ahead of the first look at the session
        assert isinstance(pilot.app.screen, BoardScreen)
        await send(pilot, f"{ESC}iQ")
        assert isinstance(pilot.app.screen, ChoiceScreen)
        await send(pilot, f"q{ESC}is\r,,")
        screen = pilot.app.screen
        assert isinstance(screen, SiteScreen)
        assert screen.tuning.threshold is not None
        await send(pilot, f"{ESC}{ESC}i=12.5\r")
        assert isinstance(pilot.app.screen, BoardScreen)
        assert pilot.app.screen.tuning.threshold == 12.5


async def test_dialogs_and_pages_have_keys_of_their_own(shown: Shown, clean_session: Path) -> None:
    async with shown(clean_session, 120, 36, read_only=True) as pilot:
        await settle(pilot, is_complete)
        await send(pilot, ":quant?PY")
        assert isinstance(pilot.app.screen, PaletteScreen)
        await settle(pilot, lambda app: ": quant?PY_" in screen_text(app))
        await send(pilot, f"{ESC}?q")
        assert isinstance(pilot.app.screen, MonitorScreen)
        await send(pilot, "iQ?")
        assert isinstance(pilot.app.screen, ReadingScreen)
        await settle(pilot, lambda app: "Questions" in screen_text(app))
        await settle(pilot, shows("Close without an answer"))
        await send(pilot, "q:i")
        assert isinstance(pilot.app.screen, ChoiceScreen), "what works everywhere would act on the screen below"
        await send(pilot, "qs")
        assert isinstance(pilot.app.screen, BoardScreen)


@pytest.mark.parametrize(
    ("pieces", "keys"),
    [
        ([f"{ESC}{ESC}is"], "escape escape+i s"),
        ([f"{ESC}i{ESC}t{ESC}"], "escape+i escape+t escape"),
        ([ESC, f"i{ESC}", "[B", ESC], "escape+i down escape"),
        ([f"a{ESC}\r{ESC}[A{ESC}OP"], "a escape+enter up f1"),
        ([f"x{ESC}[200~p{ESC}", f"[201~{ESC}", "y"], "x paste escape+y"),
    ],
)
def test_esc_and_the_key_after_it_are_both_there(pieces: list[str], keys: str) -> None:
    parser = Pastes(KeyParser())
    messages = [message for piece in pieces for message in parser.feed(piece)]

    def found() -> str:
        messages.extend(parser.tick())
        return " ".join(
            "+".join(key.key for key in one.apart)
            if isinstance(one, TogetherKey)
            else one.key
            if isinstance(one, Key)
            else "paste"
            for one in messages
            if isinstance(one, Key | Paste)
        )

    until(lambda: len(found()) >= len(keys), found)  # an esc at the end is known by what does not follow it
    assert found() == keys


def test_a_burst_from_a_real_terminal_is_obeyed_in_its_order(clean_session: Path) -> None:
    with Terminal(clean_session, 120, 36, arguments=("--read-only",)) as terminal:
        terminal.wait_for("M 23,168")
        terminal.press(f"?q{ESC}{ESC}t{ESC}v{ESC}:threads\r{ESC}is")
        terminal.wait_for("sites as the model computes")
        terminal.press(f"{ESC}:quant{ESC}q")
        assert terminal.exit_code() == 0


async def test_what_is_typed_pasted_or_clicked_while_the_program_ends_is_dropped(clean_session: Path) -> None:
    app = MaxactApp(clean_session)  # no screen yet is as no screen any more
    assert not app.screen_stack
    for event in (Key("escape", None), Paste("[/]"), MouseDown(None, 0, 0, 0, 0, 1, False, False, False)):
        await app.on_event(event)
