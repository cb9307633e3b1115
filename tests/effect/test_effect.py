"""Effects from end to end: a session's model, held-out samples, numbers checked against independent computations."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, Qwen3MoeConfig

from engine.effect.results import Effect, read_effects
from engine.effect.samples import hold_out
from engine.effect.work import effect
from engine.loading.progress import LoadProgress
from engine.preparation.prepare import prepare
from engine.run.runner import run
from engine.session.reader import SessionReader
from engine.session.requests import send_command
from engine.session.splits import SplitRecord
from engine.session.writer import SessionWriter
from engine.work.work import WorkContext, WorkError
from tests.engine.running import assert_equal_totals, new_session, read_totals, tiny_job, write_corpus
from tests.models import TINY_LLAMA, tiny_folder, tiny_tokenizer

CHANNEL = 5


@contextmanager
def opened(path: Path) -> Iterator[WorkContext]:
    """What a work gets of a finished session."""
    with SessionReader(path) as reader:
        job = reader.meta().job
        writer = SessionWriter.open(path)
        yield WorkContext(prepare(job, _quiet, measures=False), job, reader, writer)
        writer.close()


def _quiet(_progress: LoadProgress) -> None:
    """Loading is nothing to see here."""


def measure(context: WorkContext, **arguments: Any) -> Effect:
    steps = effect(context, arguments)
    with torch.inference_mode():
        try:
            while True:
                progress = next(steps)
                assert 0 <= progress.done <= max(progress.total, 0)
        except StopIteration as end:
            return next(one for one in read_effects(context.reader) if one.number == end.value)


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of a tiny Llama in float32 over 24 samples, inputs of matrix products measured, too."""
    folder = tmp_path_factory.mktemp("effect")
    model = tiny_folder(folder / "llama", LlamaConfig(**TINY_LLAMA), scale=8.0)
    job = tiny_job(model, write_corpus(folder / "c.jsonl"), dtype="float32", sites="all", policy="bos")
    path = new_session(folder / "a.maxact", job)
    assert run(path) == 0
    return path


@pytest.fixture(scope="module")
def context(session: Path) -> Iterator[WorkContext]:
    with opened(session) as found:
        yield found


def held(context: WorkContext, found: Effect) -> list[np.ndarray]:
    """The token ids of the held-out samples."""
    numbers = np.unique(context.reader.result_arrays(found.number)["samples"])
    assert len(numbers) == found.samples
    return [context.prepared.tokenized.tokens(int(number)) for number in numbers]


def reference_nll(model: torch.nn.Module, ids: np.ndarray) -> float:
    """Summed negative log likelihood, by transformers' own loss."""
    given = torch.from_numpy(ids.astype(np.int64))[None]
    return float(model(input_ids=given, labels=given).loss) * (len(ids) - 1)


def logits64(model: torch.nn.Module, ids: np.ndarray) -> np.ndarray:
    return model(input_ids=torch.from_numpy(ids.astype(np.int64))[None]).logits[0, :-1].double().numpy()


def divergence(reference: np.ndarray, changed: np.ndarray) -> np.ndarray:
    """KL of each row, in float64 numpy."""
    p, q = (
        x - np.log(np.exp(x - x.max(-1, keepdims=True)).sum(-1, keepdims=True)) - x.max(-1, keepdims=True)
        for x in (reference, changed)
    )
    return (np.exp(p) * (p - q)).sum(-1)


def test_perplexity_is_that_of_transformers_own_loss_and_nothing_changed_is_no_effect(context: WorkContext) -> None:
    found = measure(context, schemes=["none"], samples=10)
    model = context.prepared.loaded.model
    with torch.inference_mode():
        texts = held(context, found)
        total = sum(reference_nll(model, ids) for ids in texts)
    assert found.predictions == sum(len(ids) - 1 for ids in texts)
    assert found.samples == 10
    assert all(ids[0] == 1 for ids in texts), "BOS is read, and never predicted"
    assert found.perplexity == pytest.approx(math.exp(total / found.predictions), rel=1e-5)
    (same,) = found.outcomes
    assert same.sites > 10
    assert same.numbers is not None
    # Float32 sums in another order would give a KL of 1e-12; INT8, the finest of the schemes, gives more than 1e-4.
    assert same.numbers.kl_max == pytest.approx(0.0, abs=1e-9)
    assert same.numbers.agreement == pytest.approx(1.0, abs=1.5 / found.predictions)
    assert same.numbers.perplexity == pytest.approx(found.perplexity, rel=1e-6)
    assert same.numbers.perplexity_reference == found.perplexity
    assert {one.category for one in same.categories} == {"math", "code", "web"}
    mean = sum(one.tokens * math.log(one.perplexity) for one in same.categories) / found.predictions
    assert mean == pytest.approx(math.log(found.perplexity))


