"""The reference's two files: its names, its order, its definitions."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from engine.report.reference import (
    MOE_GATE_NOTE,
    activation_stats,
    first_maximum,
    moe_gate_name,
    pool_largest,
    reference_name,
    top5_stats,
)
from engine.run import runner
from engine.session.reader import SessionReader
from engine.sites.site import Site
from tests.analysis import sessions
from tests.engine.running import new_session, tiny_job, write_corpus
from tests.models import tiny_tokenizer
from tests.sites.families import build

ORACLES = Path(__file__).parent.parent / "oracles"


def load(name: str) -> dict:
    return json.loads((ORACLES / name).read_text())


def test_keys_and_their_order_are_the_references(reader: SessionReader) -> None:
    mine, theirs = activation_stats(reader), load("smollm2_bf16_activation_stats.json")
    assert list(mine) == list(theirs)
    for kind in ("layer_0_hidden", "layer_0_mlp_gate", "embedding_output", "final_layernorm", "layer_3_mlp_output"):
        assert list(mine["per_layer_stats"][kind]) == list(theirs["per_layer_stats"][kind]), kind
    assert list(mine["per_layer_stats"])[:6] == list(theirs["per_layer_stats"])[:6]
    assert all(isinstance(v, float) for entry in mine["per_layer_stats"].values() for v in entry.values())


def test_the_top_file_has_the_references_keys_and_its_aliases(reader: SessionReader) -> None:
    mine, theirs = top5_stats(reader), load("smollm2_bf16_top5_stats.json")
    assert list(mine) == list(theirs)
    entry = mine["per_layer_stats"]["layer_0_hidden"]
    assert list(entry)[:2] == list(theirs["per_layer_stats"]["layer_0_hidden"])
    assert entry["top5_abs"] == entry["topk_abs"][:5]
    assert "layer_0_mlp_gate" not in mine["per_layer_stats"]


@pytest.mark.parametrize("dtype", ["bf16", "fp32"])
def test_the_references_own_lists_lead_to_its_own_pooled_list(dtype: str) -> None:
    theirs = load(f"smollm2_{dtype}_top5_stats.json")
    pooled = pool_largest([entry["topk_signed"] for entry in theirs["per_layer_stats"].values()])
    assert pooled == theirs["global_top5_signed"]
    assert [abs(x) for x in pooled] == theirs["global_top5_abs"]


@pytest.mark.parametrize("dtype", ["bf16", "fp32"])
def test_the_references_own_extremes_lead_to_its_own_location(dtype: str) -> None:
    theirs = load(f"smollm2_{dtype}_activation_stats.json")
    extremes = {
        name: (entry["max"], entry["min"]) for name, entry in theirs["per_layer_stats"].items() if "gate" not in name
    }
    assert first_maximum(extremes) == (theirs["global_max_activation"], theirs["global_max_location"])


def test_a_negative_peak_is_reported_with_its_sign(reader: SessionReader) -> None:
    found = activation_stats(reader)
    assert found["global_max_activation"] == sessions.values("bfloat16", "layer_2_hidden").min()
    assert found["global_max_location"] == "layer_2_hidden (min)"


@pytest.mark.parametrize("which", ["bfloat16", "float32"])
def test_every_scalar_is_what_plain_numpy_makes_of_the_references_definition(
    which: str, session_files: dict[str, Path]
) -> None:
    with SessionReader(session_files[which]) as opened:
        entry = activation_stats(opened)["per_layer_stats"]["layer_2_hidden"]
    x = sessions.values(which, "layer_2_hidden")
    a = np.abs(x)
    maxima, medians = a.max(1), np.quantile(a, 0.5, axis=1, method="lower")
    ratios = maxima / medians
    peak, best = int(maxima.argmax()), int(ratios.argmax())
    expected = {
        "mean": x.mean(), "std": x.std(), "abs_mean": a.mean(), "rms": math.sqrt((x * x).mean()),
        "max": x.max(), "min": x.min(), "count": x.size, "sun_peak_abs": a.max(),
        "sun_peak_token_median": medians[peak], "sun_peak_token_ratio": maxima[peak] / medians[peak],
        "sun_max_ratio": ratios[best], "sun_max_ratio_abs": maxima[best], "sun_max_ratio_median": medians[best],
        "sun_mean_ratio": ratios.mean(), "sun_std_ratio": ratios.std(), "sun_n_tokens": len(x),
        "sun_n_pass": ((maxima > 100) & (ratios > 1000)).sum(), "sun_t_val": 100, "sun_t_ratio": 1000,
        "abs_hist_count": x.size, "abs_hist_zero_frac": (x == 0).mean(),
    }  # fmt: skip
    for name, value in expected.items():
        assert entry[name] == pytest.approx(value, rel=2e-6), name
    for name, level in {"abs_median": 0.5, "abs_q25": 0.25, "abs_q99": 0.99}.items():
        assert entry[name] == pytest.approx(np.quantile(a, level, method="lower"), rel=0.08), name


def test_what_was_not_measured_is_left_out_rather_than_guessed(session_files: dict[str, Path]) -> None:
    with SessionReader(session_files["standard"]) as opened:
        entry = activation_stats(opened)["per_layer_stats"]["layer_2_hidden"]
    assert {"sun_mean_ratio", "sun_max_ratio", "abs_q99"}.isdisjoint(entry)
    assert {"mean", "max", "sun_peak_abs", "sun_n_pass"} <= set(entry)
    with SessionReader(session_files["lean"]) as opened:
        entry = activation_stats(opened)["per_layer_stats"]["layer_2_hidden"]
    assert {"mean", "rms", "sun_n_pass", "abs_median"}.isdisjoint(entry) and entry["max"] > 100


def test_sites_the_reference_does_not_have_are_left_out() -> None:
    assert reference_name(Site("embedding", None, "embedding", "m")) == "embedding_output"
    assert reference_name(Site("final_norm", None, "final_norm", "m")) == "final_layernorm"
    assert reference_name(Site("layer_3_hidden", 3, "hidden", "m")) == "layer_3_hidden"
    assert reference_name(Site("layer_3_attn_output_mamba", 3, "attn_output", "m")) is None
    assert reference_name(Site("layer_3_down_proj_input", 3, "down_proj_input", "m")) is None


def test_fewer_than_a_hundred_elements_are_not_filled_up_with_zeros(session_files: dict[str, Path]) -> None:
    with SessionReader(session_files["partial"]) as opened:
        entry = top5_stats(opened)["per_layer_stats"]["layer_0_hidden"]
    assert len(entry["topk_abs"]) == 100
    assert pool_largest([[3.0, -1.0]]) == [3.0, -1.0]


# (family, layers with a router, keys of a layer) as the published files of Qwen3-30B-A3B, Qwen3.5-35B-A3B, gpt-oss-20b
# and Ling-mini have them; the last has a dense first layer.
ROUTED = ("attn_output", "hidden", "mlp_output", "moe_gate", "router_logits")


@pytest.mark.parametrize(
    ("family", "routed", "keys"),
    [
        ("qwen3_moe", 3, ROUTED),
        ("qwen3_5_moe_text", 3, ("mlp_gate", *ROUTED)),
        ("gpt_oss", 3, ROUTED),
        ("bailing_hybrid", 2, ("mlp_gate", *ROUTED)),
    ],
)
def test_a_routers_output_has_the_references_second_name_too(
    family: str, routed: int, keys: tuple[str, ...], tmp_path: Path
) -> None:
    model = build(family, vocab_size=300)
    folder = tmp_path / family
    model.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    path = new_session(tmp_path / "r.maxact", tiny_job(folder, write_corpus(tmp_path / "c.jsonl", 4), dtype="float32"))
    assert runner.run(path) == 0
    with SessionReader(path) as opened:
        whole, top = activation_stats(opened), top5_stats(opened)
    found, largest = whole["per_layer_stats"], top["per_layer_stats"]
    assert whole["notes"] == [MOE_GATE_NOTE] and "raw logits" in MOE_GATE_NOTE and "notes" not in top
    assert {name.removeprefix("layer_2_") for name in found if name.startswith("layer_2_")} == set(keys)
    gates = [name for name in found if name.endswith("moe_gate")]
    assert gates == [f"layer_{layer}_moe_gate" for layer in range(3 - routed, 3)]
    for name in gates:
        assert found[name] == found[name.replace("moe_gate", "router_logits")]
        assert set(found[name]) == {"mean", "std", "abs_mean", "rms", "max", "min", "count"}
    assert not [name for name in largest if "moe_gate" in name or "router" in name]


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("model.layers.3.mlp.gate", "layer_3_moe_gate"),
        ("model.language_model.layers.3.mlp.router", "layer_3_moe_gate"),
        ("model.layers.3.feed_forward.router", None),  # Llama 4: the reference does not look there
        ("model.layers.3.router.proj", None),
    ],
)
def test_the_second_name_is_given_where_the_reference_looks(module: str, name: str | None) -> None:
    assert moe_gate_name(Site("layer_3_router_logits", 3, "router_logits", module)) == name
    assert moe_gate_name(Site("layer_3_mlp_gate", 3, "mlp_gate", "model.layers.3.mlp.gate_proj")) is None
