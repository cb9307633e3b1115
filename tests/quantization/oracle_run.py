"""The reference's INT8 check through the real run: the demo model, its twelve texts, 4 to calibrate and 8 to evaluate.

    python -m tests.quantization.oracle_run          print the table

- `run_check`   a finished session by the paper's protocol, of every site in compat detail
- `Captured`    the elements of the same forward passes, kept apart from the engine
- `by_element`  the metrics of symmetric INT8 by their definitions
- `table`       thresholds and metrics of every site beside the reference's
"""

from __future__ import annotations

import json
import math
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.base.job import Job
from engine.preparation.prepare import Prepared
from engine.preparation.prepare import prepare as plain_prepare
from engine.quantization.populations import Populations
from engine.quantization.schemes import error_of, threshold_of
from engine.run import runner
from engine.scheme_names import parse_scheme
from engine.schemes import Scheme
from engine.session.reader import SessionReader
from tests.engine.running import new_session
from tests.quantization.at_once import read_populations

ORACLES = Path(__file__).parent.parent / "oracles"
METRICS = ("mae", "rmse", "rel_mae", "rel_rmse", "sqnr_db", "clip_rate")
CALIBRATION = 4


def oracle() -> dict[str, Any]:
    """What the reference printed."""
    data: dict[str, Any] = json.loads((ORACLES / "smollm2_bf16_quant_sanity.json").read_text(encoding="utf-8"))
    return data


class Captured:
    """Bfloat16 elements of the hidden states, calibration and evaluation apart, taken by hooks of our own.

    Each sample counts once, whole: at the end of evaluation the beginnings of some are computed again, for damage.
    """

    def __init__(self) -> None:
        self._found: dict[str, tuple[list[torch.Tensor], list[torch.Tensor]]] = {}
        self._mask: torch.Tensor | None = None
        self._ids: torch.Tensor = torch.zeros(0)
        self._calibration: set[tuple[int, ...]] = set()
        self._left: dict[str, set[tuple[int, ...]]] = {}

    def watch(self, prepared: Prepared) -> None:
        """Keep what this model computes from now on."""
        samples = [tuple(prepared.tokenized.tokens(n).tolist()) for n in range(len(prepared.tokenized.lengths))]
        self._calibration = set(samples[:CALIBRATION])
        text = prepared.text_model
        text.register_forward_pre_hook(self._begin, with_kwargs=True)
        modules = {f"layer_{i}_hidden": layer for i, layer in enumerate(text.layers)} | {"final_layernorm": text.norm}
        self._left = {name: set(samples) for name in modules}
        for name, module in modules.items():
            module.register_forward_hook(lambda _module, _args, output, name=name: self._keep(name, output))

    def elements(self, name: str) -> tuple[torch.Tensor, torch.Tensor]:
        """(calibration, evaluation) elements of a site, one-dimensional."""
        first, rest = self._found[name]
        return torch.cat(first), torch.cat(rest)

    def _begin(self, _module: Any, _args: Any, inputs: dict[str, Any]) -> None:
        self._ids, self._mask = inputs["input_ids"], inputs["attention_mask"]

    def _keep(self, name: str, output: Any) -> None:
        x = output[0] if isinstance(output, tuple) else output
        for row in range(len(x)):
            length = x.shape[1] if self._mask is None else int(self._mask[row].sum())
            sample = tuple(self._ids[row, :length].tolist())
            if sample not in self._left[name]:
                continue
            self._left[name].remove(sample)
            part = 0 if sample in self._calibration else 1
            self._found.setdefault(name, ([], []))[part].append(x[row, :length].reshape(-1).clone())


def run_check(folder: Path, model: str, captured: Captured) -> Path:
    """Run the twelve texts by the paper's protocol; the session is finished."""

    def prepare(*arguments: Any, **options: Any) -> Prepared:
        prepared: Prepared = plain_prepare(*arguments, **options)
        captured.watch(prepared)
        return prepared

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(runner, "prepare", prepare)
        path = new_session(
            folder / "check.maxact",
            Job(
                model=model, corpus=str(ORACLES / "samples.jsonl"), device="cpu", dtype="bfloat16", protocol="paper",
                calibration=CALIBRATION, evaluation=8, sites="all", detail="compat", batch_tokens=512,
            ),
        )  # fmt: skip
        if runner.run(path):
            raise SystemExit(f"the run failed; see {path}.log")
    return path


