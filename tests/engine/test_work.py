"""Work on the loaded model: prompts and samples are measured beside a run, which does not notice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen3MoeConfig

from engine.process import start_service
from engine.run.runner import run
from engine.session.reader import SessionReader
from engine.session.records import ENDED, Command, Result
from engine.session.requests import send_command
from tests.engine.running import assert_equal_totals, new_session, read_totals, tiny_job, write_corpus
from tests.models import TINY_LLAMA, tiny_folder, tiny_llama_folder
from tests.values import some
from tests.waiting import until


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama_folder(tmp_path_factory.mktemp("work") / "llama")


def answered(path: Path, number: int) -> Command:
    """The command once it is done or refused."""
    with SessionReader(path) as reader:
        until(lambda: reader.commands(number - 1)[0].state not in ("new", "working"), reader.commands)
        return reader.commands(number - 1)[0]


def only_result(path: Path, kind: str = "probe") -> tuple[Result, dict[str, np.ndarray]]:
    with SessionReader(path) as reader:
        (result,) = reader.results(kind)
        return result, reader.result_arrays(result.number)


class TestProbeDuringARun:
    def test_a_prompt_has_the_maxima_of_the_models_own_hidden_states(self, llama: Path, tmp_path: Path) -> None:
        path = new_session(tmp_path / "a.maxact", tiny_job(llama, write_corpus(tmp_path / "c.jsonl"), dtype="float32"))
        text = "the warm sea closes"
        number = send_command(path, "probe", {"text": text})
        assert run(path) == 0
        result, arrays = only_result(path)
        command = answered(path, number)
        assert (command.state, command.answer["result"]) == ("done", result.number)
        ids = AutoTokenizer.from_pretrained(llama)(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
        np.testing.assert_array_equal(arrays["token_ids"], ids[0].numpy())
        with torch.inference_mode():
            model = AutoModelForCausalLM.from_pretrained(llama, dtype=torch.float32)
            states = model(ids, output_hidden_states=True).hidden_states
        with SessionReader(path) as reader:
            sites = {site.name: number for number, site in enumerate(some(reader.meta().plan).sites)}
            assert b"".join(reader.pieces(arrays["token_ids"])).decode() == text
        for layer in range(len(states) - 2):
            state = states[layer + 1][0].numpy()
            channel = arrays["channels"][sites[f"layer_{layer}_hidden"]]
            peaks = np.take_along_axis(state, channel[:, None], axis=-1)[:, 0]
            # Whichever of two nearly equal channels is named, it holds the largest |x|, and with its sign.
            np.testing.assert_allclose(np.abs(peaks), np.abs(state).max(axis=-1), rtol=1e-5)
            np.testing.assert_allclose(arrays["maxima"][sites[f"layer_{layer}_hidden"]], peaks, rtol=1e-5)
        best = result.data["maximum"]
        assert best["value"] == arrays["maxima"][best["site"], best["token"]]

    def test_the_run_does_not_notice(self, llama: Path, tmp_path: Path) -> None:
        corpus = write_corpus(tmp_path / "c.jsonl")
        plain = new_session(tmp_path / "plain.maxact", tiny_job(llama, corpus))
        asked = new_session(tmp_path / "asked.maxact", tiny_job(llama, corpus))
        for text in ("river", "snow of mountains " * 20):
            send_command(asked, "probe", {"text": text})
        assert (run(plain), run(asked)) == (0, 0)
        assert_equal_totals(read_totals(plain), read_totals(asked))
        with SessionReader(asked) as reader:
            assert len(reader.results("probe")) == 2

    def test_what_cannot_be_done_is_refused_in_one_line(self, llama: Path, tmp_path: Path) -> None:
        path = new_session(tmp_path / "a.maxact", tiny_job(llama, write_corpus(tmp_path / "c.jsonl")))
        wrong: list[dict[str, Any]] = [{"text": ""}, {"sample": 999}, {"text": "sea", "policy": "sung"}]
        numbers = [send_command(path, "probe", arguments) for arguments in wrong]
        cancelled = send_command(path, "probe", {"text": "sea"})
        send_command(path, "cancel", {"command": cancelled})
        assert run(path) == 0
        answers = [answered(path, number) for number in [*numbers, cancelled]]
        assert [answer.state for answer in answers] == ["refused"] * 4
        for answer, said in zip(
            answers, ("no text", "no sample 999", "no token policy 'sung'", "cancelled"), strict=True
        ):
            assert said in answer.text
            assert "\n" not in answer.text


def test_the_tokens_of_a_sample_have_its_measured_maximum(tmp_path: Path) -> None:
    """Every site, experts included; each sample is measured alone, so both are the same forward."""
    config = Qwen3MoeConfig(**TINY_LLAMA, head_dim=8, num_experts=8, num_experts_per_tok=2, moe_intermediate_size=16)
    folder = tiny_folder(tmp_path / "moe", config)
    job = tiny_job(folder, write_corpus(tmp_path / "c.jsonl", 3), batch_tokens=1, sites="all", dtype="float32")
    path = new_session(tmp_path / "a.maxact", job)
    for sample in range(3):
        send_command(path, "probe", {"sample": sample})
    assert run(path) == 0
    with SessionReader(path) as reader:
        measured = reader.sample_maxima()
        for result in reader.results("probe"):
            arrays = reader.result_arrays(result.number)
            largest = np.nanmax(np.abs(arrays["maxima"]), axis=1)
            np.testing.assert_allclose(largest, measured[:, result.data["sample"]], rtol=1e-5)
            assert (arrays["channels"] >= 0).all()


def test_an_ended_run_is_asked_through_a_service(llama: Path, tmp_path: Path) -> None:
    path = new_session(tmp_path / "a.maxact", tiny_job(llama, write_corpus(tmp_path / "c.jsonl")))
    assert run(path) == 0
    before = read_totals(path)
    start_service(path)
    probe = answered(path, send_command(path, "probe", {"text": "winter"}))
    pause = answered(path, send_command(path, "pause"))
    with SessionReader(path) as reader:
        service = reader.service()
        assert service is not None
        assert (service.phase, reader.status().phase) == ("running", "finished")
    answered(path, send_command(path, "stop"))
    assert (probe.state, pause.state) == ("done", "refused")
    with SessionReader(path) as reader:
        until(lambda: (service := reader.service()) is None or service.phase in ENDED, reader.service)
        service = reader.service()
        assert service is not None
        assert (service.phase, reader.status().phase) == ("stopped", "finished")
    assert_equal_totals(before, read_totals(path))
