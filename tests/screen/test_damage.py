"""The board of a session that has damage: its order, its colours and its words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.quantization.ranking import damage_of
from engine.session.reader import SessionReader
from engine.statistics.local_errors import SUMS, LocalErrors, bin_of
from maxact_tui.pages.boardlines import detail_lines
from maxact_tui.pages.boardsheet import BoardSheet, Order, damage_text, ordered, scheme_sheet
from maxact_tui.pages.boardtable import BoardTable
from maxact_tui.pages.measures import DAMAGE_SCALE
from maxact_tui.pages.tuning import Tuning
from maxact_tui.terminal.palette import choose_look
from maxact_tui.texts.numbers import share_text
from maxact_tui.watching.boardview import BoardView, read_board
from maxact_tui.watching.snapshot import Snapshot
from tests.values import some

LOOK = choose_look("256")


def local(damage: float) -> LocalErrors:
    found = LocalErrors.empty(("int8", "int8-token"))
    for place, share in enumerate((1.0, 0.25)):
        found.sums[place, SUMS.index("tokens")] = found.sums[place, SUMS.index("stream_tokens")] = 8
        found.sums[place, SUMS.index("stream_squares")] = 8 * (share * damage) ** 2
        found.relative[place, bin_of(np.array([damage]))] = 8
        found.worst[place] = 2 * damage
    return found


@pytest.fixture
def view(clean_session: Path) -> BoardView:
    """The board of a session, its damage the other way round than its SQNR."""
    with SessionReader(clean_session) as reader:
        found = read_board(reader)
    by_sqnr = sorted(range(len(found.board.rows)), key=lambda site: some(some(found.board.rows[site])[0]).sqnr_db)
    sites = [local(0.001 * (1 + place)) for place in np.argsort(by_sqnr)]
    return replace(found, board=replace(found.board, local=tuple(sites)))


def sheet_of(view: BoardView, session: Path) -> BoardSheet:
    with SessionReader(session) as reader:
        plan = reader.meta().plan
    assert plan is not None
    return scheme_sheet(view, plan, LOOK)


def test_the_board_begins_with_damage_and_has_sqnr_beside_it(view: BoardView, clean_session: Path) -> None:
    sheet = sheet_of(view, clean_session)
    assert [column.name for column in sheet.columns[:4]] == ["damage int8", "int8", "damage int8-token", "int8-q99.9"]
    assert [column.scheme for column in sheet.columns[:4]] == [None, 0, None, 1]
    assert [(column.group, column.title) for column in sheet.columns[:3]] == [
        ("damage", "int8"), ("int8", "max"), ("damage", "token"),
    ]  # fmt: skip
    assert sheet.columns[0].cells[3].text == damage_text(damage_of(view.board, 3, "int8"))


def test_it_is_sorted_by_damage_from_the_start_not_by_sqnr(view: BoardView, clean_session: Path) -> None:
    with SessionReader(clean_session) as reader:
        plan = reader.meta().plan
    assert plan is not None
    table = BoardTable(None)
    table.take(view, plan, LOOK)
    table.arrange(lambda _site: True)
    assert table.order.column == "damage int8"
    assert table.sites == sorted(table.sites, key=lambda site: -damage_of(view.board, site, "int8"))
    assert table.sites[0] == max(range(len(table.sites)), key=lambda site: some(some(view.board.rows[site])[0]).sqnr_db)
    table.show_scheme(2)
    assert table.sheet is not None and table.sheet.columns[table.column].name == "int8-q99.99" and table.scheme == 2


def test_cells_of_sqnr_have_the_colour_of_the_damage(view: BoardView, clean_session: Path) -> None:
    sheet = sheet_of(view, clean_session)
    levels = DAMAGE_SCALE.levels(sheet.columns[0].values, LOOK.levels).tolist()
    assert [cell.level for cell in sheet.columns[0].cells] == levels
    assert [cell.level for cell in sheet.columns[1].cells] == levels
    worst = ordered(sheet, Order("damage int8"))[0]
    assert levels[worst] == max(levels) and len(set(levels)) > 3


def test_the_site_under_the_cursor_is_told_in_words(view: BoardView, clean_session: Path) -> None:
    with SessionReader(clean_session) as reader:
        snapshot = Snapshot(clean_session, meta=reader.meta(), board=view)
    text = "\n".join(strip.text for strip in detail_lines(snapshot, 5, None, Tuning(0), LOOK, 200))
    one, error = view.board.local_numbers(5, "int8"), some(some(view.board.rows[5])[0])
    assert one is not None
    assert f"damage {share_text(one.damage)}, {share_text(error.zeroed)} become 0" in text
    assert f"bulk {error.bulk_db:.1f} dB" in text
    assert f"tokens {share_text(one.token_median)}, worst {share_text(one.token_worst)}" in text
    bare = replace(snapshot, board=replace(view, board=replace(view.board, local=())))
    assert "damage not measured" in "\n".join(s.text for s in detail_lines(bare, 5, None, Tuning(0), LOOK, 200))
