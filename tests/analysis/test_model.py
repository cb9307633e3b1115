"""A whole session analysed: what was planted in it is found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.analysis.model import analyse
from engine.base.job import Job
from engine.session.reader import SessionReader
from engine.session.writer import SessionWriter
from tests.analysis import sessions
from tests.values import some


@pytest.fixture(scope="module", params=["bfloat16", "float16", "float32"])
def summary(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    path = sessions.write_session(tmp_path_factory.mktemp("analysis") / "s.maxact", request.param)
    with SessionReader(path) as reader:
        return analyse(reader)


def test_m_is_found_with_its_address_token_and_text(summary) -> None:
    hidden = sessions.values(summary.dtype, "layer_2_hidden")
    assert summary.maximum.magnitude == -hidden.min() == -summary.signed_maximum
    assert summary.maximum.label.startswith("L2 hidden")
    peak = summary.peak
    assert (peak.position, peak.channel) == (0, sessions.MASSIVE_CHANNEL)
    assert peak.token_id == 100 * peak.sample and peak.piece == f"t{peak.token_id} ".encode()
    assert peak.before == b"" and peak.after.startswith(f"t{peak.token_id + 1} ".encode())
    assert peak.category == sessions.CATEGORIES[peak.sample]


def test_verdicts_emergence_and_threads_follow(summary) -> None:
    names = {summary.plan.sites[i].name for i in summary.layer_median_sites}
    assert names == {"layer_2_mlp_gate"} | {f"layer_{n}_hidden" for n in sessions.MASSIVE_LAYERS}
    assert summary.passes_layer_median is True
    assert (summary.emergence.kind, summary.emergence.layer) == ("sudden", 1)
    assert summary.emergence_compat.layer == 2  # only the positive large channel of block 2 is seen
    assert len(summary.threads) == sessions.SAMPLES
    for thread in summary.threads:
        assert (thread.position, thread.channel) == (0, sessions.MASSIVE_CHANNEL)
        assert (thread.birth, thread.death, thread.peak_layer) == (1, 4, 2)
    assert summary.threads[0].sample == summary.peak.sample


def test_the_massive_and_the_large_channel_are_told_apart(summary) -> None:
    site = summary.sites[[s.name for s in summary.plan.sites].index("layer_2_hidden")]
    assert {c.channel: c.kind for c in site.channels} == {
        sessions.MASSIVE_CHANNEL: "mixed",  # one token in six is not few
        sessions.LARGE_CHANNEL: "outlier",
    }
    assert site.channels[0].massive_tokens.lower == sessions.SAMPLES


def test_convergence_is_in_run_order_and_ends_at_m(summary) -> None:
    assert summary.samples == sessions.SAMPLES and summary.tokens == sessions.LENGTHS.sum()
    points = summary.convergence.points
    assert points[0].sample == 11 and points[0].tokens == sessions.LENGTHS[11]
    assert points[-1].magnitude == pytest.approx(summary.maximum.magnitude)
    assert summary.categories[0].category == summary.peak.category
    assert max(c.convergence.magnitude for c in summary.categories) == pytest.approx(summary.maximum.magnitude)
    assert [b.size for b in summary.bootstrap] == [2, 5]


def test_the_model_stands_somewhere_and_says_what_differs(summary) -> None:
    assert summary.standing.tier == "T2"
    assert any("samples: 12" in line for line in summary.differences)
    assert any("dtype" in line for line in summary.differences) == (summary.dtype != "bfloat16")
    assert not summary.is_partial and summary.nonfinite_sites == ()


def test_an_unfinished_session_gives_what_its_checkpoint_holds_and_says_so(tmp_path: Path) -> None:
    path = sessions.write_session(tmp_path / "s.maxact", done=[3, 7], phase="stopped")
    with SessionReader(path) as reader:
        found = analyse(reader)
    assert found.is_partial and found.samples == 2 and found.tokens == sessions.LENGTHS[[3, 7]].sum()
    assert some(found.peak).sample == 7 and len(found.threads) == 2
    assert {p.sample for p in found.convergence.points} <= {3, 7}


def test_a_session_that_has_only_just_begun_is_no_error(tmp_path: Path) -> None:
    SessionWriter.create(tmp_path / "s.maxact", Job(model="m")).close()
    with SessionReader(tmp_path / "s.maxact") as reader:
        found = analyse(reader)
    assert found.is_partial and found.maximum is None and found.sites == () and found.threads == ()
    assert found.passes_layer_median is None and found.emergence is None and found.standing is None


def test_sites_without_a_finite_number_are_an_alarm_not_a_crash(tmp_path: Path) -> None:
    tokens = sessions.LENGTHS.sum()
    nothing = sessions.to_bits(np.full((tokens, sessions.WIDTH), np.nan), "bfloat16")
    path = sessions.write_session(tmp_path / "s.maxact", change={"layer_3_hidden": nothing})
    with SessionReader(path) as reader:
        found = analyse(reader)
    assert [some(found.plan).sites[i].name for i in found.nonfinite_sites] == ["layer_3_hidden"]
    assert some(some(found.sites[found.nonfinite_sites[0]]).nonfinite).nan == tokens * sessions.WIDTH
    assert some(found.maximum).label == "L2 hidden"


def test_lean_detail_leaves_the_verdict_open_and_still_finds_m(tmp_path: Path) -> None:
    with SessionReader(sessions.write_session(tmp_path / "s.maxact", detail="lean")) as reader:
        found = analyse(reader)
    assert found.passes_layer_median is None and some(found.maximum).label == "L2 hidden"
    assert some(found.emergence).layer == 1
