"""The JSON documents are what their schema says, no key more and no key less."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from engine.analysis.stability import KIND, Stability
from engine.base.job import Job
from engine.quantization.populations import read_board
from engine.report.export import render
from engine.session.reader import SessionReader
from engine.session.splits import CALIBRATION, CLOSED, CLOSED_OWNER, EVALUATION, IN_PASS, REST, SplitRecord
from engine.session.writer import SessionWriter
from engine.statistics.pass_sums import PassSums
from tests.analysis import sessions
from tests.values import some


@pytest.fixture(scope="module")
def schema() -> dict:
    return json.loads((files("engine.report") / "data" / "report.schema.json").read_text(encoding="utf-8"))


def validator(schema: dict, which: str) -> Draft202012Validator:
    return Draft202012Validator({**schema, "$ref": f"#/$defs/{which}"})


def test_the_schema_is_a_schema_and_describes_every_key(schema: dict) -> None:
    Draft202012Validator.check_schema(schema)

    def undescribed(node: object, path: str) -> list[str]:
        if isinstance(node, list):
            return [p for n, item in enumerate(node) for p in undescribed(item, f"{path}[{n}]")]
        if not isinstance(node, dict):
            return []
        missing = [
            f"{path}.{name}"
            for name, child in node.get("properties", {}).items()
            if not ({"description", "$ref", "const", "oneOf"} & child.keys() or child.get("type") == "object")
        ]
        return missing + [p for name, child in node.items() for p in undescribed(child, f"{path}.{name}")]

    assert undescribed(schema, "") == []


@pytest.mark.parametrize("which", ["bfloat16", "float32", "standard", "lean", "partial"])
@pytest.mark.parametrize(("name", "definition"), [("json", "report"), ("summary", "summary")])
def test_documents_satisfy_their_schema(
    which: str, name: str, definition: str, schema: dict, session_files: dict[str, Path]
) -> None:
    with SessionReader(session_files[which]) as reader:
        document = json.loads(render(reader, name)[0].content)
    assert [error.message for error in validator(schema, definition).iter_errors(document)] == []


def test_a_session_without_numbers_satisfies_it_too(schema: dict, tmp_path: Path) -> None:
    SessionWriter.create(tmp_path / "s.maxact", Job(model="m")).close()
    with SessionReader(tmp_path / "s.maxact") as reader:
        document = json.loads(render(reader, "json")[0].content)
    assert [error.message for error in validator(schema, "report").iter_errors(document)] == []


def test_what_a_rerun_has_shown_is_in_the_documents(schema: dict, tmp_path: Path) -> None:
    path = sessions.write_session(tmp_path / "s.maxact")
    sites = len(sessions.plan().sites)
    batch, rounding = np.full(sites, 0.013), np.full(sites, -0.0123)
    batch[1:4] = rounding[1:4] = np.nan
    found = Stability("bfloat16", "float32", "", (3, 7), (4000.0, 4000.0, 3990.0), batch, rounding)
    writer = SessionWriter.open(path)
    writer.add_result(KIND, "t", {}, found.to_data(), {"batch": batch, "rounding": rounding})
    writer.close()
    with SessionReader(path) as reader:
        document = json.loads(render(reader, "json")[0].content)
        card = render(reader, "model-card")[0].content.decode()
        text = render(reader, "markdown")[0].content.decode()
    validator(schema, "report").validate(document)
    assert document["stability"]["batch_limit"] == 0.013 and len(document["stability"]["sites"]) == sites - 3
    assert "batch_difference: 0.013" in card and "dtype_difference: 0.012" in card
    assert "published checkpoints" in card and "Measured differently from them" in card
    assert f"within 1.3 % at 95 % of {sites - 3} sites (2 samples)" in text and "within 1.2 %" in text


def set_apart(path: Path) -> None:
    """Half of the elements calibrate, half evaluate, and the embedding was quantised in the pass, too."""
    with SessionReader(path) as reader:
        status, totals = reader.status(), list(reader.iter_totals())
    further: dict[str, dict[str, np.ndarray]] = {CLOSED_OWNER: {CLOSED: np.asarray(REST, np.int64)}}
    for number, one in enumerate(totals):
        assert one is not None
        half = one.histogram // 2
        further[f"{CALIBRATION}{number}"] = {"histogram": half, "extremes": np.asarray(one.extremes)}
        further[f"{EVALUATION}{number}"] = {"histogram": one.histogram - half}
    sums = PassSums(("int8-token",), np.array([[1.0, 5.0, 100.0, 80.0, 0.0, 0.0, 50.0, 0.0]]))
    further[f"{IN_PASS}0"] = sums.to_arrays()
    writer = SessionWriter.open(path)
    writer.set_meta(split=SplitRecord((0, 1), (2, 3, 4)).to_json())
    writer.checkpoint(status, totals, np.zeros(0, np.int64), further=further)
    writer.close()


def test_quantisers_from_histograms_and_from_the_pass_are_in_the_document(schema: dict, tmp_path: Path) -> None:
    path = sessions.write_session(tmp_path / "s.maxact")
    set_apart(path)
    with SessionReader(path) as reader:
        document = json.loads(render(reader, "json")[0].content)
        board = read_board(reader)
    validator(schema, "report").validate(document)
    found = document["quantization"]
    assert (found["errors_over"], found["thresholds_from"]) == ("evaluation", "calibration")
    assert (found["calibration_samples"], found["evaluation_samples"]) == (2, 3)
    assert [(s["name"], s["source"]) for s in found["schemes"]] == [(s.name, s.source) for s in board.schemes]
    embedding = {error["name"]: error for error in found["sites"][0]["schemes"]}
    assert embedding["int8-token"]["sqnr_db"] == pytest.approx(20) and embedding["int8-token"]["threshold"] is None
    assert embedding["int8"]["threshold"] == some(some(board.rows[0])[0]).threshold
    assert [line["sites"] for line in found["schemes"] if line["source"] == "in pass"] == [1]
    assert "int8-token" not in {error["name"] for error in found["sites"][1]["schemes"]}


def test_a_key_that_is_not_documented_would_be_noticed(schema: dict, session_files: dict[str, Path]) -> None:
    with SessionReader(session_files["bfloat16"]) as reader:
        document = json.loads(render(reader, "json")[0].content)
    document["sites"][0]["surprise"] = 1
    assert not validator(schema, "report").is_valid(document)
    del document["sites"][0]["surprise"], document["sites"][0]["rms"]
    assert not validator(schema, "report").is_valid(document)
