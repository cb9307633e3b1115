"""Whether measuring stays as fast as it began: time per token while a run grows from ten thousand to a million tokens.

    python tests/bench/bench_growth.py [--backend numba] [--detail standard] [--tokens 1000000]

Four sites of width 576 are fed random activations with a few massive ones, drained and read as in a run.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import time
from pathlib import Path

from engine.messages import words

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np
import torch

from engine.statistics.meter import Meter

SITES, WIDTH, TEXTS, LENGTH = 4, 576, 8, 256
BATCHES_PER_DRAIN = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--detail", default="standard", choices=["lean", "standard", "compat"])
    parser.add_argument("--tokens", type=int, default=1_000_000)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    batches = options.tokens // (TEXTS * LENGTH) + 1
    meter = Meter(
        SITES,
        batches * TEXTS,
        options.detail,
        options.backend,
        [True] * SITES,
        lambda site, what: sys.exit(words(what)),
    )
    generator = torch.Generator().manual_seed(0)
    pool = [torch.randn(TEXTS, LENGTH, WIDTH, generator=generator) for _ in range(16)]
    for x in pool:
        x[:, 0, 7] = 900 * torch.randn(TEXTS, generator=generator)
    pool = [x.bfloat16() for x in pool]
    position = np.tile(np.arange(LENGTH), TEXTS)
    seconds: list[float] = []
    edges = [10**k for k in range(4, 8) if 10**k <= options.tokens]
    print(f"{options.backend}, {options.detail}, {SITES} sites of width {WIDTH}, {TEXTS} x {LENGTH} tokens a batch")
    print(f"{'tokens':>12}{'us/token':>12}{'fastest':>10}{'peak MiB':>10}")
    for number in range(batches):
        start = time.perf_counter()
        meter.begin_batch(None, np.repeat(np.arange(TEXTS) + number * TEXTS, LENGTH), position)
        for site in range(SITES):
            meter.record(site, pool[(number + site) % len(pool)])
        meter.end_batch()
        meter.live()
        if number % BATCHES_PER_DRAIN == BATCHES_PER_DRAIN - 1:
            meter.drain()
        seconds.append(time.perf_counter() - start)
        done = (number + 1) * TEXTS * LENGTH
        if edges and done >= edges[0]:
            # The latest tenth of the run so far, at least three batches, none of them among the first two.
            recent = seconds[2:][-max(len(seconds) // 10, 3) :]
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            middle, best = (t / (TEXTS * LENGTH) * 1e6 for t in (statistics.median(recent), min(recent)))
            print(f"{edges.pop(0):>12,}{middle:>12.3f}{best:>10.3f}{peak:>10.0f}")


if __name__ == "__main__":
    main()
