"""Samples, prompts and channels: from a number to the text that carries it, on stored values."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from textual.events import Key, Paste

from engine.analysis.channelmap import channel_map
from engine.session.reader import SessionReader
from maxact_tui.pages.header import token_parts
from maxact_tui.screens.channels import ChannelsScreen
from maxact_tui.screens.monitor import MonitorScreen
from maxact_tui.screens.prompt import PromptScreen
from maxact_tui.screens.promptcompare import PromptCompareScreen
from maxact_tui.screens.prompteditor import PromptArea, PromptEditor
from maxact_tui.screens.prompthistory import PromptHistoryScreen
from maxact_tui.screens.sample import SampleScreen
from maxact_tui.screens.site import SiteScreen
from maxact_tui.shell.application import MaxactApp
from maxact_tui.terminal.palette import choose_look
from maxact_tui.terminal.private import rows_of
from maxact_tui.texts.pieces import shown_pieces
from maxact_tui.watching.places import Places
from maxact_tui.watching.probes import Tokens
from maxact_tui.widgets.heatmap import Heatmap
from maxact_tui.widgets.lines import line
from maxact_tui.widgets.tokentext import lay_out
from tests.screen import probed, sessions
from tests.screen.conftest import Shown, is_complete, pictured, settle
from tests.screen.pictures import screen_text
from tests.screen.probed import SAMPLE
from tests.values import some


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("probed") / "clean.maxact"
    probed.probed(path)
    return path


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("probed") / "hostile.maxact"
    probed.probed(path, hostile=True)
    return path


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> None:
    """The list of prompts tells the local time."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


def shows(text: str) -> Callable[[MaxactApp], bool]:
    return lambda app: text in screen_text(app)


def tokens_of(*pieces: bytes) -> Tokens:
    return Tokens(None, np.arange(len(pieces), dtype=np.int32), pieces, shown_pieces(pieces))


class TestPieces:
    def test_a_character_stands_on_the_token_it_begins_in(self) -> None:
        shown = shown_pieces([b"a ", b"\xe7", b"\xa7\x8b\xe5", b"\xa4\xa9", b"b"])
        assert [piece.text.decode() for piece in shown] == ["a ", "秋", "天", "", "b"]
        assert [piece.run for piece in shown] == [(0, 1), (1, 4), (1, 4), (1, 4), (4, 5)]
        assert [piece.continues for piece in shown] == [False, False, False, True, False]

    @pytest.mark.parametrize("pieces", [[b"\xe4\xb8"], [b"\xe4", b"a"], [b"\x80", b"\xe4"], [b"", b"\xff"]])
    def test_bytes_that_never_become_characters_are_kept(self, pieces: list[bytes]) -> None:
        assert [piece.text for piece in shown_pieces(pieces)] == pieces

    def test_a_token_is_readable_in_its_context_and_its_own_bytes_are_kept(self, tmp_path: Path) -> None:
        pieces = {
            200: b"a",
            201: b" \xe7",
            202: b"\xa7\x8b\xe5",
            203: b"\xa4\xa9",
            204: "हि".encode(),
            205: "ंदी".encode(),
        }
        script = sessions.SessionScript(tmp_path / "parts.maxact", samples=1)
        script.samples = [replace(script.samples[0], token_ids=np.array(list(pieces), np.int32))]
        script.load().writer.add_samples((), pieces)
        script.finish()
        with SessionReader(script.path) as reader:
            places = [Places(reader).at(0, position) for position in range(len(pieces))]
        assert [some(place).piece for place in places] == list(pieces.values())
        assert {some(place).before + some(place).token + some(place).after for place in places} == {
            "a 秋天हिंदी".encode()
        }
        look = choose_look("256")
        texts = [line(look, *token_parts(some(place), look, 30)).text.rstrip() for place in places]
        assert texts == [
            "‹a› 秋天हिंदी",
            "a‹·秋天 1/3›हिंदी",
            "a‹·秋天 2/3›हिंदी",
            "a‹·秋天 3/3›हिंदी",
            "a 秋天‹हि›◌ंदी",
            "a 秋天हि‹◌ंदी›",
        ]

    def test_every_token_of_a_text_has_its_place_and_no_row_is_too_wide(self) -> None:
        words = (b"Winter", b" is", b"\n", b"\n", b"\xe7", b"\xa7\x8b", b"x" * 50, b"", "深度學習".encode())
        rows = lay_out(tokens_of(*words), 20, choose_look("256"))
        assert {run.token for row in rows for run in row} == set(range(len(words)))
        assert all(row for row in rows)
        lengths = [sum(2 if ord(c) > 0x2E80 else 1 for run in row for c in run.text) for row in rows]
        assert max(lengths) <= 20
        assert [run.text for run in rows[0]] == ["Winter", " is", "↵"]


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (200, 60)])
async def test_each_screen_looks_as_pictured(shown: Shown, clean: Path, columns: int, rows: int) -> None:
    async with shown(clean, columns, rows) as pilot:
        size = f"{columns}x{rows}"
        await settle(pilot, is_complete)
        await pilot.press("c")
        await settle(pilot, shows("massive in 14"))
        await pictured(pilot, f"channels-{size}")
        await pilot.press("escape", "p")
        await settle(pilot, shows("Winter is warm."))
        await pictured(pilot, f"prompt-box-{size}")
        await pilot.press("ctrl+o", "space", "down", "space")
        await settle(pilot, shows("•"))
        await pictured(pilot, f"prompts-{size}")
        await pilot.press("enter")
        await settle(pilot, shows("raw, 14 tokens"))
        await settle(pilot, shows("massive: |x| > "))
        await pictured(pilot, f"prompt-{size}")
        await pilot.press("o", "space", "down", "c")
        await settle(pilot, shows("ratio = B / A"))
        await settle(pilot, shows("4.00"))
        await pictured(pilot, f"versus-{size}")
        await pilot.press("escape", "escape", "enter", "down", "down", "down", "y")
        await settle(pilot, lambda app: isinstance(app.screen, SampleScreen) and app.screen.view is not None)
        await settle(pilot, shows("massive: |x| > "))
        await pictured(pilot, f"sample-{size}")
        await pilot.press("n", "v")
        await settle(pilot, shows("all tokens"))
        await pictured(pilot, f"sample-map-{size}")


