"""An evaluation by log-likelihoods, as lm-eval does it: which prompt carries the largest activation?

python examples/evaluation_loop.py [SESSION]
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))
from tiny import tiny_model, tiny_tokenizer

import engine

QUESTIONS = [
    ("the river carries snow down to the", ("sea", "library")),
    ("the library closes in", ("winter", "mountains")),
    ("summer is", ("long", "snow")),
]


def main(session: str = "evaluation.maxact") -> engine.Session:
    """Score every answer, and say in which question M is."""
    model, tokenizer = tiny_model().eval(), tiny_tokenizer()
    with engine.watch(model, session, tokenizer=tokenizer) as watched, torch.inference_mode():
        for number, (question, answers) in enumerate(QUESTIONS):
            watched.step(number)
            for answer in answers:
                ids = tokenizer(f"{question} {answer}", return_tensors="pt")["input_ids"]
                scores = model(ids).logits[0, -2].log_softmax(-1)
                print(f"{question} {answer}: {scores[ids[0, -1]]:.2f}")
    found = engine.open(session)
    maximum = found.maximum
    assert maximum is not None
    first = found[maximum.site].top(1)[0]
    question = QUESTIONS[first.sample // 2][0]
    print(f"M = {maximum.magnitude:.4g} at {found[maximum.site].name}, token {first.token!r} of: {question}")
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])
