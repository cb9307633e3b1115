"""Sessions with NaN and infinity: one red line on every screen, and no number for what is not known."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.analysis.channels import channel_maxima
from engine.analysis.model import analyse
from engine.analysis.nonfinite import Alarm
from engine.analysis.site import summarise
from engine.analysis.threads import Thread
from engine.report.alarm import alarm_line
from engine.session.reader import SessionReader
from engine.session.records import Result
from engine.sites.site import HookPlan, Site
from engine.statistics.totals import SiteTotals
from maxact_tui.keymap import actions
from maxact_tui.pages.channelcells import ChannelPlace, place_lines
from maxact_tui.pages.probelines import cursor_lines, legend_line
from maxact_tui.pages.promptlines import prompt_table
from maxact_tui.pages.threadlines import end_of, profile
from maxact_tui.screens.alarmed import Alarmed
from maxact_tui.screens.board import BoardScreen
from maxact_tui.screens.channels import ChannelsScreen
from maxact_tui.screens.sample import SampleScreen
from maxact_tui.screens.site import SiteScreen
from maxact_tui.terminal.palette import choose_look
from maxact_tui.texts.pieces import shown_pieces
from maxact_tui.watching.probes import ProbeView, Tokens
from maxact_tui.widgets.grid import make_grid
from maxact_tui.widgets.layertokens import make_layers, token_records
from maxact_tui.widgets.tokenview import TokenCursor
from tests.screen import sessions
from tests.screen.conftest import Shown, is_complete, settle, shows
from tests.screen.pictures import screen_text
from tests.screen.test_every_screen import every_screen
from tests.values import some

LOOK = choose_look(None)
FIRST = (0, 3, 7)  # sample, position, channel
# Dialogs and pages of text, which show no numbers of a session, and the list of all sessions.
WITHOUT_NUMBERS = {
    "BrowserScreen", "ChoiceScreen", "ExportScreen", "NumberScreen", "PaletteScreen", "PromptEditor", "ReadingScreen",
}  # fmt: skip


def poisoned(path: Path, *, from_layer: int, massive: int | None = None, inputs: bool = False) -> Path:
    """A finished session of four layers in which nothing is finite from the attention output of one layer on."""
    parts = (*sessions.PAPER, "down_proj_input") if inputs else sessions.PAPER
    script = sessions.SessionScript(path, layers=4, components=parts, samples=4, massive=massive, hostile=False).load()
    for _ in script.samples:
        script.tick()
    totals = [script._totals(number) for number in range(len(script.plan.sites))]
    for number, site in enumerate(script.plan.sites):
        if from_layer <= (4 if site.component == "final_norm" else -1 if site.layer is None else site.layer):
            totals[number] = barren(totals[number])
            count = totals[number].elements
            script.live[number] = [math.nan] * 3 + [int(totals[number].tokens), count, -1, -1, -1, count, *FIRST]
    script.writer.tick(script.status, script.live)
    script.writer.checkpoint(script.status, totals, np.arange(len(script.samples)))
    script.finish()
    return path


def barren(like: SiteTotals) -> SiteTotals:
    """Totals of a site whose elements are all NaN."""
    totals = SiteTotals.empty(like.dtype, like.width, len(like.sample_max), census=True)
    totals.tokens[...] = like.tokens
    totals.histogram[0x7FC0] = totals.nonfinite[0] = totals.elements
    totals.nonfinite_address[:] = FIRST
    return totals


@pytest.fixture(scope="module")
def nan_session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """NaN from layer 2 on; layers 0 and 1 are finite, and nothing in them is massive."""
    return poisoned(tmp_path_factory.mktemp("nan") / "nan.maxact", from_layer=2, inputs=True)


@pytest.fixture(scope="module")
def all_nan_session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nothing is finite anywhere."""
    return poisoned(tmp_path_factory.mktemp("nan") / "all.maxact", from_layer=-1)


def test_every_screen_with_numbers_of_a_session_begins_with_the_red_line() -> None:
    plain = {name for name, kind in every_screen().items() if not issubclass(kind, Alarmed)}
    assert plain == WITHOUT_NUMBERS


