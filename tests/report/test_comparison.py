"""Comparison reports, in every format, opened by real readers."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from engine.report.comparison import COMPARISON_FORMATS, LISTED_SITES, comparison_documents
from engine.report.errors import ReportError
from engine.session.reader import SessionReader
from engine.session.writer import SessionWriter
from tests.analysis import sessions
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
    places = [
        text.index(f"## {title}") for title in ("What was different", "Findings", "Threads in common", "Sites that")
    ]
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


def test_the_sites_that_differ_most_come_first_and_all_of_them_where_asked_for(pair: list[SessionReader]) -> None:
    def sites_of(text: str) -> list[list[str]]:
        rows = text[text.index("| Site ") :].splitlines()[2:]
        return [row.strip("| ").split(" | ") for row in rows if row.startswith("|")]

    (short,), (long,) = (comparison_documents(pair, "markdown", all_sites=every) for every in (False, True))
    listed, every = sites_of(short.content.decode()), sites_of(long.content.decode())
    assert len(listed) == LISTED_SITES < len(every) == len(sessions.plan().sites)
    assert f"{len(every) - LISTED_SITES} further sites differ less; `--all` lists them." in short.content.decode()
    beyond = [row for row in every if "(noise)" not in row[-1] and row[-1] != "1.00"]
    assert [row[0] for row in listed[: len(beyond)]] == [
        row[0] for row in sorted(beyond, key=lambda row: -abs(math.log(float(row[-1]))))
    ]
    assert "further sites" not in long.content.decode()


def test_mean_sqnr_is_over_the_same_sites_in_both(tmp_path: Path) -> None:
    noise = np.full((sessions.LENGTHS.sum(), sessions.WIDTH), np.nan)
    change = {"layer_2_hidden": sessions.to_bits(noise, "bfloat16")}
    paths = sessions.write_session(tmp_path / "a.maxact"), sessions.write_session(tmp_path / "b.maxact", change=change)
    with SessionReader(paths[0]) as a, SessionReader(paths[1]) as b:
        (row,) = (line for line in text_of([a, b], "markdown").splitlines() if line.startswith("| int8 |"))
        assert "## Quantisation, mean SQNR" in text_of([a, b], "markdown")
    _, first, second, sites = row.strip("| ").split(" | ")
    assert first == second and sites == str(len(sessions.plan().sites) - 1)


def test_of_long_digests_only_the_beginning_is_printed(tmp_path: Path) -> None:
    paths = [sessions.write_session(tmp_path / name) for name in ("a.maxact", "b.maxact")]
    for path, digit in zip(paths, "19", strict=True):
        provenance = {
            "dtype": "bfloat16",
            "weight_hash": f"sha256:{digit * 64}",
            "tokenizer_hash": "sha256:" + 64 * "5",
        }
        SessionWriter.open(path).set_meta(provenance=provenance)
    with SessionReader(paths[0]) as a, SessionReader(paths[1]) as b:
        text = text_of([a, b], "markdown")
        assert json.loads(text_of([a, b], "json"))["differences"][0]["values"][0] == f"sha256:{'1' * 64}"
    assert "| weights | sha256:111111111111… | sha256:999999999999… |" in text
    assert "tokenizer" not in text  # the same in both


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
