"""A recipe for llm-compressor: which norms smooth which linears, what is quantised how, which modules are left alone.

- `llm_compressor`   the recipe in YAML
- `Judgement`, `judge`  what any tool's recipe says: losses, smoothings, modules to be left alone
- `heading`, `share_in_words`  comments that say what it was made from

The format is that of llm-compressor's `SmoothQuantModifier` (`mappings` of balance layers to one smooth layer) and
`QuantizationModifier` (`scheme` and `targets`, or `config_groups`; `ignore`); `re:` names are matched from their
beginning. Smoothing is ordered only where the run's self-check has proven it (`engine.sites.smoothing`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from engine.analysis.nonfinite import session_alarm
from engine.base.naming import corpus_name
from engine.base.wording import counted, printable
from engine.quantization.ranking import DAMAGE_LIMIT
from engine.report.alarm import alarm_line
from engine.report.errors import ReportError
from engine.report.losses import DEPLOYMENTS, SMOOTHING_STRENGTH, Deployment, InputLoss, input_losses
from engine.report.mappings import Mapping, block_patterns, experts_pattern, kept_smoothings, mappings
from engine.report.reference import reference_model_name
from engine.session.reader import SessionReader
from engine.sites.site import HookPlan

DEFAULT: Final = "int8-token"
_LISTED: Final = 5
_SHARED_GATE: Final = ".shared_expert_gate"
# Presets of compressed-tensors; static INT8 is none of them and is written out.
_PRESETS: Final = {"int8-token": "W8A8", "fp8": "FP8", "fp8-dynamic": "FP8_DYNAMIC", "nvfp4": "NVFP4"}
_STATIC_INT8: Final = (
    "      config_groups:",
    "        group_0:",
    '          targets: ["Linear"]',
    '          weights: {num_bits: 8, type: "int", symmetric: true, strategy: "channel"}',
    '          input_activations: {num_bits: 8, type: "int", symmetric: true, strategy: "tensor", dynamic: false}',
)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a recipe says.

    Attributes:
        deployment: the quantiser.
        losses: of every input, the dearest first.
        smoothings: patterns to be smoothed.
        unsmoothed: why other norms are not.
        routers: modules that choose experts or weigh them, with their blocks' numbers; no deployment quantises them.
        alarm: where NaN or infinity begin, in words; empty where every element was finite.
    """

    deployment: Deployment
    losses: tuple[InputLoss, ...]
    smoothings: tuple[Mapping, ...]
    unsmoothed: tuple[str, ...]
    routers: tuple[tuple[str, int | None], ...]
    alarm: str = ""

    @property
    def alone(self) -> tuple[InputLoss, ...]:
        """The inputs whose modules are left alone."""
        return tuple(one for one in self.losses if one.is_left_alone)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a user must know before anything is quantised by it, one line each."""
        lines = [f"the model is not finite: {self.alarm}; mend that first"] if self.alarm else []
        bad = [one for one in self.losses if one.judged == "not finite"]
        if bad:
            names = ", ".join(one.site.name for one in bad[:_LISTED]) + (", ..." if len(bad) > _LISTED else "")
            lines.append(f"left alone, because nothing finite reaches them: {counted(len(bad), 'input')} ({names})")
        if len(self.alone) == len(self.losses):
            lines.append("every input is left alone, so that this recipe quantises nothing that was measured")
        return tuple(lines)


def find_deployment(name: str | None, known: Sequence[str] = tuple(DEPLOYMENTS), default: str = DEFAULT) -> Deployment:
    """The deployment of that name.

    Raises:
        ReportError: there is none, or no recipe for it.
    """
    word = (name or default).strip().lower()
    if word not in known:
        raise ReportError(f"there is no recipe for {word!r}; there are: {', '.join(known)}", code=2)
    return DEPLOYMENTS[word]


def judge(reader: SessionReader, deployment: Deployment) -> Judgement:
    """What a recipe for this deployment says.

    Raises:
        ReportError: the session measured no inputs of matrix products.
    """
    plan = reader.meta().plan
    found: list[Mapping] = []
    why: list[str] = []
    if plan is not None and deployment.smooths:
        found, why = mappings(plan, _dead_in_float16(reader, plan))
    routers = _routers(plan)
    balanced = {name for one in kept_smoothings(plan, found) for name in one.balance} if plan is not None else set()
    losses = input_losses(reader, deployment, balanced, {name for name, _ in routers})
    alarm = session_alarm(reader)
    words = alarm_line(alarm, plan) if alarm is not None and plan is not None else ""
    return Judgement(deployment, tuple(losses), tuple(found), tuple(why), routers, words)


def llm_compressor(reader: SessionReader, found: Judgement) -> str:
    """The recipe that a judgement of a session comes to, in YAML."""
    name = found.deployment.name
    lines = [*heading(reader, found, "llm-compressor"), *_against_static(reader, found)]
    lines += ["default_stage:", "  default_modifiers:"]
    lines += [f"    # Not smoothed: {printable(why)}." for why in found.unsmoothed]
    if found.smoothings:
        lines += ["    SmoothQuantModifier:", f"      smoothing_strength: {SMOOTHING_STRENGTH}", "      mappings:"]
        for one in found.smoothings:
            lines += [f"      - - [{', '.join(map(_text, one.balance))}]", f"        - {_text(one.smooth)}"]
    lines.append("    QuantizationModifier:")
    lines += (
        [f"      scheme: {_text(_PRESETS[name])}", '      targets: ["Linear"]'] if name in _PRESETS else _STATIC_INT8
    )
    lines += ["      ignore:", f"      - {_text('lm_head')}"]
    plan = reader.meta().plan
    routers = block_patterns(found.routers, plan.layers if plan is not None else 0)
    lines += [f"      - {_text(router)}  # a router" for router in routers]
    for loss in found.alone:
        lines += [f"      - {_text(module)}  # {share_in_words(loss)}" for module in loss.modules]
        experts = experts_pattern(loss.site) if not loss.modules else None
        if experts is not None:
            lines.append(f"      - {_text(experts)}  # {share_in_words(loss)}; once the experts are linear modules")
    return "\n".join(lines) + "\n"


def heading(reader: SessionReader, found: Judgement, tool: str) -> list[str]:
    """Comment lines: what the recipe is for, what it was made from, how it was judged."""
    meta, status = reader.meta(), reader.status()
    corpus = printable(corpus_name(meta.job.corpus))
    partial = [] if status.phase == "finished" else [f"# Partial: the run is {status.phase}."]
    warnings = [f"# WARNING: {printable(line)}." for line in found.warnings]
    return [
        *warnings,
        f"# Recipe for {tool} ({found.deployment.title}), made by maxact-tui from measured inputs of matrix products.",
        f"# Model: {printable(reference_model_name(meta.job))}",
        f"# Corpus: {corpus}, {counted(len(reader.samples_done()), 'sample')}, special tokens: {meta.job.policy}",
        *partial,
        *_what_is_left_alone(found),
    ]


def _what_is_left_alone(found: Judgement) -> list[str]:
    """How modules were chosen, and what is not known."""
    smoothed = sum(one.judged == "smoothed" for one in found.losses)
    unknown = sum(one.judged == "unknown" for one in found.losses)
    unseen = sum(one.judged == "unseen" for one in found.losses)
    estimated = sum(not one.is_exact and math.isnan(one.damage) for one in found.losses)
    total, alone = len(found.losses), found.alone
    lines = [
        f"# Left alone: the modules of {len(alone)} of {counted(total, 'input')}, whose damage is above"
        f" {DAMAGE_LIMIT:.0%}, or, where no damage is known, whose mean |error| is above {found.deployment.bound:.0%}",
        "# of the mean |x|; beside each that number. Damage: the error in the stream behind the block, of its norm.",
    ]
    if found.smoothings:
        lines.append(f"# {counted(smoothed, 'input')} judged after the smoothing ordered here, the others as measured.")
        if not smoothed:
            lines.append("# A run with --quant full judges smoothed inputs after smoothing.")
    if estimated:
        lines.append(f"# {counted(estimated, 'input')} estimated from maxima, rather too high.")
    if found.deployment.name == "fp8-dynamic":
        lines.append("# Judged with one scale for each input; a scale for each token loses no more.")
    if unknown:
        lines.append(f"# {counted(unknown, 'input')} not judged, and quantised: run again with --quant full.")
    if unseen:
        lines.append(f"# {counted(unseen, 'input')} saw no token, so not judged, and quantised: measure more texts.")
    if found.alarm:
        lines.append("# Inputs with Inf/NaN beside finite elements are judged by those alone.")
    return lines


def _against_static(reader: SessionReader, found: Judgement) -> list[str]:
    """INT8 per token beside one scale, by the session's own numbers: damage where every input has it under both."""
    if found.deployment.name not in ("int8-token", "int8"):
        return []
    never = {name for name, _ in found.routers}
    losses = {name: input_losses(reader, DEPLOYMENTS[name], never=never) for name in ("int8-token", "int8")}
    has_damage = not any(math.isnan(one.damage) for one in losses["int8-token"] + losses["int8"])
    token, static = (_mean([one.damage if has_damage else one.rel_mae for one in part]) for part in losses.values())
    if found.deployment.name == "int8":
        advice = "; --scheme int8-token would lose less" if token < static else ""
    else:
        advice = "; one scale would lose no more here (--scheme int8)" if static <= token else ""
    what = "damage of an input" if has_damage else "|error| over mean |x|"
    about = "" if has_damage or all(one.is_exact for one in losses["int8-token"]) else "about "
    return [f"# Mean {what}, before smoothing: {about}{token:.1%} per token, {static:.1%} with one scale{advice}."]


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan


