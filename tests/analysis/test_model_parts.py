"""M and its plateau, emergence, threads, convergence, bootstrap, structure, standing: each on numbers one can see."""

from __future__ import annotations

import math

import numpy as np
import pytest

from engine.analysis.convergence import bootstrap, bootstrap_sizes, by_category, running_maximum
from engine.analysis.emergence import find_emergence, hidden_profile, positive_profile
from engine.analysis.maximum import bf16_step, find_maximum, place_label
from engine.analysis.published import published, standing, tier
from engine.analysis.structure import hot_sites, top_structure
from engine.analysis.threads import Level, find_threads
from engine.session.records import LiveTable
from engine.sites.site import HookPlan, Site
from engine.statistics.fields import LIVE_FIELDS
from engine.statistics.totals import TOP_DTYPE
from tests.analysis.sessions import plan
from tests.values import some


def magnitudes(**named: float) -> np.ndarray:
    return np.array([named.get(site.name, 1.0) for site in plan().sites])


def test_a_plateau_names_every_site_within_one_bf16_step() -> None:
    values = magnitudes(
        layer_1_mlp_output=23_100.0, layer_1_hidden=23_168.0, layer_2_hidden=23_168.0, layer_3_hidden=23_040.0,
        layer_4_hidden=23_000.0, layer_2_mlp_gate=90_000.0,
    )  # fmt: skip
    found = find_maximum(plan(), values, "bfloat16")
    assert found is not None
    assert found.magnitude == 23_168.0
    assert plan().sites[found.site].name == "layer_1_hidden"
    assert found.label == "L1 mlp_output, L1-L3 hidden"
    assert found.step == 128.0 == bf16_step(23_168.0)
    assert found.fp16_headroom_bits == pytest.approx(math.log2(65504 / 23168))
    assert found.e4m3_headroom_bits < 0 and found.overflows_e4m3 and not found.overflows_fp16


def test_bf16_steps_are_the_distances_between_bf16_numbers() -> None:
    for number in (1e-30, 0.7, 1.0, 255.0, 256.0, 65504.0, 3e38):
        bits = np.float32(number).view(np.uint32) >> 16 << 16
        here, after = np.array([bits, bits + 0x10000], np.uint32).view(np.float32).astype(float)
        assert bf16_step(number) == after - here


def test_fp16_overflows_above_65504() -> None:
    assert not some(find_maximum(plan(), magnitudes(layer_0_hidden=65_504.0), "float32")).overflows_fp16
    assert some(find_maximum(plan(), magnitudes(layer_0_hidden=65_505.0), "float32")).overflows_fp16


def test_the_live_table_gives_the_same_m_and_unseen_sites_do_not_disturb() -> None:
    data = np.full((len(plan().sites), len(LIVE_FIELDS)), np.nan)
    assert find_maximum(plan(), LiveTable(1, data).magnitude, "bfloat16") is None
    data[4, :2] = 3.0, -512.0
    found = find_maximum(plan(), LiveTable(1, data).magnitude, "bfloat16")
    assert found is not None
    assert found.magnitude == 512 and found.label == "L0 hidden"


def test_places_outside_the_blocks_and_gaps_between_layers_are_named_as_they_are() -> None:
    sites = [i for i, s in enumerate(plan().sites) if s.component in ("embedding", "final_norm")]
    sites += [i for i, s in enumerate(plan().sites) if s.component == "hidden" and s.layer in (0, 2, 3)]
    assert place_label(plan(), sites) == "embedding, final_norm, L0 hidden, L2-L3 hidden"


def test_a_tenfold_step_is_sudden_and_the_first_one_counts() -> None:
    found = find_emergence([(0, 1.0), (1, 9.9), (2, 99.0), (3, 5000.0)])
    assert found is not None
    assert (found.kind, found.layer) == ("sudden", 2)
    assert found.largest_layer == 3 and found.largest_ratio == pytest.approx(5000 / 99)
    gradual = find_emergence([(0, 1.0), (1, 9.9), (2, 98.9)])
    assert gradual is not None
    assert gradual.kind == "gradual" and gradual.layer is None and gradual.largest_layer == 2


