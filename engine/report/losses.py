"""What a deployment's quantiser costs the input of every matrix product, as the recipe leaves it: the dearest first.

- `Deployment`, `DEPLOYMENTS`  the quantisers there are recipes for, by name
- `InputLoss`, `input_losses`  what one costs each input
- `loss_of`                    the one number that ranks, and decides what is left alone

Where SmoothQuant comes first, the input is judged after it: from errors summed in the pass where there are such
(`--quant full`), for one scale per tensor from the maxima of channels and weights.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np

from engine.analysis.lacking import not_measured
from engine.formats import find_integer
from engine.quantization.board import pass_error
from engine.quantization.distribution import Distribution
from engine.quantization.metrics import QuantError
from engine.quantization.populations import SiteReader
from engine.quantization.ranking import DAMAGE_LIMIT
from engine.quantization.schemes import evaluate
from engine.report.errors import ReportError
from engine.report.needs import Missing
from engine.report.scales import modules_reading
from engine.scheme_names import find_scheme
from engine.schemes import Scheme
from engine.session.reader import SessionMeta, SessionReader
from engine.session.splits import CALIBRATION
from engine.sites.site import Site
from engine.statistics.patterns import magnitude_values
from engine.statistics.smoothing import smoothing_divisors
from engine.statistics.totals import SiteTotals

SMOOTHING_STRENGTH: Final = 0.5
_LEVELS: Final = find_integer(8).level
_NEEDED: Final = frozenset({"histogram", "token_maxima"})
_NO_INPUTS: Final = (
    "no inputs of matrix products were measured, or without histograms; run again with --sites gemm --detail standard"
)
Judged = Literal["smoothed", "as it is", "unknown", "unseen", "not finite"]
_NONE_FINITE: Final = (
    "no input of a matrix product has a finite element that could be judged, so there is no recipe; maxact-tui show"
    " says where that begins"
)


@dataclass(frozen=True, slots=True)
class Deployment:
    """A quantiser of weights and activations that tools know.

    Attributes:
        name: as typed.
        title: in words.
        scheme: the session's own quantiser of activations, by name.
        smooths: SmoothQuant comes before it.
        bound: of mean |error| over mean |x|, above which a module is left alone; 4 bits cost about 0.1 anyway.
    """

    name: str
    title: str
    scheme: str
    smooths: bool = False
    bound: float = 0.1


DEPLOYMENTS: Final = {
    one.name: one
    for one in (
        Deployment("int8-token", "INT8, a scale for each token", "int8-token", smooths=True),
        Deployment("int8", "INT8, one scale for each input", "int8", smooths=True),
        Deployment("fp8", "FP8 E4M3, one scale for each input", "e4m3"),
        Deployment("fp8-dynamic", "FP8 E4M3, a scale for each token", "e4m3"),
        Deployment("nvfp4", "NVFP4, a scale for each 16 channels of a token", "nvfp4", bound=0.15),
    )
}


@dataclass(frozen=True, slots=True)
class InputLoss:
    """What a quantiser costs one input.

    Attributes:
        site: the input.
        modules: the linear modules that read it; empty for fused experts.
        rel_mae: mean |error| over mean |x|; NaN if unknown.
        sqnr_db: which outliers mask: infinite for no error, NaN if unknown.
        limit: of `rel_mae`.
        damage: what the error does to the stream behind the block, a share of its norm; NaN where it is not known of
            the input as it is quantised.
        judged: whether it is the input after smoothing, or as it was measured; unknown, where the run did not measure
            what it takes; unseen, where no token reached it; not finite, where nothing but NaN and infinity did.
        is_exact: False where it is estimated from maxima; then it is rather too high.
    """

    site: Site
    modules: tuple[str, ...]
    rel_mae: float
    sqnr_db: float
    judged: Judged = "as it is"
    is_exact: bool = True
    limit: float = 0.1
    damage: float = math.nan

    @property
    def is_left_alone(self) -> bool:
        """Whether its modules are not to be quantised: it costs more than its limit, or nothing finite is known."""
        return self.judged == "not finite" or loss_of(self) > 1


def loss_of(one: InputLoss) -> float:
    """The number that ranks inputs, and above 1 leaves their modules alone: how many times its limit one loses.

    Damage, by which the board ranks (`engine.quantization.ranking`), where the input was tried as it is quantised; else
    mean |error| over mean |x|, which a few massive elements cannot mask as they do SQNR.
    """
    return one.rel_mae / one.limit if math.isnan(one.damage) else one.damage / DAMAGE_LIMIT


def missing_inputs(meta: SessionMeta) -> Missing | None:
    """What a run lacks for a recipe, None if it has histograms of the inputs of matrix products."""
    sites = meta.plan.sites if meta.plan is not None else ()
    if not any(site.capture == "input" and (site.kind == "moe" or modules_reading(site, sites)) for site in sites):
        return Missing("needs --sites gemm or all", _NO_INPUTS)
    return Missing("needs --detail standard", _NO_INPUTS) if meta.job.detail == "lean" else None


def input_losses(
    reader: SessionReader, deployment: Deployment, smoothed: Collection[str] = (), never: Collection[str] = ()
) -> list[InputLoss]:
    """What a deployment costs the input of every matrix product, the dearest first, those unknown last.

    Args:
        reader: of the session.
        deployment: the quantiser.
        smoothed: linear modules whose input is smoothed before.
        never: linear modules that no deployment quantises, whose inputs are not asked after.

    Raises:
        ReportError: the session measured no inputs, or no histograms of them, or nothing finite.
    """
    with reader.snapshot():
        plan = reader.meta().plan
        sites = plan.sites if plan else ()
        populations = SiteReader(reader)
        found = [
            _judged(
                populations,
                number,
                deployment,
                _loss(reader, populations, number, site, modules, totals, deployment, smoothed),
            )
            for number, (site, totals) in enumerate(zip(sites, reader.iter_totals(), strict=True))
            if site.capture == "input" and site.kind != "vision" and (totals is None or totals.has_histogram)
            for modules in [tuple(name for name in modules_reading(site, sites) if name not in never)]
            if modules or site.kind == "moe"
        ]
        lacking = not_measured(one.missing & _NEEDED for one in reader.iter_totals(_NEEDED) if one is not None)
    if found and all(one.judged in ("unseen", "not finite") for one in found):
        raise ReportError(_NONE_FINITE if any(one.judged == "not finite" for one in found) else _NO_INPUTS)
    if not found and lacking:
        raise ReportError(f"not measured: {'; '.join(lacking)}; run again to measure it")
    if not found:
        raise ReportError(_NO_INPUTS)
    return sorted(found, key=lambda one: (math.isnan(loss_of(one)), -loss_of(one)))


def _loss(
    reader: SessionReader,
    populations: SiteReader,
    number: int,
    site: Site,
    modules: tuple[str, ...],
    totals: SiteTotals | None,
    deployment: Deployment,
    smoothed: Collection[str],
) -> InputLoss:
    """One input, by the best of what the session knows of it."""
    if totals is None or not totals.finite:
        is_bad = totals is not None and bool(totals.nonfinite.any())
        return InputLoss(site, modules, math.nan, math.nan, "not finite" if is_bad else "unseen")
    is_smoothed = deployment.smooths and any(name in smoothed for name in modules)
    in_pass, sums = find_scheme(deployment.scheme), populations.sums(number)
    if is_smoothed and in_pass is not None:
        summed = find_scheme(f"{deployment.scheme}-smooth{SMOOTHING_STRENGTH:g}")
        error = None if summed is None else pass_error(sums, summed)
        if error is not None:
            return _exact(site, modules, error, "smoothed")
    elif is_smoothed:
        estimate = _smoothed_tensor(reader, number, totals)
        if estimate is not None:
            return InputLoss(site, modules, *estimate, judged="smoothed", is_exact=False)
    if in_pass is None or deployment.scheme == "int8":
        errors, thresholds = populations.site(number, totals)
        scheme = Scheme("e4m3") if deployment.scheme == "e4m3" else Scheme()
        if errors is not None:
            return _exact(site, modules, evaluate(errors, scheme, thresholds), "as it is")
    elif (error := pass_error(sums, in_pass)) is not None:
        return _exact(site, modules, error, "as it is")
    elif deployment.scheme == "int8-token" and totals.has("token_maxima"):
        return InputLoss(site, modules, *_each_token(totals), is_exact=False)
    return InputLoss(site, modules, math.nan, math.nan, "unknown")


def _judged(populations: SiteReader, number: int, deployment: Deployment, one: InputLoss) -> InputLoss:
    """With the deployment's limit, and with the damage where the input is quantised as it was tried."""
    local = populations.local(number) if one.judged == "as it is" else None
    damage = math.nan if local is None else local.damage(deployment.scheme)
    return replace(one, limit=deployment.bound, damage=damage)


