"""`--quant full --protocol paper` from the command line to the reports."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema

from engine.session.reader import SessionReader
from tests.cli.conftest import Here
from tests.cli.running import assert_one_line_error, maxact
from tests.engine.running import write_corpus


def test_quantisers_asked_for_on_the_command_line_are_in_the_reports(
    tmp_path: Path, tiny_model_folder: Path, here: Here
) -> None:
    corpus, path = write_corpus(tmp_path / "short.jsonl"), tmp_path / "quant.maxact"
    result = maxact(
        tiny_model_folder, "--corpus", corpus, "--session", path, "--quant", "full", "--protocol", "paper",
        "--calibration", 6, "--evaluation", 10, "--sites", "all", "--threads", 1, "--json", home=tmp_path,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    with SessionReader(path) as reader:
        job, raw = reader.meta().job, reader.meta().raw
    assert (job.quant, job.protocol, job.calibration, job.evaluation) == ("full", "paper", 6, 10)
    assert raw["split"]["calibration"] == list(range(6))
    assert raw["split"]["evaluation"] == list(range(6, 16))
    formats = [word for name in ("markdown", "html", "json") for word in ("--format", name)]
    folder = tmp_path / "reports"
    exported = here("export", path, *formats, "-o", folder, home=tmp_path)
    assert exported.returncode == 0, exported.stderr
    pages = {file.suffix: file.read_text(encoding="utf-8") for file in folder.iterdir()}
    for page in (pages[".md"], pages[".html"]):
        for word in ("int8-paper0.999", "int8-smooth0.5", "nvfp4", "in pass", "from histogram"):
            assert word in page
        assert "thresholds from 6 calibration samples, errors over 10 others" in page
    schema = json.loads((Path(__file__).parents[2] / "engine/report/data/report.schema.json").read_text())
    jsonschema.validate(json.loads(pages[".json"]), schema)


def test_a_split_without_samples_is_refused(tmp_path: Path, here: Here) -> None:
    result = here("demo", "--calibration", 0, home=tmp_path)
    assert_one_line_error(result, "calibration", code=2)
