"""`engine.watch`: somebody else's loop, measured. The judge is a run of the command, or plain hooks."""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

import engine
from engine.api import ledger
from engine.api.watching import Watch
from engine.session.reader import SessionReader
from tests.models import tiny_tokenizer
from tests.private import hooks_of


def tiny(layers: int = 2, **changes: Any) -> LlamaForCausalLM:
    torch.manual_seed(3)
    config = LlamaConfig(
        vocab_size=512, hidden_size=32, intermediate_size=48, num_hidden_layers=layers, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=64, **changes,
    )  # fmt: skip
    return LlamaForCausalLM(config)


def some_ids(rows: int = 3, columns: int = 7, seed: int = 0) -> torch.Tensor:
    return torch.randint(5, 120, (rows, columns), generator=torch.Generator().manual_seed(seed))


def all_hooks(model: nn.Module) -> int:
    return sum(hooks_of(module) for module in model.modules())


def largest_of_hidden(model: LlamaForCausalLM, ids: torch.Tensor, mask: torch.Tensor | None = None) -> list[float]:
    """The largest |x| after each block, over the places of the mask, by plain hooks."""
    found: list[float] = []

    def note(_module: nn.Module, _args: Any, output: Any) -> None:
        x = (output[0] if isinstance(output, tuple) else output).detach()
        found.append(float((x if mask is None else x[mask.bool()]).abs().max()))

    handles = [layer.register_forward_hook(note) for layer in model.model.layers]
    with torch.no_grad():
        model(ids, attention_mask=mask)
    for handle in handles:
        handle.remove()
    return found


def test_a_training_loop_is_measured_and_left_as_it_would_have_been(tmp_path: Path) -> None:
    def train(model: LlamaForCausalLM, watched: Watch | None) -> list[float]:
        torch.manual_seed(11)
        optimiser = torch.optim.SGD(model.parameters(), lr=0.05)
        losses = []
        for number in range(6):
            if watched is not None:
                watched.step(10 * number)
            ids = some_ids(seed=number)
            loss = model(input_ids=ids, labels=ids).loss
            loss.backward()
            optimiser.step()
            optimiser.zero_grad()
            losses.append(float(loss.detach()))
        return losses

    alone, model = tiny(attention_dropout=0.1), tiny(attention_dropout=0.1)
    alone.train()
    model.train()
    expected = train(alone, None)
    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    hooks = all_hooks(model)
    with engine.watch(model, tmp_path / "run.maxact", checkpoint_seconds=0) as watched:
        assert torch.equal(torch.random.get_rng_state(), state), "looking at the model draws no random numbers"
        assert all_hooks(model) == hooks, "no hook between two passes"
        losses = train(model, watched)
        with watched.session as live:
            assert live.phase == "running"
            assert live["L1 hidden"].magnitude > 0
    assert losses == expected
    assert all_hooks(model) == hooks
    assert "forward" not in vars(model.model)
    assert model.training
    with SessionReader(tmp_path / "run.maxact") as reader:
        assert reader.status().phase == "finished"
        assert len(reader.samples_done()) == 18
        sample = reader.sample(17)
        assert sample is not None
        assert (sample.origin, sample.category) == ("step 50", "training")
        np.testing.assert_array_equal(sample.token_ids, some_ids(seed=5)[2].numpy())


@pytest.mark.parametrize("side", ["right", "left"])
def test_padding_is_not_measured_and_positions_count_from_the_first_token(tmp_path: Path, side: str) -> None:
    model, ids = tiny().eval(), some_ids()
    mask = torch.ones_like(ids)
    if side == "right":
        mask[1, 4:] = 0
    else:
        mask[1, :3] = 0
    expected = largest_of_hidden(model, ids, mask)
    with engine.watch(model, tmp_path / "run.maxact"), torch.no_grad():
        model(ids, attention_mask=mask)
    with engine.open(tmp_path / "run.maxact") as session:
        assert [session[layer, "hidden"].magnitude for layer in (0, 1)] == pytest.approx(expected, rel=1e-6)
        assert session["L0 hidden"].tokens == 18
        assert {one.position for one in session["L0 hidden"].top(100) if one.sample == 1} <= set(range(4))


def test_only_every_nth_pass_is_measured(tmp_path: Path) -> None:
    model = tiny().eval()
    seen: list[int] = []
    handle = model.model.layers[0].register_forward_hook(lambda *_: seen.append(all_hooks(model)))
    with engine.watch(model, tmp_path / "run.maxact", every=3), torch.inference_mode():
        for number in range(7):
            model(some_ids(1, 5, seed=number))
    handle.remove()
    assert [count > 1 for count in seen[-7:]] == [True, False, False, True, False, False, True]
    with engine.open(tmp_path / "run.maxact") as session:
        assert [session.reader.sample(number).origin for number in range(3)] == ["step 0", "step 3", "step 6"]  # type: ignore[union-attr]
        assert session["L0 hidden"].tokens == 15


def test_a_pass_that_checkpointing_computes_again_counts_once(tmp_path: Path) -> None:
    model = tiny().train()
    model.gradient_checkpointing_enable({"use_reentrant": False})
    ids = some_ids()
    with engine.watch(model, tmp_path / "run.maxact"):
        model(input_ids=ids, labels=ids).loss.backward()
    with engine.open(tmp_path / "run.maxact") as session:
        assert {view.tokens for view in session.sites} == {ids.numel()}


def test_autocast_and_changing_modes_are_followed(tmp_path: Path) -> None:
    model = tiny().eval()
    with engine.watch(model, tmp_path / "run.maxact", checkpoint_seconds=0):
        with torch.inference_mode():
            model(some_ids(seed=1))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            model(some_ids(seed=2))
        model(some_ids(seed=3)).logits.sum().backward()
        with torch.inference_mode():
            model(some_ids(seed=4))
    with engine.open(tmp_path / "run.maxact") as session:
        assert session["L1 hidden"].tokens == 4 * 21


