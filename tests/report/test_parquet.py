"""Parquet tables, read back by pyarrow: the numbers of the CSV, with types, units and null for what is unknown."""

from __future__ import annotations

import csv
import io
import math
import re
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from engine.quantization.populations import read_board
from engine.report.errors import ReportError
from engine.report.export import render
from engine.session.reader import SessionReader
from tests.analysis import sessions
from tests.report.test_readable import hostile  # noqa: F401  (a fixture)


def tables_of(path: Path) -> dict[str, pa.Table]:
    with SessionReader(path) as reader:
        documents = render(reader, "parquet")
    return {d.name.split(".")[-2]: parquet.read_table(io.BytesIO(d.content)) for d in documents}


def csv_of(path: Path) -> dict[str, list[dict[str, str]]]:
    with SessionReader(path) as reader:
        documents = render(reader, "csv")
    return {d.name.split(".")[-2]: list(csv.DictReader(io.StringIO(d.content.decode()))) for d in documents}


@pytest.mark.parametrize("which", ["bfloat16", "float32", "lean", "partial"])
def test_every_table_holds_what_the_csv_holds(which: str, session_files: dict[str, Path]) -> None:
    tables, texts = tables_of(session_files[which]), csv_of(session_files[which])
    assert list(tables) == list(texts) == ["sites", "top", "channels", "samples", "quantization"]
    for name, table in tables.items():
        rows = table.to_pylist()
        assert len(rows) == len(texts[name])
        assert bool(rows) != (name == "quantization" and which == "lean")
        for row, text in zip(rows, texts[name], strict=True):
            for key, value in row.items():
                if isinstance(value, bool):
                    assert text[key] == ("true" if value else "false")
                elif isinstance(value, float):
                    assert float(text[key]) == value
                else:
                    assert text[key] == ("" if value is None else str(value))


def test_every_column_says_its_type_unit_and_meaning(session_files: dict[str, Path]) -> None:
    for name, table in tables_of(session_files["bfloat16"]).items():
        about = {key.decode(): value.decode() for key, value in table.schema.metadata.items()}
        assert about["format"] == "maxact-tui/tables" and about["table"] == name and about["partial"] == "false"
        assert about["model"] == "some/Tiny-Model" and about["samples"] == str(sessions.SAMPLES)
        for field in table.schema:
            metadata = {key.decode(): value.decode() for key, value in field.metadata.items()}
            assert len(metadata["description"]) > 8
            assert (metadata["unit"] == "activation") <= pa.types.is_floating(field.type)
            assert pa.types.is_floating(field.type) <= bool(metadata["unit"])
    schema = tables_of(session_files["bfloat16"])["sites"].schema
    assert schema.field("tokens").metadata[b"unit"] == b"tokens" and schema.field("layer").type == pa.int64()
    assert schema.field("exact").type == pa.bool_() and schema.field("rms").type == pa.float64()


def test_what_is_unknown_is_null_and_a_partial_session_says_so(session_files: dict[str, Path]) -> None:
    lean = tables_of(session_files["lean"])["sites"].to_pylist()
    assert all(row["rms"] is None and row["magnitude"] > 0 for row in lean)
    partial = tables_of(session_files["partial"])["samples"]
    assert partial.schema.metadata[b"partial"] == b"true"
    assert [row["sample"] for row in partial.to_pylist() if row["max_abs"] is not None] == [3, 7]


def test_quantiser_errors_are_a_row_for_each_site_and_scheme(tmp_path: Path) -> None:
    zeros = np.zeros((sessions.LENGTHS.sum(), sessions.WIDTH))
    path = sessions.write_session(tmp_path / "z.maxact", change={"layer_0_hidden": sessions.to_bits(zeros, "bfloat16")})
    table = tables_of(path)["quantization"]
    with SessionReader(path) as reader:
        board = read_board(reader)
    rows = {(row["site"], row["scheme"]): row for row in table.to_pylist()}
    assert len(rows) == table.num_rows == len(sessions.plan().sites) * len(board.schemes)
    for site, errors in zip(sessions.plan().sites, board.rows, strict=True):
        assert errors is not None
        for scheme, error in zip(board.schemes, errors, strict=True):
            row = rows[site.name, scheme.name]
            assert error is not None
            assert (row["sqnr_db"], row["rel_rmse"], row["rel_mae"]) == (error.sqnr_db, error.rel_rmse, error.rel_mae)
            assert (row["clip_rate"], row["threshold"], row["count"]) == (error.clip_rate, error.threshold, error.count)
    assert rows["layer_0_hidden", "int8"]["sqnr_db"] == math.inf
    assert {r["sqnr_db"] for r in csv_of(path)["quantization"] if r["site"] == "layer_0_hidden"} == {"inf"}
    units = {name: table.schema.field(name).metadata[b"unit"] for name in ("sqnr_db", "threshold", "clip_rate")}
    assert units == {"sqnr_db": b"dB", "threshold": b"activation", "clip_rate": b"1"}


def test_no_text_holds_what_does_not_print(hostile: Path) -> None:  # noqa: F811
    tokens = tables_of(hostile)["top"].column("token").to_pylist()
    assert "<script>alert(1)</script>" in tokens
    assert not any(re.search(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e]", token) for token in tokens)


def test_without_pyarrow_the_next_step_is_named(
    session_files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with (
        SessionReader(session_files["bfloat16"]) as reader,
        pytest.raises(ReportError, match=r"pip install 'maxact-tui\[report\]'"),
    ):
        render(reader, "parquet")