class TestSample:
    async def test_a_row_of_the_tokens_leads_to_its_token_and_keys_lead_on(self, shown: Shown, clean: Path) -> None:
        async with shown(clean, read_only=True) as pilot:
            await settle(pilot, is_complete)
            await pilot.press("enter")
            await settle(pilot, shows("token in context"))
            # Typed in one go: the sample must be that of the row the keys before it lead to.
            for key in ("down", "down", "down", "enter"):
                pilot.app.post_message(Key(key, None))
            await settle(pilot, lambda app: isinstance(app.screen, SampleScreen) and app.screen.view is not None)
            await settle(pilot, shows("massive: |x| > "))
            screen = pilot.app.screen
            assert isinstance(screen, SampleScreen)
            assert (some(screen.tokens).sample, screen.cursor.token) == (SAMPLE, 0)
            before = some(screen.site)
            await pilot.press("n")
            assert screen.cursor.token == 14
            await pilot.press("n")
            await settle(pilot, shows("no massive token after this one at L11"))
            await pilot.press("N", "right_square_bracket", "right")
            assert (screen.cursor.token, screen.site) == (1, before + 4)
            await pilot.press("v", "right", "tab")
            await settle(pilot, shows("[attn]"))
            assert some(pilot.app.snapshot.plan).sites[some(screen.site)].name == "layer_13_attn_output"
            await pilot.press("enter")
            await settle(pilot, lambda app: isinstance(app.screen, SiteScreen) and app.screen.site == screen.site)
            await pilot.press("escape")
            assert pilot.app.screen is screen
            assert screen.cursor.token == 1

    async def test_without_values_the_text_is_shown_and_what_it_needs(self, shown: Shown, clean: Path) -> None:
        async with shown(clean, read_only=True) as pilot:
            await settle(pilot, is_complete)
            await pilot.press("enter", "y")
            await settle(pilot, shows("read-only"))
            await settle(pilot, shows("Summer fox the warm"))
            assert "token 0 of 20, id 0 = b'Summer'" in screen_text(pilot.app)
            await pilot.press("n")
            await settle(pilot, shows("when the engine has answered"))

    async def test_hostile_tokens_of_every_kind_keep_to_their_cells(self, shown: Shown, hostile: Path) -> None:
        async with shown(hostile, 80, 24, read_only=True) as pilot:
            await settle(pilot, is_complete)
            await pilot.press("enter", "down", "down", "down", "y")
            await settle(pilot, lambda app: isinstance(app.screen, SampleScreen) and app.screen.view is not None)
            for key in ("v", "down", "down", "end", "v", "pageup", "tab"):
                await pilot.press(key)
                text = screen_text(pilot.app)
                assert "\x1b" not in text
                assert all(not c.isspace() or c in " \n" for c in text)
            strips = rows_of(pilot.app.screen)
            assert {strip.cell_length for strip in strips} == {80}


