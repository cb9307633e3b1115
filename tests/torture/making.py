"""Sessions and texts for the torture.

- `stopped_session`  one that `resume` begins: made, and stopped before it measured anything
- `asked_session`    a finished run of which much was asked, and another one that it can be merged with
- `other_texts`      texts that `tests.engine.running.write_corpus` does not write
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from engine.analysis.stability import KIND, Stability
from engine.base.job import Job
from engine.run import runner
from engine.session.reader import SessionReader
from engine.session.records import Status
from engine.session.requests import send_command
from engine.session.writer import SessionWriter
from tests.engine.running import new_session, tiny_job, write_corpus
from tests.models import tiny_llama_folder


def stopped_session(path: Path, job: Job) -> Path:
    """A session file whose run was stopped before its first batch."""
    writer = SessionWriter.create(path, job)
    writer.set_status(Status(phase="stopped"))
    writer.close(final=True)
    return path


def other_texts(path: Path, samples: int) -> Path:
    """A JSONL corpus of numbered texts in two categories."""
    lines = [{"text": f"the {number}th river " + "runs on " * number, "category": "ab"[number % 2]}
             for number in range(samples)]  # fmt: skip
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def asked_session(folder: Path) -> Path:
    """A finished run with a prompt, a sample, effects and reruns beside it."""
    session, model = folder / "asked.maxact", folder / "model"
    if session.exists():
        return session
    folder.mkdir(parents=True, exist_ok=True)
    if not model.exists():
        tiny_llama_folder(model, num_hidden_layers=2)  # every round reads and writes every site a dozen times
    making = new_session(
        folder / "making.maxact", tiny_job(model, write_corpus(folder / "texts.jsonl"), sites="all", quant="full")
    )
    other = folder / "other.maxact"
    other.unlink(missing_ok=True)
    job = tiny_job(model, other_texts(folder / "other.jsonl", 8), sites="all", quant="full")
    assert runner.run(new_session(other, job)) == 0
    send_command(making, "probe", {"text": "the warm sea closes"})
    send_command(making, "probe", {"sample": 3})
    send_command(making, "effect", {"schemes": ["int8-token", "ablate-mean"], "samples": 4})
    assert runner.run(making) == 0
    writer = SessionWriter.open(making)
    with SessionReader(making) as reader:
        sites = len(reader.all_totals())
    batch, rounding = np.full(sites, 0.013), np.full(sites, -0.012)
    found = Stability("float32", "bfloat16", "", (3, 7), (40.0, 40.0, 39.0), batch, rounding, (0, 0, 0))
    writer.add_result(KIND, "reruns", {}, found.to_data(), {"batch": batch, "rounding": rounding})
    writer.close(final=True)
    making.rename(session)
    return session
