"""Sentences of events."""

from __future__ import annotations

from dataclasses import dataclass

from engine.base.choice import LIMIT_WORDS, SETS
from engine.base.wording import counted, seconds_words, share
from engine.messages.codes import Code
from engine.messages.message import Message, fixed, sentence, words

_INPUT = "largest GEMM input"


@dataclass(frozen=True, slots=True)
class TrialCost:
    """What the statistics of a set of sites were timed to take.

    Attributes:
        tokens: of the batch that was timed.
        sites: how many were hooked.
        slowdown: the statistics' time over the model's own.
        added_seconds: what that is in the whole run.
        damage_seconds: what the damage by quantisers takes besides; None where it is not measured.
    """

    tokens: int
    sites: int
    slowdown: float
    added_seconds: float
    damage_seconds: float | None


@sentence(Code.TEXT, text="as it was written")
def _text(text: str) -> str:
    return text


@sentence(Code.STARTED, samples=300, tokens=81_920, batches=12)
def _started(samples: int, tokens: int, batches: int) -> str:
    return f"started: {counted(samples, 'sample')}, {counted(tokens, 'token')} in {counted(batches, 'batch')}"


@sentence(Code.RESUMED, done=120, samples=300)
def _resumed(done: int, samples: int) -> str:
    return f"resumed after {done:,} of {counted(samples, 'sample')}"


fixed(Code.WATCHING, "watching a model that another program runs")


@sentence(Code.ENDED, phase="finished", samples=300)
def _ended(phase: str, samples: int) -> str:
    return f"{phase} after {counted(samples, 'sample')}"


@sentence(Code.FAILED, why=Message("text", {"text": "no such model"}))
def _failed(why: Message | None) -> str:
    return f"failed: {words(why)}"


@sentence(Code.DAMAGE_MEASURED, sites=210, tokens=1_024, seconds=41.2)
def _damage_measured(sites: int, tokens: int, seconds: float) -> str:
    where, what = counted(sites, "site"), counted(tokens, "token")
    return f"damage by quantisers at {where} measured on {what} in {seconds:.0f} s"


@sentence(Code.MAXIMUM, value=23_168.0, site="layer_11_hidden", is_m=True)
def _maximum(value: float, site: str, is_m: bool) -> str:  # data, given by name
    return f"new {'maximum' if is_m else _INPUT} {value:,.6g} at {site}"


@sentence(Code.EMERGENCE, layer=11, ratio=812.0)
def _emergence(layer: int, ratio: float | None) -> str:
    step = "out of zeros" if ratio is None else f"{ratio:.3g} x the layer before"
    return f"emergence at layer {layer}: hidden state {step}"


@sentence(Code.CONVERGED, value=23_168.0, since=4_096, tokens=81_920, is_m=True)
def _converged(value: float, since: int, tokens: int, is_m: bool) -> str:  # data, given by name
    return f"converged: {'M' if is_m else _INPUT} = {value:,.6g} since {since:,} of {tokens:,} tokens"


@sentence(Code.FP16, sites=3, first="L11 mlp_output")
def _fp16(sites: int, first: str) -> str:
    return f"fp16 exceeded at {counted(sites, 'site')}, first {first}"


@sentence(Code.NONFINITE, sites=76, first="L11 mlp_output", kind="Inf", kinds="Inf/NaN")
def _nonfinite(sites: int, first: str, kind: str, kinds: str) -> str:
    where = f"first {kind} at" if kind != kinds else "first"
    return f"{kinds} in {counted(sites, 'site')}, {where} {first}"


@sentence(Code.SITES_CHOSEN, sites="paper+gemm", trial=TrialCost(256, 451, 0.19, 12.0, 4.0), refused=None)
def _sites_chosen(sites: str, trial: TrialCost | None, refused: TrialCost | None) -> str:
    text = f"measured are the {SETS.get(sites, sites)} (--sites {sites})"
    if trial is not None:
        text += (
            f": timed on {counted(trial.tokens, 'token')}, the statistics of {counted(trial.sites, 'site')} take"
            f" {share(trial.slowdown)} on top of the model's own time, about {seconds_words(trial.added_seconds)}"
        )
        damage = trial.damage_seconds
        text += f", and the damage by quantisers about {seconds_words(damage)}" if damage is not None else ""
    if sites == "paper+gemm":
        return f"{text}; --sites paper measures fewer"
    if refused is None:
        return f"{text}; a trial of more did not fit in memory; --sites paper+gemm measures the GEMM inputs, too"
    return (
        f"{text}; with the GEMM inputs it would be {share(refused.slowdown)}, about"
        f" {seconds_words(refused.added_seconds)} (the limit is {LIMIT_WORDS}); --sites paper+gemm measures them all"
        " the same"
    )


fixed(Code.SPLIT_OF_ONE, "one sample cannot calibrate and evaluate: thresholds and errors are of the same tokens")


@sentence(Code.SPLIT_OF_FEW, samples=100, calibration=128, evaluation=64, first=67, second=33)
def _split_of_few(samples: int, calibration: int, evaluation: int, first: int, second: int) -> str:
    return (
        f"{samples} samples are too few for {calibration} calibration and {evaluation} evaluation samples: "
        f"split into {first} and {second}"
    )


@sentence(Code.SAMPLE_SKIPPED, sample=17, tokens=131_072)
def _sample_skipped(sample: int, tokens: int) -> str:
    return f"sample {sample} skipped: {counted(tokens, 'token')} do not fit in memory"


@sentence(Code.BUDGET_HALVED, budget=4_096)
def _budget_halved(budget: int) -> str:
    return f"out of memory; token budget halved to {budget:,}"


@sentence(Code.ANSWERED, name="pause", answer=Message("now_paused"))
def _answered(name: str, answer: Message) -> str:
    return f"{name}: {words(answer)}"


@sentence(Code.REQUEST_RUN, name="probe", sample=3, is_prompt=False)
def _request_run(name: str, sample: int | None, is_prompt: bool) -> str:  # data, given by name
    return f"{request_title(name, sample, is_prompt=is_prompt)} run"


@sentence(Code.REQUEST_ENDED, name="probe", sample=None, is_prompt=True, answer=Message("cancelled"))
def _request_ended(name: str, sample: int | None, is_prompt: bool, answer: Message) -> str:
    return f"{request_title(name, sample, is_prompt=is_prompt)}: {words(answer)}"


def request_title(name: str, sample: int | None, *, is_prompt: bool) -> str:
    """What a request is called: a sample by its number, a prompt, or the name of the command."""
    if sample is not None:
        return f"sample {sample}"
    return "prompt" if is_prompt else name
