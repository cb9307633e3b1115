"""The order of sites: against what quantising each of 120 inputs does to a real model's predictions, and its fallback.

`ranking_smollm2.json` is what `tests/bench/bench_ranking.py` computed: each input of SmolLM2-135M's matrix products
alone in INT8 per tensor, KL divergence in float32 on 10 held-out texts, and what the board says of it.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from engine.base.computing import computing
from engine.base.job import Job
from engine.effect.changes import SiteNumbers
from engine.effect.replay import choose_stretches, replay
from engine.messages import Message, words
from engine.preparation.prepare import prepare
from engine.quantization.board import compute_board
from engine.quantization.distribution import Distribution
from engine.quantization.ranking import DAMAGE_LIMIT, damage_of, rank
from engine.statistics.local_errors import SUMS, LocalErrors
from tests.models import demo_gguf
from tests.quantization.ranks import MEASURES, correlations
from tests.values import some

TABLE: list[dict[str, Any]] = json.loads((Path(__file__).parent / "ranking_smollm2.json").read_text())
COMPONENTS = sorted({row["component"] for row in TABLE})
LIVE = ("layer_0_down_proj_input", "layer_1_attn_input", "layer_2_o_proj_input", "layer_2_mlp_input")


def test_the_table_is_of_every_input_and_of_the_same_predictions() -> None:
    assert len(TABLE) == len({row["site"] for row in TABLE}) == 120
    assert len({row["predictions"] for row in TABLE}) == 1
    assert all(math.isfinite(row[name]) for row in TABLE for name in (*MEASURES, "kl"))


def test_damage_ranks_like_the_effect_does() -> None:
    rho, found = correlations(TABLE, "damage")
    assert rho >= 0.98 and found == 5
    for component in COMPONENTS:
        assert correlations([row for row in TABLE if row["component"] == component], "damage")[0] >= 0.9, component


def test_no_other_measure_does_and_sqnr_least_at_the_worst() -> None:
    found = {measure: correlations(TABLE, measure) for measure in MEASURES}
    assert max(rho for measure, (rho, _) in found.items() if measure != "damage") < 0.88
    assert found["rel_mae"][0] > found["sqnr_db"][0] and found["rel_mae"][1] > found["sqnr_db"][1]
    worst = {row["site"]: row for row in sorted(TABLE, key=lambda row: -row["kl"])[:5]}
    assert worst["layer_11_down_proj_input"]["sqnr_db"] > 29  # the massive activation carries it
    assert worst["layer_11_down_proj_input"]["bulk_db"] < 1
    assert worst["layer_11_down_proj_input"]["zeroed"] > 0.99


def test_what_is_called_harmful_holds_most_of_the_whole_effect() -> None:
    harmful = [row["kl"] for row in TABLE if row["damage"] > DAMAGE_LIMIT]
    assert len(harmful) < 20
    assert sum(harmful) > 0.8 * sum(row["kl"] for row in TABLE)


def test_the_table_s_damage_is_what_the_program_computes(tmp_path: Path) -> None:
    """A few inputs of the first blocks, by the engine on the real model, with the thresholds of the table."""
    rows = {row["site"]: row for row in TABLE}
    job = Job(model=str(demo_gguf()), sites="gemm", device="cpu", backend="torch")
    prepared = prepare(job, lambda _progress: None, measures=False)
    assert prepared.split.record is not None
    stretches = choose_stretches(prepared.tokenized, prepared.split.record.evaluation, job.seed)

    def fail(site: int, problem: Message) -> None:
        pytest.fail(f"{site}: {words(problem)}")

    def numbers(number: int) -> SiteNumbers | None:
        site = prepared.plan.sites[number]
        if site.name not in LIVE:
            return None
        threshold = torch.tensor([rows[site.name]["threshold"]]).bfloat16()
        histogram = np.bincount(threshold.view(torch.int16).numpy().view(np.uint16), minlength=65_536)
        return SiteNumbers(Distribution("bfloat16", histogram), np.full(1, float(threshold), np.float32))

    with computing(prepared.loaded.model):
        found = replay(prepared, numbers, ("int8",), stretches, fail)
    for number, one in found.items():
        row, live = rows[prepared.plan.sites[number].name], one.numbers("int8")
        assert live is not None
        assert live.damage == pytest.approx(row["damage"], rel=0.05), row["site"]
        assert live.token_median == pytest.approx(row["token_median"], rel=0.06), row["site"]
    assert {prepared.plan.sites[number].name for number in found} == set(LIVE)


def local(damage: float, tokens: int = 4) -> LocalErrors:
    found = LocalErrors.empty(("int8",))
    found.sums[0, SUMS.index("tokens")] = tokens
    if not math.isnan(damage):
        found.sums[0, SUMS.index("stream_tokens")] = tokens
        found.sums[0, SUMS.index("stream_squares")] = tokens * damage**2
    return found


def distribution(largest: float) -> Distribution:
    numbers = torch.cat([torch.linspace(-1, 1, 20_000), torch.tensor([largest])]).bfloat16()
    return Distribution("bfloat16", np.bincount(numbers.view(torch.int16).numpy().view(np.uint16), minlength=65_536))


def test_without_damage_sites_are_ranked_by_relative_mae_and_said_so() -> None:
    board = compute_board([distribution(10), None, distribution(3000), distribution(100)])
    ranked = rank(board)
    assert [one.site for one in ranked] == [2, 3, 0]
    assert {one.by for one in ranked} == {"rel_mae"}
    assert [one.value for one in ranked] == [some(some(board.rows[one.site])[0]).rel_mae for one in ranked]
    assert ranked[0].sqnr_db > ranked[1].sqnr_db  # the massive one masks it
    assert math.isnan(damage_of(board, 2, "int8"))


def test_sites_without_damage_come_after_those_with_it() -> None:
    sites = [distribution(3000), distribution(10), distribution(20), None]
    board = compute_board(sites, local=[local(math.nan), local(0.02), local(0.3), None])
    ranked = rank(board)
    assert [(one.site, one.by) for one in ranked] == [(2, "damage"), (1, "damage"), (0, "rel_mae")]
    assert [one.value for one in ranked[:2]] == pytest.approx([0.3, 0.02])
    assert [one.is_harmful for one in ranked] == [True, False, True]
    assert [one.site for one in rank(board, "int8", [0, 1])] == [1, 0]
    assert rank(board, "no-such-scheme") == []
