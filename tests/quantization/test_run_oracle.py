"""`--protocol paper` through the real run gives the reference's thresholds and metrics on the demo model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.quantization.oracle_run import METRICS, Captured, Line, deviation, lines, run_check, table

pytestmark = pytest.mark.demo_model


@pytest.fixture(scope="module")
def check(tmp_path_factory: pytest.TempPathFactory, demo_gguf: Path) -> tuple[Path, Captured]:
    captured = Captured()
    return run_check(tmp_path_factory.mktemp("check"), str(demo_gguf), captured), captured


@pytest.fixture(scope="module")
def found(check: tuple[Path, Captured]) -> list[Line]:
    return list(lines(*check))


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
