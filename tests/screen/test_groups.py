"""GEMM inputs and the paper's sites: two groups on the board, two sets of columns in the heatmap; runs of one."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.strip import Strip

from engine.analysis.site import summarise
from engine.quantization.groups import GROUPS
from engine.quantization.populations import read_board
from engine.quantization.ranking import damage_of, rank
from engine.run import runner
from engine.session.listing import describe_session
from engine.session.reader import SessionReader
from engine.session.records import ENDED
from maxact_tui.cli.plain import Narrator
from maxact_tui.keymap import actions
from maxact_tui.pages.boardsheet import grouped_rows
from maxact_tui.pages.int8page import int8_line
from maxact_tui.pages.sessionlines import marks_words, session_sheet
from maxact_tui.screens.board import BoardScreen
from maxact_tui.screens.choice import ChoiceScreen
from maxact_tui.screens.threads import ThreadsScreen
from maxact_tui.shell.application import MaxactApp
from maxact_tui.terminal.palette import choose_look
from maxact_tui.texts.numbers import compact, share_text
from maxact_tui.watching import pairing
from maxact_tui.watching.boardview import read_site_quant
from maxact_tui.watching.looking import Look
from maxact_tui.watching.pairing import start_gemm_run
from maxact_tui.watching.requests import READ_ONLY
from maxact_tui.watching.snapshot import SiteView, Wish
from maxact_tui.widgets.grid import make_grid
from maxact_tui.widgets.heatmap import Heatmap
from maxact_tui.widgets.lines import line
from tests.engine.running import new_session, tiny_job, write_corpus
from tests.screen import sessions
from tests.screen.conftest import Shown, is_complete, pictured, settle, shows
from tests.screen.pictures import screen_text
from tests.values import some

INPUTS, OTHERS, GATES = GROUPS.values()
GEMM = ("attn_input", "o_proj_input", "mlp_input", "down_proj_input")


@pytest.fixture(scope="session")
def both_session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished session with the paper's sites and the GEMM inputs."""
    path = tmp_path_factory.mktemp("sessions") / "both.maxact"
    sessions.finished(path, hostile=False, components=(*sessions.PAPER, *GEMM))
    return path


@pytest.fixture(scope="session")
def gemm_session(tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path) -> Path:
    """A finished run of the tiny Llama over its GEMM inputs alone."""
    folder = tmp_path_factory.mktemp("gemm")
    corpus = write_corpus(folder / "c.jsonl", 9)
    path = new_session(folder / "gemm.maxact", tiny_job(tiny_model_folder, corpus, sites="gemm"))
    assert runner.run(path) == 0
    return path


def is_board(app: MaxactApp) -> bool:
    return isinstance(app.screen, BoardScreen) and "mean dB" in screen_text(app)


def heatmap_of(app: MaxactApp) -> Heatmap:
    return app.screen.query_one(Heatmap)


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (120, 36)])
async def test_the_board_of_both_looks_as_pictured(shown: Shown, both_session: Path, columns: int, rows: int) -> None:
    async with shown(both_session, columns, rows) as pilot:
        await settle(pilot, is_complete)
        await pilot.press("i")
        await settle(pilot, is_board)
        await pictured(pilot, f"groups-board-{columns}x{rows}")


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (120, 36)])
async def test_the_heatmap_of_both_looks_as_pictured(shown: Shown, both_session: Path, columns: int, rows: int) -> None:
    async with shown(both_session, columns, rows) as pilot:
        await settle(pilot, is_complete)
        await pictured(pilot, f"groups-monitor-{columns}x{rows}")


async def test_gemm_inputs_come_first_in_every_order_and_keep_their_own(shown: Shown, both_session: Path) -> None:
    async with shown(both_session, 120, 36) as pilot:
        await settle(pilot, is_complete)
        await pilot.press("i")
        await settle(pilot, is_board)
        board = pilot.app.screen
        assert isinstance(board, BoardScreen)
        plan = some(board.snapshot.plan)
        for keys in ("", "s", "s", "S", "w"):
            await pilot.press(*keys)
            await pilot.pause()
            kinds = [plan.sites[site].is_input for site in board.table.sites]
            assert kinds == sorted(kinds, reverse=True)
            assert len(kinds) == len(plan.sites)
            assert board.table.site_at(0) is None
            assert board.table.site_at(1) == board.table.sites[0]


