"""`maxact-tui stability` on real engines: the peak samples alone and in another dtype, kept and used by the reports."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from engine.analysis.stability import read_stability
from engine.base.computing import computing
from engine.session.reader import SessionReader
from tests.cli.conftest import Here
from tests.cli.running import assert_one_line_error, maxact
from tests.values import some


@pytest.fixture(scope="module")
def rerun(finished: Path, home: Path) -> str:
    """What the command prints; the session holds its result afterwards."""
    result = maxact("stability", finished, "--samples", 6, "--dtype", "bfloat16", home=home)
    assert result.returncode == 0, result.stderr
    assert "each sample alone, float32" in result.stderr and "each sample alone, bfloat16" in result.stderr
    return result.stdout


@pytest.mark.slow
def test_the_peaks_are_what_the_model_gives_for_the_sample_alone(
    rerun: str,
    finished: Path,
    tiny_model_folder: Path,
) -> None:
    with SessionReader(finished) as reader:
        found, plan, maxima = read_stability(reader), reader.meta().plan, reader.sample_maxima()
        assert found is not None
        ids = {n: torch.from_numpy(some(reader.sample(n)).token_ids).long()[None] for n in found.samples}
    assert found.dtype == "float32" and found.other_dtype == "bfloat16" and len(found.samples) == 6
    assert plan is not None
    assert found.sites >= len(plan.sites) / 3
    site = next(i for i, s in enumerate(plan.sites) if s.component == "hidden" and np.isfinite(found.batch[i]))
    layer, sample = some(plan.sites[site].layer), int(maxima[site].argmax())
    # Our own sums may come in another order than the engine's, which has other threads: in bfloat16 that is now and
    # then a step, 2^-8 of a number; another sample, site or layer differs by much more.
    for dtype, over, difference, tolerance in (
        (torch.float32, maxima[site, sample], found.batch[site], 1e-5),
        (torch.bfloat16, maxima[site, sample] * (1 + found.batch[site]), found.rounding[site], 2**-7),
    ):
        model = AutoModelForCausalLM.from_pretrained(tiny_model_folder, dtype=dtype)
        with computing(model):
            states = model(ids[sample], output_hidden_states=True).hidden_states
        peak = float(states[layer + 1].abs().max())
        assert difference == pytest.approx(peak / over - 1, abs=tolerance)
    assert found.batch_limit < 1e-4 < found.dtype_limit < 0.05


def test_it_says_what_differs_and_where(rerun: str) -> None:
    lines = rerun.splitlines()
    assert lines[0].startswith("6 samples run again, where the peaks of ")
    assert lines[1].startswith("M ") and "alone" in lines[1] and "in bfloat16" in lines[1]
    assert lines[2].startswith("batch") and lines[3].startswith("bfloat16") and "95 % of the sites" in lines[3]


def test_comparisons_and_reports_use_it(rerun: str, finished: Path, home: Path, here: Here) -> None:
    compared = here("compare", finished, finished, home=home)
    assert compared.returncode == 0 and "(measured on 95 % of the sites" in compared.stdout
    assert "peak samples run alone" in here("export", finished, "--format", "markdown", "-o", "-", home=home).stdout
    assert "robustness: peak samples run alone" in here("show", finished, home=home).stdout


def test_a_session_without_results_or_corpus_is_refused_in_one_line(tmp_path: Path, home: Path, here: Here) -> None:
    from engine.base.job import Job
    from engine.session.records import Status
    from engine.session.writer import SessionWriter

    writer = SessionWriter.create(tmp_path / "s.maxact", Job(model="m"))
    writer.set_status(Status(phase="stopped"))
    writer.close()
    assert_one_line_error(here("stability", tmp_path / "s.maxact", home=home), "no results")
    assert_one_line_error(here("stability", tmp_path / "s.maxact", "--samples", 0, home=home), "--samples", code=2)
