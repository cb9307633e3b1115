"""NaN and infinity in what others read: comparisons, recipes, tables; unknown is unknown in all of them."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from math import nan
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

import engine
from engine.analysis.compare import compare
from engine.analysis.components import largest_sites
from engine.analysis.model import ModelSummary, analyse, has_hidden
from engine.analysis.nonfinite import session_alarm
from engine.quantization.groups import site_groups
from engine.quantization.populations import read_board
from engine.quantization.ranking import rank
from engine.report.comparison import comparison_documents, gather_sides, site_table, sites_note
from engine.report.errors import ReportError
from engine.report.export import render
from engine.report.headline import massive_words
from engine.report.recipe import find_deployment, judge
from engine.report.sentences import threads_words
from engine.session.reader import SessionReader
from engine.sites.smoothing import NOT_FINITE
from maxact_tui.cli.main import main
from maxact_tui.pages.boardsheet import Order, ordered, scheme_sheet
from maxact_tui.terminal.palette import choose_look
from maxact_tui.watching import boardview
from tests.values import some

Sessions = dict[str | None, Path]


def summary_of(path: Path) -> ModelSummary:
    with SessionReader(path) as reader:
        return analyse(reader)


def text_of(path: Path, name: str, scheme: str | None = None) -> str:
    with SessionReader(path) as reader:
        return "".join(document.content.decode() for document in render(reader, name, scheme))


@pytest.mark.parametrize("plant", ["everything", "layer", "weight", "token"])
def test_a_session_with_nan_differs_from_one_without_and_that_comes_first(
    planted_sessions: Sessions, plant: str
) -> None:
    with SessionReader(planted_sessions[None]) as a, SessionReader(planted_sessions[plant]) as b:
        found, sources = gather_sides([a, b])
        texts = [comparison_documents([a, b], form)[0].content.decode() for form in ("markdown", "json")]
        same, _ = gather_sides([b, b])
    bad = sources[1].summary.nonfinite_sites
    broken = [row for row in found.sites if row.breaks]
    assert len(broken) == len(bad) and not any(map(len, found.only_in))
    ordered = sorted((row for row in found.sites if row.differs), key=lambda row: -row.distance)
    assert [row.breaks for row in ordered] == sorted((row.breaks for row in ordered), reverse=True)
    assert "No site differs" not in sites_note(found)
    assert f"NaN or infinity is what differs at {len(bad)} site" in sites_note(found)
    assert "Inf/NaN" in site_table(found).rows[0][2] and site_table(found).rows[0][1].count("Inf/NaN") == 0
    assert "Inf/NaN" in texts[0] and json.loads(texts[1])["sites"][0]["nonfinite"][0] == 0
    assert not any(row.breaks for row in same.sites)
    if plant == "everything":
        assert "cannot be compared: nothing finite" in sites_note(same) and "not in" not in sites_note(same)
    else:
        assert "(finite elements alone)" in texts[0] and "overflows: Inf/NaN" in texts[0]


def test_a_ratio_over_zero_is_less_than_nan(planted_sessions: Sessions) -> None:
    summaries = [summary_of(planted_sessions[name]) for name in ("zeros", None)]
    rows = compare(summaries, ["zeros", "whole"]).sites
    assert all(row.distance < float("inf") for row in rows) and any(row.differs for row in rows)


@pytest.mark.parametrize("plant", ["everything", "layer", "weight"])
def test_what_nan_leaves_open_is_unknown_in_every_export(planted_sessions: Sessions, plant: str) -> None:
    path = planted_sessions[plant]
    summary = summary_of(path)
    lost = {n for n in summary.nonfinite_sites if (one := summary.sites[n]) is not None and not one.count}
    assert lost
    for number in summary.nonfinite_sites:
        site = summary.sites[number]
        assert site is not None and site.sun_layer.passes is not False and site.sun_token.passes is not False
        assert number not in lost or site.channels is None
    assert not summary.threads_are_known and summary.passes_layer_median is not False
    whole, brief = (json.loads(text_of(path, name)) for name in ("json", "summary"))
    names = {site["name"]: site for site in whole["sites"]}
    plan = summary.plan
    assert plan is not None
    for number in lost:
        one = names[plan.sites[number].name]
        assert one["sun_layer"]["passes"] is one["sun_token"]["passes"] is one["magnitude"] is one["channels"] is None
    assert whole["threads_known"] is brief["threads_known"] is False
    header, *rows = text_of(path, "csv").split("\nsite,rank")[0].splitlines()
    columns = header.split(",")
    cells = {row.split(",")[0]: dict(zip(columns, row.split(","), strict=True)) for row in rows}
    for number in lost:
        row = cells[plan.sites[number].name]
        assert row["layer_median_passes"] == row["token_median_passes"] == row["sun_tokens"] == ""
    assert main(["show", str(path)]) == 0


def test_a_recipe_of_a_model_with_nan_says_so_and_leaves_out_what_cannot_be_judged(
    planted_sessions: Sessions, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = planted_sessions["layer"]
    for name, scheme in (("llm-compressor", "int8"), ("modelopt", "fp8")):
        with SessionReader(path) as reader:
            found = judge(reader, find_deployment(scheme))
        lost = [one for one in found.losses if one.judged == "not finite"]
        assert lost and all(one.is_left_alone for one in lost) and found.alarm.startswith("first NaN: L1 attn_input")
        assert main(["export", str(path), "--format", name, "--scheme", scheme, "-o", str(tmp_path)]) == 0
        said = capsys.readouterr()
        text = Path(said.out.strip()).read_text("utf-8")
        first, second = text.splitlines()[:2]
        assert first.startswith("# WARNING: the model is not finite: first NaN: L1 attn_input")
        assert second.startswith(f"# WARNING: left alone, because nothing finite reaches them: {len(lost)} inputs")
        assert said.err.splitlines()[:2] == [
            line.replace("# WARNING", "warning").removesuffix(".") for line in (first, second)
        ]
        ignored = text.split("ignore:")[-1]
        assert all(f'{module}"' in ignored or f"{module}.*" in text for one in lost for module in one.modules)
        yaml.safe_load(text)


def test_no_reason_against_smoothing_is_made_up_of_nan(planted_sessions: Sessions) -> None:
    with SessionReader(planted_sessions["layer"]) as reader:
        found, plan = judge(reader, find_deployment("int8")), reader.meta().plan
    assert plan is not None and found.unsmoothed
    assert all(line.endswith(NOT_FINITE) for line in found.unsmoothed)


def test_there_is_no_recipe_of_nan_alone(planted_sessions: Sessions) -> None:
    for name in ("llm-compressor", "modelopt"):
        with pytest.raises(ReportError, match="no input of a matrix product has a finite element that could be judged"):
            text_of(planted_sessions["everything"], name)


def test_every_export_of_a_model_with_nan_warns(
    planted_sessions: Sessions, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    formats = "act-scales,amax,csv,summary,reference"
    assert main(["export", str(planted_sessions["weight"]), "--format", formats, "-o", str(tmp_path)]) == 0
    line, left_out = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: the model is not finite: first NaN: L1 mlp_output")
    assert left_out.startswith("warning: left out, because nothing finite reaches them: ")
    assert main(["export", str(planted_sessions[None]), "--format", formats, "-o", str(tmp_path / "whole")]) == 0
    assert capsys.readouterr().err == ""
    for name in ("activation_stats", "top5_stats"):
        (bad,) = tmp_path.glob(f"*{name}.json")
        (whole,) = (tmp_path / "whole").glob(f"*{name}.json")
        notes = json.loads(bad.read_text())["notes"]
        assert notes[0].startswith("not finite: first NaN: L1 mlp_output") and "layer_2_hidden" in notes[1]
        assert "notes" not in json.loads(whole.read_text())


def test_no_scale_is_zero_because_nothing_is_known(
    planted_sessions: Sessions, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A channel without a finite element is NaN, a module without one in no file; both are named."""
    down, last = "model.layers.2.mlp.down_proj", "model.layers.2.self_attn.q_proj"
    for plant in ("channel", "weight", "zeros"):
        folder = tmp_path / plant
        formats = "act-scales,amax,csv"
        assert main(["export", str(planted_sessions[plant]), "--format", formats, "-o", str(folder)]) == 0
        warned = capsys.readouterr().err
        (torch_file,) = folder.glob("*.act_scales.pt")
        (tensors,) = folder.glob("*.amax.safetensors")
        scales, largest = torch.load(torch_file, weights_only=True), load_file(tensors)
        with engine.open(planted_sessions[plant]) as session:
            np.testing.assert_array_equal(session["layer_2_down_proj_input"].channels, scales.get(down, [nan] * 64))
        if plant == "zeros":
            assert not scales[down].any() and largest[f"{down}.input_amax"] == 0 and not warned
        elif plant == "channel":
            assert torch.nonzero(scales[down].isnan()).tolist() == [[3]] and (scales[down].nan_to_num(1) > 0).all()
            assert largest[f"{down}.input_amax"] == scales[down].nan_to_num(0).max()
            line = "warning: NaN, because nothing finite is known of these channels: layer_2_down_proj_input channel 3"
            assert line in warned.splitlines() and "left out" not in warned
        else:
            assert last not in scales and f"{last}.input_amax" not in largest
            assert "warning: left out, because nothing finite reaches them: " in warned
            assert "layer_2_attn_input" in warned.split("left out", 1)[1]


