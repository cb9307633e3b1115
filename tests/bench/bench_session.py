"""What the session file costs: a checkpoint, a tick, opening, watching. By hand: python -m tests.bench.bench_session.

Prints medians and sizes; nothing is asserted.

What ticks and checkpoints took of a real run is in the last lines of its log.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from engine.analysis.model import analyse
from engine.base.job import Job
from engine.session.reader import SessionReader
from engine.session.records import SampleRecord, Status
from engine.session.writer import SessionWriter
from engine.sites.site import HookPlan, Site
from engine.statistics.fields import LIVE_FIELDS
from engine.statistics.meter import Meter
from engine.statistics.totals import TOP_DTYPE, TOP_K, SiteTotals

COMPONENTS = ("attn_output", "mlp_gate", "mlp_output", "hidden")


def site_totals(width: int, samples: int, seed: int) -> SiteTotals:
    """Totals as a bfloat16 site of a real model has them: some 8,000 used patterns, counts over many decades."""
    random = np.random.default_rng(seed)
    empty = SiteTotals.empty("bfloat16", width, samples, census=True)
    values = (random.standard_normal(400_000) * np.exp(random.standard_normal(400_000))).astype(np.float32)
    patterns = (values.view(np.uint32) >> 16).astype(np.int64)
    top = np.zeros(TOP_K, TOP_DTYPE)
    top["value"] = -np.sort(-random.random(TOP_K)) * 20_000
    top["sample"], top["position"] = random.integers(0, samples, TOP_K), random.integers(0, 4096, TOP_K)
    census = np.zeros_like(empty.channel_tokens)
    census[:, :3] = 5_000
    maxima = np.zeros_like(empty.token_maxima)
    maxima[random.integers(17_000, 18_500, 400)] = random.integers(1, 9_999, 400)
    arrays = empty.to_arrays()
    arrays.update(
        tokens=np.array(10_000_000),
        histogram=np.bincount(patterns, minlength=65_536) * 1_000,
        extremes=np.array([20_000.0, -500.0]),
        token_maxima=maxima,
        channel_max=random.random(width).astype(np.float32),
        channel_tokens=census,
        sample_max=random.random(samples).astype(np.float32),
        top=top,
    )
    return SiteTotals.from_arrays("bfloat16", width, arrays)


def median_ms(action: Callable[[], object], rounds: int) -> float:
    """Median wall time of `action` in milliseconds."""
    taken = []
    for _ in range(rounds):
        started = time.perf_counter()
        action()
        taken.append((time.perf_counter() - started) * 1e3)
    return statistics.median(taken)


def measure_meter(sites: int, width: int, samples: int, rounds: int) -> None:
    """What ticks and checkpoints cost the engine's thread, against doing all of a checkpoint there."""
    random = np.random.default_rng(0)
    numbers = random.standard_normal((64, width)) * np.exp(random.standard_normal((64, width)))
    x = torch.from_numpy(numbers).to(torch.bfloat16)
    meter = Meter(sites, samples, "standard", "auto", [True] * sites, print)
    taken: dict[str, list[float]] = {}

    def timed(name: str, action: Callable[[], object]) -> None:
        taken.setdefault(name, []).append(median_ms(action, 1))

    for turn in range(rounds + 1):
        for _ in range(2):
            meter.begin_batch(None, np.full(64, turn % samples), np.arange(64))
            for site in range(sites):
                meter.record(site, x)
            meter.end_batch()
            if turn == 0:
                meter.drain()
                continue
            timed("tick, live numbers", lambda: meter.live(rms=False))
            timed("the same with root mean squares", meter.live)
            if "set aside" in taken and len(taken["set aside"]) > len(taken.get("all of it at once", [])):
                timed("all of it at once", meter.drain)
                continue
            timed("set aside", meter.set_aside)
            timed("added up in the thread", meter.absorb)
    print("on the engine's thread unless it says otherwise:")
    for name, times in taken.items():
        print(f"  {name:<32} {statistics.median(times):8.2f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sites", type=int, default=300)
    parser.add_argument("--width", type=int, default=4096)
    parser.add_argument("--samples", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=9)
    wanted = parser.parse_args()
    torch.set_num_threads(1)
    measure_meter(wanted.sites, wanted.width, wanted.samples, wanted.rounds)
    layers = wanted.sites // len(COMPONENTS)
    sites = tuple(
        Site(f"layer_{i // 4}_{COMPONENTS[i % 4]}", i // 4, COMPONENTS[i % 4], "m") for i in range(wanted.sites)
    )
    plan = HookPlan(sites, (), "bench", layers, wanted.width, "model")
    totals = [site_totals(wanted.width, wanted.samples, seed) for seed in range(wanted.sites)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.maxact"
        writer = SessionWriter.create(path, Job(model="bench"))
        writer.set_meta(plan=plan.to_json())
        writer.add_samples(
            (SampleRecord(i, "web", "en", "", False, np.arange(64, dtype=np.int32)) for i in range(wanted.samples)), {}
        )
        before = path.stat().st_size
        done = iter(range(wanted.samples))

        def checkpoint() -> None:
            writer.checkpoint(Status(phase="running"), totals, np.array([next(done) for _ in range(8)]))

        checkpoint()
        live = np.random.default_rng(0).random((wanted.sites, len(LIVE_FIELDS)))
        print(f"{wanted.sites} sites, width {wanted.width}, {wanted.samples} samples; medians of {wanted.rounds}")
        print(f"checkpoint     {median_ms(checkpoint, wanted.rounds):8.1f} ms")
        print(f"tick           {median_ms(lambda: writer.tick(Status(), live), 50):8.2f} ms")
        writer.close(final=True)
        print(f"arrays written {(path.stat().st_size - before) / 2**20:8.2f} MiB")

        def open_and_read() -> None:
            with SessionReader(path) as reader:
                analyse(reader)

        def open_and_look() -> None:
            with SessionReader(path) as reader:
                reader.meta(), reader.status(), reader.live()

        print(f"open, first frame's data {median_ms(open_and_look, wanted.rounds):8.1f} ms")
        print(f"open, analyse everything {median_ms(open_and_read, 3):8.1f} ms")


if __name__ == "__main__":
    main()
