"""The monitor shows a session in every size, and its keys do what they say."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.messages import Code, message
from engine.session.library import log_path
from engine.session.reader import SessionReader
from engine.statistics.fields import LIVE_FIELDS
from maxact_tui.pages.measures import MEASURES
from maxact_tui.screens.choice import ChoiceScreen
from maxact_tui.screens.monitor import MonitorScreen
from maxact_tui.screens.reading import ReadingScreen
from maxact_tui.screens.threads import ThreadsScreen
from maxact_tui.terminal.palette import choose_look
from maxact_tui.watching import watcher
from maxact_tui.watching.snapshot import Snapshot
from tests.screen import sessions
from tests.screen.conftest import Shown, has_screens, is_complete, pictured, settle, shows
from tests.screen.pictures import screen_text
from tests.values import some


@pytest.mark.parametrize("size", [(59, 24), (80, 15), (20, 5)])
async def test_a_small_window_gets_one_plain_sentence(shown: Shown, clean_session: Path, size: tuple[int, int]) -> None:
    async with shown(clean_session, *size) as pilot:
        await settle(pilot, is_complete)
        text = screen_text(pilot.app)
        assert "at least 60 columns" in " ".join(text.split())
        assert "SmolLM2" not in text


async def test_the_cursor_starts_on_the_site_of_the_maximum(shown: Shown, clean_session: Path) -> None:
    async with shown(clean_session) as pilot:
        await settle(pilot, is_complete)
        assert "layer 11 mlp_output" in screen_text(pilot.app) or "layer 11 hidden" in screen_text(pilot.app)
        maximum = pilot.app.snapshot.maximum
        assert maximum is not None
        assert pilot.app.screen.site == maximum.site


async def test_arrows_move_the_cursor_and_the_panel_follows(shown: Shown, clean_session: Path) -> None:
    async with shown(clean_session) as pilot:
        await settle(pilot, is_complete)
        await pilot.press("home", "down", "left")
        await settle(pilot, lambda app: app.snapshot.view is not None and app.snapshot.view.site == app.screen.site)
        await settle(pilot, shows("layer 0 mlp_output"))
        await pilot.press("end")
        await settle(pilot, lambda app: app.snapshot.focus == app.screen.site)
        await settle(pilot, shows("layer 29 mlp_output"))


async def test_x_walks_over_the_sites_that_are_tied_at_the_maximum(shown: Shown, clean_session: Path) -> None:
    async with shown(clean_session) as pilot:
        await settle(pilot, is_complete)
        plateau = some(pilot.app.snapshot.maximum).plateau
        visited = []
        for _ in plateau:
            await pilot.press("x")
            visited.append(pilot.app.screen.site)
        assert sorted(visited) == sorted(plateau)


async def test_m_walks_through_the_measures(shown: Shown, clean_session: Path) -> None:
    async with shown(clean_session) as pilot:
        await settle(pilot, is_complete)
        seen = []
        for _ in MEASURES:
            await settle(pilot, is_complete)
            await pilot.pause()
            seen.append(next(row for row in screen_text(pilot.app).split("\n") if "* M" in row or "! NaN" in row)[:12])
            await pilot.press("m")
        assert len({legend.split()[0] for legend in seen}) == len(MEASURES)


async def test_space_pauses_and_the_answer_is_shown(shown: Shown, tmp_path: Path) -> None:
    script = sessions.running(tmp_path / "run.maxact")
    async with shown(script.path) as pilot:
        await settle(pilot, lambda app: app.snapshot.live is not None)
        await pilot.press("space")
        command = script.writer.new_commands()[0]
        assert command.name == "pause"
        script.writer.answer(command, "done", message(Code.NOW_PAUSED))
        script.status = script.status.changed(phase="paused")
        script.writer.set_status(script.status)
        await settle(pilot, lambda app: "pause: paused" in screen_text(app))
        await settle(pilot, shows("PAUSED"))
        await pilot.press("space")
        assert script.writer.new_commands()[0].name == "resume"


async def test_a_read_only_screen_sends_nothing(shown: Shown, tmp_path: Path) -> None:
    script = sessions.running(tmp_path / "run.maxact")
    async with shown(script.path, read_only=True) as pilot:
        await settle(pilot, lambda app: app.snapshot.live is not None)
        await pilot.press("space")
        await pilot.pause()
        await settle(pilot, shows("read-only"))
        await pilot.press("q")
        await settle(pilot, lambda app: "leave it running" in screen_text(app))
        assert "stop it" not in screen_text(pilot.app)
    with SessionReader(script.path) as reader:
        assert reader.commands() == []


async def test_q_leaves_a_finished_session_at_once(shown: Shown, clean_session: Path) -> None:
    async with shown(clean_session) as pilot:
        await settle(pilot, is_complete)
        await pilot.press("q")
        await pilot.pause()
    assert pilot.app.return_value == 0


@pytest.mark.parametrize(("keys", "code"), [(["l"], 3), (["enter"], 3)])
async def test_q_can_leave_a_run_running(shown: Shown, tmp_path: Path, keys: list[str], code: int) -> None:
    script = sessions.running(tmp_path / "run.maxact")
    async with shown(script.path) as pilot:
        await settle(pilot, lambda app: app.snapshot.live is not None)
        await pilot.press("q")
        await settle(pilot, lambda app: isinstance(app.screen, ChoiceScreen) and "esc cancels" in screen_text(app))
        await pictured(pilot, "quit-80x24")
        await pilot.press(*keys)
        await pilot.pause()
    assert pilot.app.return_value == code
    assert script.writer.new_commands() == []


async def test_q_can_stop_the_run_and_leaves_when_it_has_stopped(shown: Shown, tmp_path: Path) -> None:
    script = sessions.running(tmp_path / "run.maxact")
    async with shown(script.path) as pilot:
        await settle(pilot, lambda app: app.snapshot.live is not None)
        await pilot.press("q", "s")
        await pilot.pause()
        assert script.writer.new_commands()[0].name == "stop"
        assert pilot.app.return_value is None
        script.finish("stopped")
        await settle(pilot, lambda app: app.return_value is not None)
    assert pilot.app.return_value == 0


async def test_q_can_be_taken_back(shown: Shown, tmp_path: Path) -> None:
    script = sessions.running(tmp_path / "run.maxact")
    async with shown(script.path) as pilot:
        await settle(pilot, lambda app: app.snapshot.live is not None)
        await pilot.press("q", "escape")
        await pilot.pause()
        assert isinstance(pilot.app.screen, MonitorScreen)


async def test_help_lists_keys_measures_and_signs(shown: Shown, clean_session: Path) -> None:
    async with shown(clean_session, 120, 36) as pilot:
        await settle(pilot, is_complete)
        await pilot.press("question_mark")
        await settle(pilot, lambda app: isinstance(app.screen, ReadingScreen) and "lines 1-34" in screen_text(app))
        await pilot.press("escape")
        assert isinstance(pilot.app.screen, MonitorScreen)


@pytest.mark.parametrize("keys", [("question_mark",), ("i", "equals_sign")])
async def test_what_was_covered_is_up_to_date_as_soon_as_it_is_uncovered(
    keys: tuple[str, ...], shown: Shown, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = sessions.running(tmp_path / "run.maxact", layers=4, massive=2, hostile=False)
    async with shown(script.path) as pilot:
        await settle(pilot, is_complete)
        for number, key in enumerate(keys, 1):
            await pilot.press(key)
            await settle(pilot, has_screens(number + 1))
        waits: list[float | None] = []
        wake = some(pilot.app.watcher)._wake
        wait = wake.wait

        def noted(seconds: float | None = None) -> bool:
            waits.append(seconds)
            return wait(seconds)

        monkeypatch.setattr(wake, "wait", noted)
        monkeypatch.setattr(watcher, "POLL_SECONDS", 600.0)
        await settle(pilot, lambda _: 600.0 in waits)
        before = some(pilot.app.snapshot.status).samples_done
        script.tick()
        await pilot.pause(0.5)
        assert some(pilot.app.snapshot.status).samples_done == before
        await pilot.press("escape")
        await settle(pilot, lambda app: some(app.snapshot.status).samples_done == before + 1)


async def test_the_palette_runs_what_was_typed(shown: Shown, clean_session: Path) -> None:
    async with shown(clean_session) as pilot:
        await settle(pilot, is_complete)
        await pilot.press("colon", *"thread")
        await settle(pilot, lambda app: ": thread_" in screen_text(app) and "esc back" in screen_text(app))
        await pictured(pilot, "palette-typed-80x24")
        await pilot.press("enter")
        await settle(pilot, lambda app: isinstance(app.screen, ThreadsScreen))
        await pilot.press("escape", "colon", *"next measure", "enter")
        await settle(pilot, lambda app: isinstance(app.screen, MonitorScreen) and "rms 0.01" in screen_text(app))
        await pilot.press("colon", *"leave", "enter")
        await pilot.pause()
    assert pilot.app.return_value == 0


async def test_before_the_plan_the_screen_says_what_happens(shown: Shown, tmp_path: Path) -> None:
    script = sessions.SessionScript(tmp_path / "run.maxact")
    script.status = script.status.changed(
        phase="loading", message=message(Code.LOADING_WEIGHTS), done=120, total=272, unit="tensors"
    )
    script.writer.set_status(script.status)
    async with shown(script.path) as pilot:
        await settle(pilot, lambda app: "loading weights" in screen_text(app))
        text = screen_text(pilot.app)
        assert "120 of 272 tensors" in text
        assert "Before the first number" in text
        script.load().tick()
        await settle(pilot, lambda app: "23,168" in screen_text(app))
        await settle(pilot, shows("comes with the first checkpoint"))
        script.checkpoint()
        await settle(pilot, lambda app: "token in context" in screen_text(app))


async def test_a_failed_engine_is_told_with_its_reason_and_log(shown: Shown, tmp_path: Path) -> None:
    script = sessions.SessionScript(tmp_path / "run.maxact")
    script.finish("failed", "no such model: it's \x1b[31mbroken; look at the name")
    async with shown(script.path) as pilot:
        await settle(pilot, lambda app: "FAILED" in screen_text(app))
        text = screen_text(pilot.app)
        assert "no such model: it's \\x1b[31mbroken" in text
        assert "run.maxact.log" in text


async def test_a_file_that_is_not_there_yet_is_waited_for(shown: Shown, tmp_path: Path) -> None:
    path = tmp_path / "later.maxact"
    async with shown(path) as pilot:
        await settle(pilot, lambda app: "no session file" in screen_text(app))
        sessions.finished(path, hostile=False)
        await settle(pilot, lambda app: "23,168" in screen_text(app))


async def test_an_alarm_is_marked_in_the_heatmap(shown: Shown, tmp_path: Path) -> None:
    script = sessions.SessionScript(tmp_path / "run.maxact").load().tick()
    script.live[3, LIVE_FIELDS.index("nonfinite")] = 17
    script.writer.tick(script.status, script.live)
    async with shown(script.path) as pilot:
        await pilot.press("home", "down")  # keys wait for the heatmap
        await settle(pilot, shows("!"))
        await pilot.press("m", "m", "m")
        await settle(pilot, shows("17!"))


@pytest.mark.parametrize("size", [(80, 24), (120, 36)])
async def test_a_run_whose_engine_is_gone_says_why_what_is_saved_and_how_to_go_on(
    shown: Shown, tmp_path: Path, size: tuple[int, int]
) -> None:
    script = sessions.running(tmp_path / "night run.maxact")
    script.status = script.status.changed(boot="earlier")
    script.writer.set_status(script.status)
    script.writer.close()
    log_path(script.path).write_text("loading weights\nRuntimeError: \x1b[2Jan illegal memory access\n")
    async with shown(script.path, *size) as pilot:
        await settle(pilot, lambda app: "saved:" in screen_text(app))
        text = screen_text(pilot.app)
    assert "the engine is gone and gave no reason" in text
    assert "RuntimeError: \\x1b[2Jan illegal memory access" in text
    assert f"continue: space, or maxact-tui resume '{script.path}'".replace(" ", "") in "".join(text.split())
    assert ".maxact.log" in text
    assert "23.2k" in text, "the data stay"


async def test_keys_before_there_is_anything_to_act_on_do_no_harm(clean_session: Path) -> None:
    """Every key of the monitor, before its widgets are there: what would look for them must not run."""
    screen = MonitorScreen(choose_look(None), Snapshot(clean_session))
    assert not screen.check_action("measure", (1,))


async def test_a_question_takes_the_first_of_two_quick_answers(shown: Shown, tmp_path: Path) -> None:
    script = sessions.running(tmp_path / "run.maxact")
    async with shown(script.path) as pilot:
        await settle(pilot, lambda app: app.snapshot.live is not None)
        await pilot.press("q")
        await settle(pilot, lambda app: isinstance(app.screen, ChoiceScreen))
        dialog = pilot.app.screen
        assert isinstance(dialog, ChoiceScreen)
        dialog.dismiss("stay")
        dialog.dismiss("stay")
        await settle(pilot, lambda app: isinstance(app.screen, MonitorScreen))