def test_steps_are_only_taken_between_neighbouring_layers_and_out_of_zeros_are_infinite() -> None:
    assert find_emergence([(0, 1.0), (2, 500.0)]) is None
    assert some(find_emergence([(0, 0.0), (1, 3.0)])).ratio == math.inf
    assert find_emergence([(0, 0.0), (1, 0.0), (2, 0.0)]) is None


def test_a_negative_peak_is_seen_by_default_and_missed_in_compat() -> None:
    top = magnitudes(layer_1_hidden=4000.0, layer_2_hidden=4000.0, layer_3_hidden=4000.0, layer_4_hidden=40.0)
    positive = magnitudes()
    assert some(find_emergence(hidden_profile(plan(), top))).layer == 1
    assert some(find_emergence(positive_profile(plan(), positive))).kind == "gradual"


def level(layer: int, *entries: tuple[float, int, int, int], threshold: float = 100.0) -> Level:
    return Level(layer, np.array(list(entries), TOP_DTYPE), threshold)


def test_a_thread_is_one_address_through_consecutive_layers() -> None:
    threads = find_threads(
        [
            level(0, (50.0, 0, 0, 5)),
            level(1, (-4000.0, 0, 0, 5), (300.0, 1, 2, 7)),
            level(2, (-4200.0, 0, 0, 5), (90.0, 1, 2, 7)),
            level(3, (-4100.0, 0, 0, 5)),
            level(4, (9.0, 0, 0, 5)),
        ]
    )
    first, second = threads
    assert (first.sample, first.position, first.channel) == (0, 0, 5)
    assert (first.birth, first.death, first.peak, first.peak_layer) == (1, 4, -4200.0, 2)
    assert first.values == (-4000.0, -4200.0, -4100.0)
    assert (second.birth, second.death, second.channel) == (1, 2, 7)
    assert first.birth_certain and first.death_certain


def test_a_thread_that_reaches_the_last_layer_does_not_die_and_one_that_returns_is_two() -> None:
    alive, early = sorted(
        find_threads([level(0, (200.0, 0, 0, 1)), level(1), level(2, (300.0, 0, 0, 1)), level(3, (310.0, 0, 0, 1))]),
        key=lambda t: -t.birth,
    )
    assert (alive.birth, alive.death, early.birth, early.death) == (2, None, 0, 1)


def test_an_end_hidden_behind_a_full_list_of_larger_elements_is_not_certain() -> None:
    crowd = [(500.0, s, 1, 3) for s in range(100)]
    (thread,) = [
        t for t in find_threads([level(1, *crowd), level(2, (200.0, 0, 0, 5)), level(3, *crowd)]) if t.channel == 5
    ]
    assert not thread.birth_certain and not thread.death_certain


def test_layers_that_were_not_measured_break_a_thread_without_claiming_its_death() -> None:
    first, second = find_threads([level(0, (200.0, 0, 0, 1)), level(2, (190.0, 0, 0, 1))])
    assert (first.birth, first.death) == (0, None) and (second.birth, second.death) == (2, None)


def test_the_running_maximum_rises_where_it_should() -> None:
    found = running_maximum(np.array([2, 0, 3, 1]), np.array([5.0, 9.0, 4.0, np.nan]), np.array([10, 20, 30, 40]))
    assert [(p.tokens, p.samples, p.sample, p.magnitude) for p in found.points] == [
        (30, 1, 2, 4.0), (40, 2, 0, 5.0), (100, 4, 1, 9.0)]  # fmt: skip
    assert found.magnitude == 9.0 and found.last_increase_share == 1.0
    assert math.isnan(running_maximum(np.zeros(0, int), np.zeros(3), np.ones(3, int)).magnitude)


