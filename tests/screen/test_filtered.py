"""Filtering, sorting and copying on the screens: what is typed keeps, orders and takes away rows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from textual.events import Key
from textual.pilot import Pilot

from engine.session.library import FOLDER_VARIABLE
from maxact_tui.screens import filterable
from maxact_tui.screens.browser import BrowserScreen
from maxact_tui.screens.monitor import MonitorScreen
from maxact_tui.screens.site import SiteScreen
from maxact_tui.screens.threads import ThreadsScreen
from maxact_tui.texts.editing import LineEditor
from maxact_tui.widgets.picker import Picker
from tests.screen import sessions
from tests.screen.conftest import Shown, is_complete, pictured, settle, shows
from tests.screen.pictures import screen_text
from tests.values import some


@pytest.fixture(autouse=True)
def no_history() -> None:
    filterable._HISTORY.clear()


def rows(pilot: Pilot[int]) -> list[str]:
    """The lines of the list's table."""
    picker = pilot.app.screen.query_one(Picker)
    return ["".join(segment.text for segment in strip).rstrip() for strip in picker.lines[1:]]


async def open_site(pilot: Pilot[int], tab: str = "1") -> None:
    await settle(pilot, is_complete)
    await pilot.press("x", "enter")
    await settle(pilot, lambda app: isinstance(app.screen, SiteScreen) and "x = " in screen_text(app))
    await pilot.press(tab)
    await settle(pilot, lambda app: f"{tab}[" in screen_text(app))


async def test_a_filter_is_in_force_as_it_is_typed_and_esc_takes_it_back(shown: Shown, clean_session: Path) -> None:
    async with shown(clean_session) as pilot:
        await open_site(pilot)
        everything = rows(pilot)
        await pilot.press("slash", *"cat:math,web value>2")
        await settle(pilot, lambda app: "29 of 100" in screen_text(app))
        assert all(" math " in row or " web " in row for row in rows(pilot))
        await pilot.press("escape")
        await settle(pilot, lambda app: rows(pilot) == everything)
        assert isinstance(pilot.app.screen, SiteScreen)


async def test_a_filter_in_force_is_shown_and_esc_clears_it_before_it_leaves(shown: Shown, clean_session: Path) -> None:
    async with shown(clean_session) as pilot:
        await open_site(pilot)
        await pilot.press("slash", *"cat:code", "enter", "down")
        await settle(pilot, lambda app: "/ cat:code  15 of 100 esc clears" in screen_text(app))
        assert "x = 16640.0, sample 8" in screen_text(pilot.app)  # the detail is that of the selected row
        await pictured(pilot, "filter-80x24")
        await pilot.press("right_square_bracket")
        await settle(pilot, lambda app: "layer 13" in screen_text(app) and "15 of 100 esc clears" in screen_text(app))
        await pilot.press("escape")
        await settle(pilot, lambda app: "esc clears" not in screen_text(app))
        assert isinstance(pilot.app.screen, SiteScreen)
        await pilot.press("escape")
        await settle(pilot, lambda app: isinstance(app.screen, MonitorScreen))


async def test_what_cannot_be_read_says_where_and_can_be_mended(shown: Shown, clean_session: Path) -> None:
    async with shown(clean_session) as pilot:
        await open_site(pilot)
        await pilot.press("slash", *"cat:code layr:3", "enter")
        await settle(pilot, lambda app: "column 10: there is no field 'layr'; perhaps layer" in screen_text(app))
        await pilot.press(*["backspace"] * 3, *"er:0-", "enter")
        await settle(pilot, lambda app: "/ cat:code layer:0-  15 of 100" in screen_text(app))


async def test_every_key_belongs_to_the_text_while_it_is_typed(shown: Shown, clean_session: Path) -> None:
    async with shown(clean_session) as pilot:
        await open_site(pilot)
        await pilot.press("slash", *"q?:e]", "tab", "left", "left", *"xy")
        await settle(pilot, lambda app: "/ q?:xye]" in screen_text(app))
        assert isinstance(pilot.app.screen, SiteScreen)


async def test_earlier_filters_come_back_with_the_arrows(shown: Shown, clean_session: Path) -> None:
    async with shown(clean_session) as pilot:
        await open_site(pilot)
        for query in ("cat:code", "cat:web"):
            await pilot.press("slash", "ctrl+u", *query, "enter")
            await settle(pilot, shows(f"/ {query} "))
        await pilot.press("escape", "2", "slash", "up", "up", "down", "up", "enter")
        await settle(pilot, lambda app: "/ cat:code " in screen_text(app))