async def test_each_screen_shows_the_line_and_no_number_for_what_is_not_finite(shown: Shown, nan_session: Path) -> None:
    line = " first NaN: L2 attn_output, sample 0, pos"
    async with shown(nan_session, 80, 24, read_only=True) as pilot:
        await settle(pilot, is_complete)
        assert screen_text(pilot.app).startswith(line)
        await pilot.press("X", "2")
        await settle(pilot, shows("No finite element: 19,968 NaN."))
        await settle(pilot, shows("massive ?"))
        await settle(pilot, shows("sample 0, position 3"))
        await pilot.press("c")
        await settle(pilot, lambda app: isinstance(app.screen, ChannelsScreen) and "L3" in screen_text(app))
        rows = [row for row in screen_text(pilot.app).split("\n") if row.strip().startswith(("L2", "L3"))]
        assert rows and all(set(row[6:].replace("▸", "").split()) == {"!"} for row in rows)
        assert screen_text(pilot.app).startswith(line)
        for key in ("t", "i", "v"):
            await pilot.press("escape", key)
            await settle(pilot, lambda app: app.screen is not app.monitor and screen_text(app).startswith(line))
            if key == "t":
                await settle(pilot, shows("No finite activation is massive"))
            if key == "i":
                await settle(pilot, shows("mean dB"))
                assert "GEMM run" not in screen_text(pilot.app), "they are measured already"
                assert "…" not in "".join(screen_text(pilot.app).split("\n")[:5])


async def test_the_key_leads_to_the_element_on_every_screen_and_its_text_opens(shown: Shown, nan_session: Path) -> None:
    async with shown(nan_session, 100, 30, read_only=True) as pilot:
        await settle(pilot, is_complete)
        alarm = some(pilot.app.snapshot.alarm)
        await pilot.press("enter")
        await settle(pilot, lambda app: isinstance(app.screen, SiteScreen))
        await pilot.press("X")
        assert pilot.app.screen.site == alarm.site
        await settle(pilot, shows("No finite element"))
        await pilot.press("y")
        await settle(pilot, lambda app: isinstance(app.screen, SampleScreen))
        assert (pilot.app.screen.sample, pilot.app.screen.cursor.token) == FIRST[:2]
        await pilot.press("escape", "escape", "i")
        await settle(pilot, lambda app: isinstance(app.screen, BoardScreen) and "mean dB" in screen_text(app))
        await pilot.press("X")
        assert pilot.app.screen.tuned_site == alarm.site
        await settle(pilot, shows("no finite element: 19,968 Inf/NaN"))


async def test_a_model_without_a_finite_element_is_nowhere_said_to_be_measured(
    shown: Shown, all_nan_session: Path
) -> None:
    async with shown(all_nan_session, 100, 30, read_only=True) as pilot:
        await settle(pilot, is_complete)
        text = screen_text(pilot.app)
        assert "M -  no finite element" in text and "so far" not in text
        assert "no numbers yet" not in text
        await pilot.press("enter", "3")
        await settle(pilot, shows("No finite element"))
        assert "only zeros" not in screen_text(pilot.app)
        await pilot.press("escape", "t")
        await settle(
            pilot, shows("Whether an activation is massive is not known: no hidden state has a finite element.")
        )
        await pilot.press("escape", "i")
        await settle(pilot, shows("no site has a finite element: nothing to quantise"))
        assert "over all samples" not in screen_text(pilot.app)
        key = actions.key_of("board", "app.gemm_run")
        await settle(pilot, shows(f"{key} GEMM run"))


@pytest.mark.parametrize(
    ("room", "expected"),
    [
        (200, "first Inf: L11 mlp_output, sample 12, position 34, channel 507, token ‹Once›; 75 sites after it"),
        (66, "first Inf: L11 mlp_output, sample 12, pos 34, ch 507; 75 after"),
        (58, "first Inf: L11 mlp_output, sample 12, pos 34, ch 507"),
        (45, "first Inf: L11 mlp_output, 12:34:507"),
        (10, "first Inf: L11 mlp_output"),
    ],
)
def test_the_address_outlives_the_token_and_the_count(room: int, expected: str) -> None:
    plan = HookPlan((Site("layer_11_mlp_output", 11, "mlp_output", "m"),) * 76, (), "llama", 12, 64, "model")
    alarm = Alarm(0, "Inf", 12, 34, 507, tuple(range(76)), "Inf")
    assert alarm_line(alarm, plan, "Once", room) == expected


def test_a_channel_is_zero_only_where_it_must_have_had_a_finite_element() -> None:
    totals = SiteTotals.empty("bfloat16", 4, 1, census=True)
    totals.tokens[...] = 10
    totals.channel_max[:] = (3, 0, 2, 1)
    assert channel_maxima(totals).tolist() == [3, 0, 2, 1]
    totals.nonfinite[0] = 9  # too few to be all of a channel
    assert channel_maxima(totals).tolist() == [3, 0, 2, 1]
    totals.nonfinite[1] = 1
    assert np.array_equal(channel_maxima(totals), [3, math.nan, 2, 1], equal_nan=True)


