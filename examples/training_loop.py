"""A training loop in which a massive activation is born, and what `engine.watch` says of it.

    python examples/training_loop.py [SESSION]

The learning rate is far too high in step 20. A loss that spikes says that something is wrong; the session says
where: in which layer and channel, and since which step.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))
from tiny import TEXTS, tiny_model, tiny_tokenizer

import engine


def main(session: str = "training.maxact") -> engine.Session:
    """Train 30 steps, watched, and print the largest |x| of the residual stream by step."""
    model, tokenizer = tiny_model().train(), tiny_tokenizer()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05)
    batch = tokenizer(TEXTS, return_tensors="pt", padding=True)
    labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
    with engine.watch(model, session, tokenizer=tokenizer, checkpoint_seconds=1) as watched:
        for step in range(30):
            watched.step(step)
            optimiser.param_groups[0]["lr"] = 20.0 if step == 20 else 0.05
            model(**batch, labels=labels).loss.backward()
            optimiser.step()
            optimiser.zero_grad()
    found = engine.open(session)
    hidden = [view for view in found.sites if view.component == "hidden"]
    samples = found.to_pandas("samples")
    for step in (0, 10, 20, 21, 25, 29):
        rows = samples.index[samples["sample"] // len(TEXTS) == step]
        largest = max(hidden, key=lambda view: view.samples[rows].max())
        print(f"step {step:2}: {largest.samples[rows].max():12,.4g} at {largest.name}")
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])
