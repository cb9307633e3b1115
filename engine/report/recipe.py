"""A recipe for llm-compressor: which norms smooth which linears, and which modules are better left alone.

- `LOSS_DB`        a module is left unquantised if the SQNR of its input is below this
- `InputLoss`, `input_losses`  what INT8 costs the input of every matrix product, the dearest first
- `missing_inputs`  why a run does not tell
- `Smoothing`, `smoothings`    norms and linears with the linears that read them
- `llm_compressor`  both as a recipe in YAML

The format is that of llm-compressor's `SmoothQuantModifier` (`mappings` of balance layers to one smooth layer) and
`QuantizationModifier` (`config_groups`, `ignore`); `re:` names are matched from their beginning.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from engine.analysis.lacking import not_measured
from engine.naming import corpus_name
from engine.quantization.distribution import Distribution
from engine.quantization.schemes import Scheme, evaluate
from engine.report.errors import ReportError
from engine.report.needs import Missing
from engine.report.reference import reference_model_name
from engine.report.scales import NOTHING_FINITE, modules_reading
from engine.report.wording import counted, printable
from engine.session.reader import SessionMeta, SessionReader
from engine.sites.site import HookPlan, Site
from engine.statistics.patterns import magnitude_values
from engine.statistics.totals import SiteTotals

LOSS_DB: Final = 20.0
SMOOTHING_STRENGTH: Final = 0.5
_INT8: Final = Scheme()
_NEEDED: Final = frozenset({"histogram", "token_maxima"})
_LEVELS: Final = 127
_NO_INPUTS: Final = (
    "no inputs of matrix products were measured, or without histograms; run again with --sites gemm --detail standard"
)
# Where a norm's output is itself the residual stream, smoothing would change what is added later.
_NORM_IS_A_SIDE_PATH: Final = frozenset({"pre", "post", "inside", "scaled", "parallel"})


@dataclass(frozen=True, slots=True)
class InputLoss:
    """What symmetric INT8 costs one input.

    Attributes:
        site: its name.
        modules: the linear modules that read it; empty for fused experts.
        tensor_db: SQNR with one scale for all tokens (max|x| / 127); infinite for no error.
        token_db: about the SQNR with a scale for each token, from the histogram of token maxima; elements below half
            a step lose less than the step^2 / 12 assumed here, so this is rather too low.
    """

    site: str
    modules: tuple[str, ...]
    tensor_db: float
    token_db: float


@dataclass(frozen=True, slots=True)
class Smoothing:
    """One mapping: patterns of the linears to balance, and of the module whose output is divided."""

    balance: tuple[str, ...]
    smooth: str


def missing_inputs(meta: SessionMeta) -> Missing | None:
    """What a run lacks for a recipe, None if it has histograms of the inputs of matrix products."""
    sites = meta.plan.sites if meta.plan is not None else ()
    if not any(site.capture == "input" and (site.kind == "moe" or modules_reading(site, sites)) for site in sites):
        return Missing("needs --sites gemm or all", _NO_INPUTS)
    return Missing("needs --detail standard", _NO_INPUTS) if meta.job.detail == "lean" else None


def input_losses(reader: SessionReader) -> list[InputLoss]:
    """What INT8 costs the input of every matrix product, the dearest first.

    Raises:
        ReportError: the session measured no inputs, or no histograms of them.
    """
    with reader.snapshot():
        plan = reader.meta().plan
        sites = plan.sites if plan else ()
        found = [
            _loss(site, modules, totals)
            for site, totals in zip(sites, reader.iter_totals(), strict=True)
            if totals is not None and totals.finite and totals.has_histogram
            for modules in [modules_reading(site, sites)]
            if modules or site.kind == "moe"
        ]
        lacking = not_measured(one.missing & _NEEDED for one in reader.iter_totals(_NEEDED) if one is not None)
    inputs = [loss for loss in found if loss is not None]
    if not inputs and lacking:
        raise ReportError(f"not measured: {'; '.join(lacking)}; run again to measure it")
    if not inputs:
        raise ReportError(_NO_INPUTS if missing_inputs(reader.meta()) else NOTHING_FINITE)
    return sorted(inputs, key=lambda loss: loss.tensor_db)


def smoothings(plan: HookPlan) -> tuple[list[Smoothing], list[str]]:
    """Mappings for SmoothQuant, one for each shape of block, and why norms were left out.

    A norm smooths all linears that read it; it is left out if something else reads it, too (fused experts, a router
    with weights of its own), for then the product would change. In a gated MLP `up_proj` smooths `down_proj`.
    """
    if plan.residual not in _NORM_IS_A_SIDE_PATH:
        return [], [f"the residual stream of this family is {plan.residual}: no norm is known to be smoothed safely"]
    pairs: list[tuple[int, tuple[str, ...], str]] = []
    left_out: dict[str, None] = {}
    by_norm: dict[tuple[int, str], list[Site]] = {}
    for site in plan.sites:
        if site.layer is not None and site.norm:
            by_norm.setdefault((site.layer, site.norm), []).append(site)
    for (layer, norm), sites in by_norm.items():
        if any(site.component == "expert_input" or not site.readers for site in sites):
            left_out[f"{_template(norm, layer)} feeds fused experts or a router without a linear module"] = None
            continue
        balance = dict.fromkeys(name for site in sites for name in modules_reading(site, plan.sites))
        pairs.append((layer, tuple(balance), norm))
    pairs += _gated(plan)
    return _patterns(pairs, plan.layers), [line.replace("{}", "N") for line in left_out]


def llm_compressor(reader: SessionReader) -> str:
    """The recipe, in YAML.

    Raises:
        ReportError: the session measured no inputs of matrix products.
    """
    losses = input_losses(reader)
    plan = reader.meta().plan
    assert plan is not None  # there are inputs
    knows_norms = any("norm" in site for site in reader.meta().raw["plan"]["sites"])
    mappings, left_out = smoothings(plan) if knows_norms else ([], ["this session is older than the norms in its plan"])
    lines = [*_heading(reader), "default_stage:", "  default_modifiers:"]
    lines += [f"  # No mapping: {printable(why)}." for why in left_out]
    if mappings:
        lines += ["    SmoothQuantModifier:", f"      smoothing_strength: {SMOOTHING_STRENGTH}", "      mappings:"]
        for one in mappings:
            lines += [f"      - - [{', '.join(map(_text, one.balance))}]", f"        - {_text(one.smooth)}"]
    lines += ["    QuantizationModifier:", "      config_groups:", "        group_0:", '          targets: ["Linear"]']
    lines += ['          weights: {num_bits: 8, type: "int", symmetric: true, strategy: "channel"}']
    activations = 'num_bits: 8, type: "int", symmetric: true, strategy: "tensor", dynamic: false'
    lines += [f"          input_activations: {{{activations}}}", "      ignore:", f"      - {_text('lm_head')}"]
    lines += [f"      - {_text(name)}  # a router" for name in _routers(plan)]
    lines += _ignored(losses)
    return "\n".join(lines) + "\n"


def _loss(site: Site, modules: tuple[str, ...], totals: SiteTotals) -> InputLoss | None:
    distribution = Distribution.of(totals)
    if site.capture != "input" or distribution is None or not totals.has("token_maxima"):
        return None
    values = magnitude_values(totals.dtype)
    finite = np.isfinite(values)
    steps = float((totals.token_maxima[finite] * (values[finite] / _LEVELS) ** 2).sum())
    noise = steps * totals.width / 12
    token_db = 10 * math.log10(distribution.sum_squares / noise) if noise > 0 else math.inf
    return InputLoss(site.name, modules, evaluate(distribution, _INT8, distribution).sqnr_db, token_db)


def _gated(plan: HookPlan) -> Iterable[tuple[int, tuple[str, ...], str]]:
    """`down_proj` reads act(gate) * up: what divides `up` divides it."""
    ups = {
        (site.layer, name.rpartition(".")[0]): name
        for site in plan.sites
        if any(name.endswith(".gate_proj") for name in site.readers)
        for name in site.readers
        if name.endswith(".up_proj")
    }
    for site in plan.sites:
        for name in site.readers:
            up = ups.get((site.layer, name.rpartition(".")[0]))
            if site.layer is not None and up is not None and site.readers == (name,) and name.endswith(".down_proj"):
                yield site.layer, (name,), up


def _patterns(pairs: Iterable[tuple[int, tuple[str, ...], str]], layers: int) -> list[Smoothing]:
    """Pairs that differ in the block's number alone become one; a pattern for all blocks where all have it."""
    shapes: dict[tuple[tuple[str, ...], str], list[int]] = {}
    for layer, balance, smooth in pairs:
        shape = (tuple(_template(name, layer) for name in balance), _template(smooth, layer))
        shapes.setdefault(shape, []).append(layer)
    found = []
    for (balance, smooth), having in shapes.items():
        number = r"\d+" if sorted(set(having)) == list(range(layers)) else f"({'|'.join(map(str, sorted(having)))})"
        found.append(Smoothing(tuple(_pattern(name, number) for name in balance), _pattern(smooth, number)))
    return found