def test_categories_have_their_own_curves_largest_first() -> None:
    found = by_category(np.arange(4), np.array([1.0, 7.0, 3.0, 2.0]), np.full(4, 10), ["a", "b", "a", "b"])
    assert [(c.category, c.convergence.magnitude, c.convergence.tokens) for c in found] == [
        ("b", 7.0, 20),
        ("a", 3.0, 20),
    ]


def test_the_bootstrap_keeps_proportions_and_repeats_itself() -> None:
    values = np.concatenate([np.arange(800.0), [1e6] * 200])
    labels = ["a"] * 800 + ["b"] * 200
    (found,) = bootstrap(values, labels, [100], seed=3)
    assert found == bootstrap(values, labels, [100], seed=3)[0]
    assert found.magnitudes == (1e6,) * 5 and found.cv == 0  # 20 of every 100 are of category b
    (lonely,) = bootstrap(np.arange(1000.0), ["a"] * 1000, [200])
    assert lonely.low == min(lonely.magnitudes) and lonely.high == max(lonely.magnitudes) < 1000
    assert lonely.mean == pytest.approx(np.mean(lonely.magnitudes))
    assert lonely.cv == pytest.approx(np.std(lonely.magnitudes, ddof=1) / lonely.mean)
    (whole,) = bootstrap(np.arange(50.0), ["a", "b"] * 25, [50])
    assert whole.magnitudes == (49.0,) * 5


def test_bootstrap_sizes_are_the_papers_or_its_shares() -> None:
    assert bootstrap_sizes(5000) == (1000, 2000)
    assert bootstrap_sizes(500) == (100, 200)
    assert bootstrap_sizes(0) == ()
    assert bootstrap(np.array([np.nan]), ["a"], (1,)) == ()


def test_the_five_largest_have_a_shape() -> None:
    pinned = top_structure([-8.0] * 7)
    assert pinned is not None
    assert (pinned.sign_consistency, pinned.concentration, pinned.is_saturated) == (1.0, 1.0, True)
    alone = top_structure([100.0, -1.0, 1.0, 1.0, -1.0, 0.5])
    assert alone is not None
    assert alone.sign_consistency == 0.6 and alone.concentration == pytest.approx(100 / 20.8)
    assert top_structure([]) is None and top_structure([0.0, 0.0]) is None


def test_hot_sites_reach_nine_tenths_of_m_and_count_for_it() -> None:
    values = magnitudes(layer_1_hidden=100.0, layer_2_hidden=90.0, layer_3_hidden=89.9, layer_2_mlp_gate=100.0)
    names = [plan().sites[i].name for i in hot_sites(plan(), values, 100.0)]
    assert names == ["layer_1_hidden", "layer_2_hidden"]


def test_the_published_table_is_the_papers() -> None:
    rows = {row.name: row for row in published()}
    assert len(rows) == 27
    assert rows["gemma-3-27b-it"].magnitude == 696_320 and rows["gemma-3-27b-it"].tier == "T5"
    main = [row for row in published() if row.family != "Qwen2.5-it"]
    assert len(main) == 24
    assert sum(row.passes_token_median for row in main) == 20
    assert sum(row.passes_layer_median for row in main) == 21
    assert [tier(m) for m in (1999, 2000, 4999, 5e3, 5e4, 199_999, 2e5)] == ["T1", "T2", "T2", "T3", "T4", "T4", "T5"]


def test_a_model_stands_between_its_neighbours() -> None:
    found = standing(23_168.0)
    assert (found.tier, found.of) == ("T3", 27)
    assert some(found.next_below).magnitude <= 23_168 < some(found.next_above).magnitude
    assert found.larger == sum(row.magnitude > 23_168 for row in published())
    assert standing(1e9).next_above is None and standing(1.0).next_below is None


def test_an_empty_plan_has_no_maximum() -> None:
    empty = HookPlan((), (), "llama", 0, 0, "")
    assert find_maximum(empty, np.zeros(0), "bfloat16") is None
    only_gate = HookPlan((Site("layer_0_mlp_gate", 0, "mlp_gate", "m"),), (), "llama", 1, 4, "")
    assert find_maximum(only_gate, np.array([9.0]), "bfloat16") is None
