"""The demo model's statistics agree with what the reference implementation printed for the same tokens."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from engine.base.computing import computing
from engine.messages import words
from engine.sites.discovery import find_sites
from engine.sites.hooks import attach
from engine.statistics import patterns
from engine.statistics.meter import Meter
from engine.statistics.totals import SUN_MAGNITUDE, SUN_RATIO, SiteTotals
from tests.oracles import near_zeros
from tests.values import some

ORACLES = Path(__file__).parents[1] / "oracles"
QUANTILES = {"abs_median": 0.5, "abs_q25": 0.25, "abs_q75": 0.75, "abs_q90": 0.9, "abs_q99": 0.99, "abs_q999": 0.999}
EXACT = {"count", "sun_n_tokens", "sun_n_pass", "sun_t_val", "sun_t_ratio", "abs_hist_count"}
TOLERANCE = 1e-3
ONE_BIN = 10 ** (1 / 32) - 1

pytestmark = pytest.mark.demo_model


def oracle(name: str) -> dict[str, Any]:
    return json.loads((ORACLES / name).read_text())


def reference_name(site: str) -> str:
    return {"embedding": "embedding_output", "final_norm": "final_layernorm"}.get(site, site)


@pytest.fixture(scope="module")
def totals(loaded_demo) -> dict[str, SiteTotals]:
    """Every paper site over the oracle's tokens: bf16 weights computed in fp32, compat detail, batches of four."""
    model = copy.deepcopy(loaded_demo.model).float()
    plan = find_sites(model, "paper")
    lines = (ORACLES / "smollm2_tokens.jsonl").read_text().splitlines()
    texts = [torch.tensor(json.loads(line)["input_ids"]) for line in lines]
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    problems: list[str] = []
    meter = Meter(
        len(plan.sites), len(texts), "compat", "auto", [s.counts_for_m for s in plan.sites],
        lambda site, what: problems.append(f"{plan.sites[site].name}: {words(what)}"),
    )  # fmt: skip
    with computing(model), attach(model, plan, meter.record, lambda site, what: problems.append(words(what))):
        for start in range(0, len(order), 4):
            numbers = sorted(order[start : start + 4])
            tokens = torch.nn.utils.rnn.pad_sequence([texts[i] for i in numbers], batch_first=True)
            mask = torch.arange(tokens.shape[1])[None] < torch.tensor([[len(texts[i])] for i in numbers])
            row, position = (a.numpy() for a in torch.nonzero(mask, as_tuple=True))
            meter.begin_batch(np.flatnonzero(mask.numpy()), np.asarray(numbers)[row], position)
            model.get_submodule(plan.text_model)(input_ids=tokens, attention_mask=mask.long(), use_cache=False)
            meter.end_batch()
    meter.drain()
    assert not problems
    return {reference_name(site.name): some(meter.totals(number)) for number, site in enumerate(plan.sites)}


def fields(totals: SiteTotals) -> dict[str, float]:
    """One site in the reference's words."""
    moments = patterns.moments(totals)
    assert moments is not None
    found = {
        "mean": moments.mean,
        "std": moments.std,
        "abs_mean": moments.abs_mean,
        "rms": moments.rms,
        "max": totals.extremes[0],
        "min": totals.extremes[1],
        "count": totals.elements,
    }
    if not totals.channel_tokens.size:
        return found
    count, ratio_sum, ratio_squares = totals.ratio_sums
    peak = abs(totals.top[0]["value"])
    compat = patterns.compat_quantiles(totals, list(QUANTILES.values()))
    return {
        **found,
        "sun_peak_abs": peak,
        "sun_peak_token_median": float(totals.peak_median),
        "sun_peak_token_ratio": peak / float(totals.peak_median),
        "sun_max_ratio": totals.sun_ratio[0],
        "sun_max_ratio_abs": totals.sun_ratio[1],
        "sun_max_ratio_median": totals.sun_ratio[2],
        "sun_mean_ratio": ratio_sum / count,
        "sun_std_ratio": np.sqrt(ratio_squares / count - (ratio_sum / count) ** 2),
        "sun_n_tokens": int(totals.tokens),
        "sun_n_pass": int(totals.sun_tokens),
        "sun_t_val": SUN_MAGNITUDE,
        "sun_t_ratio": SUN_RATIO,
        "abs_hist_count": totals.finite,
        "abs_hist_zero_frac": moments.zeros / totals.finite,
        **dict(zip(QUANTILES, compat, strict=True)),
    }


def test_every_field_of_every_site_is_the_references(totals: dict[str, SiteTotals]) -> None:
    expected = oracle("smollm2_fp32_activation_stats.json")["per_layer_stats"]
    assert set(totals) == set(expected)
    worst: dict[str, tuple[float, str]] = {}
    for name, site in totals.items():
        found = fields(site)
        assert set(expected[name]) == set(found), name
        for field, value in found.items():
            if field in EXACT:
                assert value == expected[name][field], (name, field)
                continue
            if field == "abs_hist_zero_frac":
                assert near_zeros(value, expected[name][field], found["abs_hist_count"]), name
                continue
            # The mean of a site may be next to zero; it is as exact as the numbers it is the mean of.
            scale = found["abs_mean"] if field == "mean" else abs(expected[name][field])
            deviation = abs(value - expected[name][field]) / max(scale, 1e-30)
            worst[field] = max(worst.get(field, (0.0, "")), (deviation, name))
    for field, (deviation, name) in worst.items():
        print(f"{field:<24}{deviation:10.2e}  {name}")
        assert deviation <= (ONE_BIN if field in QUANTILES else TOLERANCE), (field, name)


def test_the_hundred_largest_are_the_references(totals: dict[str, SiteTotals]) -> None:
    expected = oracle("smollm2_fp32_top5_stats.json")["per_layer_stats"]
    assert len(expected) == 92
    worst = 0.0
    for name, lists in expected.items():
        for ours, theirs in (
            (np.abs(totals[name].top["value"]), np.array(lists["topk_abs"])),
            (totals[name].top["value"], np.array(lists["topk_signed"])),
        ):
            assert len(ours) == len(theirs) == 100
            # As sets: which of nearly equal |x| end a list, and so with which signs, is up to the kernels.
            least = np.abs(theirs).min()
            for own, others in ((ours, theirs), (theirs, ours)):
                inner = own[np.abs(own) > least * (1 + 2 * TOLERANCE)]
                nearest = np.abs(inner[:, None] - others[None]).min(axis=1)
                worst = max(worst, float((nearest / np.abs(inner)).max(initial=0.0)))
            deviations = np.abs(np.sort(np.abs(ours)) - np.sort(np.abs(theirs))) / least
            worst = max(worst, float(deviations.max()))
    print(f"top-100 values, worst relative deviation {worst:.2e}")
    assert worst <= TOLERANCE


def test_the_identities_of_the_definitions_hold(totals: dict[str, SiteTotals]) -> None:
    for name, site in totals.items():
        peak = max(abs(site.extremes))
        assert peak == abs(site.top[0]["value"]) == site.channel_max.max() == np.nanmax(site.sample_max), name
        assert site.histogram.sum() == site.elements == int(site.tokens) * site.width, name
        assert site.token_maxima.sum() == site.tokens, name
        assert not site.nonfinite.any(), name
        if site.log_histogram.any():
            zeros = site.histogram[0] + site.histogram[0x8000]
            assert site.log_histogram.sum() + zeros == site.elements, name