def test_tier_and_rank_are_qualified_beside_nan(planted_sessions: Sessions) -> None:
    card = text_of(planted_sessions["weight"], "model-card")
    found = yaml.safe_load(card.split("```")[1].removeprefix("yaml"))["maximum_activation"]
    assert found["fp16_headroom_bits"] is None and found["overflows_fp16"] is True
    assert found["numbers_are_over"].startswith("finite elements alone")
    assert "both by its finite elements alone" in card
    standing = json.loads(text_of(planted_sessions["weight"], "summary"))["standing"]
    assert standing["finite_only"] is True
    assert json.loads(text_of(planted_sessions[None], "summary"))["standing"]["finite_only"] is False
    assert "numbers_are_over" not in text_of(planted_sessions[None], "model-card")


def test_schemes_and_ranking_are_by_group_with_the_gemm_inputs_first(planted_sessions: Sessions) -> None:
    path = planted_sessions[None]
    with SessionReader(path) as reader:
        from engine.quantization.populations import read_board

        board, plan = read_board(reader), reader.meta().plan
    assert plan is not None
    groups = site_groups(plan)
    found = json.loads(text_of(path, "json"))["quantization"]
    names = {site.name: number for number, site in enumerate(plan.sites)}
    assert list(dict.fromkeys(one["group"] for one in found["schemes"])) == ["gemm_inputs", "streams"]
    for one in found["schemes"]:
        first = rank(board, one["name"], groups[one["group"]])[0]
        assert names[one["worst_site"]] == first.site and one["worst_by"] == first.by
        assert one["worst_value"] == pytest.approx(first.value)
    order = [one["group"] for one in found["ranking"]]
    assert order == sorted(order, key=["gemm_inputs", "streams", "expert_gates"].index)
    inputs = [one for one in found["ranking"] if one["group"] == "gemm_inputs" and one["by"] == "damage"]
    assert all(a["value"] >= b["value"] for a, b in pairwise(inputs)) and plan.sites[names[inputs[0]["name"]]].is_input
    report = text_of(path, "markdown")
    places = [report.index(f"## Quantisation of {title}") for title in ("GEMM inputs", "residual stream and branches")]
    assert places == sorted(places)
    assert report.index("hurts most of the GEMM inputs") < report.index("hurts most of the residual stream")
    head = next(line for line in text_of(path, "csv").splitlines() if line.startswith("site,scheme"))
    assert head.endswith(",damage,group")


