"""While another process writes the session file, the screen answers every key, and what is asked for arrives later."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from textual.pilot import Pilot

from engine import process
from engine.messages import Code, message, words
from engine.session import patience, schema
from engine.session.outbox import Outbox
from engine.session.reader import SessionReader
from engine.session.records import Command
from maxact_tui.screens.board import BoardScreen
from maxact_tui.screens.choice import ChoiceScreen
from maxact_tui.screens.monitor import MonitorScreen
from maxact_tui.screens.prompt import PromptScreen
from maxact_tui.screens.prompteditor import PromptEditor
from maxact_tui.screens.reading import ReadingScreen
from maxact_tui.screens.sample import SampleScreen
from maxact_tui.shell.app import send_rest
from maxact_tui.shell.application import MaxactApp
from maxact_tui.watching import requests as watching_requests
from tests.screen import sessions
from tests.screen.conftest import Shown, is_complete, settle, shows
from tests.screen.pictures import screen_text
from tests.screen.sessions import SessionScript
from tests.screen.terminal import Terminal
from tests.session.locking import WAYS, Hold, held
from tests.waiting import PROGRAM_SECONDS

Way = tuple[str, str]
WORST = WAYS[-1]
LOCKED = words(patience.LOCKED)


@pytest.fixture(params=WAYS, ids="-".join)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Way:
    """The journal sessions are made with, and the transaction that holds them."""
    monkeypatch.setenv("MAXACT_JOURNAL", request.param[0])
    return request.param


@pytest.fixture
def worst(monkeypatch: pytest.MonkeyPatch) -> str:
    """Sessions have a rollback journal; the transaction that keeps readers out, too."""
    monkeypatch.setenv("MAXACT_JOURNAL", WORST[0])
    return WORST[1]


def running(folder: Path) -> SessionScript:
    return sessions.running(folder / "run.maxact", layers=4, massive=2, hostile=False)


def says(text: str) -> Callable[[MaxactApp], bool]:
    return lambda app: text in screen_text(app)


def asked(path: Path) -> list[Command]:
    with SessionReader(path) as reader:
        return reader.commands()


async def assert_keys_work(pilot: Pilot[int], hold: Hold) -> None:
    """Help opens and closes, and the cursor moves, while the file is held."""
    here = pilot.app.screen
    await pilot.press("question_mark")
    assert isinstance(pilot.app.screen, ReadingScreen)
    await pilot.press("escape")
    assert pilot.app.screen is here
    if isinstance(here, MonitorScreen):
        site = here.site
        await pilot.press("down")
        assert here.site != site
    assert hold.is_held


async def test_space_says_what_it_waits_for_while_every_key_works_and_arrives(
    shown: Shown, tmp_path: Path, way: Way
) -> None:
    script = running(tmp_path)
    async with shown(script.path) as pilot:
        await settle(pilot, is_complete)
        with held(script.path, way[1]) as hold:
            await pilot.press("space")
            await assert_keys_work(pilot, hold)
            await settle(pilot, says(f"pause: {LOCKED}"))
            await pilot.press("space")  # asks for nothing twice
            await assert_keys_work(pilot, hold)
        await settle(pilot, lambda app: bool(asked(script.path)))
        (command,) = asked(script.path)
        assert (command.name, command.state) == ("pause", "new")
        await settle(pilot, says("pause: asked the engine, it answers after the batch in hand"))
        script.writer.answer(command, "done", message(Code.NOW_PAUSED))
        await settle(pilot, says("pause: paused"))
    script.writer.close()


async def test_a_prompt_says_that_it_is_not_sent_and_is_found_again(shown: Shown, tmp_path: Path, worst: str) -> None:
    script = running(tmp_path)
    async with shown(script.path) as pilot:
        await settle(pilot, is_complete)
        with held(script.path, worst) as hold:
            await pilot.press("p")
            await settle(pilot, lambda app: isinstance(app.screen, PromptEditor))
            await pilot.press(*"river", "enter")
            await settle(pilot, lambda app: isinstance(app.screen, PromptScreen) and says(LOCKED)(app))
            await settle(pilot, shows("not sent yet … "))
            await assert_keys_work(pilot, hold)
            # Left and opened again, it waits for the same request.
            await pilot.press("escape")
            await assert_keys_work(pilot, hold)
            await pilot.press("p", "escape")
            await settle(pilot, says(LOCKED))
            assert hold.is_held
        await settle(pilot, lambda app: bool(asked(script.path)))
        await settle(pilot, says("waiting for the batch in hand"))
        (command,) = asked(script.path)
        assert (command.name, command.arguments["text"]) == ("probe", "river")
    script.writer.close()


async def test_a_sample_and_an_effect_are_asked_for_without_waiting(shown: Shown, tmp_path: Path, worst: str) -> None:
    script = running(tmp_path)
    async with shown(script.path, 120, 36) as pilot:
        await settle(pilot, is_complete)
        await pilot.press("i")
        await settle(pilot, lambda app: isinstance(app.screen, BoardScreen) and app.screen.tuned_site is not None)
        with held(script.path, worst) as hold:
            await pilot.press("Q")
            await settle(pilot, lambda app: isinstance(app.screen, ChoiceScreen))
            await pilot.press("a")
            await settle(pilot, says(f"effect at all GEMM inputs: {LOCKED}"))
            await assert_keys_work(pilot, hold)
            await pilot.press("escape", "y")
            await settle(pilot, lambda app: isinstance(app.screen, SampleScreen))
            await assert_keys_work(pilot, hold)
        await settle(pilot, lambda app: len(asked(script.path)) == 2)
        assert [command.name for command in asked(script.path)] == ["effect", "probe"]
    script.writer.close()


async def test_the_other_run_starts_once_the_session_can_be_read(
    shown: Shown, tmp_path: Path, worst: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Spawned:
        pid = 2**22 - 3  # nobody: what is tested is over when the engine has been started

    started: list[Path] = []

    def spawn(session: Path, *_: str) -> type[Spawned]:
        started.append(session)
        return Spawned

    monkeypatch.setattr(process, "_spawn", spawn)
    script = sessions.finished(tmp_path / "run.maxact", layers=4, massive=2, hostile=False)
    async with shown(script.path) as pilot:
        await settle(pilot, is_complete)
        with held(script.path, worst) as hold:
            await pilot.press("b")
            await settle(pilot, lambda app: isinstance(app.screen, ChoiceScreen))
            await pilot.press("s")
            await settle(pilot, says(f"the other run: {LOCKED}"))
            await assert_keys_work(pilot, hold)
            assert started == []
        await settle(pilot, lambda app: started == [tmp_path / "run-bos.maxact"])


@pytest.mark.parametrize("state", ["running", "finished", "stopped"])
async def test_no_key_opens_a_session_file_on_the_event_loop(
    shown: Shown, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    class Spawned:
        pid = os.getpid()

    monkeypatch.setattr(process, "_spawn", lambda *_: Spawned)
    monkeypatch.setenv("MAXACT_SESSIONS", str(tmp_path))
    script = running(tmp_path)
    if state != "running":
        script.finish(state)
    opened_by: list[str] = []
    connect = schema._connect

    def noted(*given: object, **named: object) -> sqlite3.Connection:
        opened_by.append(threading.current_thread().name)
        return connect(*given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(schema, "_connect", noted)
    keys = [
        "space",
        "c",
        "p",
        "ctrl+j",
        "escape",
        "y",
        "escape",
        "i",
        "Q",
        "a",
        "Y",
        "escape",
        "b",
        "s",
        "o",
        "escape",
        "d",
        "escape",
        "e",
        "escape",
        "t",
        "escape",
        "enter",
        "y",
        "q",
        "s",
    ]
    async with shown(script.path) as pilot:
        await settle(pilot, is_complete)
        for key in keys:
            await pilot.press(key)
        await settle(pilot, lambda app: not app.unsent)
    assert len(opened_by) > 5
    assert threading.main_thread().name not in opened_by


async def test_what_cannot_be_sent_in_time_is_one_line_and_can_be_asked_for_again(
    shown: Shown, tmp_path: Path, worst: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching_requests, "Outbox", partial(Outbox, seconds=0.0))
    script = running(tmp_path)
    async with shown(script.path, 120, 36) as pilot:
        await settle(pilot, is_complete)
        with held(script.path, worst) as hold:
            await pilot.press("q")
            await settle(pilot, lambda app: isinstance(app.screen, ChoiceScreen))
            await pilot.press("s")
            await settle(pilot, lambda app: any("stop: not sent: " in text for _, text in app.told))
            assert hold.is_held
            (said,) = (text for _, text in pilot.app.told if "not sent" in text)
            assert said.endswith("was being written for 0 s without a pause; try again")
            assert not pilot.app._waits_for_stop
        await pilot.press("space")
        await settle(pilot, lambda app: [command.name for command in asked(script.path)] == ["pause"])
    script.writer.close()


async def test_leaving_does_not_wait_and_what_is_unsent_is_sent_after_the_screen(
    shown: Shown, tmp_path: Path, way: Way, capsys: pytest.CaptureFixture[str]
) -> None:
    script = running(tmp_path)
    async with shown(script.path) as pilot:
        app = pilot.app
        await settle(pilot, is_complete)
        with held(script.path, way[1]) as hold:
            await pilot.press("space")
            await settle(pilot, says(LOCKED))
            await pilot.press("q")
            await settle(pilot, says("The run goes on without this screen; pause is sent first."))
            await pilot.press("l")
            await settle(pilot, lambda app: not app.is_running)
            assert hold.is_held
            assert [request.name for request in app.unsent] == ["pause"]
    send_rest(app)
    assert asked(script.path)[0].name == "pause"
    assert "not sent" not in capsys.readouterr().err
    script.writer.close()


async def test_what_is_left_for_good_is_named_and_never_arrives(
    shown: Shown, tmp_path: Path, way: Way, capsys: pytest.CaptureFixture[str]
) -> None:
    script = running(tmp_path)
    async with shown(script.path) as pilot:
        app = pilot.app
        await settle(pilot, is_complete)
        with held(script.path, way[1]) as hold:
            await pilot.press("space")
            await settle(pilot, says(LOCKED))
            await pilot.press("ctrl+c", "ctrl+c")
            await settle(pilot, lambda app: not app.is_running)
            send_rest(app)
            assert hold.is_held
    said = capsys.readouterr().err
    assert said == "maxact-tui: pause: not sent: it was given up\n"
    assert asked(script.path) == []
    script.writer.close()


LEAVING = """
import sys
from pathlib import Path
from maxact_tui.shell.app import run_app
code = run_app(Path(sys.argv[1]))
print("left with", code)
"""


def test_in_a_terminal_the_request_is_told_after_the_screen_and_sent(tmp_path: Path, worst: str) -> None:
    script = running(tmp_path)
    command = [sys.executable, "-P", "-c", LEAVING, str(script.path)]
    with Terminal(script.path, command=command) as terminal:
        terminal.wait_for(" RUNNING")
        with held(script.path, worst) as hold:
            terminal.press(" ")
            terminal.wait_for(LOCKED)
            terminal.press("?")
            terminal.wait_for("Help")
            terminal.press("\x1b")
            terminal.wait_for(" RUNNING")
            terminal.press("q")
            terminal.wait_for("without this screen; pause is sent first.")
            terminal.press("l")
            terminal.wait_for(lambda t: f"maxact-tui: pause: {LOCKED}; ctrl+c gives it up".encode() in t.raw)
            assert hold.is_held
            hold.release()
            terminal.wait_for(lambda t: b"maxact-tui: pause: sent" in t.raw)
            terminal.wait_for(lambda t: b"left with 3" in t.raw)
    assert [one.name for one in asked(script.path)] == ["pause"]
    script.writer.close()


READING_FOR_EVER = """
import asyncio, threading
from maxact_tui.terminal.forgetting import THREADS, ForgettingPool

async def main():
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ForgettingPool())
    assert await loop.run_in_executor(None, divmod, 7, 2) == (3, 1)
    try:
        await loop.run_in_executor(None, divmod, 7, 0)
    except ZeroDivisionError:
        print("raised")
    for _ in range(THREADS):
        loop.run_in_executor(None, threading.Event().wait)

asyncio.run(main())
print("left")
"""


def test_the_program_ends_although_its_readers_wait_for_a_file() -> None:
    result = subprocess.run(
        [sys.executable, "-P", "-c", READING_FOR_EVER],
        capture_output=True,
        text=True,
        check=False,
        timeout=PROGRAM_SECONDS,
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "raised\nleft\n", "")
