"""`--sites auto`: decided by what the statistics were timed to cost, once, and told before and after."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.analysis.model import analyse
from engine.base.choice import SHORT_SECONDS, SLOWDOWN_LIMIT
from engine.messages import words
from engine.preparation.prepare import Prepared, prepare
from engine.report.costs import spent_words
from engine.report.summary import summary_dict
from engine.run import choosing, runner
from engine.run.choosing import choice_message, choose_sites, time_in_turns, trial_rows
from engine.run.stopwatch import Stopwatch
from engine.session.costs import CHOICE, SitesChoice, Spent, Trial, decide
from engine.session.reader import SessionReader
from engine.sites.site import COMPONENTS, GEMM_COMPONENTS, PAPER_COMPONENTS
from tests.engine.running import new_session, tiny_job, write_corpus
from tests.private import hooks_of

CHEAP = Trial(sites=243, tokens=256, bare_seconds=1.0, hooked_seconds=1.2, run_tokens=10**9)
DEAR = replace(CHEAP, hooked_seconds=2.4)
DEAR_AND_SHORT = replace(DEAR, run_tokens=2_560)  # 14 s


def times(*seconds: float) -> Callable[[], float]:
    """A clock that shows these moments one after the other."""
    moments = iter(seconds)
    return lambda: next(moments)


@pytest.fixture
def prepared(tmp_path: Path, tiny_model_folder: Path) -> Prepared:
    """A prepared run of the tiny Llama with `auto`: its plan has the paper's sites and the GEMM inputs."""
    return prepare(tiny_job(tiny_model_folder, write_corpus(tmp_path / "c.jsonl"), sites="auto"), lambda _: None)


@pytest.mark.parametrize(
    ("trial", "sites"),
    [(CHEAP, "paper+gemm"), (DEAR, "paper"), (DEAR_AND_SHORT, "paper+gemm"), (None, "paper")],
)
def test_both_are_measured_where_they_are_cheap_or_the_run_is_short(trial: Trial | None, sites: str) -> None:
    assert decide(trial) == sites


def test_the_limits_belong_to_what_is_taken() -> None:
    at_limit = replace(CHEAP, hooked_seconds=CHEAP.bare_seconds * (1 + SLOWDOWN_LIMIT))
    assert decide(at_limit) == "paper+gemm"
    above = replace(at_limit, hooked_seconds=at_limit.hooked_seconds * 1.001)
    assert decide(above) == "paper"
    tokens = int(SHORT_SECONDS * above.tokens / (above.hooked_seconds - above.bare_seconds))
    assert decide(replace(above, run_tokens=tokens)) == "paper+gemm"


def test_a_trial_knows_what_it_adds_to_the_run_and_never_less_than_nothing() -> None:
    assert CHEAP.slowdown == pytest.approx(0.2)
    assert DEAR_AND_SHORT.added_seconds == pytest.approx(14.0)
    faster = replace(CHEAP, hooked_seconds=0.9)
    assert (faster.slowdown, faster.added_seconds) == (0.0, 0.0)


def test_turns_alternate_and_the_fastest_counts() -> None:
    order: list[str] = []
    # Began; then bare and hooked, each with its begin and its end, and a look at how long it has taken.
    clock = times(0.0, *(0.0, 0.4, 0.4, 1.0), 1.0, *(1.0, 1.2, 1.2, 1.9), 1.9, *(1.9, 2.2, 2.2, 2.5), 2.5)
    bare, hooked = time_in_turns(lambda: order.append("bare"), lambda: order.append("hooked"), clock)
    assert order == ["bare", "hooked"] * 4  # one turn of each warms up
    assert (bare, hooked) == (pytest.approx(0.2), pytest.approx(0.3))


def test_slow_calls_get_one_turn() -> None:
    order: list[str] = []
    clock = times(0.0, *(0.0, 3.0, 3.0, 8.0), 8.0)
    assert time_in_turns(lambda: order.append("bare"), lambda: order.append("hooked"), clock) == (3.0, 5.0)
    assert order == ["bare", "hooked"] * 2