async def test_the_cursor_steps_over_the_lines_between(shown: Shown, both_session: Path) -> None:
    async with shown(both_session, 120, 36) as pilot:
        await settle(pilot, is_complete)
        await pilot.press("i")
        await settle(pilot, is_board)
        board = pilot.app.screen
        assert isinstance(board, BoardScreen)
        inputs = sum(site.is_input for site in some(board.snapshot.plan).sites)
        assert board.table.site == board.table.sites[0]
        await pilot.press("up")
        assert board.table.site == board.table.sites[0]
        await pilot.press(*["down"] * inputs)
        assert board.table.site == board.table.sites[inputs]
        assert board.tuned_site == board.table.site
        await pilot.press("up")
        assert board.table.site == board.table.sites[inputs - 1]
        await pilot.press("end")
        assert board.table.site == board.table.sites[-1]


def test_a_group_that_is_missing_says_so_and_a_filtered_one_is_left_out() -> None:
    plan = sessions.SessionScript.__new__(sessions.SessionScript)
    plan.layers, plan.width, plan.components = 2, 8, ("hidden", "down_proj_input")
    both = plan._plan()
    inputs = [number for number, site in enumerate(both.sites) if site.is_input]
    others = [number for number, site in enumerate(both.sites) if not site.is_input]
    assert grouped_rows([*others, *inputs], both, "; n runs with them") == (
        f" {INPUTS}: 2 sites", *inputs, f" {OTHERS}: 4 sites", *others,
    )  # fmt: skip
    assert grouped_rows(others[:1], both, "") == (f" {OTHERS}: 1 of 4 sites", others[0])
    plan.components = ("hidden", "expert_gate")
    gates = plan._plan()
    here = [number for number, site in enumerate(gates.sites) if site.component == "expert_gate"]
    streams = [number for number, site in enumerate(gates.sites) if site.component != "expert_gate"]
    assert grouped_rows([*here, *streams], gates, "") == (
        f" {INPUTS}: not measured", f" {OTHERS}: 4 sites", *streams, f" {GATES}: 2 sites", *here,
    )  # fmt: skip
    plan.components = ("hidden",)
    paper = plan._plan()
    rows = grouped_rows([0], paper, "; n runs with them")
    assert rows == (f" {INPUTS}: not measured; n runs with them", f" {OTHERS}: 1 of 4 sites", 0)


def test_the_papers_columns_come_before_those_of_the_gemm_inputs(both_session: Path) -> None:
    with SessionReader(both_session) as reader:
        grid = make_grid(some(reader.meta().plan))
    assert grid.columns == (*sessions.PAPER, *GEMM)


def test_the_line_of_int8_says_first_what_decides_and_cuts_no_number(gemm_session: Path) -> None:
    with SessionReader(gemm_session) as reader:
        board, sites = read_board(reader), some(reader.meta().plan).sites
        site = rank(board)[0].site
        totals = some(reader.totals(site))
        quant = read_site_quant(reader, site, totals)
        view = SiteView(site, sites[site], 1, totals, summarise(totals), (), quant, 1)
    assert sites[site].is_input and board.local
    look = choose_look(None)
    lines = [Strip.join([line(look, *int8_line(view, look, width))]).text.rstrip() for width in range(12, 121)]
    whole = lines[-1]
    damage = share_text(damage_of(board, site, "int8"))
    assert whole.startswith(f"INT8 damage {damage}, ") and whole.count(" dB") == 1 and "e4m3" in whole
    for width, text in zip(range(12, 121), lines, strict=True):
        assert len(text) <= width and whole.startswith(text)
        assert whole[len(text) :][:1] in ("", " ", ",") or text == "INT8", text


