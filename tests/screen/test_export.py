"""`e`: formats chosen several at once, files in the way asked about, every path told whole."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.report.export import FORMATS, render
from engine.report.writing import Document
from engine.session.reader import SessionReader
from maxact_tui.screens.choice import ChoiceScreen
from maxact_tui.screens.export import ExportScreen
from maxact_tui.screens.monitor import MonitorScreen
from maxact_tui.screens.reading import ReadingScreen
from maxact_tui.shell.application import MaxactApp
from maxact_tui.watching.exporter import Export
from tests.screen import sessions
from tests.screen.conftest import AppPilot, Shown, is_complete, pictured, settle, shows
from tests.screen.pictures import screen_text
from tests.screen.test_nonfinite import poisoned

CSV_NAMES = [f"run.{table}.csv" for table in ("sites", "top", "channels", "samples", "quantization")]


@pytest.fixture
def session(clean_session: Path, tmp_path: Path) -> Path:
    """A finished session in a folder of its own, deep enough that its path does not fit into a line."""
    folder = tmp_path / ("a-folder-with-a-long-name-" * 4)
    folder.mkdir()
    return Path(shutil.copy(clean_session, folder / "run.maxact"))


def is_told(app: MaxactApp) -> bool:
    return isinstance(app.screen, ReadingScreen) and "Exported" in screen_text(app)


def told(app: MaxactApp) -> str:
    """The page as one text, its lines joined as they were cut."""
    return "".join(line.strip() for line in screen_text(app).splitlines())


async def mark_only(pilot: AppPilot, *names: str) -> None:
    """Open the dialog and mark just these formats."""
    await pilot.press("e")
    await settle(pilot, lambda app: isinstance(app.screen, ExportScreen))
    await pilot.press("a", "a")  # all, then none
    for place, name in enumerate(FORMATS):
        if name in names:
            await pilot.press("space")
        if place < len(FORMATS) - 1:
            await pilot.press("down")


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (200, 60)])
async def test_the_dialog_looks_as_pictured(shown: Shown, clean_session: Path, columns: int, rows: int) -> None:
    async with shown(clean_session, columns, rows) as pilot:
        await settle(pilot, is_complete)
        meta = pilot.app.snapshot.meta
        assert meta is not None
        await pilot.app.push_screen(ExportScreen(pilot.app.look, Path("/results/run-export"), meta, partial=True))
        await pilot.press("down", "space")
        await settle(pilot, lambda app: "▸ [x]" in screen_text(app))
        await pictured(pilot, f"export-{columns}x{rows}")


async def test_the_chosen_formats_are_written_and_the_folder_and_every_name_are_told_whole(
    shown: Shown, session: Path
) -> None:
    async with shown(session) as pilot:
        await settle(pilot, is_complete)
        await mark_only(pilot, "summary", "csv")
        await pilot.press("enter")
        await settle(pilot, is_told)
        folder = session.with_name("run-export")
        assert {path.name for path in folder.iterdir()} == {"run.summary.json", *CSV_NAMES}
        lines = [row.strip() for row in screen_text(pilot.app).splitlines()]
        assert told(pilot.app).count(str(folder)) == 1 and len(str(folder)) > 80
        assert [row for row in lines if row.startswith("run.")] == ["run.summary.json", *CSV_NAMES]
        assert json.loads((folder / "run.summary.json").read_text())["run"]["partial"] is False
        await pilot.press("escape")
        await settle(pilot, lambda app: isinstance(app.screen, MonitorScreen))


@pytest.mark.parametrize(("key", "replaced", "second"), [("r", True, False), ("n", False, True), ("c", False, False)])
async def test_files_in_the_way_are_asked_about(
    key: str, replaced: bool, second: bool, shown: Shown, session: Path
) -> None:
    folder = session.with_name("run-export")
    folder.mkdir()
    (folder / "run.summary.json").write_text("mine")
    async with shown(session) as pilot:
        await settle(pilot, is_complete)
        await mark_only(pilot, "summary")
        await pilot.press("enter")
        await settle(pilot, lambda app: isinstance(app.screen, ChoiceScreen))
        await settle(pilot, shows("run.summary.json is in run-export already"))
        await pilot.press(key)
        await settle(pilot, lambda app: is_told(app) or "nothing exported" in screen_text(app))
        assert ((folder / "run.summary.json").read_text() != "mine") is replaced
        assert session.with_name("run-export-2").is_dir() is second


async def test_what_the_session_cannot_give_is_marked_before_it_is_chosen_and_takes_no_mark(
    shown: Shown, session: Path
) -> None:
    async with shown(session) as pilot:
        await settle(pilot, is_complete)
        await mark_only(pilot, "summary", "amax")
        rows = screen_text(pilot.app).splitlines()
        refused = [row.split()[2] for row in rows if "needs --sites gemm or all" in row]
        assert refused == ["act-scales", "amax", "llm-compressor", "modelopt"]
        assert any("[ ] reference" in row and "some fields need --detail compat" in row for row in rows)
        await pilot.press("enter")
        await settle(pilot, is_told)
        assert "run.summary.json" in told(pilot.app) and "amax" not in told(pilot.app)


async def test_every_warning_is_shown_whole_and_told(shown: Shown, tmp_path: Path) -> None:
    session = poisoned(tmp_path / "run.maxact", from_layer=2)
    with SessionReader(session) as reader:
        (alarm,) = render(reader, "summary")[0].warnings
    line = f"warning: {alarm}"
    async with shown(session) as pilot:
        await settle(pilot, is_complete)
        await mark_only(pilot, "summary", "csv")
        await pilot.press("enter")
        await settle(pilot, is_told)
        assert [text for _, text in pilot.app.told].count(line) == 1
        assert told(pilot.app).replace(" ", "").count(line.replace(" ", "")) == 1


def test_a_warning_of_one_file_names_it() -> None:
    both, one = Document("a.json", b"", ("nan",)), Document("b.pt", b"", ("nan", "left out"))
    assert Export((both, one), (), False).warnings == ("nan", "b.pt: left out")
    assert Export((one,), (), False).warnings == ("nan", "left out")


async def test_a_format_asked_for_all_the_same_is_refused_with_the_next_step(shown: Shown, session: Path) -> None:
    async with shown(session) as pilot:
        await settle(pilot, is_complete)
        await mark_only(pilot)
        await pilot.press("up", "up", "enter")
        await settle(pilot, is_told)
        assert "0 files" in told(pilot.app) and "run again with --sites gemm" in told(pilot.app)


@pytest.mark.parametrize("keys", [("question_mark",), ("slash", "L")])
async def test_the_report_waits_until_no_dialog_is_open_and_nobody_types(
    keys: tuple[str, ...], shown: Shown, session: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[bool] = []
    look = MaxactApp._when_uncovered

    def noted(app: MaxactApp, act: Callable[[], None]) -> None:
        looks.append(True)
        look(app, act)

    monkeypatch.setattr(MaxactApp, "_when_uncovered", noted)
    async with shown(session, 40, 10) as pilot:
        await settle(pilot, is_complete)
        await pilot.press(*keys)
        await settle(pilot, lambda app: isinstance(app.screen, ReadingScreen) or app.screen.prompt.text == "L")
        covering = pilot.app.screen
        pilot.app._make(session, ("summary", "csv"))
        await settle(pilot, lambda app: any("exporting csv" in text for _, text in app.told))
        await settle(pilot, lambda _: len(looks) > 3)  # it is made, and asks again and again whether it may be shown
        assert pilot.app.screen is covering and not is_told(pilot.app)
        await pilot.press("escape")
        await settle(pilot, is_told)
        assert re.search(r"esc back  ↑↓ scroll   lines 1-8 of \d+$", screen_text(pilot.app).rstrip())


async def test_a_folder_that_cannot_be_made_is_one_sentence(shown: Shown, session: Path) -> None:
    session.with_name("run-export").write_text("a file")
    async with shown(session) as pilot:
        await settle(pilot, is_complete)
        await mark_only(pilot, "summary")
        await pilot.press("enter")
        await settle(pilot, is_told)
        text = told(pilot.app)
        assert "0 files" in text and "choose another folder" in text and "Traceback" not in text


async def test_a_run_that_has_not_finished_is_exported_as_partial(shown: Shown, tmp_path: Path) -> None:
    path = tmp_path / "half.maxact"
    script = sessions.running(path, hostile=False)
    script.finish("stopped", "stopped")
    async with shown(path) as pilot:
        await settle(pilot, is_complete)
        await mark_only(pilot, "summary", "model-card")
        await settle(pilot, shows("partial: the run has not finished"))
        await pilot.press("enter")
        await settle(pilot, is_told)
        await settle(pilot, shows("every file is marked partial"))
    written = tmp_path / "half-export"
    assert json.loads((written / "half.summary.json").read_text())["run"]["partial"] is True
    assert "partial: true" in (written / "half.model-card.md").read_text()


async def test_escape_writes_nothing(shown: Shown, session: Path) -> None:
    async with shown(session) as pilot:
        await settle(pilot, is_complete)
        await mark_only(pilot, "summary")
        await pilot.press("escape")
        await settle(pilot, lambda app: isinstance(app.screen, MonitorScreen))
        assert not session.with_name("run-export").exists()
