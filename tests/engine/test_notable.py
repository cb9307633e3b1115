"""What matters during a run is said once, also across an interruption."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from engine.messages import as_written
from engine.run.notable import Notable, NotableWatch
from engine.session.records import Event
from engine.sites.site import HookPlan, Site
from engine.statistics.fields import LIVE_FIELDS
from engine.statistics.totals import SiteTotals

LAYERS = 6
PLAN = HookPlan(
    tuple(
        Site(f"layer_{layer}_{component}", layer, component, f"layers.{layer}")
        for layer in range(LAYERS)
        for component in ("attn_output", "mlp_gate", "hidden")
    ),
    (),
    "llama",
    LAYERS,
    8,
    "model",
    residual="pre",
)


def live(values: dict[int, float], nonfinite: dict[int, int] | None = None) -> np.ndarray:
    """Scalars with these hidden-state maxima; everything else is 1."""
    data = np.zeros((len(PLAN.sites), len(LIVE_FIELDS)))
    data[:, LIVE_FIELDS.index("max")], data[:, LIVE_FIELDS.index("min")] = 1.0, -1.0
    for layer, value in values.items():
        data[3 * layer + 2, LIVE_FIELDS.index("max" if value > 0 else "min")] = value
    for site, count in (nonfinite or {}).items():
        data[site, LIVE_FIELDS.index("nonfinite")] = count
    return data


def events(found: list[Notable]) -> list[Event]:
    """As they come back out of the session file."""
    return [Event(number, 0.0, 0, one.kind, one.message, one.site) for number, one in enumerate(found, 1)]


def totals(sample_max: list[float]) -> list[SiteTotals | None]:
    """Totals of every site, the first with these per-sample maxima, the gate with larger ones that do not count."""
    found: list[SiteTotals | None] = []
    for site in PLAN.sites:
        one = SiteTotals.empty("bfloat16", 8, len(sample_max), census=False)
        one.sample_max[:] = np.asarray(sample_max) * (10 if site.component == "mlp_gate" else 1)
        found.append(one)
    return found


def test_the_emergence_layer_is_the_first_that_grows_tenfold_and_is_said_again_only_if_it_moves() -> None:
    watch = NotableWatch(PLAN)
    first = [one for one in watch.look(live({2: 5.0, 3: -60.0, 4: 900.0, 5: 900.0})) if one.kind == "emergence"]
    assert [(one.text, one.site) for one in first] == [("emergence at layer 3: hidden state 12 x the layer before", 11)]
    assert [one.kind for one in watch.look(live({2: 5.0, 3: -61.0, 4: 900.0, 5: 900.0}))] == []
    moved = watch.look(live({2: 11.0, 3: -61.0, 4: 900.0, 5: 900.0}))
    assert [(one.kind, one.site) for one in moved] == [("emergence", 8)]
    assert watch.look(live({2: 5.0, 3: -61.0, 4: 900.0, 5: 900.0})) == []


def test_gradual_growth_is_no_emergence() -> None:
    found = NotableWatch(PLAN).look(live({layer: 2.0**layer for layer in range(LAYERS)}))
    assert [one.kind for one in found] == ["maximum"]


def test_alarms_of_all_sites_come_as_one_event_that_counts_and_again_only_when_it_changes() -> None:
    watch = NotableWatch(PLAN)
    found = watch.look(live({5: -70_000.0}, {0: 1, 3: 12}))
    assert [(one.kind, one.site) for one in found if one.kind in ("nonfinite", "fp16")] == [
        ("nonfinite", 0),
        ("fp16", 17),
    ]
    assert "Inf in 2 sites, first L0 attn_output" in [one.text for one in found]
    assert "fp16 exceeded at 1 site, first L5 hidden" in [one.text for one in found]
    assert watch.look(live({5: -70_000.0}, {0: 5, 3: 12})) == []
    assert [one.text for one in watch.look(live({5: -70_000.0}, {0: 5, 3: 12, 4: 1}))] == [
        "Inf in 3 sites, first L0 attn_output"
    ]


def test_m_never_converges_where_there_is_nan_or_infinity() -> None:
    maxima = totals([9.0, 1.0, 2.0, 3.0])
    assert [one.kind for one in NotableWatch(PLAN).look_back([0, 1, 2, 3], maxima, np.full(4, 100))] == ["convergence"]
    assert maxima[1] is not None
    maxima[1].nonfinite[0] = 1
    assert NotableWatch(PLAN).look_back([0, 1, 2, 3], maxima, np.full(4, 100)) == []


def test_nothing_is_repeated_after_a_resume_even_if_batches_were_lost() -> None:
    before, numbers = NotableWatch(PLAN), live({3: 20.0, 5: 70_000.0}, {0: 1})
    lengths = np.full(8, 100)
    maxima = totals([70_000.0, 3.0, 4.0, 5.0, np.nan, np.nan, np.nan, np.nan])
    said = [*before.look(numbers), *before.look_back([0, 1, 2, 3], maxima, lengths)]
    assert {one.kind for one in said} == {"maximum", "emergence", "nonfinite", "fp16", "convergence"}
    after = NotableWatch(PLAN)
    after.recall(events(said))
    assert after.look(live({3: 19.0, 5: 60_000.0})) == []  # the last batches before the checkpoint were lost
    assert after.look(numbers) == []
    assert after.look_back([0, 1, 2, 3], maxima, lengths) == []
    assert [one.kind for one in after.look(live({3: 20.0, 5: 80_000.0}, {0: 1}))] == ["maximum"]


@pytest.mark.parametrize(
    ("maxima", "order", "converged"),
    [
        ([9.0, 1.0, 2.0, 3.0], [0, 1, 2, 3], True),
        ([9.0, 1.0, 2.0, 3.0], [0], False),  # the first sample alone cannot tell
        ([9.0, 1.0, 2.0, 3.0], [1, 2, 3, 0], False),  # still rising
        ([1.0, 9.0, 2.0, 3.0], [0, 1, 2, 3], True),  # rose for the last time after exactly half
        ([np.nan] * 4, [], False),
    ],
)
def test_m_has_converged_when_the_second_half_of_the_tokens_brought_nothing(
    maxima: list[float], order: list[int], converged: bool
) -> None:
    watch = NotableWatch(PLAN)
    found = watch.look_back(order, totals(maxima), np.full(4, 100))
    assert [one.text for one in found] == (
        [f"converged: M = 9 since {100 * (maxima.index(9.0) + 1)} of 400 tokens"] if converged else []
    )
    assert watch.look_back(order, totals(maxima), np.full(4, 100)) == []


def test_a_first_fifth_of_the_corpus_must_be_seen() -> None:
    lengths = np.full(20, 100)
    maxima = totals([9.0, *[1.0] * 19])
    assert NotableWatch(PLAN).look_back([0, 1, 2], maxima, lengths) == []
    assert len(NotableWatch(PLAN).look_back([0, 1, 2, 3], maxima, lengths)) == 1


def test_what_old_sessions_said_in_words_is_taken_from_their_numbers_and_not_said_again() -> None:
    before, after = NotableWatch(PLAN), NotableWatch(PLAN)
    seen, maxima, lengths = live({2: 5.0, 3: -60.0}), totals([1.0, 9.0, 2.0, 3.0]), np.full(4, 100)
    said = [*before.look(seen), *before.look_back([0, 1, 2, 3], maxima, lengths)]
    assert {one.kind for one in said} >= {"maximum", "emergence", "convergence"}
    written = [replace(one, message=as_written("as it was written")) for one in events(said)]
    after.recall(written, seen, lambda: after.look_back([0, 1, 2, 3], maxima, lengths))
    assert after.look(live({2: 5.0, 3: -60.3})) == []
    assert after.look_back([0, 1, 2, 3], maxima, lengths) == []
    assert [one.kind for one in after.look(live({2: 5.0, 3: -70.0}))] == ["maximum"]