class TestPrompt:
    async def test_a_paste_keeps_every_character_and_shows_none_that_is_not_safe(
        self, shown: Shown, clean_session: Path
    ) -> None:
        text = "one\ntwo \x1b]52;c;b3duZWQ=\x07 \u202eevil\u200b 深度"
        async with shown(clean_session) as pilot:
            await settle(pilot, is_complete)
            await pilot.press("p")
            await settle(pilot, lambda app: isinstance(app.screen, PromptEditor))
            editor = pilot.app.screen
            await pilot.press("enter")
            await settle(pilot, shows("there is no text yet"))
            pilot.app.post_message(Paste(text))
            await settle(pilot, lambda app: editor.query_one(PromptArea).text == text)
            await pilot.press("ctrl+n", "q", "tab")
            await settle(pilot, shows("[+BOS]"))
            shown_now = screen_text(pilot.app)
            assert not set("\x1b\x07\u202e\u200b") & set(shown_now)
            assert "深度" in shown_now
            assert editor.query_one(PromptArea).text == f"{text}\nq"
            await pilot.press("escape")
            await settle(pilot, lambda app: isinstance(app.screen, PromptScreen))
            await settle(pilot, shows("no prompt yet"))

    async def test_the_list_leads_back_to_a_prompt_or_to_two(self, shown: Shown, clean: Path) -> None:
        async with shown(clean) as pilot:
            await settle(pilot, is_complete)
            await pilot.press("p", "escape")
            await settle(pilot, shows("M 5,792"))
            await pilot.press("o", "c")
            assert isinstance(pilot.app.screen, PromptHistoryScreen)
            await settle(pilot, shows("mark two to compare them"))
            await pilot.press("down", "enter")
            await settle(pilot, shows("M 23,168"))
            screen = pilot.app.screen
            assert isinstance(screen, PromptScreen)
            assert pilot.app.snapshot.plan.sites[some(screen.site)].name == "layer_11_hidden"
            await pilot.press("o", "space", "down", "space", "c")
            await settle(pilot, lambda app: isinstance(app.screen, PromptCompareScreen))
            await settle(pilot, shows("4.00"))
            await pilot.press("tab")
            await settle(pilot, shows("[attn]"))
            await pilot.press("escape", "escape")
            assert isinstance(pilot.app.screen, MonitorScreen)


class TestChannels:
    def test_the_largest_channels_come_first_and_ties_by_number(self, clean: Path) -> None:
        with SessionReader(clean) as reader:
            sites = [number for number, site in enumerate(some(reader.meta().plan).sites) if site.component == "hidden"]
            found = channel_map(reader, sites, 8)
            arrays = np.stack([some(reader.totals(site)).channel_max for site in sites])
        overall = arrays.max(axis=0)
        assert found.channels.tolist() == sorted(range(64), key=lambda c: (-overall[c], c))[:8]
        np.testing.assert_array_equal(found.maxima, arrays[:, found.channels])
        assert (found.width, found.sites) == (64, tuple(sites))

    async def test_channels_keep_their_columns_while_a_run_goes_on(self, shown: Shown, tmp_path: Path) -> None:
        script = sessions.running(tmp_path / "run.maxact")
        async with shown(script.path, 100, 30) as pilot:
            await settle(pilot, lambda app: app.snapshot.view is not None)
            await pilot.press("c")
            await settle(pilot, shows("channel 50"))
            heatmap = pilot.app.screen.query_one(Heatmap)
            await pilot.press("right", "right")
            before = heatmap.grid.titles
            number = pilot.app.snapshot.checkpoint
            script.tick().checkpoint()
            await settle(pilot, lambda app: app.screen._read_at[1] > number)
            after = pilot.app.screen.query_one(Heatmap)
            assert after.grid.titles[0] == before[0]
            assert (after is heatmap) == (set(after.grid.titles) == set(before))

    async def test_the_component_turns_and_enter_opens_the_site(self, shown: Shown, clean: Path) -> None:
        async with shown(clean) as pilot:
            await settle(pilot, is_complete)
            await pilot.press("c")
            await settle(pilot, shows("massive in 14"))
            screen = pilot.app.screen
            assert isinstance(screen, ChannelsScreen)
            assert screen.copied(whole=True).count("\n") == 33  # a heading, 30 layers, embedding and final norm
            await pilot.press("shift+tab")
            await settle(pilot, shows("in mlp_output"))
            await settle(pilot, shows("channel 50 at layer 11 mlp_output"))
            await pilot.press("down", "enter")
            await settle(pilot, lambda app: isinstance(app.screen, SiteScreen))
            assert some(pilot.app.snapshot.plan).sites[pilot.app.screen.site].name == "layer_12_mlp_output"


def test_what_is_drawn_without_colours_tells_large_from_small() -> None:
    from maxact_tui.widgets.tokenview import token_styles

    styles = token_styles(choose_look(None, no_colour=True))
    assert styles[0].dim
    assert styles[-1].underline
