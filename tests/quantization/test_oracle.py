"""The reference's INT8 check on the demo model, from histograms of this machine's own bfloat16 forward."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from engine.base.computing import computing
from engine.quantization.distribution import Distribution
from engine.quantization.schemes import error_of, threshold_of
from engine.quantization.thresholds import reference_quantile
from engine.scheme_names import parse_scheme
from engine.schemes import Scheme
from tests.quantization.oracle_run import ORACLES, by_element, oracle

if TYPE_CHECKING:
    from engine.loading.load import LoadedModel

CALIBRATION, BATCH = 4, 4
pytestmark = pytest.mark.demo_model


@pytest.fixture(scope="module")
def activations(loaded_demo: LoadedModel) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Site -> its bfloat16 elements over the calibration samples and over the others, as the reference batches them."""
    text = loaded_demo.model.model
    lines = (ORACLES / "smollm2_tokens.jsonl").read_text().splitlines()
    samples = [json.loads(line)["input_ids"] for line in lines]
    found: dict[str, list[list[torch.Tensor]]] = {}
    handles = []
    state: dict[str, Any] = {}

    def keep(name: str):
        def hook(module: object, arguments: object, output: Any) -> None:
            tensor = output[0] if isinstance(output, tuple) else output
            found.setdefault(name, [[], []])[state["part"]].append(tensor[state["mask"]].clone())

        return hook

    modules = {f"layer_{i}_hidden": layer for i, layer in enumerate(text.layers)} | {"final_layernorm": text.norm}
    handles = [module.register_forward_hook(keep(name)) for name, module in modules.items()]
    try:
        for part, chosen in enumerate((samples[:CALIBRATION], samples[CALIBRATION:])):
            ordered = sorted(chosen, key=len)
            for start in range(0, len(ordered), BATCH):
                batch = ordered[start : start + BATCH]
                longest = max(map(len, batch))
                mask = torch.tensor([[1] * len(s) + [0] * (longest - len(s)) for s in batch])
                ids = torch.tensor([s + [0] * (longest - len(s)) for s in batch])
                state.update(part=part, mask=mask.bool())
                with computing(loaded_demo.model):
                    text(input_ids=ids, attention_mask=mask, use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    return {name: (torch.cat(parts[0]), torch.cat(parts[1])) for name, parts in found.items()}


@pytest.fixture(scope="module")
def sites(activations) -> dict[str, tuple[Distribution, Distribution]]:
    def distribution(x: torch.Tensor) -> Distribution:
        patterns = x.contiguous().view(torch.int16).numpy().view(np.uint16).reshape(-1)
        return Distribution("bfloat16", np.bincount(patterns, minlength=65536))

    return {name: (distribution(first), distribution(rest)) for name, (first, rest) in activations.items()}


def test_with_the_references_thresholds_the_histogram_gives_every_metric_of_the_elements(activations, sites) -> None:
    for thresholds in oracle()["thresholds"].values():
        for name, threshold in thresholds.items():
            found = error_of(Scheme(), sites[name][1], threshold)
            for metric, value in by_element(activations[name][1], threshold).items():
                tolerance = 1e-5 if metric == "sqnr_db" else 1e-9
                assert getattr(found, metric) == pytest.approx(value, rel=2e-6, abs=tolerance), (name, metric)


def test_with_the_references_thresholds_its_own_metrics_come_out(sites) -> None:
    thresholds = oracle()["thresholds"]
    for row in oracle()["metrics"]:
        threshold = thresholds[row["policy"]][row["layer"]]
        found = error_of(Scheme(), sites[row["layer"]][1], threshold)
        assert found.count == row["count"]
        for metric in ("mae", "rmse", "rel_mae", "rel_rmse"):
            assert getattr(found, metric) == pytest.approx(row[metric], rel=1e-2), (row["layer"], metric)
        assert found.sqnr_db == pytest.approx(row["sqnr_db"], abs=0.1)
        assert found.clip_rate == pytest.approx(row["clip_rate"], rel=0.02, abs=3 / row["count"])


def test_the_papers_thresholds_come_out_within_one_of_its_bins(sites) -> None:
    thresholds = oracle()["thresholds"]
    for name, theirs in thresholds["clip_q0.999"].items():
        largest = thresholds["max_abs"][name]
        calibration = sites[name][0]
        assert calibration.largest == pytest.approx(largest, rel=0.02)
        assert reference_quantile(calibration, 0.999) == pytest.approx(
            theirs, abs=1.01 * largest / 2047 + 0.02 * theirs
        )
        assert threshold_of(parse_scheme("int8-paper0.999"), calibration) == reference_quantile(calibration, 0.999)
