"""Going on from the last checkpoint, and refusing to where the inputs are not the same any more.

- `describe_inputs`, `write_inputs`  what the session file records of model, plan, corpus and tokenizer
- `restore`          put a checkpoint back into the meter; says which samples are done
- `ResumeError`      one line: what differs, and the flag that goes on all the same
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.job import Job
from engine.preparation import Prepared
from engine.session.reader import SessionReader
from engine.session.records import SampleRecord
from engine.session.writer import SessionWriter
from engine.statistics.expert_meter import ExpertMeter
from engine.statistics.meter import Meter

ANYWAY = "resume_anyway"


class ResumeError(Exception):
    """The session cannot be continued with what is there now."""


def describe_inputs(prepared: Prepared, job: Job) -> dict[str, Any]:
    """The meta entries `provenance`, `corpus` and `tokenizer`, JSON-ready."""
    tokenized, corpus = prepared.tokenized, prepared.corpus
    return {
        "provenance": prepared.loaded.provenance.to_json(),
        "corpus": {
            "name": corpus.name,
            "hash": corpus.content_hash,
            "samples": len(corpus.samples),
            "problems": list(corpus.problems),
            "cut": len(tokenized.cut),
            "empty": len(tokenized.dropped),
            "padding_share": prepared.batches.padding_share,
            "token_budget": prepared.batches.token_budget,
        },
        "tokenizer": {"hash": tokenized.tokenizer_hash, "policy": job.policy, "max_length": tokenized.max_length},
    }


def write_inputs(writer: SessionWriter, prepared: Prepared, job: Job, *, first_time: bool) -> None:
    """Record what is being measured: always the description, the samples and batches the first time only."""
    writer.set_meta(plan=prepared.plan.to_json(), **describe_inputs(prepared, job))
    if not first_time:
        return
    tokenized = prepared.tokenized
    writer.add_samples(
        (
            SampleRecord(
                number=number,
                category=sample.category,
                language=sample.language,
                origin=sample.origin,
                was_cut=bool(tokenized.was_cut[number]),
                token_ids=tokenized.tokens(number),
            )
            for number, sample in enumerate(prepared.corpus.samples)
        ),
        tokenized.vocabulary,
    )
    writer.set_batches(prepared.batches.batches)


def restore(reader: SessionReader, prepared: Prepared, job: Job, meter: Meter, experts: ExpertMeter) -> set[int]:
    """Load the last checkpoint, if there is one, into the meters.

    Returns:
        The numbers of the samples that are done; empty for a new session.

    Raises:
        ResumeError: model, corpus, tokenizer or versions differ from those of the first part.
    """
    done = reader.samples_done()
    if not done.size:
        return set()
    recorded = reader.meta().raw
    differences = _differences(recorded, describe_inputs(prepared, job))
    if differences and not recorded.get(ANYWAY):
        raise ResumeError(
            f"cannot continue: {'; '.join(differences)}. To go on all the same: maxact-tui resume --anyway"
        )
    for site, totals in enumerate(reader.all_totals()):
        if totals is not None:
            meter.load(site, totals)
    for layer, found in reader.expert_totals().items():
        experts.load(layer, found)
    return {int(number) for number in done}


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    pairs = [
        ("model weights", ("provenance", "weight_hash")),
        ("dtype", ("provenance", "dtype")),
        ("corpus", ("corpus", "hash")),
        ("tokenizer", ("tokenizer", "hash")),
        ("token policy", ("tokenizer", "policy")),
        ("maximum length", ("tokenizer", "max_length")),
    ]
    found = [f"{name} changed" for name, (part, key) in pairs if before[part].get(key) != now[part].get(key)]
    old, new = before["provenance"].get("versions", {}), now["provenance"].get("versions", {})
    found += [
        f"{name} was {old.get(name)}, is {new.get(name)}"
        for name in ("torch", "transformers")
        if old.get(name) != new.get(name)
    ]
    return found