def by_element(x: torch.Tensor, threshold: float) -> dict[str, float]:
    """The metrics of symmetric INT8 by their definitions, in float32 steps and float64 sums."""
    x = x.float().reshape(-1)
    scale = threshold / 127
    quantised = torch.round(x.clamp(-threshold, threshold) / scale).clamp(-127, 127) * scale
    error, wide = (quantised - x).double(), x.double()
    return {
        "mae": error.abs().mean().item(),
        "rmse": (error**2).mean().sqrt().item(),
        "rel_mae": (error.abs().sum() / wide.abs().sum()).item(),
        "rel_rmse": ((error**2).sum() / (wide**2).sum()).sqrt().item(),
        "sqnr_db": 10 * math.log10(((wide**2).sum() / (error**2).sum()).item()),
        "clip_rate": (x.abs() > threshold).double().mean().item(),
    }


@dataclass(frozen=True, slots=True)
class Line:
    """One site under one policy of the reference.

    Attributes:
        threshold, theirs: by our `--protocol paper`, and the reference's; `bin_width` of its histogram.
        found, elements, printed: metrics at the reference's threshold: of the session's histogram, of the elements of
            the same forward passes, and as the reference printed them (of another machine's forward).
        exact: the exact quantile, which the default protocol takes.
    """

    site: str
    policy: str
    threshold: float
    theirs: float
    bin_width: float
    exact: float
    found: dict[str, float]
    elements: dict[str, float]
    printed: dict[str, float]


def lines(path: Path, captured: Captured) -> Iterator[Line]:
    """Every line of the reference's table beside ours."""
    expected = oracle()
    with SessionReader(path) as reader:
        populations: Populations = read_populations(reader)
        plan = reader.meta().plan
    assert plan is not None
    assert populations.thresholds is not None
    numbers = {site.name: number for number, site in enumerate(plan.sites)}
    schemes = {"max_abs": Scheme(), "clip_q0.999": parse_scheme("int8-paper0.999")}
    for row in expected["metrics"]:
        name, policy = row["layer"], row["policy"]
        number = numbers["final_norm" if name == "final_layernorm" else name]
        errors, calibration = populations.errors[number], populations.thresholds[number]
        assert errors is not None
        assert calibration is not None
        theirs = expected["thresholds"][policy][name]
        result = error_of(Scheme(), errors, theirs)
        assert result.count == row["count"]
        yield Line(
            name,
            policy,
            threshold_of(schemes[policy], calibration),
            theirs,
            expected["thresholds"]["max_abs"][name] / 2047,
            threshold_of(parse_scheme("int8-q0.999" if policy != "max_abs" else "int8"), calibration),
            {metric: getattr(result, metric) for metric in METRICS},
            by_element(captured.elements(name)[1], theirs),
            {metric: row[metric] for metric in METRICS},
        )


def deviation(found: dict[str, float], other: dict[str, float]) -> float:
    """The largest deviation of any metric: relative, and absolute of the clip rate, which may be 0."""
    return max(abs(found[m] - other[m]) / (1.0 if m == "clip_rate" else abs(other[m])) for m in METRICS)


def table(path: Path, captured: Captured) -> str:
    """The oracle table as text."""
    head = (
        f"{'site':<17}{'policy':<13}{'T ours':>11}{'T theirs':>11}{'bins apart':>11}{'exact T':>10}{'SQNR':>8}"
        f"{'theirs':>8}{'clip o/oo':>11}{'theirs':>8}{'rel. dev.':>11}"
    )
    rows = [head]
    for line in lines(path, captured):
        apart = abs(line.threshold - line.theirs) / line.bin_width
        rows.append(
            f"{line.site:<17}{line.policy:<13}{line.threshold:>11.5g}{line.theirs:>11.5g}{apart:>11.2f}{line.exact:>10.4g}"
            f"{line.found['sqnr_db']:>8.3f}{line.printed['sqnr_db']:>8.3f}{line.found['clip_rate'] * 1e3:>11.4f}"
            f"{line.printed['clip_rate'] * 1e3:>8.4f}{deviation(line.found, line.elements):>11.1e}"
        )
    return "\n".join(rows)


def main() -> None:
    from engine.loading.demo import find_demo_model

    captured = Captured()
    with tempfile.TemporaryDirectory() as folder:
        path = run_check(Path(folder), find_demo_model(), captured)
        sys.stdout.write(table(path, captured) + "\n")


if __name__ == "__main__":
    main()
