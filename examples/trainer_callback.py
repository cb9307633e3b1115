"""The `Trainer` of transformers with a callback that watches every tenth step.

python examples/trainer_callback.py [SESSION]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from transformers import Trainer, TrainerCallback, TrainingArguments

sys.path.insert(0, str(Path(__file__).parent))
from tiny import TEXTS, tiny_model, tiny_tokenizer

import engine


class WatchActivations(TrainerCallback):  # type: ignore[misc]  # of transformers, which is not followed
    """Writes a session while the trainer trains; `maxact-tui open` shows it live."""

    def __init__(self, session: str, every: int = 10) -> None:
        self.session, self.every = session, every

    def on_train_begin(self, args: Any, state: Any, control: Any, *, model: Any, **_: Any) -> None:
        self.watched = engine.watch(model, self.session, every=self.every).__enter__()

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.watched.step(state.global_step)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.watched.__exit__(None, None, None)


def main(session: str = "trainer.maxact") -> engine.Session:
    """Train 20 steps and print the session."""
    encoded = tiny_tokenizer()(TEXTS * 20, padding=True)
    rows = [{"input_ids": ids, "labels": ids} for ids in encoded["input_ids"]]
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            max_steps=20,
            per_device_train_batch_size=4,
            report_to=[],
            use_cpu=True,
            disable_tqdm=True,
            save_strategy="no",
            logging_strategy="no",
        )
        Trainer(tiny_model(), arguments, train_dataset=rows, callbacks=[WatchActivations(session)]).train()
    found = engine.open(session)
    print(found)
    print(found.sites)
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])
