"""Markdown, model card and CSV, opened by real readers; what comes from a corpus stays text."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from markdown_it import MarkdownIt

from engine.analysis.model import analyse
from engine.base.wording import exact, in_csv, in_markdown, printable, share, short
from engine.report.export import render
from engine.session.reader import SessionReader
from tests.analysis import sessions
from tests.values import some

HOSTILE = [
    "|", "\x1b]0;owned\x07", "<script>alert(1)</script>", "```", "[x](javascript:alert(1))", "@everyone", "#12",
    "https://evil.example", "www.evil.example", "$x^2$", "=HYPERLINK(\"x\")", "-- \n# h1",
    "\u202etxt.exe", "*_**", "{{7*7}}", "\\|", "&lt;", "![i](x)", "---", "a\x00b", "é", "春", "\ud83d", "x_y",
]  # fmt: skip


def documents(path: Path, name: str) -> dict[str, str]:
    with SessionReader(path) as reader:
        return {d.name: d.content.decode("utf-8") for d in render(reader, name)}


def table_shapes(text: str) -> list[set[int]]:
    """For each table of a Markdown document the numbers of cells of its rows."""
    shapes: list[set[int]] = []
    cells = 0
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        if token.type == "table_open":
            shapes.append(set())
        elif token.type in ("th_open", "td_open"):
            cells += 1
        elif token.type == "tr_close":
            shapes[-1].add(cells)
            cells = 0
    return shapes


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A session in which every token, category and name is hostile."""
    path = tmp_path_factory.mktemp("hostile") / "h.maxact"
    return sessions.write_session(
        path,
        model="evil/<b>|`@x`",
        pieces={i: HOSTILE[i % len(HOSTILE)].encode("utf-8", "surrogatepass") for i in range(1300)},
        categories=[HOSTILE[i % 12] for i in range(sessions.SAMPLES)],
    )


def test_the_markdown_report_is_well_formed_and_holds_the_findings(session_files: dict[str, Path]) -> None:
    (text,) = documents(session_files["bfloat16"], "markdown").values()
    shapes = table_shapes(text)
    assert len(shapes) >= 8 and all(len(shape) == 1 for shape in shapes)
    peak = -sessions.values("bfloat16", "layer_2_hidden").min()
    assert f"{peak:,.0f} at L2 hidden" in text
    assert "sudden, a step of" in text and "int8" in text and "Among" not in text
    assert f"{sessions.SAMPLES} samples" in text


def test_a_partial_markdown_report_says_so_first(session_files: dict[str, Path]) -> None:
    (text,) = documents(session_files["partial"], "markdown").values()
    assert text.splitlines()[2].startswith("> Partial: the run is stopped")
    (card,) = documents(session_files["partial"], "model-card").values()
    assert "Over the part measured so far" in card


def test_the_model_cards_block_is_yaml_with_the_numbers(session_files: dict[str, Path]) -> None:
    (card,) = documents(session_files["bfloat16"], "model-card").values()
    block = re.search(r"```yaml\n(.*?)```", card, re.DOTALL)
    assert block is not None
    found = yaml.safe_load(block.group(1))["maximum_activation"]
    with SessionReader(session_files["bfloat16"]) as reader:
        summary = analyse(reader)
    assert found["magnitude"] == some(summary.maximum).magnitude == -found["value"]
    assert found["location"] == "L2 hidden" and found["channel"] == sessions.MASSIVE_CHANNEL
    assert found["token"] == f"t{some(summary.peak).token_id} " and found["position"] == 0
    assert found["massive_by_layer_median"] is True and found["overflows_fp16"] is False
    assert (found["emergence"], found["emergence_layer"]) == ("sudden", 1)
    sentence = card.splitlines()[2]
    assert sentence.count("4,416") == 1, "M is named once"
    assert "(L2 hidden), a negative value, on token" in sentence
    assert (found["dtype"], found["samples"]) == ("bfloat16", sessions.SAMPLES)


def test_hostile_text_stays_text_in_markdown(hostile: Path) -> None:
    (text,) = documents(hostile, "markdown").values()
    shapes = table_shapes(text)
    assert len(shapes) >= 8 and all(len(shape) == 1 for shape in shapes)
    parser = MarkdownIt("gfm-like", {"linkify": True, "html": True})
    allowed = {"Measuring Maximum Activations", "Massive Activations"}
    inline = [child for token in parser.parse(text) for child in token.children or ()]
    links = [t.attrs["href"] for t in inline if t.type == "link_open"]
    assert all(str(href).startswith("https://arxiv.org/abs/") for href in links), links
    assert len(links) == len(allowed)
    assert {t.type for t in inline}.isdisjoint({"image", "code_inline", "strong_open", "em_open", "s_open"})
    assert {t.content for t in inline if t.type == "html_inline"} <= {"<!-- -->"}
    assert not any(re.search(r"@\w|#\d", t.content) for t in inline if t.type == "text")
    assert [t.tag for t in parser.parse(text) if t.type == "heading_open"].count("h1") == 1
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text)


