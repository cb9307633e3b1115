"""The filter's grammar: every example of the help works, and what cannot be read is refused with its place."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maxact_tui.texts.filtering import EXAMPLES, FIELDS, Filter, FilterError, Record, parse_filter

ROW: Record = {
    "layer": 12.0,
    "comp": ("mlp_output", "mlp"),
    "token": " the",
    "text": "over the hill",
    "cat": "code",
    "value": 23_168.0,
    "chan": 507.0,
    "pos": 0.0,
    "sample": 3.0,
    "rank": 1.0,
    "tokens": 14.0,
    "kind": "memory",
    "event": "out of memory",
    "state": "finished",
    "model": "meta/Llama-3-8B",
    "name": "llama-1",
}
OTHER: Record = {
    "layer": 3.0,
    "comp": ("attn_output", "attn"),
    "token": "Newton",
    "text": "Newton's method",
    "cat": "web",
    "value": 64.0,
    "chan": 0.0,
    "pos": 9.0,
    "sample": 40.0,
    "rank": 90.0,
    "tokens": 1.0,
    "kind": "maximum",
    "event": "new maximum",
    "state": "failed",
    "model": "org/qwen",
    "name": "qwen-2",
}

TEXTS = st.text(st.characters(exclude_characters='"\\', exclude_categories=["Cs"]), min_size=1, max_size=8)
NUMBERS = st.one_of(
    st.integers(0, 10**6).map(str),
    st.tuples(st.integers(0, 99), st.integers(0, 99)).map(lambda pair: f"{min(pair)}-{max(pair)}"),
    st.integers(0, 999).map(lambda n: f"{n}-"),
    st.floats(0, 1e6).map(lambda x: f"{x:.3f}"),
    st.integers(1, 500).map(lambda n: f"{n}k"),
)


@st.composite
def terms(draw: st.DrawFn) -> str:
    """One term as a user would write it."""
    field = draw(st.sampled_from([*FIELDS, None]))
    sign = draw(st.sampled_from(["", "!"]))
    if field is None:
        return f'{sign}"{draw(TEXTS)}"'
    if not field.is_number:
        values = ",".join(f'"{text}"' for text in draw(st.lists(TEXTS, min_size=1, max_size=3)))
        return f"{sign}{field.name}{draw(st.sampled_from([':', '=']))}{values}"
    operator = draw(st.sampled_from([":", "=", ">", ">=", "<", "<="]))
    if operator not in (":", "="):
        return f"{sign}{field.name}{operator}{draw(st.integers(0, 10**6))}"
    return f"{sign}{field.name}{operator}{','.join(draw(st.lists(NUMBERS, min_size=1, max_size=3)))}"


ROWS = st.fixed_dictionaries(
    {},
    optional={
        "layer": st.one_of(st.integers(0, 99).map(float), st.just(range(3, 30))),
        "comp": st.sampled_from([("mlp_output", "mlp"), ("hidden",)]),
        "token": st.text(max_size=6),
        "cat": st.sampled_from(["code", "math", None]),
        "value": st.floats(0, 1e6) | st.just(math.nan),
    },
)


@pytest.mark.parametrize(("query", "meaning"), EXAMPLES)
def test_every_example_of_the_help_keeps_one_row_and_drops_the_other(query: str, meaning: str) -> None:
    kept = parse_filter(query)
    assert kept.holds(ROW), meaning
    assert not kept.holds(OTHER), meaning


@given(st.lists(terms(), max_size=4), ROWS)
def test_a_row_is_kept_if_and_only_if_every_term_holds(queries: list[str], row: dict[str, object]) -> None:
    whole = parse_filter("  ".join(queries))
    assert len(whole.terms) == len(queries)
    assert whole.holds(row) == all(parse_filter(query).holds(row) for query in queries)  # type: ignore[arg-type]
    assert parse_filter(whole.text) == whole


@given(terms().filter(lambda term: not term.startswith("!")), ROWS)
def test_an_exclamation_mark_turns_a_term_round_where_the_row_has_the_field(query: str, row: dict[str, object]) -> None:
    term = parse_filter(query).terms[0]
    names = [term.field] if term.field else ["comp", "token", "cat"]
    says_something = any(name in row for name in names)
    turned = parse_filter(f"!{query}").holds(row)  # type: ignore[arg-type]
    assert turned == (not parse_filter(query).holds(row) if says_something else True)  # type: ignore[arg-type]


@given(st.text(max_size=30) | st.text(st.sampled_from(list('!:"<>=,-*? layerkm12L\\')), max_size=20))
def test_any_text_is_read_or_refused_in_one_line_with_a_place_in_it(text: str) -> None:
    try:
        found = parse_filter(text)
    except FilterError as error:
        assert 1 <= error.column <= len(text) + 1
        assert len(str(error).splitlines()) == 1 or any(line in text for line in str(error).splitlines()[1:])
    else:
        assert found.holds({})
        assert isinstance(found, Filter)


@pytest.mark.parametrize(
    ("text", "column", "said"),
    [
        ("comp:mlp layr:3", 10, "perhaps layer"),
        ("layer:x", 7, "'x' is not a number"),
        ("layer:20-10", 7, "runs backwards"),
        ("layer>3-5", 7, "a range belongs after layer:"),
        ("cat>code", 4, "cat is a text"),
        ('token:"the', 7, "not closed"),
        ("cat:code, x", 10, "a value is missing"),
        ("chan:", 6, "a value is missing"),
        ("comp:a !", 9, "nothing follows"),
        ("http://x", 1, "put it in quotes"),
        ('token:"a"b', 10, "a blank belongs"),
        ('token:""', 7, "empty"),
    ],
)
def test_errors_name_the_place_and_the_way_out(text: str, column: int, said: str) -> None:
    with pytest.raises(FilterError, match=said) as caught:
        parse_filter(text)
    assert caught.value.column == column
    assert f"column {column}: " in str(caught.value)


@pytest.mark.parametrize(
    ("query", "row", "kept"),
    [
        ("layer:5", {"layer": range(3, 30)}, True),
        ("layer:30-", {"layer": range(3, 30)}, False),
        ("value>=20k", {"value": 20_000.0}, True),
        ("value>20k", {"value": 20_000.0}, False),
        ('token:"\\n"', {"token": "↵"}, True),
        ("token=The", {"token": "the"}, False),
        ("token:The", {"token": "the"}, True),
        ("token:[/]", {"token": "a[/]b"}, True),
        ("token:*[/]", {"token": "a[/]"}, True),
        (r"token:\x1b", {"token": r"\x1b[2J"}, True),
        ("Code", {"cat": "code"}, True),
        ("attn", {"comp": ("mlp_output",), "cat": None}, False),
        ("layer:3-", {"layer": None}, False),
        ("!layer:3-", {"layer": None}, True),
        ("attn", {"value": 3.0}, True),
    ],
)
def test_what_terms_mean(query: str, row: Record, kept: bool) -> None:
    assert parse_filter(query).holds(row) == kept
