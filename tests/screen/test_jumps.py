"""A site's name typed in the palette leads there; clicking does what the keys do."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.events import Paste

from maxact_tui.keymap.actions import commands
from maxact_tui.pages.jumps import site_jumps
from maxact_tui.screens.monitor import MonitorScreen
from maxact_tui.screens.palette import PaletteScreen
from maxact_tui.screens.site import SiteScreen
from maxact_tui.screens.threads import ThreadsScreen
from maxact_tui.widgets.picker import Picker
from tests.screen import sessions
from tests.screen.conftest import Shown, is_complete, settle, shows
from tests.screen.pictures import screen_text
from tests.values import some


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("L12 mlp_output", ["layer_12_mlp_output"]),
        ("12 hid", ["layer_12_hidden"]),
        ("l3", ["layer_3_attn_output", "layer_3_mlp_gate", "layer_3_mlp_output", "layer_3_hidden"]),
        ("embed", ["embedding"]),
        ("L99", []),
        ("L1 L2", []),
        ("th", []),
        ("", []),
    ],
)
def test_a_layer_and_parts_of_a_component_mean_sites(tmp_path: Path, query: str, names: list[str]) -> None:
    plan = sessions.SessionScript(tmp_path / "run.maxact").plan
    found = [int(action.name.removeprefix("app.jump(").removesuffix(")")) for action in site_jumps(plan, query)]
    assert [plan.sites[number].name for number in found] == names


async def test_the_palette_jumps_on_the_heatmap_and_on_the_site_screen(shown: Shown, clean_session: Path) -> None:
    async with shown(clean_session) as pilot:
        await settle(pilot, is_complete)

        def here() -> str:
            return some(pilot.app.snapshot.plan).sites[pilot.app.screen.site].name

        await pilot.press("slash", *"L0-5", "enter", "colon", *"L12 mlp_o", "enter")
        await settle(pilot, lambda app: isinstance(app.screen, MonitorScreen) and here() == "layer_12_mlp_output")
        assert "esc clears" not in screen_text(pilot.app)  # the filter would have hidden it
        await pilot.press("enter")
        await settle(pilot, lambda app: isinstance(app.screen, SiteScreen))
        await pilot.press("colon", *"L3 hidden", "enter")
        await settle(pilot, lambda app: isinstance(app.screen, SiteScreen) and here() == "layer_3_hidden")
        await pilot.press("escape", "t")
        await settle(pilot, lambda app: isinstance(app.screen, ThreadsScreen))
        await pilot.press("colon", *"embed", "enter")
        await settle(pilot, lambda app: isinstance(app.screen, MonitorScreen) and here() == "embedding")


async def test_every_command_the_palette_lists_is_found_by_its_name_typed_or_pasted(
    shown: Shown, clean_session: Path
) -> None:
    async with shown(clean_session, 120, 60) as pilot:
        await settle(pilot, is_complete)
        for action in commands("monitor", "app"):
            await pilot.press("colon")
            pilot.app.post_message(Paste(action.title))
            await settle(pilot, shows(f": {action.title}_"))
            palette = pilot.app.screen
            assert isinstance(palette, PaletteScreen)
            assert action in palette._found(), action.title
            await pilot.press("escape")


async def test_a_click_selects_and_a_second_opens(shown: Shown, clean_session: Path) -> None:
    async with shown(clean_session) as pilot:
        await settle(pilot, is_complete)
        await pilot.click(offset=(10, 8))
        await settle(pilot, lambda app: app.snapshot.focus == app.screen.site)
        assert screen_text(pilot.app).splitlines()[8].startswith(("   L", "  L1"))
        assert "▸" in screen_text(pilot.app).splitlines()[8]
        await pilot.click(offset=(10, 8), times=2)
        await settle(pilot, lambda app: isinstance(app.screen, SiteScreen) and "x = " in screen_text(app))
        await pilot.press("escape", "t")
        await settle(pilot, lambda app: isinstance(app.screen, ThreadsScreen) and "L11-L28" in screen_text(app))
        picker = pilot.app.screen.query_one(Picker)
        await pilot.click(Picker, offset=(10, 3))
        assert picker.selected == 2
        await pilot.click(Picker, offset=(10, 3), times=2)
        await settle(pilot, lambda app: isinstance(app.screen, SiteScreen))