def test_hostile_text_stays_a_string_in_the_model_card(hostile: Path) -> None:
    (card,) = documents(hostile, "model-card").values()
    block = re.search(r"```yaml\n(.*?)\n```\n", card, re.DOTALL)
    assert block is not None
    found = yaml.safe_load(block.group(1))["maximum_activation"]
    with SessionReader(hostile) as reader:
        assert found["token"] == printable(some(analyse(reader).peak).piece)
    assert card.count("```") == 2


def test_csv_tables_read_back_to_the_numbers_they_were_written_from(session_files: dict[str, Path]) -> None:
    found = documents(session_files["bfloat16"], "csv")
    tables = {name.split(".")[-2]: list(csv.DictReader(io.StringIO(text))) for name, text in found.items()}
    assert set(tables) == {"sites", "top", "channels", "samples", "quantization"}
    assert [row["site"] for row in tables["sites"]] == [site.name for site in sessions.plan().sites]
    x = sessions.values("bfloat16", "layer_2_hidden")
    (row,) = [row for row in tables["sites"] if row["site"] == "layer_2_hidden"]
    assert float(row["min"]) == x.min() and float(row["rms"]) == pytest.approx(np.sqrt((x * x).mean()), rel=1e-12)
    assert row["layer_median_passes"] == "true"
    top = [row for row in tables["top"] if row["site"] == "layer_2_hidden"]
    assert [float(row["value"]) for row in top[:12]] == sorted(x[:, 5][x[:, 5] < -1000].tolist())
    assert all(int(row["token_id"]) == 100 * int(row["sample"]) for row in top[:12])
    channels = [row for row in tables["channels"] if row["site"] == "layer_2_hidden"]
    assert (channels[0]["channel"], channels[1]["kind"]) == ("5", "outlier") and len(channels) == sessions.WIDTH
    assert float(channels[0]["max_abs"]) == np.abs(x).max()
    assert [int(row["run_order"]) for row in tables["samples"]] == list(range(12, 0, -1))
    assert max(float(row["max_abs"]) for row in tables["samples"]) == np.abs(x).max()


def test_samples_that_were_not_measured_have_no_maximum_in_the_csv(session_files: dict[str, Path]) -> None:
    found = documents(session_files["partial"], "csv")
    rows = list(csv.DictReader(io.StringIO(found["partial.samples.csv"])))
    assert [row["sample"] for row in rows if row["max_abs"]] == ["3", "7"]
    assert len(rows) == sessions.SAMPLES


def test_no_csv_cell_is_a_formula_or_a_control_character(hostile: Path) -> None:
    for text in documents(hostile, "csv").values():
        rows = list(csv.reader(io.StringIO(text)))
        assert len({len(row) for row in rows}) == 1
        for cell in (cell for row in rows for cell in row):
            assert not re.search(r"[\x00-\x1f\x7f-\x9f\u202e]", cell)
            if cell.startswith(("=", "+", "-", "@")):
                float(cell)


def test_numbers_have_honest_digits() -> None:
    assert [exact(x) for x in (23168.0, -0.015625, 28635.232421875, float("nan"), float("inf"))] == [
        "23,168", "-0.015625", "28,635.232", "–", "∞"]  # fmt: skip
    assert [short(x) for x in (0, 1234.0, 1.0, 0.012345, 9.999, 2e-7, 23168.0, 999.6)] == [
        "0", "1,230", "1.00", "0.0123", "10.0", "2.00e-07", "23,200", "1,000"]  # fmt: skip
    assert share(0.12345) == "12 %" and share(0.0003) == "0.030 %"


def test_foreign_text_is_made_printable() -> None:
    assert printable(b"\xd0") == "\\xd0" and printable("a\x1b\n") == "a\\x1b↵"
    assert printable("\u202e") == "\\u{202e}" and printable("\ud83d") == "\\u{d83d}"
    assert printable("abcdef", 4) == "abc…" and printable("日本") == "日本"
    assert in_csv("=1+1") == "'=1+1" and in_csv("1-1") == "1-1"
    assert in_markdown("layer_3_hidden") == "layer_3_hidden" and in_markdown("_x_") == "\\_x\\_"
