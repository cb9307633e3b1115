"""The demo model once through the engine, by the paper's protocol: what is exported, and its INT8 check, against the
reference's.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from engine.report.export import FORMATS, export_session
from engine.session.reader import SessionReader
from tests.oracles import is_at_the_maximum, single_bf16_tolerance
from tests.quantization.oracle_run import METRICS, ORACLES, Captured, Line, deviation, lines, run_check, table

EXACT = ("count", "sun_n_tokens", "sun_n_pass", "sun_t_val", "sun_t_ratio", "abs_hist_count")
MOMENTS = ("mean", "std", "abs_mean", "rms", "sun_mean_ratio", "sun_std_ratio",
           "abs_median", "abs_q25", "abs_q75", "abs_q90", "abs_q99", "abs_q999")  # fmt: skip
pytestmark = [pytest.mark.demo_model, pytest.mark.slow]


@pytest.fixture(scope="module")
def check(tmp_path_factory: pytest.TempPathFactory, demo_gguf: Path) -> tuple[Path, Captured]:
    """The oracle's twelve texts in bfloat16, and the elements of the same forward passes."""
    captured = Captured()
    return run_check(tmp_path_factory.mktemp("check"), str(demo_gguf), captured), captured


@pytest.fixture(scope="module")
def found(check: tuple[Path, Captured]) -> list[Line]:
    return list(lines(*check))


@pytest.fixture(scope="module")
def written(check: tuple[Path, Captured], tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    """Every export of the session."""
    folder = tmp_path_factory.mktemp("exports")
    with SessionReader(check[0]) as reader:
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


def test_every_line_of_the_reference_is_there(check: tuple[Path, Captured], found: list[Line]) -> None:
    assert len(found) == 62
    assert len(table(*check).splitlines()) == 63


def test_with_the_references_thresholds_the_session_gives_every_metric_of_the_same_forward(found: list[Line]) -> None:
    for line in found:
        assert deviation(line.found, line.elements) < 1e-4, (line.site, line.policy)


def test_the_metrics_are_those_the_reference_printed_as_far_as_kernels_agree(found: list[Line]) -> None:
    for line in found:
        for metric in METRICS:
            tolerance = {"sqnr_db": 0.1, "clip_rate": 1e-5}.get(metric, 0)
            assert line.found[metric] == pytest.approx(line.printed[metric], rel=0.02, abs=tolerance), line


def test_the_papers_thresholds_are_within_one_of_its_bins(found: list[Line]) -> None:
    """Where this machine's matrix products give another maximum, the bins themselves shift by as much."""
    for line in found:
        assert line.threshold == pytest.approx(line.theirs, abs=1.01 * line.bin_width + 0.01 * line.theirs), line.site


def test_the_papers_quantile_is_that_of_its_own_steps_on_the_same_elements(
    check: tuple[Path, Captured], found: list[Line]
) -> None:
    """Its steps, on the captured elements: 2,048 linear bins over [0, max], the bin where the count reaches 99.9 %."""
    for line in found:
        if line.policy == "max_abs":
            continue
        magnitude = check[1].elements(line.site)[0].float().abs()
        top = magnitude.max()
        counts = torch.bincount((magnitude / top * 2047).floor().long().clamp(0, 2047), minlength=2048)
        place = int(torch.searchsorted(counts.cumsum(0), torch.tensor(max(1, -(-len(magnitude) * 999 // 1000)))))
        assert line.threshold == pytest.approx(float(top) * place / 2047, rel=1e-6), line.site
        # The exact quantile, which the default protocol takes, is within that bin or just above it.
        assert line.threshold * (1 - 0.01) <= line.exact <= line.threshold + 1.01 * float(top) / 2047 + 1e-9
