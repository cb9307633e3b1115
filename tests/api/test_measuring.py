"""`engine.measure`: equal to the command's run of the same texts, number for number."""

from __future__ import annotations

import json
import os
import signal
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

import engine
from engine.run.runner import run
from engine.session.reader import SessionReader
from engine.session.schema import SessionError
from tests.engine.running import new_session, tiny_job, write_corpus
from tests.waiting import until


def entries(corpus: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in corpus.read_text(encoding="utf-8").splitlines()]


def magnitudes(path: Path) -> np.ndarray:
    with SessionReader(path) as reader:
        return reader.saved_magnitude()


OPTIONS: dict[str, Any] = {"device": "cpu", "batch_tokens": 128, "backend": "torch", "threads": 1, "progress": False}


@pytest.mark.parametrize("is_loaded", [False, True])
def test_the_numbers_are_those_of_the_command(tiny_model_folder: Path, tmp_path: Path, is_loaded: bool) -> None:
    corpus = write_corpus(tmp_path / "texts.jsonl", 9)
    path = new_session(tmp_path / "command.maxact", tiny_job(tiny_model_folder, corpus, sites="paper+gemm"))
    assert run(path) == 0
    model: Any = tiny_model_folder
    tokenizer = None
    if is_loaded:
        model = AutoModelForCausalLM.from_pretrained(tiny_model_folder)
        model.train()
        tokenizer = AutoTokenizer.from_pretrained(tiny_model_folder)
    session = engine.measure(
        model, entries(corpus), tokenizer=tokenizer, sites="paper+gemm", session=tmp_path / "api", **OPTIONS
    )
    with session:
        assert session.is_finished
        assert session.path == tmp_path / "api.maxact"
        np.testing.assert_array_equal(session.reader.saved_magnitude(), magnitudes(path))
        assert session.board.rows[0] is not None
    if is_loaded:
        assert model.training
        assert all(parameter.requires_grad for parameter in model.parameters())


def test_wrong_arguments_are_said_before_anything_is_written(tiny_model_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="no option 'dtpe'"):
        engine.measure(tiny_model_folder, ["a"], session=tmp_path / "a", dtpe="bfloat16")
    with pytest.raises(TypeError, match="give a list of texts"):
        engine.measure(tiny_model_folder, "a text", session=tmp_path / "a")
    with pytest.raises(TypeError, match="tokenizer=tokenizer"):
        engine.measure(AutoModelForCausalLM.from_pretrained(tiny_model_folder), ["a"], session=tmp_path / "a")
    with pytest.raises(engine.MaxactError, match="no texts"):
        engine.measure(tiny_model_folder, [], session=tmp_path / "none", **OPTIONS)
    (tmp_path / "there.maxact").touch()
    with pytest.raises(engine.MaxactError, match="exists"):
        engine.measure(tiny_model_folder, ["a"], session=tmp_path / "there", **OPTIONS)


def test_an_interrupt_ends_it_and_gives_what_was_measured(tiny_model_folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "run.maxact"

    def has_begun() -> bool:
        try:
            with SessionReader(path) as reader:
                return len(reader.samples_done()) > 0
        except SessionError:  # not written yet
            return False

    def interrupt() -> None:
        until(has_begun)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    texts = ["the river carries snow down to the warm sea"] * 4_000
    with engine.measure(
        tiny_model_folder, texts, session=path, sites="paper", checkpoint_seconds=0.0, quant="off", **OPTIONS
    ) as session:
        thread.join()
        assert session.phase == "stopped"
        assert 0 < len(session.reader.samples_done()) < len(texts)
        assert session.maximum is not None
