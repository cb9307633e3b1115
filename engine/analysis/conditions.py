"""What was not the same when sessions were measured.

- `Difference`        a condition of the runs that is not the same
- `find_differences`  all of them
- `dtype_of`          of a session's activations
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine.analysis.model import ModelSummary
from engine.base.naming import corpus_name, distinct_names, model_name
from engine.base.weights import comparable_weights


@dataclass(frozen=True, slots=True)
class Difference:
    """A condition that is not the same in all sessions; `values` has one text per session."""

    what: str
    values: tuple[str, ...]


def dtype_of(summary: ModelSummary) -> str:
    """Of the activations, also of a run over GEMM inputs alone, where no site counts for M."""
    return summary.dtype or str(summary.provenance.get("dtype", ""))


def find_differences(summaries: Sequence[ModelSummary]) -> tuple[Difference, ...]:
    """The conditions that are not the same in all sessions, in the order in which they are to be read."""
    conditions: dict[str, list[str]] = {
        **_models(summaries),
        "revision": [str(s.provenance.get("commit") or s.job.revision or "default") for s in summaries],
        "weights": [one or "unknown" for one in comparable_weights([s.provenance for s in summaries])],
        "checkpoint's quantisation": [str(s.provenance.get("quantization") or "none") for s in summaries],
        "dtype": [dtype_of(s) or "unknown" for s in summaries],
        "sites": [s.job.sites for s in summaries],
        "attention": [str(s.provenance.get("attention", "unknown")) for s in summaries],
        "corpus": [str(s.corpus.get("hash") or corpus_name(s.job.corpus)) for s in summaries],
        "tokenizer": [str(s.provenance.get("tokenizer_hash", "unknown")) for s in summaries],
        "special tokens": [s.job.policy for s in summaries],
        "tokens per sample at most": [str(s.job.max_length or "default") for s in summaries],
        "detail": [s.job.detail for s in summaries],
        "quant": [", ".join((s.job.quant, *s.job.schemes)) for s in summaries],
        "protocol": [s.job.protocol for s in summaries],
        "calibration samples at most": [_part(s, s.job.calibration) for s in summaries],
        "evaluation samples at most": [_part(s, s.job.evaluation) for s in summaries],
        "samples measured": [f"{s.samples:,}" for s in summaries],
        "tokens measured": [f"{s.tokens:,}" for s in summaries],
        "run": [f"partial ({s.status.phase})" if s.is_partial else "finished" for s in summaries],
        "layers": [str(s.plan.layers if s.plan else "unknown") for s in summaries],
        "hidden size": [str(s.plan.hidden_size if s.plan else "unknown") for s in summaries],
    }
    return tuple(Difference(what, tuple(values)) for what, values in conditions.items() if len(set(values)) > 1)


def _models(summaries: Sequence[ModelSummary]) -> dict[str, list[str]]:
    """Which models they are; the same weights are one model, in whatever folder it lies."""
    models = [s.job.model for s in summaries]
    weights = set(comparable_weights([s.provenance for s in summaries]))
    if len(weights) == 1 and all(weights):
        return {"model (same weights)": [model_name(model) for model in models]}
    return {"model": distinct_names(models)}


def _part(summary: ModelSummary, samples: int) -> str:
    """How many samples were set apart for quantisers; a run without them sets none apart whatever its number says."""
    return "none" if summary.job.quant == "off" else f"{samples:,}"
