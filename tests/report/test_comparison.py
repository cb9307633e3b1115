"""Comparison reports, in every format, opened by real readers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.report.comparison import COMPARISON_FORMATS, comparison_documents
from engine.report.errors import ReportError
from engine.session.reader import SessionReader
from tests.report.test_html import Page
from tests.report.test_readable import hostile, table_shapes  # noqa: F401  (hostile is a fixture)


@pytest.fixture
def pair(session_files: dict[str, Path]) -> Iterator[list[SessionReader]]:
    with SessionReader(session_files["bfloat16"]) as a, SessionReader(session_files["float32"]) as b:
        yield [a, b]


def text_of(readers: list[SessionReader], name: str) -> str:
    (document,) = comparison_documents(readers, name)
    assert "/" not in document.name
    return document.content.decode("utf-8")


def test_the_markdown_lists_differences_before_findings(pair: list[SessionReader]) -> None:
    text = text_of(pair, "markdown")
    assert all(len(shape) == 1 for shape in table_shapes(text))
    places = [text.index(f"## {title}") for title in ("What was different", "Findings", "Threads in common", "Sites that")]
    assert places == sorted(places)
    assert "| dtype | bfloat16 | float32 |" in text and "(noise)" in text


def test_the_html_page_has_the_profiles_on_one_axis(pair: list[SessionReader]) -> None:
    text = text_of(pair, "html")
    page = Page()
    page.feed(text)
    assert page.problems == [] and page.open == [] and text.count("<svg") == 1
    assert "script" not in page.tags and "fp32" in text[text.index("<svg") : text.index("</svg>")]


def test_the_json_is_strict_and_ratios_are_over_the_first(pair: list[SessionReader]) -> None:
    found = json.loads(text_of(pair, "json"))
    assert found["format"] == "maxact-tui/comparison" and found["version"] == 1
    assert found["ratios"][0] == 1.0 and found["ratios"][1] == found["magnitudes"][1] / found["magnitudes"][0]


@pytest.mark.parametrize("name", COMPARISON_FORMATS)
def test_partial_and_hostile_sessions_compare_too(name: str, session_files: dict[str, Path], hostile: Path) -> None:  # noqa: F811
    with (
        SessionReader(session_files["partial"]) as a,
        SessionReader(hostile) as b,
        SessionReader(session_files["lean"]) as c,
    ):
        text = text_of([a, b, c], name)
    assert "partial (stopped)" in text and "\x1b" not in text
    assert "<b>" not in text or name == "json"


def test_what_cannot_be_compared_is_one_line(pair: list[SessionReader]) -> None:
    with pytest.raises(ReportError, match="compare A B"):
        comparison_documents(pair[:1], "markdown")
    with pytest.raises(ReportError, match="no format 'pdf'"):
        comparison_documents(pair, "pdf")