async def test_s_sorts_by_the_next_column_and_the_heading_says_so(shown: Shown, clean_session: Path) -> None:
    async with shown(clean_session) as pilot:
        await open_site(pilot)
        await pilot.press("s", "s", "s", "s", "s")
        await settle(pilot, lambda app: "sample▲" in screen_text(app))
        assert {row.split()[4] for row in rows(pilot)[1:3]} == {"0"}
        await pilot.press("S")
        await settle(pilot, lambda app: "sample▼" in screen_text(app))
        assert all(" 13 " in row for row in rows(pilot)[:3])
        assert "sample 13" in screen_text(pilot.app)  # so does the detail
        await pilot.press("2")
        await settle(pilot, lambda app: "2[" in screen_text(app))
        assert "▲" not in screen_text(pilot.app)


async def test_ascii_terminals_get_ascii_marks(shown: Shown, clean_session: Path) -> None:
    async with shown(clean_session, ascii_only=True) as pilot:
        await open_site(pilot)
        await pilot.press("s")
        await settle(pilot, lambda app: "rank^" in screen_text(app))
        await pilot.press("S")
        await settle(pilot, lambda app: "rankv" in screen_text(app))


async def test_channels_and_categories_are_filtered_and_sorted_too(shown: Shown, clean_session: Path) -> None:
    async with shown(clean_session) as pilot:
        await open_site(pilot, "2")
        await pilot.press("slash", *"kind:massive", "enter", "s", "s")
        await settle(pilot, lambda app: "channel▲" in screen_text(app) and len(rows(pilot)) == 2)
        assert [row.replace("▸", " ").split()[1] for row in rows(pilot)] == ["0", "50"]
        await pilot.press("escape", "4", "slash", *"!cat:math", "enter", "s", "S")
        await settle(pilot, lambda app: "category▼" in screen_text(app))
        text = screen_text(pilot.app)
        assert "6 of 7" in text and "\n web" in text and "\n math" not in text
        assert text.index(" web ") < text.index(" code ")


async def test_threads_are_kept_by_the_layers_they_live_in(shown: Shown, clean_session: Path) -> None:
    async with shown(clean_session, 120, 36) as pilot:
        await settle(pilot, is_complete)
        await pilot.press("t")
        await settle(pilot, lambda app: isinstance(app.screen, ThreadsScreen) and "L11-L28" in screen_text(app))
        await pilot.press("slash", *"L20 chan:0", "enter")
        await settle(pilot, lambda app: "/ L20 chan:0  1 of " in screen_text(app))
        await pilot.press("enter")
        await settle(pilot, lambda app: isinstance(app.screen, SiteScreen))
        assert some(pilot.app.snapshot.plan).sites[pilot.app.screen.site].name == "layer_11_hidden"