def test_a_quantised_model_is_the_one_that_numpy_computes_in_float64(context: WorkContext) -> None:
    """INT8 per token and INT4 per group at every linear but the head, through linears rebuilt around numpy."""
    found = measure(context, schemes=["int8-token", "int4-g16"], samples=6)
    double = AutoModelForCausalLM.from_pretrained(context.job.model, dtype=torch.float64)
    arrays = context.reader.result_arrays(found.number)
    for place, (level, group) in enumerate([(127, None), (7, 16)]):
        kl, agree, nll = [], [], []
        for ids in held(context, found):
            with torch.inference_mode():
                expected = logits64(double, ids)
                with quantised_linears(double, level, group):
                    changed = logits64(double, ids)
            kl.append(divergence(expected, changed))
            agree.append(expected.argmax(-1) == changed.argmax(-1))
            shifted = changed - changed.max(-1, keepdims=True)
            nll.append(np.log(np.exp(shifted).sum(-1)) - shifted[np.arange(len(ids) - 1), ids[1:]])
        numbers = found.outcomes[place].numbers
        assert numbers is not None
        flat = np.concatenate(kl)
        assert flat.mean() > 1e-4
        # Where float32 and float64 round a tie differently a token differs by a quantisation step; a bit less, or a
        # scale of something else, would make the KL several times as large.
        assert numbers.kl_mean == pytest.approx(flat.mean(), rel=0.05)
        assert numbers.kl_q95 == pytest.approx(np.quantile(flat, 0.95), rel=0.1)
        assert numbers.agreement == pytest.approx(np.concatenate(agree).mean(), abs=0.02)
        assert numbers.perplexity == pytest.approx(math.exp(np.concatenate(nll).mean()), rel=0.01)
        assert numbers.kl_max == arrays["kl"][place].max()
        worst = found.outcomes[place].worst[0]
        where = int(arrays["kl"][place].argmax())
        assert worst == (pytest.approx(numbers.kl_max), arrays["samples"][where], arrays["positions"][where])


@contextmanager
def quantised_linears(model: torch.nn.Module, level: int, group: int | None) -> Iterator[None]:
    """Within this block every linear but the head multiplies inputs that numpy quantised."""

    def forward(linear: torch.nn.Linear, x: torch.Tensor) -> torch.Tensor:
        values = x.numpy()
        parts = values.reshape(*values.shape[:-1], -1, group or values.shape[-1])
        peak = np.abs(parts).max(axis=-1, keepdims=True)
        scale = np.where(peak > 0, peak, 1.0) / level
        rounded = (np.clip(np.rint(parts / scale), -level, level) * scale).reshape(values.shape)
        return torch.nn.functional.linear(torch.from_numpy(rounded), linear.weight, linear.bias)

    linears = [m for name, m in model.named_modules() if isinstance(m, torch.nn.Linear) and name != "lm_head"]
    for linear in linears:
        linear.forward = lambda x, linear=linear: forward(linear, x)
    try:
        yield
    finally:
        for linear in linears:
            del linear.forward


def test_without_a_split_of_the_session_at_most_half_of_the_samples_are_held_out(context: WorkContext) -> None:
    tokenized = context.prepared.tokenized
    found = hold_out(tokenized, samples=100, tokens=10_000, calibration=5, seed=1)
    assert (len(found.measured), len(found.calibration)) == (12, 5)
    assert set(found.measured).isdisjoint(found.calibration)
    assert "half of the 24" in found.notes[0]
    categories = [tokenized.categories[number] for number in found.measured]
    assert sorted(categories) == ["code"] * 4 + ["math"] * 4 + ["web"] * 4
    few = hold_out(tokenized, samples=100, tokens=200, calibration=5, seed=1)
    assert 100 < sum(len(tokenized.tokens(number)) for number in few.measured) <= 200


