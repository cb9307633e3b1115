"""Exports: formats by name, whole files or none, strict JSON."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from engine.analysis.model import analyse
from engine.base.job import Job
from engine.base.naming import distinct_names
from engine.report.complete import complete_dict
from engine.report.errors import ReportError
from engine.report.export import FORMATS, export_session, find_format, render
from engine.report.summary import summary_dict
from engine.report.writing import Document, safe_name, write_documents
from engine.session.reader import SessionReader
from engine.session.writer import SessionWriter
from maxact_tui.cli.summary_view import print_summary
from tests.analysis import sessions

NEED_INPUTS = {
    "act-scales",
    "amax",
    "llm-compressor",
    "modelopt",
}  # of matrix products, which the small session has not measured
READABLE = set(FORMATS) - NEED_INPUTS


def strict(text: str) -> dict:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize("which", ["bfloat16", "float32", "standard", "lean", "partial"])
@pytest.mark.parametrize("name", sorted(READABLE))
def test_every_format_of_every_kind_of_session_is_written(
    name: str, which: str, session_files: dict[str, Path], tmp_path: Path
) -> None:
    with SessionReader(session_files[which]) as opened:
        written = export_session(opened, name, tmp_path / "new" / "folder")
    headings_alone = {"lean.quantization.csv"}  # without histograms no quantiser's error is known
    assert written and all(path.stat().st_size > 100 for path in written if path.name not in headings_alone)
    assert sorted(p.name for p in (tmp_path / "new" / "folder").iterdir()) == sorted(p.name for p in written)
    for path in written:
        if path.suffix == ".json":
            strict(path.read_text())


def test_a_session_that_has_measured_nothing_exports_as_such(tmp_path: Path) -> None:
    SessionWriter.create(tmp_path / "s.maxact", Job(model="m")).close()
    with SessionReader(tmp_path / "s.maxact") as opened:
        found = strict(render(opened, "json")[0].content.decode())
        assert found["run"]["partial"] and found["maximum"] is None and found["sites"] == []
        assert strict(render(opened, "reference")[0].content.decode())["per_layer_stats"] == {}


def test_the_summary_says_what_matters(reader: SessionReader) -> None:
    found = strict(json.dumps(summary_dict(analyse(reader)), allow_nan=False))
    assert found["maximum"]["value"] < 0 < found["maximum"]["magnitude"]
    assert found["maximum"]["label"] == "L2 hidden" and found["maximum"]["plateau"] == ["layer_2_hidden"]
    assert found["maximum"]["at"]["channel"] == sessions.MASSIVE_CHANNEL
    assert found["maximum"]["at"]["token"] == f"t{100 * found['maximum']['at']['sample']} "
    assert found["massive_activations"]["layer_median"] is True
    assert found["run"]["partial"] is False and found["run"]["samples"] == sessions.SAMPLES
    assert found["emergence"] == {
        "kind": "sudden", "layer": 1, "ratio": found["emergence"]["ratio"],
        "largest_ratio": found["emergence"]["largest_ratio"], "largest_layer": 1,
    }  # fmt: skip
    magnitudes = [c["magnitude"] for c in found["categories"]]
    assert len(magnitudes) == 3 and magnitudes == sorted(magnitudes, reverse=True)
    assert found["standing"]["next_below"]["magnitude"] <= found["maximum"]["magnitude"]


def test_the_throughput_of_a_finished_run_is_its_average(reader: SessionReader) -> None:
    summary = analyse(reader)
    status = summary.status.changed(running_seconds=190.0, tokens_done=14_474, tokens_per_second=198.0)
    summary = replace(summary, status=status)
    assert summary_dict(summary)["run"]["tokens_per_second"] == 14_474 / 190
    printed = StringIO()
    print_summary(summary, Console(file=printed, width=200))
    assert ", measured in 3:10 at 76.2 tok/s" in printed.getvalue()


def test_a_partial_session_is_marked(session_files: dict[str, Path]) -> None:
    with SessionReader(session_files["partial"]) as opened:
        found = complete_dict(opened)
    assert found["run"]["partial"] is True and found["run"]["phase"] == "stopped" and found["run"]["samples"] == 2


def test_the_complete_report_has_one_entry_per_site_with_its_numbers(reader: SessionReader) -> None:
    found = complete_dict(reader)
    assert [site["name"] for site in found["sites"]] == [site.name for site in sessions.plan().sites]
    hidden = next(site for site in found["sites"] if site["name"] == "layer_2_hidden")
    assert hidden["min"] == -found["maximum"]["magnitude"] and hidden["exact"] is True
    assert hidden["sun_layer"]["passes"] is True and len(hidden["top"]) == 100
    gate = next(site for site in found["sites"] if site["name"] == "layer_2_mlp_gate")
    assert gate["channels"] is None and gate["counts_for_m"] is False


def test_unknown_numbers_are_null_and_infinite_ones_are_words(session_files: dict[str, Path], tmp_path: Path) -> None:
    with SessionReader(session_files["lean"]) as opened:
        lean = complete_dict(opened)
    site = lean["sites"][0]
    assert lean["quantization"] is None
    assert site["rms"] is None and site["sun_layer"]["median"] is None
    import numpy as np

    zeros = np.zeros((sessions.LENGTHS.sum(), sessions.WIDTH))
    path = sessions.write_session(tmp_path / "z.maxact", change={"layer_0_hidden": sessions.to_bits(zeros, "bfloat16")})
    with SessionReader(path) as opened:
        found = strict(render(opened, "json")[0].content.decode())
    assert found["emergence"]["largest_ratio"] == "infinity"
    (errors,) = (one["schemes"] for one in found["quantization"]["sites"] if one["name"] == "layer_0_hidden")
    assert {error["sqnr_db"] for error in errors} == {"infinity"}
    assert all(line["infinite_sites"] == 1 for line in found["quantization"]["schemes"])


def test_an_existing_file_is_kept_unless_forced(reader: SessionReader, tmp_path: Path) -> None:
    first = export_session(reader, "reference", tmp_path)
    first[1].write_text("mine")
    first[0].unlink()
    with pytest.raises(ReportError, match=r"exists already.*--force"):
        export_session(reader, "reference", tmp_path)
    assert not first[0].exists() and first[1].read_text() == "mine"
    export_session(reader, "reference", tmp_path, force=True)
    assert first[0].exists() and first[1].read_text() != "mine"


def test_a_dangling_link_in_the_way_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "a.json").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ReportError, match="exists already"):
        write_documents([Document("a.json", b"x")], tmp_path, force=False)
    write_documents([Document("a.json", b"x")], tmp_path, force=True)
    assert not (tmp_path / "elsewhere").exists() and (tmp_path / "a.json").read_bytes() == b"x"


def test_a_place_that_cannot_be_written_is_one_line(reader: SessionReader, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ReportError, match="cannot write into") as caught:
        export_session(reader, "json", tmp_path / "file" / "folder")
    assert "\n" not in str(caught.value)


def test_nothing_is_left_behind_by_a_failed_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ReportError, match="No space left"):
        write_documents([Document("a.json", b"x")], tmp_path, force=False)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_format_names_the_nearest() -> None:
    with pytest.raises(ReportError, match="did you mean reference"):
        find_format("refrence")
    with pytest.raises(ReportError, match="there are: json"):
        find_format("zzz")
    assert find_format(" JSON ").name == "json"


def test_file_names_are_safe_whatever_the_model_is_called() -> None:
    assert safe_name("../../etc/passwd") == "etc-passwd"
    assert safe_name("a\x1b]0;b\x07c") == "a-0-b-c"
    assert safe_name("...") == "session" and len(safe_name("x" * 500)) <= 120


def test_a_model_with_a_hostile_name_cannot_leave_the_folder(tmp_path: Path) -> None:
    path = sessions.write_session(tmp_path / "s.maxact", model="/tmp/\udc80../\x1b[31m..evil\n")
    with SessionReader(path) as opened:
        for name in READABLE:
            for written in export_session(opened, name, tmp_path / "out"):
                assert written.parent == tmp_path / "out" and "\x1b" not in written.name
                assert name == "parquet" or b"\x1b" not in written.read_bytes()


def test_no_export_tells_the_folders_of_the_machine_and_the_session_still_does(tmp_path: Path) -> None:
    folder = "/home/ada lovelace/secret"
    model, corpus = f"{folder}/models/river-7b.gguf", f"{folder}/texts/poems.jsonl"
    path = sessions.write_session(tmp_path / "s.maxact", model=model)
    writer = SessionWriter.open(path)
    job = Job(model=model, corpus=corpus)
    notes = [f"{model} was converted", "weights in /data/cache/converted/river.safetensors, see https://a.org/b/c"]
    writer.set_meta(job=job.to_json(), provenance={"dtype": "bfloat16", "resolved": model, "notes": notes})
    writer.set_meta(corpus={"name": corpus, "hash": "ab", "problems": [f"{corpus}: line 3"]})
    writer.close(final=True)
    with SessionReader(path) as opened:
        for name in sorted(READABLE):
            for document in render(opened, name):
                for word in (b"/home", b"lovelace", b"secret", b"/data", b"converted/"):
                    assert word not in document.content, (name, word)
        found = strict(render(opened, "json")[0].content.decode())
        assert opened.meta().job == job
    assert found["model"]["name"] == "river-7b"
    assert (found["job"]["model"], found["job"]["corpus"]) == ("river-7b.gguf", "poems.jsonl")
    assert found["protocol"]["corpus"] == found["corpus"]["name"] == "poems.jsonl"
    assert found["provenance"]["notes"] == [
        "river-7b.gguf was converted", "weights in river.safetensors, see https://a.org/b/c",
    ]  # fmt: skip


def test_models_of_one_name_are_told_apart_by_the_last_folders_it_takes() -> None:
    assert distinct_names(["/runs/step1/hf", "/runs/step2/hf", "org/hf"]) == ["step1/hf", "step2/hf", "org/hf"]
    assert distinct_names(["/a/m.gguf", "/a/m.gguf", "/b/n"]) == ["m", "m", "n"]