async def test_sessions_are_kept_by_state_and_model(
    shown: Shown, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    for name in ("aaa", "bbb", "ccc"):
        sessions.finished(tmp_path / f"{name}.maxact", hostile=False, model=f"org/{name}", layers=3, massive=1)
    async with shown(None) as pilot:
        await settle(pilot, lambda app: isinstance(app.screen, BrowserScreen) and "aaa" in screen_text(app))
        await pilot.press("slash", *"model:bbb", "enter")
        await settle(pilot, lambda app: len(rows(pilot)) == 1 and "1 of 3" in screen_text(app))
        await pilot.press("enter")
        await settle(pilot, lambda app: app.snapshot.path.stem == "bbb")


def test_a_line_is_edited_as_in_a_shell() -> None:
    editor = LineEditor("one two", ["older", "newer"])
    for key in ("home", "x", "end", "left", "delete", "ctrl+w", "y"):
        assert editor.press(key, key if len(key) == 1 else None)
    assert (editor.text, editor.cursor) == ("xone y", 6)
    for key in ("up", "up", "up"):
        editor.press(key, None)
    assert editor.text == "older"
    for key in ("down", "down", "down"):
        editor.press(key, None)
    assert editor.text == "xone y"
    editor.insert("pasted\nsecond line")
    assert editor.text == "xone ypasted"
    assert not editor.press("f5", None)
    assert not editor.press("escape", "\x1b")


async def test_the_heatmap_shows_the_rows_and_columns_a_filter_keeps(shown: Shown, clean_session: Path) -> None:
    async with shown(clean_session) as pilot:
        await settle(pilot, is_complete)
        await pilot.press("home", "slash", *"L10-14 !comp:gate", "enter")
        await settle(pilot, lambda app: "/ L10-14 !comp:gate  15 of 122 esc clears" in screen_text(app))
        await settle(pilot, lambda app: app.snapshot.focus == app.screen.site)
        assert "layer 10 hidden" in screen_text(pilot.app)  # the nearest to the embedding, where the cursor was
        await pictured(pilot, "filter-heatmap-80x24")
        await pilot.press("down", "down", "down", "down", "down", "left", "left")
        assert some(pilot.app.snapshot.plan).sites[pilot.app.screen.site].name == "layer_14_attn_output"
        await pilot.press("escape")
        await settle(pilot, lambda app: "esc clears" not in screen_text(app) and "gate" in screen_text(app))
        assert some(pilot.app.snapshot.plan).sites[pilot.app.screen.site].name == "layer_14_attn_output"


async def test_keys_typed_ahead_of_the_filter_reach_the_heatmap_and_the_cursor_stays(
    shown: Shown, clean_session: Path
) -> None:
    async with shown(clean_session) as pilot:
        await settle(pilot, is_complete)
        app, here = pilot.app, pilot.app.screen.site
        for key in ("slash", "L", "1", "0", "hyphen", "1", "3", "enter", "down", "left"):
            app.post_message(Key(key, {"hyphen": "-"}.get(key, key if len(key) == 1 else None)))
        await settle(pilot, lambda app: "/ L10-13  " in screen_text(app) and app.screen.site != here)
        names = [some(app.snapshot.plan).sites[site].name for site in (here, app.screen.site)]
        assert names == ["layer_11_hidden", "layer_12_mlp_output"]


async def test_x_stays_within_the_filter_and_says_why(shown: Shown, clean_session: Path) -> None:
    async with shown(clean_session) as pilot:
        await settle(pilot, is_complete)
        await pilot.press("slash", *"L0-5", "enter", "x")
        await settle(pilot, lambda app: "the filter hides the site of M" in screen_text(app))
        await pilot.press("slash", "ctrl+u", *"value>20k mlp", "enter", "x")
        await settle(pilot, lambda app: "layer 11 mlp_output" in screen_text(app))


async def test_a_filter_that_keeps_nothing_leaves_the_heatmap_whole(shown: Shown, clean_session: Path) -> None:
    async with shown(clean_session) as pilot:
        await settle(pilot, is_complete)
        await pilot.press("slash", *"zzz token:x", "enter")
        await settle(pilot, lambda app: "0 of 122 esc clears" in screen_text(app))
        await settle(pilot, shows("gate"))
        await pilot.press("slash")
        await settle(pilot, lambda app: "nothing here has token" in screen_text(app))


async def test_the_event_log_grows_while_it_is_open_and_leads_to_the_site(shown: Shown, tmp_path: Path) -> None:
    script = sessions.running(tmp_path / "run.maxact")
    script.event("maximum", "new maximum 23,168 at layer_11_hidden", after=3, site=48)
    async with shown(script.path) as pilot:
        await settle(pilot, lambda app: app.snapshot.live is not None and len(app.snapshot.events) == 1)
        await pilot.press("v")
        await settle(pilot, lambda app: "1 event, the newest first" in screen_text(app))
        script.event("memory", "out of memory; token budget halved to 1,024", after=9)
        script.event("nonfinite", "3 non-finite values at L2_\x1b[2Jattn", after=12, site=9)
        await settle(pilot, lambda app: "3 events" in screen_text(app))
        assert [row.split()[-1] for row in rows(pilot)] == ["L2_\\x1b[2Jattn", "1,024", "layer_11_hidden"]
        await pilot.press("down", "down")
        script.event("warning", "one more", after=15)
        await settle(pilot, lambda app: "4 events" in screen_text(app))
        assert rows(pilot)[3].startswith("▸")  # the selected event has moved down with the others
        await pictured(pilot, "events-live-80x24", _dateless)
        await pilot.press("slash", *"kind:warning,memory", "enter")
        await settle(pilot, lambda app: "2 of 4" in screen_text(app))
        await pilot.press("enter")
        await settle(pilot, lambda app: "not about one site" in screen_text(app))
        script.event("memory", "and another", after=16)
        await settle(pilot, lambda app: "5 events" in screen_text(app))
        assert "not about one site" in screen_text(pilot.app), "an answer stays while numbers are drawn"
        await pilot.press("escape", "end", "enter")
        await settle(pilot, lambda app: isinstance(app.screen, MonitorScreen))
        assert pilot.app.screen.site == 48


def _dateless(text: str) -> str:
    return re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "DATE AND TIME      ", text)


async def test_what_is_of_an_earlier_checkpoint_says_so(shown: Shown, tmp_path: Path) -> None:
    script = sessions.running(tmp_path / "run.maxact")
    async with shown(script.path, 120, 36) as pilot:
        await settle(pilot, lambda app: app.snapshot.view is not None)
        assert "as of" not in screen_text(pilot.app)
        saved = script.status.tokens_done
        script.tick()
        await settle(pilot, lambda app: screen_text(app).count(f"as of {saved} tokens") == 1)
        await pilot.press("enter")
        await settle(pilot, lambda app: isinstance(app.screen, SiteScreen) and f"as of {saved}" in screen_text(app))
        script.checkpoint()
        await settle(pilot, lambda app: "as of" not in screen_text(app))


async def test_a_switches_the_colours_to_a_linear_axis(shown: Shown, clean_session: Path) -> None:
    async with shown(clean_session) as pilot:
        await settle(pilot, is_complete)
        await settle(pilot, shows("max|x| 1 "))
        await pilot.press("a")
        await settle(pilot, lambda app: "max|x| 0 " in screen_text(app) and " 50k lin" in screen_text(app))
        await pilot.press("a")
        await settle(pilot, lambda app: "max|x| 1 " in screen_text(app))