def test_static_thresholds_come_from_samples_that_are_not_held_out(context: WorkContext) -> None:
    """INT8 at one site with the largest |x| of the calibration samples, against the session's own histogram."""
    site = "layer_1_down_proj_input"
    found = measure(context, scope={"site": site}, schemes=["int8", "int8-t0.05"], samples=8)
    by_name = {one.name: one for one in found.outcomes}
    assert [one.sites for one in found.outcomes] == [1, 1]
    split = SplitRecord.from_json(context.reader.meta().raw["split"])
    numbers = set(context.reader.result_arrays(found.number)["samples"].tolist())
    assert numbers <= set(split.evaluation)
    assert (found.samples, found.calibration_samples) == (8, len(split.calibration))
    plan = context.prepared.plan
    index = next(n for n, one in enumerate(plan.sites) if one.name == site)
    threshold = float(context.reader.sample_maxima()[index][list(split.calibration)].max())
    model, module = context.prepared.loaded.model, plan.sites[index].module

    def quantise(_module: torch.nn.Module, args: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        return (torch.clamp(torch.round(args[0] / (threshold / 127)), -127, 127) * (threshold / 127),)

    kl = []
    for ids in held(context, found):
        with torch.inference_mode():
            expected = logits64(model, ids)
            hook = model.get_submodule(module).register_forward_pre_hook(quantise)
            kl.append(divergence(expected, logits64(model, ids)))
            hook.remove()
    exact = by_name["int8"].numbers
    clipped = by_name["int8-t0.05"].numbers
    assert exact is not None
    assert clipped is not None
    # Ties may be rounded differently in the batch; the largest |x| of other samples would be some 10 % off, so KL 20 %.
    assert exact.kl_mean == pytest.approx(np.concatenate(kl).mean(), rel=0.05)
    assert clipped.kl_mean > 10 * exact.kl_mean


def sink_token() -> int:
    """A token of every eighth word or so."""
    return int(tiny_tokenizer()(" winter", add_special_tokens=False)["input_ids"][-1])


@pytest.fixture(scope="module")
def massive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama whose embedding of one token is massive in one channel, so that it is massive from layer 0 on."""
    folder = tmp_path_factory.mktemp("massive")
    model_folder = tiny_folder(folder / "llama", LlamaConfig(**TINY_LLAMA), scale=8.0)
    model = AutoModelForCausalLM.from_pretrained(model_folder)
    with torch.no_grad():
        model.model.embed_tokens.weight[sink_token(), CHANNEL] = 1e5
    model.save_pretrained(model_folder)
    job = tiny_job(model_folder, write_corpus(folder / "c.jsonl"), dtype="float32", policy="raw")
    path = new_session(folder / "a.maxact", job)
    assert run(path) == 0
    return path


def test_a_planted_massive_activation_is_ablated_where_it_is_born(massive: Path) -> None:
    with opened(massive) as context:
        found = measure(context, schemes=["ablate-zero", "ablate-mean", "ablate-zero@2", "ablate-zero@9"], samples=12)
        zero, mean, later, nowhere = found.outcomes
        sinks = sum(int((ids == sink_token()).sum()) for ids in held(context, found))
        assert sinks > 0, "the corpus must hold the token that carries it"
        assert zero.massive is not None
        assert (zero.massive.site, zero.massive.layer, zero.massive.elements) == ("layer_0_hidden", 0, sinks)
        assert later.massive is not None
        assert later.massive.layer == 2
        assert nowhere.numbers is None
        assert "no such hidden state" in nowhere.problem
        kl = []
        model = context.prepared.loaded.model

        def to_zero(_module: torch.nn.Module, _args: Any, output: torch.Tensor) -> torch.Tensor:
            return torch.where(output.abs() > 5e4, 0.0, output)

        for ids in held(context, found):
            with torch.inference_mode():
                expected = logits64(model, ids)
                hook = model.model.layers[0].register_forward_hook(to_zero)
                kl.append(divergence(expected, logits64(model, ids)))
                hook.remove()
        assert zero.numbers is not None
        assert zero.numbers.kl_mean == pytest.approx(np.concatenate(kl).mean(), rel=1e-3)
        assert zero.numbers.kl_mean > 0.01
        # The mean of nearly constant values is those values: the model stays as it was.
        assert mean.massive is not None
        ((channel, value),) = mean.massive.channels
        assert (channel, value) == (CHANNEL, pytest.approx(1e5, rel=1e-3))
        assert mean.numbers is not None
        assert mean.numbers.kl_mean < 0.01 * zero.numbers.kl_mean


def test_a_model_without_massive_activations_has_nothing_to_ablate(context: WorkContext) -> None:
    with pytest.raises(WorkError, match="no hidden state of this model has a massive activation"):
        measure(context, schemes=["ablate-zero"])
    found = measure(context, schemes=["ablate-zero", "int8-token"], samples=4)
    assert found.outcomes[0].numbers is None
    assert found.outcomes[0].problem
    assert found.outcomes[1].numbers is not None


def test_inputs_a_session_did_not_measure_are_found_and_calibrated(tmp_path: Path) -> None:
    """A mixture of experts measured with the paper's sites only; experts' inputs are quantised all the same."""
    small = {**TINY_LLAMA, "moe_intermediate_size": 16, "num_experts": 4, "num_experts_per_tok": 2, "head_dim": 8}
    folder = tiny_folder(tmp_path / "moe", Qwen3MoeConfig(**small))
    path = new_session(tmp_path / "moe.maxact", tiny_job(folder, write_corpus(tmp_path / "c.jsonl"), dtype="float32"))
    assert run(path) == 0
    with opened(path) as context:
        whole = measure(context, schemes=["none", "int8", "int8-token", "int4"], samples=6)
        one = measure(context, scope={"component": "expert_down_input", "layers": [1]}, schemes=["int4"], samples=6)
    kl = [outcome.numbers.kl_mean for outcome in whole.outcomes if outcome.numbers is not None]
    assert kl[0] < 1e-6 < kl[2] < kl[3]
    assert kl[1] < kl[3]
    assert whole.outcomes[0].sites >= 3 * 5
    assert one.outcomes[0].sites == 1
    assert one.outcomes[0].numbers is not None
    assert 0 < one.outcomes[0].numbers.kl_mean < kl[3]


def test_a_session_that_measured_its_inputs_lends_its_own_thresholds(context: WorkContext) -> None:
    """No calibration pass: fewer steps; and the finer the format, the smaller the effect."""
    names = ["int8", "mxfp8-e4m3", "mxfp4", "nvfp4", "int8-token-smooth0.5", "int8-channel", "int4-g16"]
    found = measure(context, schemes=names, samples=6)
    kl = {one.name: one.numbers.kl_mean for one in found.outcomes if one.numbers is not None}
    assert list(kl) == names
    assert kl["int8-token-smooth0.5"] < kl["mxfp8-e4m3"] < kl["nvfp4"] < kl["mxfp4"]
    assert all(one.problem == "" for one in found.outcomes)
    fewer = measure(context, schemes=["int8"], samples=6, calibration=3)
    assert fewer.calibration_samples == 3
    assert fewer.outcomes[0].numbers is not None
    assert fewer.outcomes[0].numbers.kl_mean != kl["int8"]


def test_a_batch_that_does_not_fit_is_halved_and_changes_nothing(
    context: WorkContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = measure(context, schemes=["int8", "int8-token"], samples=4)
    real = context.prepared.text_model.forward
    sizes = []

    def small(*args: Any, **kwargs: Any) -> Any:
        sizes.append(len(kwargs["input_ids"]))
        if sizes[-1] > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(*args, **kwargs)

    monkeypatch.setattr(context.prepared.text_model, "forward", small)
    halved = measure(context, schemes=["int8", "int8-token"], samples=4)
    assert max(sizes) > 1
    assert sizes.count(1) > 4
    for a, b in zip(whole.outcomes, halved.outcomes, strict=True):
        assert a.numbers is not None
        assert b.numbers is not None
        assert a.numbers.tokens == b.numbers.tokens
        # The sums of a smaller batch come in another order, which may turn ties; a sample too many or too few is 25 %.
        assert a.numbers.kl_mean == pytest.approx(b.numbers.kl_mean, rel=0.05)
        assert a.numbers.perplexity == pytest.approx(b.numbers.perplexity, rel=1e-3)

    def nothing_fits(*args: Any, **kwargs: Any) -> Any:
        if kwargs["input_ids"].shape[1] > 4:  # more than the few tokens on which the head is checked
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(*args, **kwargs)

    monkeypatch.setattr(context.prepared.text_model, "forward", nothing_fits)
    with pytest.raises(WorkError, match="out of memory"):
        measure(context, schemes=["int8-token"], samples=4)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"scope": {"site": "layer_1_hiden"}}, "did you mean layer_1_hidden"),
        ({"scope": {"component": "mlp_inputs"}}, "did you mean mlp_input"),
        ({"scope": {"component": "router_input"}}, "no site for router_input"),
        ({"scope": {"component": "mlp_input", "layers": [9]}}, "layers 0 to 2"),
        ({"schemes": ["int88"]}, "int8"),
        ({"samples": -1}, "at least 1"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_one_line(
    context: WorkContext, arguments: dict[str, Any], words: str
) -> None:
    with pytest.raises(WorkError, match=words) as caught:
        measure(context, **arguments)
    assert "\n" not in str(caught.value)


def test_a_run_does_not_notice_that_effects_are_measured_on_its_model(session: Path, tmp_path: Path) -> None:
    with SessionReader(session) as reader:
        job = reader.meta().job
    asked = new_session(tmp_path / "asked.maxact", job)
    send_command(asked, "effect", {"schemes": ["int4", "int8-token"], "samples": 4})
    wrong = send_command(asked, "effect", {"scope": {"site": "nowhere"}})
    assert run(asked) == 0
    assert_equal_totals(read_totals(session), read_totals(asked))
    with SessionReader(asked) as reader:
        (found,) = read_effects(reader)
        refused = reader.commands(wrong - 1)[0]
    assert all(one.numbers is not None for one in found.outcomes)
    assert refused.state == "refused"
    assert "nowhere" in refused.text