def _exact(site: Site, modules: tuple[str, ...], error: QuantError, judged: Judged) -> InputLoss:
    return InputLoss(site, modules, error.rel_mae, error.sqnr_db, judged)


def _each_token(totals: SiteTotals) -> tuple[float, float]:
    """About (relative MAE, SQNR) of INT8 with a scale per token, from the histogram of token maxima.

    An error is taken as uniform within a step; elements below half a step lose less, so this is rather too high.
    """
    values = magnitude_values(totals.dtype)
    finite = np.isfinite(values)
    steps, tokens = values[finite] / _LEVELS, totals.token_maxima[finite]
    return _relative(
        totals, float((tokens * steps).sum()) * totals.width, float((tokens * steps**2).sum()) * totals.width
    )


def _smoothed_tensor(reader: SessionReader, number: int, totals: SiteTotals) -> tuple[float, float] | None:
    """About (relative MAE, SQNR) of INT8 with one scale after SmoothQuant, from the maxima of channels and weights.

    None where the session did not keep the weights' maxima. A channel is rounded in steps of s_j max_k(|x_k| / s_k) /
    127 of its own unit, and loses no more than itself.
    """
    kept = reader.extra(f"{CALIBRATION}{number}")
    if not kept or "weight_max" not in kept:
        return None
    largest = kept["channel_max"].astype(np.float64)
    divisors = smoothing_divisors(kept["channel_max"], kept["weight_max"], SMOOTHING_STRENGTH).astype(np.float64)
    steps = np.minimum(divisors * (largest / divisors).max(initial=0.0) / _LEVELS, 2 * largest)
    tokens = float(totals.tokens)
    return _relative(totals, float(steps.sum()) * tokens, float((steps**2).sum()) * tokens)


def _relative(totals: SiteTotals, steps: float, squared_steps: float) -> tuple[float, float]:
    """(relative MAE, SQNR) from the sums over elements of the step and of its square."""
    distribution = Distribution.of(totals)
    if distribution is None or not distribution.sum_abs > 0:
        return 0.0, math.inf
    noise = squared_steps / 12
    return steps / 4 / distribution.sum_abs, 10 * math.log10(
        distribution.sum_squares / noise
    ) if noise > 0 else math.inf