def _template(path: str, layer: int) -> str:
    """The path with `{}` for the block's number."""
    return re.sub(rf"(?<=\.){layer}(?=\.)", "{}", path.replace("{", "").replace("}", ""), count=1)


def _pattern(template: str, number: str) -> str:
    head, found, tail = template.partition("{}")
    return f"re:{re.escape(head)}{number if found else ''}{re.escape(tail)}$"


def _routers(plan: HookPlan) -> list[str]:
    return sorted({s.module for s in plan.sites if s.component == "router_input" and s.module in s.readers})


def _heading(reader: SessionReader) -> list[str]:
    meta, status = reader.meta(), reader.status()
    corpus = printable(corpus_name(meta.job.corpus))
    partial = [] if status.phase == "finished" else [f"# Partial: the run is {status.phase}."]
    return [
        "# Recipe for llm-compressor (W8A8, INT8), made by maxact-tui from measured inputs of matrix products.",
        f"# Model: {printable(reference_model_name(meta.job))}",
        f"# Corpus: {corpus}, {counted(len(reader.samples_done()), 'sample')}, special tokens: {meta.job.policy}",
        *partial,
        f"# Left alone: linears whose input has an SQNR below {LOSS_DB:g} dB (an error above a tenth of its rms)",
        "# in static symmetric INT8 with one scale, max|x| / 127, before any smoothing. Beside each: that SQNR, and",
        "# about the one with a scale for each token (preset scheme W8A8), by which fewer would be left alone.",
    ]


def _ignored(losses: Sequence[InputLoss]) -> list[str]:
    lines = []
    for loss in losses:
        if loss.tensor_db >= LOSS_DB:
            continue
        numbers = f"{loss.tensor_db:.1f} dB, per token about {loss.token_db:.1f} dB"
        lines += [f"      - {_text(name)}  # {numbers}" for name in loss.modules]
        if not loss.modules:
            lines.append(f"      # {loss.site}: {numbers}; fused experts, no linear module to name")
    return lines


def _text(name: str) -> str:
    """A YAML string: JSON's are."""
    return json.dumps(name)
