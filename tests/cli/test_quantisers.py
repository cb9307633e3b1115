"""`--quant full --protocol paper` from the command line to the reports."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from engine.base.job import Job
from engine.scheme_names import schemes_in_pass
from engine.schemes import FULL_SCHEMES, Scheme
from engine.session.reader import SessionReader
from engine.statistics.local_errors import replayed
from tests.cli.conftest import Here
from tests.cli.running import assert_one_line_error, maxact
from tests.engine.running import write_corpus


def test_quantisers_asked_for_on_the_command_line_are_in_the_reports(
    tmp_path: Path, tiny_model_folder: Path, here: Here
) -> None:
    corpus, path = write_corpus(tmp_path / "short.jsonl"), tmp_path / "quant.maxact"
    result = maxact(
        tiny_model_folder, "--corpus", corpus, "--session", path, "--quant", "full", "--protocol", "paper",
        "--schemes", "INT4-G16,mxfp4,e2m1-mse",
        "--calibration", 6, "--evaluation", 10, "--sites", "all", "--threads", 1, "--json", home=tmp_path,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    with SessionReader(path) as reader:
        job, raw = reader.meta().job, reader.meta().raw
    assert (job.quant, job.protocol, job.calibration, job.evaluation) == ("full", "paper", 6, 10)
    assert job.schemes == ("int4-g16", "mxfp4", "e2m1-mse")
    assert raw["split"]["calibration"] == list(range(6))
    assert raw["split"]["evaluation"] == list(range(6, 16))
    formats = [word for name in ("markdown", "html", "json") for word in ("--format", name)]
    folder = tmp_path / "reports"
    exported = here("export", path, *formats, "-o", folder, home=tmp_path)
    assert exported.returncode == 0, exported.stderr
    pages = {file.suffix: file.read_text(encoding="utf-8") for file in folder.iterdir()}
    for page in (pages[".md"], pages[".html"]):
        for word in ("int8-paper0.999", "int8-smooth0.5", "nvfp4", "int4-g16", "e2m1-mse", "in pass", "from histogram"):
            assert word in page
        assert "thresholds from 6 calibration samples, errors over 10 others" in page
    schema = json.loads((Path(__file__).parents[2] / "engine/report/data/report.schema.json").read_text())
    report = json.loads(pages[".json"])
    jsonschema.validate(report, schema)
    sources = {one["name"]: (one["source"], one["bits"]) for one in report["quantization"]["schemes"]}
    assert sources["int4-g16"] == ("in pass", 4) and sources["e2m1-mse"] == ("from histogram", 4)
    assert any(one["name"] == "int4-g16" for one in report["quantization"]["sites"][0]["local"])
    costs = here("show", path, home=tmp_path).stdout
    assert "  int4-g16 " in costs and "  e2m1-mse " in costs and "  int8-paper0.999 " not in costs


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--schemes", "mxpf4"), "did you mean mxfp4?"),
        (("--schemes", "int8-g1"), "at least 2 channels"),
        (("--schemes", "int8-smooth0.12345678901234567"), "at most 32 letters"),
        (("--schemes", "mxfp4", "--quant", "off"), "--quant off"),
    ],
)
def test_a_quantiser_that_cannot_be_applied_is_refused_before_anything_runs(
    tmp_path: Path, here: Here, options: tuple[str, ...], says: str
) -> None:
    assert_one_line_error(here("demo", *options, home=tmp_path), says, code=2)


def test_a_run_applies_what_was_chosen_and_nothing_else() -> None:
    assert schemes_in_pass("basic", ()) == () and schemes_in_pass("full", ()) == FULL_SCHEMES
    assert [one.name for one in schemes_in_pass("basic", ("mxfp4", "e2m1", "of-a-later-version"))] == ["mxfp4"]
    assert schemes_in_pass("full", ("mxfp4", "int4-g16")) == (*FULL_SCHEMES, Scheme("int4", "group", 16))
    assert replayed("basic", ("int4-g16", "int8", "fp5")) == ("int8", "int8-token", "int4-g16")
    assert "schemes" not in Job("m").to_json() and Job.from_json({"model": "m"}).schemes == ()
    chosen = Job("m", schemes=("mxfp4",))
    assert Job.from_json(json.loads(json.dumps(chosen.to_json()))) == chosen


def test_a_split_without_samples_is_refused(tmp_path: Path, here: Here) -> None:
    result = here("demo", "--calibration", 0, home=tmp_path)
    assert_one_line_error(result, "calibration", code=2)