def probe_view(plan: HookPlan) -> ProbeView:
    """Two sites, three tokens: the second token is not finite at the second site, the third was not seen there."""
    maxima = np.array([[1, 2, 3], [400, math.nan, math.nan]], np.float32)
    channels = np.array([[0, 1, 2], [5, 6, -1]], np.int32)
    pieces = (b"a", b"b", b"c")
    tokens = Tokens(None, np.arange(3, dtype=np.int32), pieces, shown_pieces(pieces))
    return ProbeView(Result(1, 0.0, "probe", "abc", {"text": "abc"}, {"policy": "raw"}), tokens, maxima, channels)


def test_a_text_marks_what_is_not_finite_and_leaves_blank_what_was_not_seen() -> None:
    sites = tuple(Site(f"layer_{n}_hidden", n, "hidden", "m") for n in range(2))
    plan = HookPlan(sites, (), "llama", 2, 64, "model")
    view = probe_view(plan)
    layers = some(make_layers(view, make_grid(plan), 0, np.array([100.0, 100.0]), LOOK))
    assert layers.digits.tolist()[1] == ["2", "!", " "]
    assert [one["massive"] for one in token_records(view.tokens, layers, 1)] == ["yes", None, None]
    assert [one["nonfinite"] for one in token_records(view.tokens, layers, 1)] == ["no", "yes", "no"]
    said = [one.text for one in cursor_lines(view.tokens, layers, plan, TokenCursor(1, 1), LOOK, 100)]
    assert said[0] == "NaN or infinity  channel 6  layer 1 hidden"
    assert said[1].startswith("massive or not is not known")
    unseen = cursor_lines(view.tokens, layers, plan, TokenCursor(2, 1), LOOK, 100)[0].text
    assert unseen == "layer 1 hidden: nothing was seen of this token"
    assert "! NaN or infinity" in legend_line(LOOK, view.tokens, layers, 100, is_map=True).text


def test_a_list_of_prompts_marks_a_maximum_that_leaves_something_out() -> None:
    data = {"policy": "raw", "tokens": 3, "nonfinite_sites": 2}
    largest = {"value": -780.0, "site": 0, "token": 0, "channel": 1}
    some_bad = Result(1, 0.0, "probe", "a", {"text": "a"}, {**data, "maximum": largest})
    all_bad = Result(2, 0.0, "probe", "b", {"text": "b"}, {**data, "maximum": None})
    rows = [row.text for row in prompt_table([all_bad, some_bad], (), LOOK, 80)[1]]
    assert " !  b" in rows[0] and "780!" in rows[1]


def test_a_thread_is_gone_only_where_its_element_is_known_to_be_finite(tmp_path: Path) -> None:
    script = sessions.SessionScript(tmp_path / "t.maxact", layers=3, samples=4, massive=None, hostile=False).load()
    script.tick()
    totals = [script._totals(number) for number in range(len(script.plan.sites))]
    (last,) = [n for n, site in enumerate(script.plan.sites) if site.layer == 2 and site.component == "hidden"]
    thread = Thread(2, 0, 5, 1, 2, 900.0, 1, (900.0,), True, True)
    script.writer.checkpoint(script.status, totals, np.arange(4))
    with SessionReader(script.path) as reader:
        model = analyse(reader)
    ends = []
    for bad, at in ((0, (-1, -1, -1)), (3, (2, 0, 6)), (3, (1, 9, 9)), (None, FIRST)):
        one = barren(totals[last]) if bad is None else totals[last]
        if bad is not None:
            one.nonfinite[0], one.nonfinite_address[:] = bad, at
        sites = [*model.sites[:last], summarise(one), *model.sites[last + 1 :]]
        ends.append(end_of(replace(model, sites=tuple(sites)), thread))
    assert ends == ["gone", "gone", "unsure", "lost"]
    assert profile(thread, 80, "lost") == "L1 900  L2 !"
    assert profile(thread, 80, "unsure") == "L1 900  L2 gone?"


def test_a_channel_of_a_site_whose_channels_are_not_counted_is_not_said_to_be_harmless() -> None:
    here = ChannelPlace(0, 7, 3056.0, None, None, True, is_counted=False)
    said = place_lines(here, Site("layer_0_down_proj_input", 0, "down_proj_input", "m"), None, LOOK, 100)[1].text
    assert said == "massive or outlier is not known: channels are not counted at this site"
