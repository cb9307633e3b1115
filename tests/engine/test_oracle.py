"""The whole pipeline against what the reference printed, and against a maximum known from elsewhere.

Oracles: what the reference implementation of arXiv 2605.15572 gave for twelve texts on SmolLM2-135M-Instruct
(tests/oracles/README.md).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from corpus.batching import plan_batches
from engine.base.job import Job
from engine.loading.load import LoadedModel
from engine.preparation.prepare import Prepared
from engine.preparation.prepare import prepare as plain_prepare
from engine.report.reference import activation_stats, top5_stats
from engine.run import runner
from engine.session.reader import SessionReader
from tests.engine.running import new_session
from tests.oracles import is_at_the_maximum, near_zeros
from tests.private import hooks_of

ORACLES = Path(__file__).resolve().parent.parent / "oracles"
PROMPT = "Summer is warm. Winter is cold.\nThe quick brown fox jumps over the lazy dog, and then it sleeps."
BIN = 10 ** (16 / 512)  # width of one of the reference's 512 log10 bins over [1e-8, 1e8]
QUANTILES = {"abs_median", "abs_q25", "abs_q75", "abs_q90", "abs_q99", "abs_q999"}
COUNTS = {"count", "sun_n_tokens", "sun_n_pass", "sun_t_val", "sun_t_ratio", "abs_hist_count"}
pytestmark = pytest.mark.demo_model


def oracle(name: str) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((ORACLES / f"smollm2_{name}.json").read_text(encoding="utf-8"))
    return data


def run_oracle_corpus(folder: Path, demo_gguf: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run the oracle's texts in compat detail: the bfloat16 weights, computed with in float32.

    tests/report/test_oracle.py does so in bfloat16.
    """

    def prepare(*arguments: Any, **options: Any) -> Prepared:
        prepared: Prepared = plain_prepare(*arguments, **options)
        prepared.loaded.model.float()
        expected = [json.loads(line)["input_ids"] for line in (ORACLES / "smollm2_tokens.jsonl").open(encoding="utf-8")]
        assert [prepared.tokenized.tokens(i).tolist() for i in range(len(expected))] == expected
        batches = plan_batches(prepared.tokenized.lengths, prepared.tokenized.categories, token_budget=600, seed=1)
        return replace(prepared, batches=batches)

    monkeypatch.setattr(runner, "prepare", prepare)
    job = Job(
        model=str(demo_gguf), corpus=str(ORACLES / "samples.jsonl"), device="cpu", dtype="bfloat16", detail="compat",
        quant="off",
    )  # fmt: skip
    path = new_session(folder / "oracle.maxact", job)
    assert runner.run(path) == 0
    return path


def worst_deviations(found: dict[str, Any], expected: dict[str, Any]) -> dict[str, float]:
    """Largest relative deviation of each field over all sites; quantiles in bins; absolute where both are tiny."""
    worst: dict[str, float] = {}
    for site, fields in expected.items():
        for name, value in fields.items():
            got = found[site][name]
            if name in QUANTILES:
                deviation = abs(math.log(got / value) / math.log(BIN)) if value else abs(got)
            elif name == "mean":
                deviation = abs(got - value) / fields["abs_mean"]
            elif name == "abs_hist_zero_frac":
                deviation = 0.0 if near_zeros(got, value, fields["abs_hist_count"]) else math.inf
            else:
                deviation = abs(got - value) / abs(value) if value else abs(got)
            worst[name] = max(worst.get(name, 0.0), deviation)
    return worst


def test_every_field_of_the_reference_in_float32(
    tmp_path: Path, demo_gguf: Path, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> None:
    expected = oracle("fp32_activation_stats")
    with SessionReader(run_oracle_corpus(tmp_path, demo_gguf, monkeypatch)) as reader:
        found, largest = activation_stats(reader), top5_stats(reader)
    assert list(found["per_layer_stats"]) == list(expected["per_layer_stats"])
    for site, fields in expected["per_layer_stats"].items():
        assert list(found["per_layer_stats"][site]) == list(fields), site
    worst = worst_deviations(found["per_layer_stats"], expected["per_layer_stats"])
    print("worst deviation per field:", json.dumps({name: f"{value:.2g}" for name, value in worst.items()}))
    for name, deviation in worst.items():
        record_property(name, deviation)
        assert deviation <= (0.0 if name in COUNTS else 1.0 if name in QUANTILES else 1e-3), name
    assert is_at_the_maximum(found["global_max_location"], expected)
    assert found["global_max_activation"] == pytest.approx(expected["global_max_activation"], rel=1e-3)
    for name in ("model_type", "num_hidden_layers", "hidden_size", "num_samples"):
        assert found[name] == expected[name]
    compare_largest(largest, oracle("fp32_top5_stats"))


def compare_largest(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """The 100 largest of every site, as a set, and of the model."""
    assert list(found["per_layer_stats"]) == list(expected["per_layer_stats"])
    for site, lists in expected["per_layer_stats"].items():
        for name, values in lists.items():
            got = found["per_layer_stats"][site][name]
            order = (lambda v: v) if name == "topk_abs" else abs
            np.testing.assert_allclose(sorted(map(abs, got)), sorted(map(abs, values)), rtol=1e-3, err_msg=site)
            assert [order(v) for v in got] == sorted((order(v) for v in got), reverse=True)
    np.testing.assert_allclose(found["global_top5_abs"], expected["global_top5_abs"], rtol=1e-3)
    assert found["global_top5_abs_mean"] == pytest.approx(expected["global_top5_abs_mean"], rel=1e-3)


def test_the_known_maximum_of_the_known_prompt(tmp_path: Path, demo_gguf: Path) -> None:
    """M = 23,160 at block 11, token 0 "Summer", channel 507 (massive-activation literature's example prompt)."""
    from engine.analysis.model import analyse

    (tmp_path / "prompt.jsonl").write_text(json.dumps({"text": PROMPT, "category": "web"}), encoding="utf-8")
    path = new_session(
        tmp_path / "prompt.maxact", Job(model=str(demo_gguf), corpus=str(tmp_path / "prompt.jsonl"), device="cpu")
    )
    assert runner.run(path) == 0
    with SessionReader(path) as reader:
        summary = analyse(reader)
    assert summary.maximum is not None
    assert summary.peak is not None
    assert summary.plan is not None
    assert summary.maximum.magnitude == pytest.approx(23_160, rel=0.02)
    # Kernels decide which of the sites within a bfloat16 step of M is the first to have all of it.
    assert 11 in {summary.plan.sites[site].layer for site in summary.maximum.plateau}
    assert (summary.peak.piece, summary.peak.position, summary.peak.channel) == (b"Summer", 0, 507)
    assert summary.passes_layer_median is True
    assert summary.passes_token_median is False
    assert summary.emergence is not None
    assert (summary.emergence.kind, summary.emergence.largest_layer) == ("sudden", 11)
    thread = summary.threads[0]
    # At block 28 it still is 8,704, but that is 774 times the median, no longer 1,000 times.
    assert (thread.channel, thread.birth, thread.death) == (507, 11, 28)


def test_the_model_used_is_not_changed_by_measuring(loaded_demo: LoadedModel) -> None:
    assert not any(hooks_of(module) for module in loaded_demo.model.modules())
