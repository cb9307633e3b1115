"""Blocks computed again: damage against the whole model run twice, and a planted worst site that SQNR overlooks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from transformers import AutoModelForCausalLM, LlamaConfig, Qwen3MoeConfig

from engine.effect.calibration import Calibration, run_passes
from engine.effect.replay import LENGTHS, TOKENS, choose_stretches, replay
from engine.loading.progress import LoadProgress
from engine.messages import Message, words
from engine.preparation.prepare import Prepared, prepare
from engine.quantization.board import compute_board
from engine.quantization.ranking import rank
from engine.statistics.local_errors import LocalErrors
from tests.engine.running import tiny_job, write_corpus
from tests.models import TINY_LLAMA, tiny_folder

CALIBRATION, EVALUATION = range(8), range(8, 24)


def fail(site: int, problem: Message) -> None:
    pytest.fail(f"{site}: {words(problem)}")


def quiet(_progress: LoadProgress) -> None:
    """Loading is nothing to see here."""


def prepared_of(folder: Path, corpus: Path, sites: str = "all") -> Prepared:
    return prepare(tiny_job(folder, corpus, dtype="float32", sites=sites, quant="off"), quiet, measures=False)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus") / "c.jsonl")


def plant(folder: Path) -> None:
    """A massive channel in one down_proj input, a wide outlier feature in one attention input; same function."""
    model = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        mlp, block = model.model.layers[1].mlp, model.model.layers[2]
        mlp.up_proj.weight[7] *= 20_000
        mlp.down_proj.weight[:, 7] /= 20_000
        block.input_layernorm.weight[3] *= 60
        for linear in (block.self_attn.q_proj, block.self_attn.k_proj, block.self_attn.v_proj):
            linear.weight[:, 3] /= 60
    model.save_pretrained(folder)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory, corpus: Path) -> Prepared:
    folder = tiny_folder(tmp_path_factory.mktemp("planted") / "llama", LlamaConfig(**TINY_LLAMA), scale=8.0)
    plant(folder)
    return prepared_of(folder, corpus)


def calibrated(prepared: Prepared) -> dict[int, Any]:
    numbers = range(len(prepared.plan.sites))
    one = Calibration(prepared, tiny_job(Path("m"), Path("c")), prepared.plan, numbers)
    with torch.inference_mode():
        run_passes(prepared, [one], list(CALIBRATION))
    return one.numbers()


def replayed(
    prepared: Prepared, schemes: tuple[str, ...] = ("int8",), problem: Callable[[int, Message], None] | None = None
) -> tuple[dict[int, LocalErrors], list[np.ndarray], dict[int, Any]]:
    numbers = calibrated(prepared)
    stretches = choose_stretches(prepared.tokenized, list(EVALUATION), 0)
    with torch.inference_mode():
        steps: list[tuple[int, int]] = []
        found = replay(
            prepared, numbers.get, schemes, stretches, problem or fail, lambda done, total: steps.append((done, total))
        )
    # Every block that has sites tells that it was computed again, and how many there are.
    assert [done for done, _ in steps] == list(range(1, len(steps) + 1))
    assert {total for _, total in steps} == {len(steps)}
    return found, stretches, numbers


def int8(x: torch.Tensor, threshold: float) -> torch.Tensor:
    """In numpy float64, nothing of ours."""
    values, scale = x.double().numpy(), threshold / 127
    return torch.from_numpy(np.clip(np.rint(values / scale), -127, 127) * scale).to(x.dtype)


def runs(prepared: Prepared, ids: np.ndarray, readers: tuple[str, ...], threshold: float) -> list[Any]:
    """The whole model, as it is and with these linears reading quantised numbers, by hooks of the test."""
    model, given = prepared.loaded.model, torch.from_numpy(ids)
    outputs = [model(input_ids=given, output_hidden_states=True, use_cache=False)]
    hooks = [
        model.get_submodule(path).register_forward_pre_hook(lambda _m, args: (int8(args[0], threshold), *args[1:]))
        for path in readers
    ]
    outputs.append(model(input_ids=given, output_hidden_states=True, use_cache=False))
    for hook in hooks:
        hook.remove()
    return outputs


@pytest.mark.parametrize("component", ["attn_input", "o_proj_input", "mlp_input", "down_proj_input"])
@pytest.mark.parametrize("layer", [0, 1])
def test_damage_is_how_far_the_stream_moves_when_the_whole_model_runs_again(
    planted: Prepared, component: str, layer: int
) -> None:
    found, stretches, numbers = replayed(planted)
    place = next(n for n, s in enumerate(planted.plan.sites) if (s.component, s.layer) == (component, layer))
    threshold, squares = numbers[place].distribution.largest, []
    for ids in stretches:
        with torch.inference_mode():
            before, after = (
                one.hidden_states[layer + 1].double().numpy()
                for one in runs(planted, ids, planted.plan.sites[place].readers, threshold)
            )
        squares.append((np.linalg.norm(after - before, axis=-1) / np.linalg.norm(before, axis=-1)) ** 2)
    expected = np.sqrt(np.concatenate([one.ravel() for one in squares]).mean())
    one = found[place].numbers("int8")
    assert one is not None and expected > 1e-3
    assert one.damage == pytest.approx(expected, rel=1e-3)
    assert one.tokens == sum(ids.size for ids in stretches)


def test_a_token_s_own_error_is_that_of_its_numbers(planted: Prepared) -> None:
    found, stretches, numbers = replayed(planted)
    place = next(n for n, s in enumerate(planted.plan.sites) if s.name == "layer_1_down_proj_input")
    threshold, inputs = numbers[place].distribution.largest, []
    hook = planted.loaded.model.get_submodule(planted.plan.sites[place].module).register_forward_pre_hook(
        lambda _m, args: inputs.append(args[0].double().numpy().reshape(-1, args[0].shape[-1]))
    )
    with torch.inference_mode():
        for ids in stretches:
            planted.text_model(input_ids=torch.from_numpy(ids), use_cache=False)
    hook.remove()
    x = np.concatenate(inputs)
    quantised = np.clip(np.rint(x / (threshold / 127)), -127, 127) * (threshold / 127)
    relative = np.linalg.norm(quantised - x, axis=1) / np.linalg.norm(x, axis=1)
    one = found[place].numbers("int8")
    assert one is not None
    assert one.token_worst == pytest.approx(relative.max(), rel=1e-4)
    assert one.token_median == pytest.approx(np.quantile(relative, 0.5, method="lower"), rel=0.03)
    assert one.token_q90 == pytest.approx(np.quantile(relative, 0.9, method="lower"), rel=0.03)
    assert one.zeroed == pytest.approx((quantised == 0).mean(), abs=1e-3)
    assert one.rel_mae == pytest.approx(np.abs(quantised - x).sum() / np.abs(x).sum(), rel=1e-4)


def test_the_planted_worst_is_ranked_first_and_the_ranking_is_that_of_the_predictions(planted: Prepared) -> None:
    found, stretches, numbers = replayed(planted)
    sites = planted.plan.sites
    local = [found.get(number) for number in range(len(sites))]
    board = compute_board([numbers[n].distribution if n in numbers else None for n in range(len(sites))], local=local)
    inputs = [n for n, site in enumerate(sites) if site.readers and site.layer is not None]
    effects = []
    for number in inputs:
        total = 0.0
        for ids in stretches:
            with torch.inference_mode():
                before, after = (
                    torch.log_softmax(one.logits.double(), -1)
                    for one in runs(planted, ids, sites[number].readers, numbers[number].distribution.largest)
                )
            total += float((before.exp() * (before - after)).sum())
        effects.append(total)
    ranked = rank(board, "int8", inputs)
    assert sites[ranked[0].site].name == "layer_1_down_proj_input" == sites[inputs[int(np.argmax(effects))]].name
    assert "layer_2_attn_input" in {sites[one.site].name for one in ranked[:3]}
    by_sqnr = sorted(ranked, key=lambda one: one.sqnr_db)
    assert by_sqnr[0].site != ranked[0].site and ranked[0].is_harmful
    values = {one.site: one.value for one in ranked}
    assert spearmanr([values[number] for number in inputs], effects).statistic > 0.85


def test_the_model_is_left_as_it_was(planted: Prepared) -> None:
    ids = torch.arange(3, 40)[None]
    model = planted.loaded.model
    with torch.inference_mode():
        before = model(input_ids=ids).logits
        found, _, _ = replayed(planted, ("int8", "int8-token", "mxfp4"))
        sums = {number: one.sums.copy() for number, one in found.items()}
        assert torch.equal(model(input_ids=ids).logits, before)
    # No hook is left that would add to them.
    assert all(np.array_equal(one.sums, sums[number]) for number, one in found.items())


def test_every_site_that_a_mixture_of_experts_reads_has_a_damage(tmp_path: Path, corpus: Path) -> None:
    config = Qwen3MoeConfig(
        **TINY_LLAMA, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=16, decoder_sparse_step=1, head_dim=8
    )
    prepared = prepared_of(tiny_folder(tmp_path / "moe", config, scale=8.0), corpus)
    found, _, _ = replayed(prepared, ("int8", "int8-token"))
    for number, site in enumerate(prepared.plan.sites):
        for name in ("int8", "int8-token"):
            one = found[number].numbers(name)
            if site.component == "expert_gate":  # nothing is put in its place
                assert one is None
                continue
            # The layer goes on with the weights made of the logits, which are another element of what the router gives.
            assert one is not None and np.isnan(one.damage) == (site.component == "router_logits"), site.name
            assert not one.damage <= 0, site.name


def test_a_block_that_gives_something_else_when_called_again_is_said_so(tmp_path: Path, corpus: Path) -> None:
    prepared = prepared_of(tiny_folder(tmp_path / "llama", LlamaConfig(**TINY_LLAMA), scale=8.0), corpus, "gemm")
    calls, block = [0], prepared.loaded.model.model.layers[1]
    whole = block.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        calls[0] += 1
        output = whole(*args, **kwargs)
        return (output[0] * calls[0], *output[1:]) if isinstance(output, tuple) else output * calls[0]

    block.forward = forward
    said: list[tuple[int, str]] = []
    found, _, _ = replayed(prepared, problem=lambda site, what: said.append((site, words(what))))
    assert len(said) == 1 and "gives another output when it is called again" in said[0][1]
    for number, site in enumerate(prepared.plan.sites):
        one = found[number].numbers("int8")
        assert one is not None and np.isnan(one.damage) == (site.layer == 1), site.name
    board = compute_board([None] * len(prepared.plan.sites), local=[found[n] for n in range(len(prepared.plan.sites))])
    ranked = rank(board)
    assert [one.by for one in ranked] == sorted((one.by for one in ranked), key=["damage", "rel_mae"].index)
    assert {prepared.plan.sites[one.site].layer for one in ranked if one.by == "rel_mae"} == {1}


def test_stretches_are_beginnings_of_evaluation_samples_without_padding(planted: Prepared) -> None:
    stretches = choose_stretches(planted.tokenized, list(EVALUATION), 0)
    begins = {tuple(planted.tokenized.tokens(number)[:width].tolist()) for number in EVALUATION for width in LENGTHS}
    begins |= {tuple(planted.tokenized.tokens(number).tolist()) for number in EVALUATION}
    assert 0 < sum(one.size for one in stretches) <= TOKENS
    assert all(tuple(row.tolist()) in begins for one in stretches for row in one)
    assert len({one.shape[1] for one in stretches}) == len(stretches)
