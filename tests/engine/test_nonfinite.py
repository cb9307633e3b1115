"""NaN and infinity anywhere in a model: the run survives, says where they begin, and never that it fits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jsonschema import Draft202012Validator
from transformers import AutoModelForCausalLM

from corpus.reading import load_corpus
from engine.analysis.model import ModelSummary, analyse
from engine.base.job import Job
from engine.effect.results import read_effects
from engine.effect.work import effect
from engine.loading.load import LoadedModel
from engine.merging import merge_sessions
from engine.messages import words
from engine.preparation.prepare import prepare
from engine.report.complete import complete_dict
from engine.report.export import FORMATS, render
from engine.report.summary import summary_dict
from engine.run.runner import run
from engine.session.listing import describe_session
from engine.session.reader import SessionReader
from engine.session.requests import send_command
from engine.session.writer import SessionWriter
from engine.sites.site import HookPlan
from engine.work.work import WorkContext, WorkError
from tests.engine.running import new_session, tiny_job
from tests.planting import PLANTS, POISON, planted_demo, planted_llama

SCHEMA = json.loads((files("engine.report") / "data" / "report.schema.json").read_text(encoding="utf-8"))
NOT_FINITE = ("everything", "layer", "weight", "token")
FIRST_SITE = {
    "everything": ("embedding", "NaN"),
    "layer": ("layer_1_attn_input", "NaN"),
    "weight": ("layer_1_mlp_output", "NaN"),
    "token": ("embedding", "Inf"),
}


@pytest.fixture(scope="module")
def corpus(planted_corpus: Path) -> Path:
    return planted_corpus


@pytest.fixture(scope="module")
def sessions(planted_sessions: dict[str | None, Path]) -> dict[str | None, Path]:
    return planted_sessions


def summary_of(path: Path) -> ModelSummary:
    with SessionReader(path) as reader:
        return analyse(reader)


def plan_of(path: Path) -> HookPlan:
    with SessionReader(path) as reader:
        plan = reader.meta().plan
    assert plan is not None
    return plan


@pytest.mark.parametrize("plant", NOT_FINITE)
def test_the_first_is_the_site_a_forward_reaches_first(sessions: dict[str | None, Path], plant: str) -> None:
    summary, plan = summary_of(sessions[plant]), plan_of(sessions[plant])
    alarm = summary.alarm
    assert alarm is not None and summary.alarm_at is not None
    assert (plan.sites[alarm.site].name, alarm.kind) == FIRST_SITE[plant]
    bad = {number for number, site in enumerate(summary.sites) if site and site.nonfinite and site.nonfinite.count}
    assert set(alarm.sites) == bad == set(summary.nonfinite_sites) and alarm.after == len(bad) - 1
    assert min(bad, key=lambda site: plan.places[site]) == alarm.site
    site = summary.sites[alarm.site]
    assert site is not None
    at = site.nonfinite
    assert at is not None
    assert (alarm.sample, alarm.position, alarm.channel) == (at.sample, at.position, at.channel)


def test_infinity_in_one_sample_only_is_found_there(sessions: dict[str | None, Path]) -> None:
    summary = summary_of(sessions["token"])
    assert summary.alarm is not None and summary.alarm_at is not None
    assert (summary.alarm.sample, summary.alarm.channel) == (5, 4)
    with SessionReader(sessions["token"]) as reader:
        record, bad = reader.sample(5), reader.all_totals()
    assert record is not None
    before, _, after = b"the warm sea ", POISON.encode(), b" closes"
    assert summary.alarm_at.before.endswith(before[-8:])
    embedding = bad[0]
    assert embedding is not None and int(embedding.nonfinite.sum()) == 1
    assert after  # the poison is followed by finite text, which attention makes non-finite further up


@pytest.mark.parametrize("plant", NOT_FINITE)
def test_nothing_says_that_it_fits(sessions: dict[str | None, Path], plant: str) -> None:
    summary = summary_of(sessions[plant])
    found = summary.maximum
    if plant == "everything":
        assert found is None
    else:
        assert found is not None
        assert found.overflows_fp16 and found.overflows_e4m3 and np.isnan(found.fp16_headroom_bits)
        assert found.excluded_sites == len(summary.nonfinite_sites)
    assert summary.passes_layer_median is not False
    with SessionReader(sessions[plant]) as reader:
        events = reader.events()
        documents = {name: b"".join(d.content for d in render(reader, name)) for name in ("markdown", "model-card")}
        assert describe_session(reader).nonfinite_sites == len(summary.nonfinite_sites)
    assert "convergence" not in {event.kind for event in events}
    for text in documents.values():
        assert b"first NaN" in text or b"first Inf" in text
        assert b"below 65,504" not in text


@pytest.mark.parametrize("plant", NOT_FINITE)
def test_the_events_are_one_that_counts(sessions: dict[str | None, Path], plant: str) -> None:
    summary = summary_of(sessions[plant])
    with SessionReader(sessions[plant]) as reader:
        (event,) = [one for one in reader.events() if one.kind == "nonfinite"]
    assert summary.alarm is not None
    assert event.site == summary.alarm.site and f" in {len(summary.nonfinite_sites)} sites, first" in event.text


@pytest.mark.parametrize("plant", [*NOT_FINITE, "head", "zeros", "dead"])
def test_the_json_says_it_at_the_top_and_keeps_to_its_schema(sessions: dict[str | None, Path], plant: str) -> None:
    with SessionReader(sessions[plant]) as reader:
        whole = json.loads(json.dumps(complete_dict(reader), allow_nan=False))
        brief = json.loads(json.dumps(summary_dict(analyse(reader)), allow_nan=False))
    Draft202012Validator(SCHEMA).validate(whole)
    first = brief["first_nonfinite"]
    assert first == whole["first_nonfinite"]
    if plant not in NOT_FINITE:
        assert first is None and brief["nonfinite"] == []
        return
    site, kind = FIRST_SITE[plant]
    assert (first["site"], first["kind"], first["sites"]) == (site, kind, len(brief["nonfinite"]))
    assert first["at"]["token_id"] is not None
    if plant != "everything":
        assert brief["maximum"]["overflows_fp16"] and brief["maximum"]["fp16_headroom_bits"] is None


@pytest.mark.parametrize("plant", PLANTS)
@pytest.mark.parametrize("form", FORMATS)
def test_every_report_is_made(sessions: dict[str | None, Path], plant: str, form: str) -> None:
    from engine.report.errors import ReportError

    with SessionReader(sessions[plant]) as reader:
        try:
            documents = render(reader, form)
        except ReportError as error:
            assert plant == "everything" and "has a finite element" in str(error)
            return
    assert documents and all(document.content for document in documents)
    if form == "json":
        json.loads(documents[0].content, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    if form in ("html", "markdown", "model-card") and plant in NOT_FINITE:
        assert b"first NaN" in documents[0].content or b"first Inf" in documents[0].content


@pytest.mark.parametrize("plant", ["layer", "weight", "token", "zeros", "dead", "head"])
def test_the_self_check_tells_the_same_layout_as_of_the_whole_model(
    sessions: dict[str | None, Path], plant: str
) -> None:
    whole, planted = plan_of(sessions[None]), plan_of(sessions[plant])
    assert [site.name for site in planted.sites] == [site.name for site in whole.sites]
    assert [site.note for site in planted.sites] == [site.note for site in whole.sites]
    # Nothing can be told from a stream of zeros.
    assert planted.residual == ("unknown" if plant == "zeros" else whole.residual)
    assert planted.parameters_total == whole.parameters_total


def test_a_model_of_nan_alone_is_planned_and_says_what_was_not_told(sessions: dict[str | None, Path]) -> None:
    plan = plan_of(sessions["everything"])
    assert plan.residual == "unknown" and any("NaN or infinity" in note for note in plan.notes)


def test_merged_sessions_have_the_first_of_both(sessions: dict[str | None, Path], corpus: Path, tmp_path: Path) -> None:
    lines = corpus.read_text(encoding="utf-8").splitlines(keepends=True)
    parts = []
    for number, texts in enumerate((lines[6:16], lines[:6])):
        (tmp_path / f"{number}.jsonl").write_text("".join(texts), encoding="utf-8")
        job = tiny_job(sessions["token"].parent / "token", tmp_path / f"{number}.jsonl")
        parts.append(new_session(tmp_path / f"{number}.maxact", job))
        assert run(parts[-1]) == 0
    assert summary_of(parts[0]).alarm is None
    alone = summary_of(parts[1]).alarm
    merge_sessions(parts, tmp_path / "both.maxact")
    both = summary_of(tmp_path / "both.maxact").alarm
    assert alone is not None and both is not None
    assert (both.site, both.sites, both.kind) == (alone.site, alone.sites, alone.kind)
    assert (both.sample, both.position, both.channel) == (10 + alone.sample, alone.position, alone.channel)
    with SessionReader(tmp_path / "both.maxact") as reader:
        live = reader.live()
    assert live is not None and np.isfinite(live.magnitude[np.isfinite(live.column("max"))]).all()


@contextmanager
def opened(path: Path) -> Iterator[WorkContext]:
    with SessionReader(path) as reader:
        job, writer = reader.meta().job, SessionWriter.open(path)
        yield WorkContext(prepare(job, lambda _: None, measures=False), job, reader, writer)
        writer.close()


def effect_of(path: Path, **arguments: Any) -> Any:
    with opened(path) as context, torch.inference_mode():
        steps = effect(context, {"samples": 2, "schemes": ["int8"], **arguments})
        try:
            while True:
                next(steps)
        except StopIteration as end:
            return next(one for one in read_effects(context.reader) if one.number == end.value)


@pytest.mark.parametrize("plant", ["head", "weight"])
def test_effects_of_a_model_that_predicts_nan_are_refused_in_one_line(
    sessions: dict[str | None, Path], plant: str
) -> None:
    said: list[str] = []
    with (
        pytest.raises(WorkError, match="every prediction of the unchanged model is NaN or infinite") as caught,
        opened(sessions[plant]) as context,
        torch.inference_mode(),
    ):
        said += (words(step.message) for step in effect(context, {"samples": 2, "schemes": ["int8"]}))
    assert "\n" not in str(caught.value)
    assert "calibrating" not in said and "int8" not in said
    # A model whose LM head alone is bad has no alarm that `show` could tell of.
    assert ("maxact-tui show says where" in str(caught.value)) == (summary_of(sessions[plant]).alarm is not None)


def test_a_session_that_ends_in_nan_is_refused_without_an_engine(sessions: dict[str | None, Path]) -> None:
    from engine.effect.errors import EffectError
    from engine.effect.known import NOTHING_TO_COMPARE, check_finite

    for lost in ("everything", "layer", "weight"):
        with SessionReader(sessions[lost]) as reader, pytest.raises(EffectError) as caught:
            check_finite(reader)
        assert str(caught.value) == NOTHING_TO_COMPARE
    for going in (None, "token", "head"):
        with SessionReader(sessions[going]) as reader:
            check_finite(reader)


def test_prompts_and_samples_of_a_planted_model_are_answered(corpus: Path, tmp_path: Path) -> None:
    model = planted_llama(tmp_path / "weight", "weight")
    path = new_session(tmp_path / "a.maxact", tiny_job(model, corpus, samples=6))
    numbers = [send_command(path, "probe", one) for one in ({"text": "the warm sea"}, {"sample": 1})]
    assert run(path) == 0
    with SessionReader(path) as reader:
        answers = [reader.commands(number - 1)[0] for number in numbers]
        assert [answer.state for answer in answers] == ["done", "done"]
        assert len(reader.results("probe")) == 2


def test_sites_are_first_in_the_order_in_which_they_are_computed() -> None:
    from dataclasses import replace

    from engine.analysis.nonfinite import find_alarm
    from tests.analysis.sessions import plan

    counts, nan = np.zeros(22), np.zeros(22)
    counts[[3, 7]] = 2, 5
    addresses = np.full((22, 3), -1)
    addresses[3], addresses[7] = (4, 1, 9), (2, 0, 8)
    found = find_alarm(plan(), counts, nan, addresses)
    assert found is not None and (found.site, found.sample, found.kind, found.sites) == (3, 4, "Inf", (3, 7))
    order = list(range(22))
    order[3], order[7] = 7, 3
    nan[7] = 5
    found = find_alarm(replace(plan(), order=tuple(order)), counts, nan, addresses)
    assert found is not None and (found.site, found.sample, found.kind, found.kinds) == (7, 2, "NaN", "Inf/NaN")
    assert find_alarm(plan(), np.zeros(22), nan * 0, addresses) is None


@pytest.mark.demo_model
@pytest.mark.parametrize("factor", [2.25, *(pytest.param(factor, marks=pytest.mark.slow) for factor in (2.6, 4.0))])
def test_the_real_model_that_overflows_float16(
    loaded_demo: LoadedModel, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, factor: float
) -> None:
    """Block 11 of the demo model in float16, whose MLP gives 23,160 to 29,440 at the first token, times `factor`."""
    rest = tmp_path_factory.getbasetemp() / "demo-rest.safetensors"
    model = planted_demo(tmp_path / "model", loaded_demo, factor, rest)
    texts = [sample.text for sample in load_corpus("starter", limit=None, seed=42).samples]
    log = next(text for text in texts if "firmware 4.18.2" in text)[:24]
    (tmp_path / "c.jsonl").write_text(
        "".join(json.dumps({"text": text}) + "\n" for text in ("Summer is warm.", log)), encoding="utf-8"
    )
    job = Job(model=str(model), corpus=str(tmp_path / "c.jsonl"), dtype="float16", device="cpu", checkpoint_seconds=0.0)
    path = new_session(tmp_path / "a.maxact", job)
    assert run(path) == 0
    summary, plan = summary_of(path), plan_of(path)
    alarm = summary.alarm
    assert plan.residual == "pre"
    assert alarm is not None and plan.sites[alarm.site].name == "layer_11_mlp_output"
    assert (alarm.kind, alarm.sample, alarm.position, alarm.channel) == ("Inf", int(factor < 3), 0, 507)
    layers = [plan.sites[site].layer for site in alarm.sites]
    assert all(layer is None or layer >= 11 for layer in layers)
    assert summary.maximum is not None and summary.maximum.overflows_fp16
    assert summary.maximum.excluded_sites == len(alarm.sites) > 60
    # Torch itself says the same of that text.
    own = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float16)
    seen: list[torch.Tensor] = []
    own.model.layers[11].mlp.register_forward_hook(lambda _m, _a, out: seen.append(out.detach()))
    ids = loaded_demo.tokenizer(("Summer is warm.", log)[alarm.sample], return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        own(ids)
    assert torch.nonzero(~seen[0][0].isfinite())[0].tolist() == [0, 507]


def test_a_probe_tells_what_is_not_finite_from_what_a_site_did_not_see() -> None:
    from engine.work.probe import _TokenPeaks

    nan, inf = float("nan"), float("inf")
    peaks = _TokenPeaks(3, 3)
    peaks.record(0, torch.tensor([[1.0, -2.0], [nan, 5.0], [3.0, -inf]]))
    # Rows of an expert: token 0 twice, token 2 once and not finite, token 1 never.
    peaks.record(1, torch.tensor([[1.0, 4.0], [0.5, -7.0], [1.0, nan]]), torch.tensor([0, 0, 2]))
    maxima, channels = peaks.collect()
    assert np.array_equal(maxima, [[-2, nan, nan], [-7, nan, nan], [nan, nan, nan]], equal_nan=True)
    assert channels.tolist() == [[1, 0, 1], [1, -1, 1], [-1, -1, -1]]