async def test_a_session_without_gemm_inputs_offers_the_run_that_would_measure_them(
    shown: Shown, clean_session: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Path] = []

    def start(session: Path, patience: object = None) -> Path:
        started.append(session)
        return session.with_name("clean-gemm.maxact")

    monkeypatch.setattr(pairing, "start_gemm_run", start)
    async with shown(clean_session, 100, 30) as pilot:
        await settle(pilot, is_complete)
        await pilot.press("i")
        await settle(pilot, is_board)
        key = actions.key_of("board", "app.gemm_run")
        await settle(pilot, shows(f"{INPUTS}: not measured; {key} runs with them"))
        await pilot.press(key)
        await settle(pilot, lambda app: isinstance(app.screen, ChoiceScreen))
        await settle(pilot, shows("Run all 14 samples again, with the GEMM inputs?"))
        await pilot.press("escape")
        await settle(pilot, is_board)
        assert not started
        await pilot.press(key, "s")
        await settle(pilot, lambda app: "started clean-gemm; o opens it" in screen_text(app))
        assert started == [clean_session]


async def test_it_is_not_offered_where_they_are_measured_or_nothing_may_be_sent(
    shown: Shown, both_session: Path, clean_session: Path
) -> None:
    for path, read_only in ((both_session, False), (clean_session, True)):
        async with shown(path, 120, 30, read_only=read_only) as pilot:
            await settle(pilot, is_complete)
            await pilot.press("i")
            await settle(pilot, is_board)
            await pilot.press(actions.key_of("board", "app.gemm_run"))
            answer = READ_ONLY if read_only else "this run measures the GEMM inputs"
            await pilot.pause(0.1)
            await settle(pilot, shows(answer))


def test_the_offered_run_is_the_same_one_with_more_sites(tmp_path: Path, tiny_model_folder: Path) -> None:
    corpus = write_corpus(tmp_path / "short.jsonl", samples=6)
    session = new_session(tmp_path / "run.maxact", tiny_job(tiny_model_folder, corpus, seed=3, policy="bos"))
    assert runner.run(session) == 0
    path = start_gemm_run(session)
    assert path == tmp_path / "run-gemm.maxact"
    with SessionReader(session) as first, SessionReader(path) as second:
        while second.status().phase not in ENDED:
            pass
        assert second.status().phase == "finished"
        before, after = first.meta(), second.meta()
        assert after.job.to_json() == {**before.job.to_json(), "sites": "paper+gemm"}
        assert second.samples_done().tolist() == first.samples_done().tolist()
        names = {site.name for site in some(before.plan).sites}
        assert names < {site.name for site in some(after.plan).sites}


async def test_a_run_without_m_says_so_wherever_m_would_be(shown: Shown, gemm_session: Path) -> None:
    async with shown(gemm_session, 120, 36) as pilot:
        await settle(pilot, is_complete)
        text = screen_text(pilot.app)
        assert " largest GEMM input " in text
        assert "no M (--sites gemm)" in text
        assert "fits fp16" in text
        assert "* largest" in text
        await pilot.press("x")
        await settle(
            pilot, lambda app: "M is over the paper's sites, which this run did not measure" in screen_text(app)
        )
        assert pilot.app.screen.query_one(Heatmap).site == some(some(pilot.app.snapshot).maximum).site
        await pilot.press("t")
        await settle(pilot, lambda app: isinstance(app.screen, ThreadsScreen) and app.snapshot.model is not None)
        await settle(pilot, lambda app: "follow the hidden state, which this run did not measure" in screen_text(app))
        assert "No activation is massive" not in screen_text(pilot.app)
        await pilot.press("escape", "i")
        await settle(pilot, lambda app: f"{OTHERS}: not measured" in screen_text(app))


def test_the_list_of_sessions_shows_the_largest_input_marked_as_no_m(gemm_session: Path, clean_session: Path) -> None:
    with SessionReader(gemm_session) as first, SessionReader(clean_session) as second:
        found = [describe_session(first), describe_session(second)]
    assert [info.is_m for info in found] == [False, True]
    rows = [session_sheet(found, choose_look(None), 100).row(number).text for number in range(2)]
    assert f"{compact(found[0].magnitude)}^" in rows[0] and "^" not in rows[1]
    assert marks_words(found) == "^ largest GEMM input: no M was measured"
    assert marks_words(found[1:]) == ""


def test_plain_lines_name_the_largest_input(gemm_session: Path) -> None:
    look = Look(gemm_session)
    try:
        snapshot = some(look.again(Wish(None, model=False)))
        lines = list(Narrator().lines(snapshot))
    finally:
        look.close()
    assert any(line.startswith("largest GEMM input ") for line in lines)
    assert not any(line.startswith("M ") for line in lines)