@pytest.mark.parametrize(
    ("tokens", "rows"),
    [(100, (2, 4)), (80, (0, 1, 3)), (40, (0, 1)), (12, (4,)), (5, (4,))],
)
def test_a_trial_takes_what_fits_of_one_batch(tokens: int, rows: tuple[int, ...]) -> None:
    assert trial_rows([(0, 1, 3), (2, 4)], np.array([20, 20, 90, 30, 8]), tokens) == rows


def test_cheap_statistics_keep_the_plan_of_both(prepared: Prepared, tmp_path: Path, tiny_model_folder: Path) -> None:
    job = tiny_job(tiny_model_folder, tmp_path / "c.jsonl", sites="auto")
    chosen, choice = choose_sites(prepared, job, lambda *_: CHEAP)
    assert chosen.plan is prepared.plan
    assert choice == SitesChoice("paper+gemm", CHEAP)
    components = {site.component for site in chosen.plan.sites}
    assert {"hidden", "down_proj_input", "attn_input"} <= components


def test_dear_ones_leave_the_papers_sites_and_say_so(
    prepared: Prepared, tmp_path: Path, tiny_model_folder: Path
) -> None:
    job = tiny_job(tiny_model_folder, tmp_path / "c.jsonl", sites="auto")
    trials = iter([DEAR, CHEAP])
    chosen, choice = choose_sites(prepared, job, lambda *_: next(trials))
    assert choice == SitesChoice("paper", CHEAP, DEAR)
    assert SitesChoice.from_json(choice.to_json()) == choice
    assert not any(site.is_input for site in chosen.plan.sites)
    said = words(choice_message(choice))
    assert "20 %" in said
    assert "140 %" in said
    assert "--sites paper+gemm" in said


def test_a_real_trial_leaves_the_model_as_it_was(prepared: Prepared, tmp_path: Path, tiny_model_folder: Path) -> None:
    job = tiny_job(tiny_model_folder, tmp_path / "c.jsonl", sites="auto")
    trial = choosing.time_trial(prepared, job)
    assert trial is not None
    assert trial.sites == len(prepared.plan.sites)
    assert 0 < trial.tokens <= prepared.tokenized.lengths.sum()
    assert trial.bare_seconds > 0
    assert not any(hooks_of(module) for module in prepared.loaded.model.modules())


