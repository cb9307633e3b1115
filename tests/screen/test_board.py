"""The board of quantisers and the INT8 tab: what they show, and that it is what the quantisers compute."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.effect.interventions import Quantise, Scope, parse_intervention
from engine.effect.request import read_request
from engine.effect.results import Effect, Numbers, Outcome
from engine.formats import IntegerFormat
from engine.messages import Code, message
from engine.quantization.board import compute_board
from engine.quantization.distribution import Distribution
from engine.quantization.removal import largest_channels, remainder_error, remove
from engine.quantization.schemes import evaluate
from engine.schemes import Scheme
from engine.session.reader import SessionReader
from engine.session.splits import SplitRecord
from engine.statistics.pass_sums import PassSums
from engine.statistics.totals import SiteTotals
from maxact_tui.pages.boardlines import head_lines
from maxact_tui.pages.boardsheet import Order, ordered, overflow_sheet, scheme_sheet, scheme_titles
from maxact_tui.pages.effects import tuned_name
from maxact_tui.pages.int8page import best_words, int8_page
from maxact_tui.pages.tuning import FINE, Tuner, Tuning
from maxact_tui.screens.board import BoardScreen
from maxact_tui.screens.monitor import MonitorScreen
from maxact_tui.screens.number import NumberScreen
from maxact_tui.screens.site import SiteScreen
from maxact_tui.shell import ordering
from maxact_tui.shell.application import MaxactApp
from maxact_tui.terminal.palette import choose_look
from maxact_tui.texts.numbers import exact as exact_text
from maxact_tui.texts.numbers import exact_short, read_number
from maxact_tui.watching.boardview import read_board
from tests.screen import sessions
from tests.screen.conftest import Shown, is_complete, pictured, settle, shows
from tests.screen.pictures import screen_text
from tests.screen.terminal import Terminal
from tests.values import some

SIZES = [(80, 24), (200, 60)]


def is_board(app: MaxactApp) -> bool:
    screen = app.screen
    return isinstance(screen, BoardScreen) and screen.tuner is not None and "mean dB" in screen_text(app)


def is_int8(app: MaxactApp) -> bool:
    return isinstance(app.screen, SiteScreen) and app.screen.tuner is not None and "what if" in screen_text(app)


def sqnr_of(app: MaxactApp) -> float:
    found = re.search(r"SQNR (-?[\d.]+) dB", screen_text(app))
    assert found is not None
    return float(found[1])


@pytest.mark.parametrize(("columns", "rows"), SIZES)
async def test_the_board_looks_as_pictured(shown: Shown, clean_session: Path, columns: int, rows: int) -> None:
    async with shown(clean_session, columns, rows) as pilot:
        await settle(pilot, is_complete)
        await pilot.press("i")
        await settle(pilot, is_board)
        await pictured(pilot, f"board-{columns}x{rows}")
        await pilot.press("w")
        await settle(pilot, lambda app: "exceed it without a scale" in screen_text(app))
        await pictured(pilot, f"board-limits-{columns}x{rows}")


@pytest.mark.parametrize(("columns", "rows"), SIZES)
async def test_the_int8_tab_looks_as_pictured(shown: Shown, clean_session: Path, columns: int, rows: int) -> None:
    async with shown(clean_session, columns, rows) as pilot:
        await settle(pilot, is_complete)
        await pilot.press("x", "enter", "5")
        await settle(pilot, is_int8)
        await pilot.press(*["pageup"] * 3, *["pagedown"] * 12, "left", "plus", "plus", "0")
        await pictured(pilot, f"site-5-{columns}x{rows}")


async def test_s_sorts_by_the_column_under_the_cursor_worst_first(shown: Shown, clean_session: Path) -> None:
    with SessionReader(clean_session) as reader:
        board = compute_board([Distribution.of(some(t)) for t in reader.all_totals()])
        plan = reader.meta().plan
    async with shown(clean_session, 120, 36) as pilot:
        await settle(pilot, is_complete)
        await pilot.press("i")
        await settle(pilot, is_board)
        screen = pilot.app.screen
        assert plan is not None
        for presses, column in (([], None), (["right"] * 4 + ["s"], 3)):
            await pilot.press(*presses)
            await pilot.pause()
            errors = [some(some(row)[column or 0]) for row in board.rows]
            worst = [-one.rel_mae if column is None else one.sqnr_db for one in errors]
            expected = sorted(range(len(plan.sites)), key=worst.__getitem__)
            assert screen.table.sites == expected
            assert screen.tuned_site == expected[0]
        await settle(pilot, shows("by int8-mse, worst first"))
        await pilot.press("S")
        assert [worst[site] for site in screen.table.sites] == sorted(worst, reverse=True)
        await pilot.press("s")
        assert screen.table.sites == list(range(len(plan.sites)))
        await pilot.press("slash", *"comp:hidden L3-5", "enter")
        await pilot.pause()
        assert [plan.sites[site].name for site in screen.table.sites] == [f"layer_{n}_hidden" for n in (3, 4, 5)]
        await settle(pilot, shows("3 of 122 sites"))
        heading, *rows = [row.split("\t") for row in screen.copied(whole=True).splitlines()]
        assert heading[:5] == ["site", "layer", "component", "rel. mae int8", "int8"]
        assert [row[0] for row in rows] == [plan.sites[site].name for site in screen.table.sites]
        first = some(some(board.rows[screen.table.sites[0]])[0])
        assert (float(rows[0][3]), float(rows[0][4])) == pytest.approx((first.rel_mae, first.sqnr_db))


async def test_enter_opens_the_site_under_the_quantiser_and_esc_comes_back(shown: Shown, clean_session: Path) -> None:
    async with shown(clean_session, 120, 36) as pilot:
        await settle(pilot, is_complete)
        before = pilot.app.monitor.site
        await pilot.press("i")
        await settle(pilot, is_board)
        await pilot.press("escape")
        await settle(pilot, lambda app: isinstance(app.screen, MonitorScreen))
        assert pilot.app.monitor.site == before  # nothing was chosen
        await pilot.press("i")
        await settle(pilot, is_board)
        await pilot.press("down", "down", "right", "right", "right", "enter")
        await settle(pilot, is_int8)
        site = pilot.app.screen.site
        await settle(pilot, shows("int8-q99.99  T"))
        await pilot.press("down", "escape")
        await settle(pilot, is_board)
        assert (pilot.app.screen.tuned_site, pilot.app.screen._heatmap.cursor[1]) == (site, 4)
        await pilot.press("escape")
        await settle(pilot, lambda app: isinstance(app.screen, MonitorScreen))
        assert pilot.app.monitor.site == site


async def test_the_slider_shows_what_the_quantiser_computes(shown: Shown, clean_session: Path) -> None:
    async with shown(clean_session, 120, 36) as pilot:
        await settle(pilot, is_complete)
        await pilot.press("x", "enter", "5")
        await settle(pilot, is_int8)
        screen = pilot.app.screen
        whole = Distribution.of(screen.snapshot.view.totals)
        assert whole is not None
        assert sqnr_of(pilot.app) == pytest.approx(evaluate(whole, Scheme()).sqnr_db, abs=0.051)
        for keys in (["left"], ["pagedown"] * 5, ["less_than_sign", "comma"], ["right"] * 7):
            await pilot.press(*keys)
            await pilot.pause()
            threshold = screen.tuning.threshold
            expected = evaluate(whole, Scheme(policy="value", value=threshold))
            assert sqnr_of(pilot.app) == pytest.approx(expected.sqnr_db, abs=0.051)
            await settle(pilot, shows("moved from"))
        await pilot.press("equals_sign")
        await settle(pilot, lambda app: isinstance(app.screen, NumberScreen))
        before = screen.tuning
        refused = {"": "above 0", "-3": "above 0", "0": "above 0", "nan": "above 0", "1,5": "above 0", "1e39": "3.4e38"}
        for typed, said in refused.items():
            await pilot.press("ctrl+u", *typed, "enter")
            await pilot.pause()
            assert f"{said}: 12.5, 3e4 or 23.2k" in screen_text(pilot.app), typed
            assert screen.tuning == before
        await pilot.press("ctrl+u", *"77.5", "enter")
        await settle(pilot, is_int8)
        await pilot.pause()
        assert screen.tuning.threshold == 77.5
        await settle(pilot, shows("T 77.5"))
        await pilot.press("r")
        await pilot.pause()
        assert screen.tuning.threshold is None


async def test_what_if_is_what_the_totals_tell(shown: Shown, clean_session: Path) -> None:
    async with shown(clean_session, 120, 36) as pilot:
        await settle(pilot, is_complete)
        await pilot.press("x", "enter", "5")
        await settle(pilot, is_int8)
        screen = pilot.app.screen
        totals = screen.snapshot.view.totals
        await pilot.press("plus", "plus")
        await pilot.pause()
        channels = largest_channels(totals, 2)
        left = remove(totals, channels=channels)
        assert left is not None
        after = remainder_error(left, Scheme(), some(left.distribution).largest)
        text = screen_text(pilot.app)
        assert f"2 channels in bf16: {channels[0]}, {channels[1]}" in text
        assert f"→ {after.error.sqnr_db:.1f} dB ({after.lowest_db:.1f} to {after.highest_db:.1f})" in text
        whole = some(Distribution.of(totals)).sum_squares / (after.error.rmse**2 * after.error.count)
        assert f"≥ {10 * math.log10(whole):.1f} dB" in text
        await pilot.press("minus", "minus", "0")
        await pilot.pause()
        left = some(remove(totals, first_tokens=len(totals.sample_max) * 1))
        after = remainder_error(left, Scheme(), some(left.distribution).largest)
        text = screen_text(pilot.app)
        assert "[x] without position 0 (this run added no BOS)" in text
        assert f"→ {after.error.sqnr_db:.1f} dB" in text
        assert "whole site" not in text
        await pilot.press("right_square_bracket")
        await settle(pilot, is_int8)
        assert screen.tuning.without_first


@pytest.mark.parametrize("size", [(80, 24), (120, 36)])
async def test_the_keys_of_what_if_are_answered_wherever_they_work(
    shown: Shown, clean_session: Path, size: tuple[int, int]
) -> None:
    async with shown(clean_session, *size) as pilot:
        await settle(pilot, is_complete)
        await pilot.press("i")
        await settle(pilot, is_board)
        await pilot.press("comma", "plus")
        await settle(pilot, lambda app: " 1 channel in bf16: what remains" in screen_text(app))
        await pilot.press("plus", "0")
        await settle(pilot, lambda app: " without position 0 and 2 channels in bf16: what" in screen_text(app))
        before = pilot.app.screen.tuning
        await pilot.press("w", "plus")
        await settle(pilot, lambda app: "w shows the quantisers" in screen_text(app))
        assert pilot.app.screen.tuning == before
        await pilot.press("w", "r", "enter")
        await settle(pilot, is_int8)
        await pilot.press("1", "0")
        await settle(pilot, lambda app: "tab 5, INT8, shows what this changes" in screen_text(app))
        assert not pilot.app.screen.tuning.asks_what_if


async def test_the_end_of_the_slider_says_whose_maximum_it_is(shown: Shown, clean_session: Path) -> None:
    async with shown(clean_session, 80, 24) as pilot:
        await settle(pilot, is_complete)
        view, look = pilot.app.snapshot.view, pilot.app.look
    assert view is not None
    largest = exact_text(view.summary.magnitude)
    halves = replace(view.quant.populations, split=SplitRecord((0, 1), (2, 3)))
    split = replace(view, quant=replace(view.quant, populations=halves))
    for shown_view, said in ((view, f" max |x| {largest}"), (split, f" calibration max |x| {largest}")):
        assert shown_view is not None
        page = int8_page(Tuner(shown_view, 0), Tuning(), "raw", look, 78, 18, has_list=True)
        (row,) = [strip.text for strip in page if "max |x|" in strip.text]
        assert row.endswith(said) and len(row) <= 78


async def test_a_moved_threshold_is_the_number_that_is_shown_and_named(shown: Shown, clean_session: Path) -> None:
    async with shown(clean_session, 80, 24) as pilot:
        await settle(pilot, is_complete)
        tuner = Tuner(some(pilot.app.snapshot.view), 0)
    for column, scheme in enumerate(tuner.view.quant.board.schemes):
        tuning, passed = Tuning(column, channels=1), []
        for _ in range(100):
            tuning = tuner.moved(tuning, 1 / FINE)
            passed.append(some(tuning.threshold))
            threshold = read_number(exact_short(passed[-1]))
            assert threshold == passed[-1]
            if (
                isinstance(scheme, Scheme)
                and isinstance(scheme.form, IntegerFormat)
                and scheme.is_symmetric
                and not scheme.is_in_pass
            ):
                name = tuned_name(scheme, tuning)
                assert len(name) <= len("int8-t0.0012345-keep1")
                change = parse_intervention(name)
                assert isinstance(change, Quantise) and isinstance(change.scheme, Scheme)
                assert change.scheme.value == threshold
        assert passed == sorted(set(passed), reverse=True)
        for _ in range(100):
            assert tuning.threshold is not None
            tuning = tuner.moved(tuning, FINE)
        assert tuning == Tuning(column, channels=1)  # the scheme's own threshold, to the last digit


async def test_sites_without_a_number_say_why(shown: Shown, tmp_path: Path) -> None:
    script = sessions.SessionScript(tmp_path / "odd.maxact", layers=3, massive=None, hostile=False)
    script.load()
    script.tick()
    totals: list[SiteTotals] = [script._totals(number) for number in range(len(script.plan.sites))]
    totals[1].histogram[:], totals[1].extremes[:] = 0, 0
    totals[1].histogram[0] = totals[1].elements
    exact = np.zeros_like(totals[2].histogram)
    exact[0x4000], exact[0] = 640, totals[2].elements - 640  # two values: 2 and 0
    totals[2].histogram[:], totals[2].extremes[:] = exact, (2, 0)
    totals[3].histogram[0x7FC0] += 5
    totals[3].histogram[totals[3].histogram.argmax()] -= 5
    totals[3].nonfinite[0] = 5
    script.writer.checkpoint(script.status, [*totals[:4], None, *totals[5:]], np.arange(len(script.samples)))
    async with shown(script.path, 120, 36) as pilot:
        await settle(pilot, lambda app: app.snapshot.view is not None)
        await pilot.press("i")
        await settle(pilot, is_board)
        rows = {row[:13].strip(): row[14:] for row in screen_text(pilot.app).split("\n")}
        assert rows["L0 attn"].split()[:2] == ["zero", "zero"]
        assert "∞" in rows["L0 gate"]
        assert "!" in rows["L0 mlp"]
        assert rows["L0 hidden"].split()[:2] == ["-", "-"]
        await pilot.press("end")
        await settle(pilot, lambda app: app.snapshot.focus == app.screen.tuned_site)
        await settle(pilot, shows("nothing was seen"))


def test_the_board_is_one_line_per_site_with_titles_that_fit(clean_session: Path) -> None:
    look = choose_look("256")
    with SessionReader(clean_session) as reader:
        view, plan = read_board(reader), reader.meta().plan
        magnitudes = [float(np.abs(some(t).extremes).max()) for t in reader.all_totals()]
    assert plan is not None
    sheet = scheme_sheet(view, plan, look)
    assert view.magnitudes.tolist() == magnitudes
    assert len(sheet.columns) == 1 + len(view.board.schemes) == 13
    assert all(len(cell.text) <= 6 for column in sheet.columns for cell in column.cells)
    assert all(len(label) <= 13 for label in sheet.labels)
    titles = [scheme_titles(scheme) for scheme in view.board.schemes]
    assert all(len(title) <= 7 for _, title in titles)
    assert len(set(titles)) == len(titles)
    limits = overflow_sheet(view, plan, look)
    first = ordered(limits, Order("headroom to e4m3"))[0]
    assert magnitudes[first] == max(magnitudes)
    bits = limits.columns[1].values[first]
    assert bits == pytest.approx(math.log2(65_504 / max(magnitudes)))


def test_the_best_quantiser_is_named_with_the_bits_its_scales_take(clean_session: Path) -> None:
    with SessionReader(clean_session) as reader:
        totals = reader.totals(0)
    assert totals is not None
    site = Distribution.of(totals)
    table = np.array([[0.1, 1.0, 1e6, 1e4, 0, 0, 1_000, 0], [50.0, 10.0, 1e6, 1e4, 0, 0, 1_000, 0]])
    board = compute_board([site], [Scheme()], None, [PassSums(("nvfp4", "int8-token"), table)])
    assert best_words(board, 0, choose_look(None)) == "4 bits: nvfp4 (4.5) 70.0 dB"  # the best of 8 bits, too
    alone = compute_board([site], [Scheme("int4"), Scheme()], None, [PassSums(("int8-token",), table[1:] * 1e-3)])
    assert "(" not in best_words(alone, 0, choose_look(None))


async def test_the_board_survives_an_empty_filter_another_theme_and_any_size(
    shown: Shown, clean_session: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Keys that need a site wait for one as long as this, and here none comes.
    monkeypatch.setattr(ordering, "LONGEST_HOLD_SECONDS", 0.5)
    async with shown(clean_session, 120, 36) as pilot:
        await settle(pilot, is_complete)
        await pilot.press("i")
        await settle(pilot, is_board)
        await pilot.press("slash", *"L99", "enter", "down", "end", "pageup", "right", "s", "w", "Y", "w")
        await pilot.pause()
        await settle(pilot, shows("0 of 122 sites"))
        assert pilot.app.screen.tuned_site is None
        await pilot.press("enter", "Q", "equals_sign", "comma", "escape")
        await settle(pilot, lambda app: " 122 sites as the model computes" in screen_text(app))
        await pilot.app.action_theme()
        await settle(pilot, is_board)
        for size in ((200, 60), (60, 16), (10, 3), (300, 100), (80, 24)):
            await pilot.resize_terminal(*size)
            await pilot.pause()
        await settle(pilot, lambda app: is_board(app) and "▸" in screen_text(app))


async def test_what_is_asked_for_twice_before_the_first_answer_is_still_shown(
    shown: Shown, clean_session: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with shown(clean_session, 120, 36) as pilot:
        await settle(pilot, is_complete)
        await pilot.press("i", "s")  # as the model computes, with the cursor on the first site
        await settle(pilot, lambda app: is_board(app) and app.snapshot.focus == 0)
        # No answer of the watcher is taken while a filter takes the site away and is cleared again.
        with monkeypatch.context() as patched:
            patched.setattr(pilot.app, "_draw_when_allowed", lambda: None)
            await pilot.press("slash", *"L99", "enter")
            await settle(pilot, lambda app: "0 of 122 sites" in screen_text(app))
            await settle(pilot, lambda app: app.watcher is not None and app.watcher.collect().focus != 0)
            await pilot.press("escape")
            await settle(pilot, lambda app: " 122 sites as the model computes" in screen_text(app))
        pilot.app._draw_when_allowed()
        await settle(pilot, is_board)
        assert pilot.app.screen.tuned_site == pilot.app.snapshot.focus == 0


async def test_an_effect_is_asked_for_followed_and_listed(shown: Shown, tmp_path: Path) -> None:
    script = sessions.running(tmp_path / "run.maxact", layers=4, massive=2, hostile=False)
    async with shown(script.path, 120, 36) as pilot:
        await settle(pilot, is_complete)
        await pilot.press("i")
        await settle(pilot, is_board)
        site = script.plan.sites[pilot.app.screen.tuned_site].name
        await pilot.press("right", "right", "right", "comma", "Q")
        await settle(pilot, lambda app: "quantised by int8-t" in screen_text(app))
        await pilot.press("enter")
        await settle(pilot, lambda app: f"this site: {site}" in screen_text(app))
        await pilot.press("s")
        await settle(pilot, lambda app: bool(script.writer.new_commands()))
        command = script.writer.new_commands()[0]
        asked = read_request(command.arguments)
        assert (command.name, asked.scope.site) == ("effect", site)
        threshold = pilot.app.screen.tuning.threshold
        (change,) = asked.interventions
        assert isinstance(change, Quantise) and isinstance(change.scheme, Scheme)
        assert change.scheme.value == threshold
        assert asked.interventions[0].name == f"int8-t{exact_text(threshold).replace(',', '')}"
        await settle(pilot, shows(f"moved to T {exact_text(threshold)}:"))
        script.writer.answer(command, "working", message(Code.UNCHANGED_MODEL), done=3, total=9)
        await settle(pilot, lambda app: "the engine is at it: the unchanged model" in screen_text(app))
        numbers = Numbers(500, 0, 0.25, 0.5, 2.0, 0.875, 12.0, 10.0, 0.18, 0.01)
        outcome = Outcome("int8-mse", 1, numbers)
        effect = Effect(0, 0.0, Scope(site=site), 4, 504, 500, 8, 900, 10.0, (outcome,))
        result = script.writer.add_result("effect", effect.title, command.arguments, effect.to_json())
        script.writer.answer(command, "done", result=result)
        await settle(pilot, lambda app: "perplexity 10.00; int8-mse 12.00 (+20 %), KL 0.25" in screen_text(app))
        await pilot.press("Q", "l")
        await settle(pilot, lambda app: "4 held-out samples, 500 predicted tokens" in screen_text(app))
        await settle(pilot, shows("87.5 %"))


async def test_a_read_only_screen_asks_for_no_effect(shown: Shown, tmp_path: Path) -> None:
    script = sessions.running(tmp_path / "run.maxact", layers=4, massive=2, hostile=False)
    async with shown(script.path, 120, 36, read_only=True) as pilot:
        await settle(pilot, is_complete)
        await pilot.press("i")
        await settle(pilot, is_board)
        await pilot.press("Q", "a")
        await settle(pilot, lambda app: "read-only" in screen_text(app))
        assert script.writer.new_commands() == []


def test_moving_the_cursor_or_the_threshold_does_not_redraw_the_board(clean_session: Path) -> None:
    with Terminal(clean_session, 120, 36) as terminal:
        terminal.wait_for("token in context")
        terminal.press("i")
        terminal.wait_for("worst dB")
        terminal.quiet()
        terminal.press("jjlj")
        assert terminal.quiet() <= 4 * 1024
        terminal.press("lll\r")  # typed ahead: enter opens what the cursor is on by then
        terminal.wait_for("int8-mse  T")
        terminal.quiet()
        terminal.press(",,,,")
        assert terminal.quiet() <= 4 * 1024
        assert terminal.rate_over(2.0) <= 200


async def test_lean_detail_says_that_no_quantiser_was_judged(shown: Shown, clean_session: Path) -> None:
    async with shown(clean_session, 120, 36) as pilot:
        await settle(pilot, is_complete)
        await pilot.press("i")
        await settle(pilot, is_board)
        snapshot, look = pilot.app.snapshot, pilot.app.look
    view, meta = some(snapshot.board), some(snapshot.meta)
    barren = replace(view, board=replace(view.board, rows=(None,) * len(view.board.rows)), has_histograms=False)
    lean = replace(snapshot, board=barren, meta=replace(meta, job=replace(meta.job, detail="lean")))
    for one, words in ((lean, "lean detail keeps no histograms: no quantiser was judged"), (snapshot, view.population)):
        assert head_lines(one, Order(None), (9, 9), look, 120, is_limits=False)[1].text.startswith(f" {words};")
