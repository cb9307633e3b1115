"""The demo model through the engine into every format, and its reference files against the reference's own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine import runner
from engine.job import Job
from engine.report.export import FORMATS, export_session
from engine.session.reader import SessionReader
from tests.engine.running import new_session
from tests.oracles import is_at_the_maximum, single_bf16_tolerance

ORACLES = Path(__file__).parent.parent / "oracles"
EXACT = ("count", "sun_n_tokens", "sun_n_pass", "sun_t_val", "sun_t_ratio", "abs_hist_count")
MOMENTS = ("mean", "std", "abs_mean", "rms", "sun_mean_ratio", "sun_std_ratio",
           "abs_median", "abs_q25", "abs_q75", "abs_q90", "abs_q99", "abs_q999")  # fmt: skip
pytestmark = pytest.mark.demo_model


@pytest.fixture(scope="module")
def demo_session(tmp_path_factory: pytest.TempPathFactory, demo_gguf: Path) -> Path:
    """The oracle's twelve texts through the demo model, bfloat16, all sites, compat detail."""
    path = tmp_path_factory.mktemp("demo") / "demo.maxact"
    corpus = str(ORACLES / "samples.jsonl")
    job = Job(
        model=str(demo_gguf), corpus=corpus, device="cpu", dtype="bfloat16", detail="compat", sites="all", threads=2,
        batch_tokens=512,
    )  # fmt: skip
    assert runner.run(new_session(path, job)) == 0
    return path


@pytest.fixture(scope="module")
def written(demo_session: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    """Every export of it."""
    folder = tmp_path_factory.mktemp("exports")
    with SessionReader(demo_session) as reader:
        return {name: export_session(reader, name, folder) for name in FORMATS}


def test_every_format_of_the_demo_session_is_written(written: dict[str, list[Path]]) -> None:
    assert set(written) == set(FORMATS)
    assert all(path.stat().st_size > 200 for paths in written.values() for path in paths)


def test_the_scalars_are_the_references(written: dict[str, list[Path]]) -> None:
    mine = json.loads(written["reference"][0].read_text())
    theirs = json.loads((ORACLES / "smollm2_bf16_activation_stats.json").read_text())
    assert is_at_the_maximum(mine["global_max_location"], theirs)
    assert mine["global_max_activation"] == pytest.approx(theirs["global_max_activation"], rel=0.02)
    assert (mine["num_samples"], mine["hidden_size"]) == (12, 576)
    assert list(mine["per_layer_stats"]) == list(theirs["per_layer_stats"])
    for name, expected in theirs["per_layer_stats"].items():
        found = mine["per_layer_stats"][name]
        assert list(found) == list(expected), name
        for key in EXACT:
            assert found.get(key) == expected.get(key), (name, key)
        for key in ("max", "min", "sun_peak_abs", "sun_max_ratio"):
            if key in expected:
                near = single_bf16_tolerance(expected[key])
                assert found[key] == pytest.approx(expected[key], rel=near), (name, key)
        for key in MOMENTS:
            if key in expected:
                scale = expected["abs_mean"] if key == "mean" else abs(expected[key])
                assert found[key] == pytest.approx(expected[key], abs=0.01 * scale), (name, key)


def test_the_largest_are_the_references(written: dict[str, list[Path]]) -> None:
    mine = json.loads(written["reference"][1].read_text())
    theirs = json.loads((ORACLES / "smollm2_bf16_top5_stats.json").read_text())
    assert mine["global_top5_abs_mean"] == pytest.approx(theirs["global_top5_abs_mean"], rel=0.02)
    for name, expected in theirs["per_layer_stats"].items():
        found = mine["per_layer_stats"][name]
        assert found["topk_abs"] == pytest.approx(expected["topk_abs"], rel=single_bf16_tolerance(0.0)), name
        assert sum(found["topk_abs"]) == pytest.approx(sum(expected["topk_abs"]), rel=0.01), name
        assert found["topk_abs"] == [abs(value) for value in found["topk_signed"]]
