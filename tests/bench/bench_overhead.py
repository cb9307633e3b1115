"""What measuring costs over the bare forward pass, and which statistic costs how much.

    python tests/bench/bench_overhead.py                          the demo model, bf16, 8 x 256 tokens, two threads
    python tests/bench/bench_overhead.py --preset qwen3-8b --device cuda --samples 4 --length 4096
    python tests/bench/bench_overhead.py --only numba-standard,numba-lean --rounds 9
    python tests/bench/bench_overhead.py --quant --only numba-standard,numba-full     `full` over the standard tier

Every round runs each variant once, between two bare forwards; a variant's ratio is taken within the round, so that
a machine that is busy with other things shifts both. Given are the medians over the rounds, of wall time and of the
process's CPU time. With --quant, `BACKEND-full` is standard detail with the errors of quantisers summed in the pass,
as for an evaluation batch of `--quant full` (`basic` does nothing during a batch). "Alone" is the accumulators on the
captured tensors of one batch, without a model.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from engine.messages import Message, words

sys.path.insert(0, str(Path(__file__).parents[2]))

from functools import partial

import torch

from engine.base.job import Detail
from engine.sites.hooks import attach
from engine.sites.weights import input_column_maxima
from engine.statistics.backends import BackendError, check_backend, choose_backend
from engine.statistics.meter import Meter
from engine.statistics.pass_meter import PassMeter
from tests.bench.naive import NaiveMeter
from tests.bench.shares import shares
from tests.bench.workload import PRESETS, Workload, local_workload, random_workload

DETAILS: tuple[Detail, ...] = ("lean", "standard", "compat")
Variant = Callable[[], None]


def main() -> None:
    options = _options()
    torch.set_num_threads(options.threads)
    size = (options.device, options.dtype, options.samples, options.length, options.ragged, options.sites)
    work = random_workload(options.preset, *size) if options.preset else local_workload(options.model, *size)
    captured = _capture(work)
    elements = sum(int(work.lengths.sum()) * x.shape[-1] for x in captured.values())
    print(
        f"{options.preset or options.model}, {options.dtype} on {options.device}, {options.samples} x {options.length} "
        f"tokens, {len(captured)} sites, {elements / 1e6:.0f} M elements, torch {torch.__version__}, "
        f"{torch.get_num_threads()} threads"
    )
    made = _variants(work, captured if options.quant else None)
    variants = {name: make for name, make in made.items() if not options.only or name in options.only}
    _warm(work, variants)
    if not options.alone:
        found = _rounds(work, variants, options.rounds)
        _print_rounds(found, int(work.lengths.sum()))
        _print_full_over_standard(found)
    _print_alone(work, captured, elements, variants)
    for line in shares(work, captured, elements):
        print(line)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="demo", help="hub id, folder, GGUF file, or demo")
    parser.add_argument("--preset", choices=sorted(PRESETS), help="random weights of these dimensions instead")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="bfloat16", choices=["bfloat16", "float16", "float32"])
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--ragged", action="store_true", help="samples of a quarter to the full length")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", type=lambda names: names.split(","), help="these variants, comma separated")
    parser.add_argument("--quant", action="store_true", help="quantiser errors summed in the pass, too")
    parser.add_argument("--sites", default="paper", choices=["paper", "gemm", "all"])
    parser.add_argument("--alone", action="store_true", help="skip the forward passes")
    return parser.parse_args()


def _variants(work: Workload, captured: dict[int, torch.Tensor] | None) -> dict[str, Callable[[], Any]]:
    """Name -> a function that makes a fresh meter; `none` hooks every site and does nothing.

    With tensors to calibrate on, each backend also has a variant that sums the errors of quantisers.
    """
    census = [site.counts_for_m for site in work.plan.sites]
    found: dict[str, Callable[[], Any]] = {"none": _Nothing, "naive": lambda: NaiveMeter(census)}
    for backend in ("torch", "numba", "triton"):
        try:
            check_backend(backend)
            choose_backend(backend, work.tokens.device)
        except BackendError:
            continue
        for detail in DETAILS:
            found[f"{backend}-{detail}"] = partial(
                Meter, len(census), len(work.lengths), detail, backend, census, _complain
            )
        if captured is not None:
            found[f"{backend}-full"] = partial(_with_quantisers, work, captured, backend)
    return found


def _with_quantisers(work: Workload, captured: dict[int, torch.Tensor], backend: str) -> Meter:
    """Standard detail, and the sums of quantisers that were calibrated on the batch itself."""
    census = [site.counts_for_m for site in work.plan.sites]
    meter = Meter(len(census), len(work.lengths), "standard", backend, census, _complain)
    quantisers = PassMeter(len(census), backend)
    for site, x in captured.items():
        largest = x.reshape(-1, x.shape[-1]).float().abs().amax(0).cpu().numpy()
        readers = work.plan.sites[site].readers
        quantisers.calibrate(site, largest, input_column_maxima(work.model, readers) if readers else None)
    meter.also = quantisers.update
    return meter


class _Nothing:
    def record(self, site: int, x: torch.Tensor, token_index: torch.Tensor | None = None) -> None:
        pass


def _complain(site: int, problem: Message) -> None:
    sys.exit(f"site {site}: {words(problem)}")


@contextmanager
def _in_batch(work: Workload, meter: Any) -> Iterator[None]:
    if isinstance(meter, Meter):
        meter.begin_batch(*work.rows)
    elif isinstance(meter, NaiveMeter):
        meter.begin_batch(work.mask)
    yield
    if not isinstance(meter, _Nothing):
        meter.end_batch()


def _capture(work: Workload) -> dict[int, torch.Tensor]:
    captured: dict[int, torch.Tensor] = {}
    with attach(work.model, work.plan, lambda site, x, *_: captured.__setitem__(site, x.clone()), _complain):
        work.forward()
    return captured


def _hooked(work: Workload, meter: Any) -> None:
    with attach(work.model, work.plan, meter.record, _complain), _in_batch(work, meter):
        work.forward()


def _alone(work: Workload, captured: dict[int, torch.Tensor], meter: Any) -> None:
    with torch.inference_mode(), _in_batch(work, meter):
        for site, x in captured.items():
            meter.record(site, x)
    if work.tokens.device.type == "cuda":
        torch.cuda.synchronize()


def _warm(work: Workload, variants: dict[str, Callable[[], Any]]) -> None:
    for name, make in variants.items():
        if name != "naive":
            _hooked(work, make())
    work.forward()


def _timed(run: Variant) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - wall, time.process_time() - cpu


def _rounds(
    work: Workload, variants: dict[str, Callable[[], Any]], rounds: int
) -> dict[str, list[tuple[tuple[float, float], tuple[float, float]]]]:
    """For each variant and round (its times, the mean times of the bare forwards before and after it)."""
    # Meters live through the rounds, as in a run; the first batch, which fills the top lists, is not timed.
    meters = {name: make() for name, make in variants.items()}
    for name, meter in meters.items():
        if name != "naive":
            _hooked(work, meter)
    found: dict[str, list[Any]] = {"bare again": [], **{name: [] for name in variants}}
    before = _timed(work.forward)
    for _ in range(rounds):
        for name, pairs in found.items():
            run = work.forward if name == "bare again" else partial(_hooked, work, meters[name])
            times = _timed(run)
            after = _timed(work.forward)
            pairs.append((times, tuple((a + b) / 2 for a, b in zip(before, after, strict=True))))
            before = after
    return found


def _print_rounds(found: dict[str, list[Any]], tokens: int) -> None:
    bare = statistics.median(pair[1][0] for pairs in found.values() for pair in pairs)
    print(f"\nbare forward: median {bare:.3f} s, {tokens / bare:,.0f} tokens/s")
    print(f"{'variant':<18}{'seconds':>9}{'x wall':>9}{'best':>8}{'worst':>8}{'x cpu':>9}")
    for name, pairs in found.items():
        wall = [times[0] / base[0] for times, base in pairs]
        cpu = [times[1] / base[1] for times, base in pairs]
        seconds = statistics.median(times[0] for times, _ in pairs)
        print(
            f"{name:<18}{seconds:>9.3f}{statistics.median(wall):>9.3f}{min(wall):>8.2f}{max(wall):>8.2f}"
            f"{statistics.median(cpu):>9.3f}"
        )


def _print_full_over_standard(found: dict[str, list[Any]]) -> None:
    """Within each round, `full` over the standard tier of the same backend."""
    for name in [name for name in found if name.endswith("-full")]:
        standard = found.get(name.replace("full", "standard"))
        if standard:
            # Each is over its own bare forwards, so that a busy machine shifts both.
            pairs = zip(found[name], standard, strict=True)
            ratios = [(a[0][0] / a[1][0]) / (b[0][0] / b[1][0]) for a, b in pairs]
            print(
                f"{name} over standard: median {statistics.median(ratios):.3f}, {min(ratios):.2f} to {max(ratios):.2f}"
            )


def _print_alone(
    work: Workload, captured: dict[int, torch.Tensor], elements: int, variants: dict[str, Callable[[], Any]]
) -> None:
    print(f"\n{'alone':<18}{'ms':>9}{'ns/element':>12}{'cpu ms':>9}")
    for name, make in variants.items():
        if name == "none":
            continue
        meter = make()
        runs = [_timed(partial(_alone, work, captured, meter)) for _ in range(3 if name == "naive" else 9)]
        wall, cpu = (statistics.median(run[kind] for run in runs[1:]) for kind in (0, 1))
        print(f"{name:<18}{wall * 1e3:>9.1f}{wall / elements * 1e9:>12.2f}{cpu * 1e3:>9.1f}")


if __name__ == "__main__":
    main()
