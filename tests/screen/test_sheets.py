"""Tables are filtered, sorted, headed and copied the same way everywhere."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.strip import Strip

from maxact_tui.pages.sheets import Column, Rows, Sheet, Sorting, arranged, as_tsv, heading
from maxact_tui.texts.filtering import Record, parse_filter

COLUMNS = (
    Column("rank", 5, "rank"),
    Column("value", 8, "value", largest_first=True),
    Column("category", 10, "cat", right=False),
    Column("token in context", 0),
)


def sheet(rows: list[Record]) -> Sheet:
    return Sheet(COLUMNS, len(rows), rows.__getitem__, lambda number: Strip([]))


ROWS: list[Record] = [
    {"rank": 1, "value": 9.0, "cat": "web"},
    {"rank": 2, "value": math.nan, "cat": "Code"},
    {"rank": 3, "value": 11.5, "cat": None},
    {"rank": 4, "value": 9.0, "cat": "math"},
]


@pytest.mark.parametrize(
    ("steps", "turned", "order", "title"),
    [
        (0, False, [0, 1, 2, 3], " rank    value category   token in context"),
        (1, False, [0, 1, 2, 3], "rank▲    value category   token in context"),
        (2, False, [2, 0, 3, 1], " rank   value▼ category   token in context"),
        (2, True, [0, 3, 2, 1], " rank   value▲ category   token in context"),
        (3, False, [1, 3, 0, 2], " rank    value category▲  token in context"),
        (4, False, [0, 1, 2, 3], " rank    value category   token in context"),
        (4, True, [3, 2, 1, 0], " rank    value category   token in context"),
    ],
)
def test_each_step_sorts_by_the_next_column_and_the_unknown_stand_last(
    steps: int, turned: bool, order: list[int], title: str
) -> None:
    sorting = Sorting()
    for _ in range(steps):
        sorting = sorting.next(COLUMNS)
    if turned:
        sorting = sorting.reverse()
    assert arranged(sheet(ROWS), sorting=sorting) == order
    assert heading(COLUMNS, sorting) == title


@given(
    st.lists(
        st.fixed_dictionaries({"rank": st.integers(1, 9), "value": st.floats(0, 99), "cat": st.sampled_from("abc")}),
        max_size=12,
    ),
    st.integers(0, 3),
    st.booleans(),
)
def test_filter_and_sorting_do_not_depend_on_each_other(rows: list[Record], column: int, turned: bool) -> None:
    kept, sorting = parse_filter("value>20 !cat:b"), Sorting(None if column == 3 else column, turned)
    everything = arranged(sheet(rows), sorting=sorting)
    assert sorted(everything) == list(range(len(rows)))
    assert arranged(sheet(rows), kept, sorting) == [number for number in everything if kept.holds(rows[number])]


def test_copied_tables_have_one_line_per_row_whatever_the_tokens_hold() -> None:
    text = as_tsv([{"value": 23168.0, "layer": range(3, 30), "comp": ("mlp_output", "mlp"), "token": "\t\x1b[2J\n"}])
    assert text == "value\tlayer\tcomp\ttoken\n23168\t3-29\tmlp_output\t⇥\\x1b[2J↵\n"
    assert as_tsv([{"value": 0.015625, "cat": None}]) == "value\tcat\n0.015625\t\n"


def test_only_rows_that_are_looked_at_are_made_and_each_once() -> None:
    made: list[int] = []

    def row(number: int) -> Strip:
        made.append(number)
        return Strip.blank(number)

    rows = Rows(Sheet(COLUMNS, 1_000, ROWS.__getitem__, row), range(999, -1, -1))
    assert [strip.cell_length for strip in rows[:3]] == [999, 998, 997]
    assert (len(rows), rows[1].cell_length, made) == (1_000, 998, [999, 998, 997])
