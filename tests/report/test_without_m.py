"""A run over the GEMM inputs alone, and one with both: every report says what is M and what is not."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.resources import files
from math import nan
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from rich.console import Console

from engine.analysis.model import ModelSummary, analyse
from engine.report.comparison import comparison_documents
from engine.report.export import render
from engine.report.summary import summary_dict
from engine.run import runner
from engine.session.reader import SessionReader
from maxact_tui.cli.summary_view import print_summary
from maxact_tui.pages.comparelines import head_lines, site_line
from maxact_tui.pages.comparing import read_comparison
from maxact_tui.terminal.palette import choose_look
from maxact_tui.texts.numbers import exact
from tests.engine.running import new_session, tiny_job, write_corpus
from tests.values import some

WHY = "M is over the paper's sites, which this run did not measure (--sites gemm)"
SETS = ("paper", "gemm", "paper+gemm", "all")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path) -> dict[str, Path]:
    """A finished run of the tiny Llama for each set of sites, over the same samples."""
    folder = tmp_path_factory.mktemp("sets")
    corpus = write_corpus(folder / "c.jsonl", 9)
    found = {}
    for sites in SETS:
        found[sites] = new_session(folder / f"{sites}.maxact", tiny_job(tiny_model_folder, corpus, sites=sites))
        assert runner.run(found[sites]) == 0
    return found


def summary_of(path: Path) -> ModelSummary:
    with SessionReader(path) as reader:
        return analyse(reader)


def text_of(path: Path, name: str) -> str:
    with SessionReader(path) as reader:
        return render(reader, name)[0].content.decode()


def printed(path: Path) -> str:
    console = Console(width=400, color_system=None, highlight=False)
    with console.capture() as captured:
        print_summary(summary_of(path), console)
    return captured.get()


def test_the_largest_input_is_the_same_whatever_else_was_measured(runs: dict[str, Path]) -> None:
    """And it is what every GEMM site's own extremes say."""
    both, alone = summary_of(runs["paper+gemm"]), summary_of(runs["gemm"])
    largest = some(both.largest_input)
    plan = some(both.plan)
    pairs = zip(plan.sites, both.sites, strict=True)
    assert largest.magnitude == max(some(found).magnitude for site, found in pairs if site.is_input)
    assert some(alone.largest_input).magnitude == some(alone.maximum).magnitude == largest.magnitude
    assert some(alone.largest_input).label == largest.label
    assert not some(alone.maximum).is_m
    assert summary_of(runs["paper"]).largest_input is None


def test_m_is_the_same_whatever_else_was_measured(runs: dict[str, Path]) -> None:
    found = {sites: some(summary_of(runs[sites]).maximum) for sites in ("paper", "paper+gemm", "all")}
    assert len({(one.magnitude, one.label) for one in found.values()}) == 1
    assert all(one.is_m for one in found.values())


def test_without_m_nothing_is_told_of_published_checkpoints(runs: dict[str, Path]) -> None:
    alone = summary_of(runs["gemm"])
    assert alone.standing is None
    assert alone.dtype == summary_of(runs["paper"]).dtype != ""
    assert alone.convergence.points
    for name in ("html", "markdown", "model-card"):
        text = text_of(runs["gemm"], name)
        assert "tier" not in text
        assert "Nothing has been measured" not in text


@pytest.mark.parametrize("sites", SETS)
@pytest.mark.parametrize(("name", "definition"), [("json", "report"), ("summary", "summary")])
def test_documents_of_every_set_satisfy_their_schema(
    sites: str, name: str, definition: str, runs: dict[str, Path]
) -> None:
    schema = json.loads((files("engine.report") / "data" / "report.schema.json").read_text(encoding="utf-8"))
    document = json.loads(text_of(runs[sites], name))
    Draft202012Validator({**schema, "$ref": f"#/$defs/{definition}"}).validate(document)
    assert (document["maximum"] is None) == (sites == "gemm")
    assert (document["largest_input"] is None) == (sites == "paper")
    assert document["model"]["dtype"] == "float32"
    assert document["site_set"]["name"] == document["site_set"]["asked"] == sites
    assert (document["site_set"]["no_m"] or "").startswith(WHY if sites == "gemm" else "")
    if sites != "paper":
        at = document["largest_input"]["at"]
        assert min(at["sample"], at["position"], at["channel"], at["token_id"]) >= 0
        assert abs(document["largest_input"]["value"]) == document["largest_input"]["magnitude"]


@pytest.mark.parametrize("name", ["html", "markdown", "model-card"])
def test_readable_reports_say_that_m_was_not_measured(name: str, runs: dict[str, Path]) -> None:
    largest = some(summary_of(runs["gemm"]).largest_input)
    text = text_of(runs["gemm"], name).replace("&#x27;", "'").replace("\\_", "_")
    assert WHY in text
    assert largest.label in text
    assert "M = " not in text
    assert "M, the largest |x|" not in text
    assert "Has M converged?" not in text
    assert WHY not in text_of(runs["paper+gemm"], name)


def test_the_summary_says_it_first(runs: dict[str, Path]) -> None:
    lines = printed(runs["gemm"]).splitlines()
    assert "float32, 9 samples" in lines[0]
    assert lines[1].strip() == WHY
    assert lines[2].startswith("largest GEMM input = ")
    both = printed(runs["paper+gemm"])
    assert "\nM = " in both
    assert "\nlargest GEMM input: " in both
    assert "largest GEMM input" not in printed(runs["paper"])


def test_a_run_without_hidden_states_says_so_and_which_sites_are_massive(runs: dict[str, Path]) -> None:
    assert "hidden states were not measured" in printed(runs["gemm"])
    assert "unknown" not in printed(runs["gemm"])


def test_a_comparison_sets_no_input_against_m(runs: dict[str, Path]) -> None:
    with SessionReader(runs["paper+gemm"]) as both, SessionReader(runs["gemm"]) as alone:
        (page,) = comparison_documents([both, alone], "markdown")
    rows = {
        line.split("|")[1].strip(): line.split("|")[2:4] for line in page.content.decode().splitlines() if "|" in line
    }
    assert rows["M"][1].strip() == "not measured (--sites gemm)"
    assert rows["largest GEMM input"][0] == rows["largest GEMM input"][1]


def test_a_comparison_says_why_there_is_no_m_and_what_there_is(runs: dict[str, Path]) -> None:
    largest = some(summary_of(runs["gemm"]).maximum)
    view = read_comparison([runs["gemm"], runs["paper"]])
    found = {row[0]: row[1:] for row in view.summary[1].rows}
    assert found["M"][0] == "not measured (--sites gemm)" and found["M"][1][0].isdigit()
    first, second = (strip.text for strip in head_lines(view, 1, choose_look(None), 120))
    assert f"no M; largest GEMM input {exact(largest.magnitude)}  at {largest.label}" in first
    assert "M " in second and "no M" not in second and "x -" not in second


def test_a_site_without_a_number_has_no_ratio(runs: dict[str, Path]) -> None:
    view = read_comparison([runs["gemm"], runs["gemm"]])
    row = replace(view.comparison.sites[0], magnitudes=(1.5, nan), ratios=(1.0, nan), nonfinite=(0, 64))
    text = site_line(row, view.comparison, choose_look(None)).text
    assert "A 1.5   B Inf/NaN alone" in text and "nan" not in text


def test_the_json_of_a_run_without_m_says_what_it_cost(runs: dict[str, Path]) -> None:
    spent = summary_dict(summary_of(runs["gemm"]))["site_set"]["spent"]
    assert spent["model_seconds"] > 0
    assert spent["statistics_seconds"] > 0
