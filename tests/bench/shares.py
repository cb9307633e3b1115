"""What each statistic costs: the steps of a sweep timed one by one on captured tensors.

- `shares`   printable lines
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from engine.base.job import Detail
from engine.statistics.meter import Meter
from tests.bench.workload import Workload

TORCH_STEPS = {
    "_set_nonfinite_aside": "non-finite",
    "_update_extremes": "signed extremes",
    "_count_patterns": "pattern histogram",
    "_add_powers": "power sums (float32)",
    "_count_log_bins": "log histogram (float32)",
    "_update_tokens": "samples, token maxima",
    "_judge_tokens": "token medians, Sun",
    "_take_census": "channel census",
    "update_top": "top 100",
}
NUMBA_STEPS = {
    "_read_rows": "maxima, patterns, medians",
    "_take_census": "channel census",
    "_keep_top": "top 100",
}


def shares(work: Workload, captured: dict[int, torch.Tensor], elements: int) -> list[str]:
    """A table for each CPU backend that is there: nanoseconds per element of each step, in compat detail."""
    if work.tokens.device.type != "cpu":
        return []
    lines = _table("torch", _steps_of_torch(), work, captured, elements)
    try:
        from engine.statistics.backends.numba_ import NumbaBackend
    except ImportError:
        return lines
    steps = [(NumbaBackend, name, label) for name, label in NUMBA_STEPS.items()]
    return [*lines, *_table("numba", steps, work, captured, elements), *_numba_sweep(work, captured, elements)]


def _steps_of_torch() -> list[tuple[Any, str, str]]:
    from engine.statistics.backends import torch_

    return [(torch_, name, label) for name, label in TORCH_STEPS.items()]


@contextmanager
def _timing(steps: list[tuple[Any, str, str]], spent: dict[str, float]) -> Iterator[None]:
    """Replace each step by one that adds its time to `spent`."""
    originals = [(module, name, getattr(module, name)) for module, name, _ in steps]

    def timed(function: Callable[..., Any], label: str) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            start = time.perf_counter()
            result = function(*arguments)
            spent[label] += time.perf_counter() - start
            return result

        return run

    for (module, name, label), (_, _, function) in zip(steps, originals, strict=True):
        setattr(module, name, timed(function, label))
    try:
        yield
    finally:
        for module, name, function in originals:
            setattr(module, name, function)


def _meter(work: Workload, backend: str, detail: Detail) -> Meter:
    census = [site.counts_for_m for site in work.plan.sites]
    return Meter(len(census), len(work.lengths), detail, backend, census, lambda site, text: None)


def _sweep(work: Workload, captured: dict[int, torch.Tensor], meter: Meter) -> float:
    start = time.perf_counter()
    with torch.inference_mode():
        meter.begin_batch(*work.rows)
        for site, x in captured.items():
            meter.record(site, x)
        meter.end_batch()
    return time.perf_counter() - start


def _table(
    backend: str, steps: list[tuple[Any, str, str]], work: Workload, captured: dict[int, torch.Tensor], elements: int
) -> list[str]:
    lines = [f"\n{backend + ', steps in':<30}{'standard':>10}{'compat':>10}   ns/element"]
    columns = []
    details: tuple[Detail, ...] = ("standard", "compat")
    for detail in details:
        meter, spent = _meter(work, backend, detail), defaultdict[str, float](float)
        _sweep(work, captured, meter)
        with _timing(steps, spent):
            rounds = []
            for _ in range(5):
                spent.clear()
                rounds.append((_sweep(work, captured, meter), dict(spent)))
            whole = min(rounds, key=lambda one: one[0])
        columns.append({**whole[1], "the rest": whole[0] - sum(whole[1].values())})
    for label in [*(label for _, _, label in steps), "the rest"]:
        values = "".join(f"{column.get(label, 0.0) / elements * 1e9:>10.3f}" for column in columns)
        lines.append(f"{label:<30}{values}")
    return lines


def _numba_sweep(work: Workload, captured: dict[int, torch.Tensor], elements: int) -> list[str]:
    """The one pass of numba, with statistics switched off one after the other."""
    lines = ["within the pass:"]
    for label, what in (("maxima only", (0, 0, 0)), ("with patterns", (1, 0, 0)), ("with all medians", (1, 0, 2))):
        meter = _meter(work, "numba", "compat")
        _sweep(work, captured, meter)
        for accumulator in meter._accumulators:
            assert accumulator is not None
            accumulator.state.views.what[:] = what
        best = min(_sweep(work, captured, meter) for _ in range(5))
        lines.append(f"  {label:<28}{best / elements * 1e9:>10.3f}")
    return lines
