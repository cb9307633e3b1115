"""What the screen shows can be taken away: to the terminal's clipboard, and into files beside the session."""

from __future__ import annotations

import base64
import shutil
import stat
from pathlib import Path

import pytest

from maxact_tui.screens.site import SiteScreen
from maxact_tui.screens.threads import ThreadsScreen
from maxact_tui.terminal.clipboard import LONGEST, clipboard_sequence, picture_of
from maxact_tui.terminal.private import driver_of
from tests.screen.conftest import Shown, is_complete, settle, shows
from tests.screen.pictures import screen_text
from tests.values import some


@pytest.fixture
def session(finished_session: Path, tmp_path: Path) -> Path:
    """A session with hostile tokens in a folder of its own."""
    return Path(shutil.copy(finished_session, tmp_path / "run.maxact"))


def sent(writes: list[str]) -> str:
    """The text of the last copy that reached the terminal."""
    last = [text for text in writes if text.startswith("\x1b]52;c;")][-1]
    return base64.b64decode(last.removeprefix("\x1b]52;c;").removesuffix("\x07")).decode()


async def test_the_filtered_table_goes_to_the_clipboard_and_into_a_file(
    shown: Shown, session: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TMUX", raising=False)
    async with shown(session, 120, 36) as pilot:
        await settle(pilot, is_complete)
        writes: list[str] = []
        monkeypatch.setattr(driver_of(pilot.app), "write", writes.append)
        await pilot.press("x", "enter")
        await settle(pilot, lambda app: isinstance(app.screen, SiteScreen) and "x = " in screen_text(app))
        await pilot.press("slash", *"cat:code", "enter", "s", "S", "Y")
        file = session.with_name("run-copy.tsv")
        await settle(pilot, lambda app: "15 rows sent to the terminal's" in screen_text(app))
        await settle(pilot, shows("run-copy.tsv"))
        text = file.read_text()
        assert text == sent(writes)
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        lines = [line.split("\t") for line in text.splitlines()]
        names = lines[0]
        assert {len(line) for line in lines} == {len(names)}
        ranks = [int(line[names.index("rank")]) for line in lines[1:]]
        assert len(ranks) == 15 and ranks == sorted(ranks, reverse=True)
        assert text.isprintable() or not [c for c in text if not c.isprintable() and c not in "\t\n"]
        await pilot.press("ctrl+y")
        await settle(pilot, lambda app: "1 row sent" in screen_text(app))
        assert sent(writes).count("\n") == 2


async def test_the_heatmap_is_copied_as_a_matrix_and_its_cell_as_a_record(
    shown: Shown, session: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with shown(session) as pilot:
        await settle(pilot, is_complete)
        writes: list[str] = []
        monkeypatch.setattr(driver_of(pilot.app), "write", writes.append)
        await pilot.press("slash", *"L11-12 comp:mlp_output,hidden", "enter", "Y")
        await settle(pilot, lambda app: "2 rows sent" in screen_text(app))
        lines = [line.split("\t") for line in sent(writes).splitlines()]
        assert lines[0] == ["", "mlp_output", "hidden"]
        assert [line[0] for line in lines] == ["", "L11", "L12"]
        assert float(lines[1][1]) == 23_040
        await pilot.press("x", "ctrl+y")
        await settle(pilot, lambda app: "1 row sent" in screen_text(app))
        names, values = (line.split("\t") for line in sent(writes).splitlines())
        found = dict(zip(names, values, strict=True))
        assert found["name"] == some(pilot.app.snapshot.plan).sites[pilot.app.screen.site].name
        assert found["value"] in ("23040", "23168")


async def test_a_narrow_terminal_names_the_file_and_everything_said_can_be_read_whole(
    shown: Shown, session: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMUX", "somewhere")
    async with shown(session, 60, 20) as pilot:
        await settle(pilot, is_complete)
        monkeypatch.setattr(driver_of(pilot.app), "write", lambda _: None)
        await pilot.press("Y")
        await settle(pilot, lambda app: "32 rows sent; run-copy.tsv" in screen_text(app))
        await pilot.press("V")
        await settle(pilot, lambda app: "What this screen has told you" in screen_text(app))
        said = "".join(screen_text(pilot.app).split())
        assert "32rowssenttotmux(needsset-clipboardon);writtento" in said
        assert str(session.with_name("run-copy.tsv")) in said


async def test_a_folder_that_cannot_be_written_is_said_and_the_clipboard_still_has_it(
    shown: Shown, session: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with shown(session, 120, 36) as pilot:
        await settle(pilot, is_complete)
        writes: list[str] = []
        monkeypatch.setattr(driver_of(pilot.app), "write", writes.append)

        def full(*_: object) -> Path:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("maxact_tui.shell.taking.write_beside", full)
        await pilot.press("t")
        await settle(pilot, lambda app: isinstance(app.screen, ThreadsScreen) and "L11-L28" in screen_text(app))
        await pilot.press("Y")
        await settle(pilot, lambda app: "not written beside the session: No space left" in screen_text(app))
        assert sent(writes).startswith("value\tpeak\tlayer")


async def test_a_picture_is_written_as_svg_and_as_text(shown: Shown, session: Path) -> None:
    async with shown(session, 120, 36) as pilot:
        await settle(pilot, is_complete)
        before = screen_text(pilot.app)
        await pilot.press("P")
        await settle(
            pilot, lambda app: "picture and .txt beside it written" in screen_text(app) and ".svg" in screen_text(app)
        )
    (svg,), (text,) = session.parent.glob("run-screen-*.svg"), session.parent.glob("run-screen-*.txt")
    assert text.read_text() == before
    drawn = svg.read_text()
    assert drawn.startswith("<svg") and "23,168" in drawn
    assert "url(http" not in drawn.replace('"', "")
    assert "\x1b" not in drawn + before


def test_what_is_too_long_for_a_terminal_is_not_sent() -> None:
    assert clipboard_sequence("x" * (LONGEST * 3 // 4 - 10)) is not None
    assert clipboard_sequence("x" * (LONGEST * 3 // 4)) is None


def test_pictures_ask_the_network_for_nothing() -> None:
    styled = (
        '<style>@font-face { font-family: "Fira Code"; src: url("https://x/y.woff2") } .a { font-family: Fira Code }'
    )
    assert picture_of(styled) == "<style>.a { font-family: monospace }"
