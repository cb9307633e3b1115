"""Rounds of SIGKILL at random moments; what each lost. By hand: python -m tests.bench.kill_rounds."""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from pathlib import Path

from tests.engine.killing import Killer
from tests.engine.running import write_corpus
from tests.models import tiny_llama_folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        corpus = write_corpus(home / "corpus.jsonl", samples=60)
        killer = Killer(home, tiny_llama_folder(home / "tiny"), corpus, wanted.seed)
        rounds = [killer.play(number) for number in range(wanted.rounds)]
    print(f"{len(rounds)} rounds, {sum(one.kills for one in rounds)} kills: all reopened, resumed and ended equal")
    print(f"phase when read after the kill: {dict(Counter(one.phase for one in rounds))}")
    print(f"batches lost after the last checkpoint: {dict(Counter(one.batches_lost for one in rounds))}")
    print(f"batches done at the kill: {dict(sorted(Counter(one.batches_done for one in rounds).items()))}")


if __name__ == "__main__":
    main()