def _dead_in_float16(reader: SessionReader, plan: HookPlan) -> set[str]:
    """Smoothed modules of which a channel is always 0: its weight is divided by 1e-5, beyond float16's range."""
    with reader.snapshot():
        dead = {
            name
            for site, totals in zip(plan.sites, reader.iter_totals(("channel_max", "tokens")), strict=True)
            if totals is not None and totals.dtype == "float16" and totals.tokens and not totals.channel_max.all()
            for name in site.readers
        }
    return {one.smooth for one in plan.smoothings or () if dead & set(one.balance)}


def _routers(plan: HookPlan | None) -> tuple[tuple[str, int | None], ...]:
    """Modules that choose experts, and those that weigh a shared one, which llm-compressor's own recipes leave alone.

    It would round a router that is an `nn.Linear`; whoever loads the model asks by this list which modules have no
    scales, also where the router is no linear module there.
    """
    sites = plan.sites if plan is not None else ()
    routers = {site.module: site.layer for site in sites if site.component in ("router_input", "router_logits")}
    weighing = {name: site.layer for site in sites for name in site.readers if name.endswith(_SHARED_GATE)}
    return tuple((routers | weighing).items())


def share_in_words(one: InputLoss) -> str:
    """The loss of one input, for a comment."""
    if one.judged == "not finite":
        return "nothing finite reaches it"
    about = "" if one.is_exact else "about "
    where = ", after smoothing" if one.judged == "smoothed" else ""
    if not math.isnan(one.damage):
        return f"damage {one.damage:.1%}, {one.sqnr_db:.1f} dB"
    return f"{about}{min(one.rel_mae, 1.0):.0%}, {one.sqnr_db:.1f} dB{where}"


def _text(name: str) -> str:
    """A YAML string: JSON's are."""
    return json.dumps(name)
