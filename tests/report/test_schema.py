"""The JSON documents are what their schema says, no key more and no key less."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from engine.analysis.stability import KIND, Stability
from engine.job import Job
from engine.report.export import render
from engine.session.reader import SessionReader
from engine.session.writer import SessionWriter
from tests.analysis import sessions


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
    validator(schema, definition).validate(document)


def test_a_session_without_numbers_satisfies_it_too(schema: dict, tmp_path: Path) -> None:
    SessionWriter.create(tmp_path / "s.maxact", Job(model="m")).close()
    with SessionReader(tmp_path / "s.maxact") as reader:
        validator(schema, "report").validate(json.loads(render(reader, "json")[0].content))


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


def test_a_key_that_is_not_documented_would_be_noticed(schema: dict, session_files: dict[str, Path]) -> None:
    with SessionReader(session_files["bfloat16"]) as reader:
        document = json.loads(render(reader, "json")[0].content)
    document["sites"][0]["surprise"] = 1
    assert not validator(schema, "report").is_valid(document)
    del document["sites"][0]["surprise"], document["sites"][0]["rms"]
    assert not validator(schema, "report").is_valid(document)
