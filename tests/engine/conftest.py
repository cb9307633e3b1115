"""Runs of models with NaN and infinity planted in them, which several files look at."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.run.runner import run
from tests.engine.running import new_session, tiny_job, write_corpus
from tests.planting import PLANTS, POISON, planted_llama


@pytest.fixture(scope="session")
def planted_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 short texts; only number 5 has the poisoned token, in its middle."""
    path = write_corpus(tmp_path_factory.mktemp("nonfinite") / "c.jsonl")
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    lines[5]["text"] = f"the warm sea {POISON} closes"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def planted_sessions(tmp_path_factory: pytest.TempPathFactory, planted_corpus: Path) -> dict[str | None, Path]:
    """A finished run of every plant, and of the whole model."""
    folder = tmp_path_factory.mktemp("planted")
    found: dict[str | None, Path] = {}
    for plant in (None, *PLANTS):
        name = plant or "whole"
        model = planted_llama(folder / name, plant)
        job = tiny_job(
            model,
            planted_corpus,
            sites="all",
            quant="full",
            detail="compat",
            calibration=6,
            evaluation=6,
            batch_tokens=64,
        )
        found[plant] = new_session(folder / f"{name}.maxact", job)
        assert run(found[plant]) == 0
    return found