def test_a_batch_that_does_not_fit_gives_no_trial(
    prepared: Prepared, tmp_path: Path, tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(choosing, "run_forward", full)
    job = tiny_job(tiny_model_folder, tmp_path / "c.jsonl", sites="auto")
    chosen, choice = choose_sites(prepared, job)
    assert (choice.sites, choice.trial, choice.refused) == ("paper", None, None)
    assert not any(site.is_input for site in chosen.plan.sites)
    assert "did not fit in memory" in words(choice_message(choice))


def test_the_set_of_auto_has_everything_but_the_insides_of_experts() -> None:
    from engine.sites.discovery import _SETS

    assert _SETS["paper+gemm"] | {"expert_input", "expert_gate", "expert_down_input"} == set(COMPONENTS)
    assert set(PAPER_COMPONENTS) <= _SETS["paper+gemm"]
    assert {"router_input", "down_proj_input"} <= _SETS["paper+gemm"] & set(GEMM_COMPONENTS)


def test_a_run_writes_down_what_auto_came_to_and_what_it_cost(tmp_path: Path, tiny_model_folder: Path) -> None:
    job = tiny_job(tiny_model_folder, write_corpus(tmp_path / "c.jsonl"), sites="auto")
    path = new_session(tmp_path / "run.maxact", job)
    assert runner.run(path) == 0
    with SessionReader(path) as reader:
        meta, events, summary = reader.meta(), reader.events(), analyse(reader)
    assert meta.job.sites == "paper+gemm"  # of so few tokens the statistics take no minute on any machine
    assert summary.choice is not None
    assert summary.choice.sites == "paper+gemm"
    assert [event.text for event in events if event.kind == "sites"] == [words(choice_message(summary.choice))]
    assert summary.spent is not None
    assert summary.spent.model > 0
    assert summary.spent.statistics > 0
    document = summary_dict(summary)["site_set"]
    assert (document["name"], document["asked"]) == ("paper+gemm", "auto")
    assert document["estimated"]["sites"] == document["count"] == len(summary.sites)
    assert document["spent"]["slowdown"] == pytest.approx(summary.spent.slowdown)
    assert "on top of the model's own time (estimated" in spent_words(summary.spent, summary.choice)


def test_a_resumed_run_keeps_the_sites_it_began_with(
    tmp_path: Path, tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the machine is like by then: a trial that would decide otherwise is not even made."""
    monkeypatch.setattr(choosing, "time_trial", lambda *_: DEAR)
    path = new_session(
        tmp_path / "run.maxact", tiny_job(tiny_model_folder, write_corpus(tmp_path / "c.jsonl"), sites="auto")
    )
    assert runner.run(path) == 0
    with SessionReader(path) as reader:
        first, samples = reader.meta(), len(reader.samples_done())
    assert first.job.sites == "paper"

    def never(*_: object) -> Trial:
        raise AssertionError("decided again")

    monkeypatch.setattr(choosing, "time_trial", never)
    assert runner.run(path) == 0
    with SessionReader(path) as reader:
        again = reader.meta()
        assert len(reader.samples_done()) == samples
        assert len([event for event in reader.events() if event.kind == "sites"]) == 1
    assert again.plan == first.plan
    assert again.raw[CHOICE] == first.raw[CHOICE]


def test_named_sites_are_not_timed(tmp_path: Path, tiny_model_folder: Path) -> None:
    path = new_session(tmp_path / "run.maxact", tiny_job(tiny_model_folder, write_corpus(tmp_path / "c.jsonl")))
    assert runner.run(path) == 0
    with SessionReader(path) as reader:
        summary = analyse(reader)
        assert not [event for event in reader.events() if event.kind == "sites"]
    assert summary.choice is None
    assert summary.spent is not None
    assert summary_dict(summary)["site_set"]["asked"] == "paper"


def test_a_stopwatch_tells_the_statistics_from_the_model() -> None:
    cpu = torch.device("cpu")
    # Each batch: its begin; begin and end of a site's statistics; its end.
    watch = Stopwatch(cpu, times(*(0.0, 1.0, 9.0, 10.0), *(10.0, 11.0, 12.0, 15.0), *(20.0, 21.0, 23.0, 25.0)))
    assert np.isnan(watch.spent().slowdown)
    with watch.batch():
        watch.around(cpu, lambda: None)
    assert watch.spent() == Spent(model=2.0, statistics=8.0)  # there is no other yet
    for _ in range(2):
        with watch.batch():
            watch.around(cpu, lambda: None)
    assert watch.spent() == Spent(model=7.0, statistics=3.0)  # the first one loads what is compiled


def test_a_batch_that_fails_is_not_counted() -> None:
    cpu = torch.device("cpu")
    watch = Stopwatch(cpu, times(0.0, 1.0, 2.0, 4.0, 5.0))
    with pytest.raises(RuntimeError), watch.batch():
        raise RuntimeError("out of memory")
    with watch.batch():
        watch.around(cpu, lambda: None)
    assert watch.spent() == Spent(model=2.0, statistics=2.0)


def test_seconds_of_several_engines_add_up() -> None:
    both = Spent(1.0, 2.0, 3.0, 4.0).plus(Spent(0.5, 0.5, 0.5, 0.5))
    assert both == Spent(1.5, 2.5, 3.5, 4.5)
    assert Spent.from_json({**both.to_json(), "newer": 1.0}) == both