def test_embeddings_without_ids_are_measured(tmp_path: Path) -> None:
    model = tiny().eval()
    embedded = model.get_input_embeddings()(some_ids()).detach()
    with engine.watch(model, tmp_path / "run.maxact"), torch.no_grad():
        model(inputs_embeds=embedded)
    with engine.open(tmp_path / "run.maxact") as session:
        assert session["L1 hidden"].tokens == 21
        assert session["L1 hidden"].top(1)[0].token == ""


def test_generation_goes_on_at_the_position_the_cache_has_reached(tmp_path: Path) -> None:
    model = tiny().eval()
    with engine.watch(model, tmp_path / "run.maxact"), torch.no_grad():
        model.generate(some_ids(1, 5), max_new_tokens=4, do_sample=False, pad_token_id=0)
    with engine.open(tmp_path / "run.maxact") as session:
        positions = {(one.sample, one.position) for one in session["L0 hidden"].top(100)}
    assert max(position for _, position in positions) == 7
    assert session is not None


def test_tokens_are_shown_as_text(tmp_path: Path) -> None:
    tokenizer, model = tiny_tokenizer(), tiny().eval()
    ids = torch.tensor([tokenizer("the river carries snow")["input_ids"]])
    with engine.watch(model, tmp_path / "run.maxact", tokenizer=tokenizer), torch.no_grad():
        model(ids)
    with engine.open(tmp_path / "run.maxact") as session:
        words = {one.token.strip() for one in session["L0 hidden"].top(100)}
    assert words
    assert words <= {tokenizer.decode([one]).strip() for one in ids[0].tolist()}


def test_an_exception_in_the_loop_is_the_loops_and_what_was_measured_is_saved(tmp_path: Path) -> None:
    model = tiny().eval()
    with (
        pytest.raises(ZeroDivisionError),
        engine.watch(model, tmp_path / "run.maxact", checkpoint_seconds=60),
        torch.no_grad(),
    ):
        model(some_ids())
        _ = 1 / 0
    with engine.open(tmp_path / "run.maxact") as session:
        assert session.phase == "stopped"
        assert session["L1 hidden"].tokens == 21
    model(some_ids())
    assert "forward" not in vars(model.model)


def test_a_pass_that_fails_midway_raises_its_own_error_and_says_so(tmp_path: Path) -> None:
    model = tiny().eval()

    def fail(*_: object) -> None:
        raise MemoryError("no room")

    with engine.watch(model, tmp_path / "run.maxact"), torch.no_grad():
        model(some_ids(seed=1))
        handle = model.model.layers[1].register_forward_pre_hook(fail)
        with pytest.raises(MemoryError, match="no room"):
            model(some_ids(seed=2))
        handle.remove()
        model(some_ids(seed=3))
    with SessionReader(tmp_path / "run.maxact") as reader:
        assert any("ended early (MemoryError)" in event.text for event in reader.events())
        assert reader.status().phase == "finished"


def test_what_cannot_be_watched_is_said_in_one_line(tmp_path: Path) -> None:
    model = tiny().eval()
    with pytest.raises(ValueError, match="every=0"):
        engine.watch(model, tmp_path / "zero.maxact", every=0)
    with pytest.raises(engine.WatchError, match="cannot be watched"):
        engine.watch(nn.Sequential(nn.Linear(3, 3)), tmp_path / "linear.maxact").__enter__()
    with pytest.raises(engine.WatchError, match=r"torch\.compile"):
        engine.watch(torch.compile(model), tmp_path / "compiled.maxact")
    assert not list(tmp_path.iterdir())
    with engine.watch(model, tmp_path / "run.maxact"):
        with pytest.raises(engine.WatchError, match="watched already"):
            engine.watch(model, tmp_path / "other.maxact").__enter__()
        with pytest.raises(engine.WatchError, match="exists"):
            engine.watch(copy.deepcopy(tiny()), tmp_path / "run.maxact").__enter__()


def test_a_forked_process_measures_nothing(tmp_path: Path) -> None:
    model = tiny().eval()
    with engine.watch(model, tmp_path / "run.maxact"), torch.no_grad():
        model(some_ids(seed=1))
        watched = model.model.forward
        pid, os.getpid = os.getpid, lambda: -1  # what a forked worker would see
        try:
            watched(some_ids(seed=2))
        finally:
            os.getpid = pid
    with engine.open(tmp_path / "run.maxact") as session:
        assert session["L0 hidden"].tokens == 21


def test_room_grows_and_ends_without_losing_a_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "FIRST_SAMPLES", 4)
    monkeypatch.setattr("engine.api.recordkeeping.FIRST_SAMPLES", 4)
    monkeypatch.setattr(ledger, "MOST_SAMPLES", 16)
    monkeypatch.setattr(ledger, "KEPT_TOKENS", 30)
    model = tiny().eval()
    expected = np.zeros(2)
    with engine.watch(model, tmp_path / "run.maxact"), torch.no_grad():
        for number in range(9):
            model(some_ids(3, 5, seed=number))
    for number in range(9):
        expected = np.maximum(expected, largest_of_hidden(model, some_ids(3, 5, seed=number)))
    with engine.open(tmp_path / "run.maxact") as session:
        assert [session[layer, "hidden"].magnitude for layer in (0, 1)] == pytest.approx(expected, rel=1e-6)
        assert session["L0 hidden"].tokens == 9 * 15
        assert len(session.reader.samples_done()) == 16
        assert session.maximum is not None