@pytest.mark.parametrize("plant", ["everything", "layer", "weight", "channel"])
def test_a_site_without_a_finite_element_comes_first_in_every_order(
    planted_sessions: Sessions, plant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = planted_sessions[plant]
    summary = summary_of(path)
    plan = some(summary.plan)
    with SessionReader(path) as reader:
        board = read_board(reader)
        view = boardview.read_board(reader)
    lost = {n for n, one in enumerate(summary.sites) if one is not None and not one.count}
    assert lost and board.lost == lost
    for group, sites in site_groups(plan).items():
        first = [one.site for one in rank(board, "int8", sites)][: len(lost & set(sites))]
        assert first == sorted(lost & set(sites)), group
    sheet = scheme_sheet(view, plan, choose_look("truecolor"))
    for column in sheet.columns:
        assert ordered(sheet, Order(column.name))[: len(lost)] == sorted(lost)
        worst_last = ordered(sheet, Order(column.name, is_reversed=True))
        known = [n for n in worst_last if not np.isnan(column.values[n])]
        assert worst_last[: len(known) + len(lost)] == [*known, *sorted(lost)]
    found = json.loads(text_of(path, "json"))["quantization"]
    inputs = [plan.sites[n].name for n in sorted(lost) if plan.sites[n].is_input]
    named = [one for one in found["ranking"] if one["group"] == "gemm_inputs"][: len(inputs)]
    assert [(one["name"], one["by"], one["value"]) for one in named] == [(name, "nonfinite", None) for name in inputs]
    assert all(one["is_harmful"] for one in named)
    assert all(one["worst_by"] == "nonfinite" for one in found["schemes"] if one["group"] == "gemm_inputs")
    costs = json.loads(text_of(path, "summary"))["quantization"]["costs"]
    costly = [name for name in inputs if name != "lm_head_input"]
    assert all([site["name"] for site in one["worst"]][: len(costly)] == costly for one in costs)
    assert main(["show", str(path)]) == 0
    shown = capsys.readouterr().out
    assert f"no finite element at {len(inputs)} site" in shown
    components = [one.is_lost for one in largest_sites(summary)]
    assert components == sorted(components, reverse=True) and any(components)
    if plant != "everything":
        assert "no finite element" in text_of(path, "markdown").split("hurts most of the GEMM inputs")[1]


def test_what_was_not_measured_is_not_none(planted_sessions: Sessions) -> None:
    """A run over GEMM inputs alone knows no trajectories, and of sites with NaN not that none is massive."""
    for plant in ("layer", None):
        summary = summary_of(planted_sessions[plant])
        plan = some(summary.plan)
        inputs = [n for n, site in enumerate(plan.sites) if site.is_input]
        alone = replace(
            summary,
            plan=replace(plan, sites=tuple(plan.sites[n] for n in inputs), order=()),
            sites=tuple(summary.sites[n] for n in inputs),
        )
        words = massive_words(alone, None, ())
        assert ("finite elements" in words) == (plant == "layer") and words.startswith(
            "hidden states were not measured"
        )
        assert not has_hidden(alone.plan) and "were not measured" in threads_words(
            replace(alone, threads_are_known=False)
        )


def test_the_alarm_of_a_session_is_that_of_its_summary(planted_sessions: Sessions) -> None:
    for path in planted_sessions.values():
        with SessionReader(path) as reader:
            assert session_alarm(reader) == analyse(reader).alarm
