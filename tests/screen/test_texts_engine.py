"""Prompts and samples through a real engine: beside its run, and after it has ended."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.process import start_engine
from engine.session.reader import SessionReader
from engine.session.records import ENDED
from engine.session.requests import send_command
from maxact_tui.screens.prompt import PromptScreen
from maxact_tui.screens.prompteditor import PromptEditor
from maxact_tui.screens.sample import SampleScreen
from maxact_tui.shell.application import MaxactApp
from maxact_tui.watching.asking import is_alive
from tests.engine.running import EVERY_BATCH, new_session, tiny_job, write_corpus
from tests.models import tiny_llama_folder
from tests.screen.conftest import Shown, settle, shows
from tests.screen.pictures import screen_text
from tests.waiting import until


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Path]:
    """A run of a tiny model; its engine is a process of its own, and is gone afterwards."""
    folder = tiny_llama_folder(tmp_path / "llama")
    job = tiny_job(folder, write_corpus(tmp_path / "c.jsonl"), max_length=48, **EVERY_BATCH)
    path = new_session(tmp_path / "run.maxact", job)
    start_engine(path)
    yield path
    stop_service(path)


def stop_service(path: Path) -> None:
    with SessionReader(path) as reader:
        if is_alive(reader):
            send_command(path, "stop")
        until(lambda: (service := reader.service()) is None or service.phase in ENDED)
    log = path.with_name(path.name + "-wal")
    until(lambda: not log.exists() or not log.stat().st_size)  # one file holds everything only after the last close


def has_values(app: MaxactApp) -> bool:
    screen = app.screen
    return isinstance(screen, PromptScreen | SampleScreen) and screen.view is not None and screen.answer is None


def is_shown(app: MaxactApp) -> bool:
    """Whether values are on the screen, whatever is said beside them of asking for more."""
    return isinstance(app.screen, PromptScreen | SampleScreen) and app.screen.view is not None


@pytest.mark.slow
async def test_prompts_and_samples_from_the_first_second_to_the_copied_file(
    shown: Shown, session: Path, tmp_path: Path
) -> None:
    async with shown(session, 100, 30) as pilot:
        await pilot.press("p")
        await settle(pilot, lambda app: isinstance(app.screen, PromptEditor))
        await pilot.press(*"river ", "enter")
        await settle(pilot, lambda app: "running … " in screen_text(app))
        await settle(pilot, shows(" Prompt  river"))
        assert "no prompt yet" not in screen_text(pilot.app)
        await pilot.press("escape", "p")
        await settle(pilot, lambda app: isinstance(app.screen, PromptEditor))
        # Left, come back and covered: the answer to what was asked before is shown all the same.
        await settle(pilot, lambda app: len(app.snapshot.results) == 1)
        await pilot.press("escape")
        await settle(pilot, has_values)
        await settle(pilot, shows("river   raw"))
        await settle(pilot, lambda app: app.snapshot.has_ended)
        # The run has ended; another engine is started to answer.
        await pilot.press("p")
        await settle(pilot, lambda app: isinstance(app.screen, PromptEditor))
        await pilot.press(*"snow " * 60, "tab", "enter")
        await settle(pilot, lambda app: "the engine loads the model" in screen_text(app))
        await settle(pilot, shows("running … "))
        await settle(pilot, lambda app: has_values(app) and app.screen.view.policy == "bos")
        await settle(pilot, shows("+BOS, 48 tokens, cut"))
        await pilot.press("escape")
        await settle(pilot, lambda app: app.snapshot.view is not None)
        await pilot.press("y")
        await settle(pilot, has_values)
        sample = pilot.app.screen.tokens.sample
    stop_service(session)
    copied = tmp_path / "elsewhere.maxact"
    shutil.copy(session, copied)
    async with shown(copied, 100, 30, read_only=True) as pilot:
        await settle(pilot, lambda app: app.snapshot.view is not None)
        await pilot.press("y")
        await settle(pilot, is_shown)
        assert pilot.app.screen.tokens.sample == sample
        await pilot.press("escape", "p")
        await settle(pilot, is_shown)
        await settle(pilot, lambda app: "asks for nothing new" in screen_text(app))
