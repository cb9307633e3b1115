"""Going on from the last checkpoint, and refusing to where the inputs are not the same any more.

- `describe_inputs`, `write_inputs`  what the session file records of model, plan, corpus and tokenizer
- `record_split`, `recorded_split`  which samples calibrate and evaluate, chosen once
- `check_resumable`  what differs between then and now
- `ResumeError`      what differs, and the flag that goes on all the same
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from engine.base.job import Addition, Job
from engine.base.weights import comparable_weights
from engine.messages import Code, Message, message, words
from engine.preparation.prepare import Prepared
from engine.session.reader import SessionReader
from engine.session.records import SampleRecord
from engine.session.splits import META, SplitRecord
from engine.session.writer import SessionWriter

ANYWAY = "resume_anyway"
ADDITIONS = "additions"


class ResumeError(Exception):
    """The session cannot be continued with what is there now.

    Attributes:
        why: what differs, and the flag that goes on all the same.
    """

    def __init__(self, differences: Sequence[Message]) -> None:
        self.why = message(Code.FAILED_RESUME, differences=list(differences))
        super().__init__(words(self.why))


def describe_inputs(prepared: Prepared, job: Job) -> dict[str, Any]:
    """The meta entries `provenance`, `corpus` and `tokenizer`, JSON-ready."""
    tokenized, corpus = prepared.tokenized, prepared.corpus
    return {
        "provenance": {**prepared.loaded.provenance.to_json(), "backend": prepared.backend},
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


def write_inputs(
    writer: SessionWriter,
    prepared: Prepared,
    job: Job,
    batches: Sequence[Sequence[int]],
    *,
    new_samples: int | None,
    addition: Addition | None = None,
) -> None:
    """Record what is being measured.

    Args:
        writer: of the session.
        prepared: what is run.
        job: as it was asked for.
        batches: the whole batch plan.
        new_samples: samples from this number on are new to the file; None if none is.
        addition: where they came from, if they were added later.
    """
    writer.set_meta(plan=prepared.plan.to_json(), **describe_inputs(prepared, job))
    if addition is not None:
        writer.append_meta(ADDITIONS, asdict(addition))
    if new_samples is None:
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
            if number >= new_samples
        ),
        tokenized.vocabulary,
    )
    writer.set_batches(batches)


def record_split(writer: SessionWriter, split: SplitRecord | None) -> None:
    """Record the choice: a resumed run keeps it, whatever would be chosen then."""
    writer.set_meta(**{META: None if split is None else split.to_json()})


def recorded_split(reader: SessionReader) -> SplitRecord | None:
    """The choice made when the run began; None if there was none."""
    recorded = reader.meta().raw.get(META)
    return SplitRecord.from_json(recorded) if recorded else None


def check_resumable(reader: SessionReader, prepared: Prepared, job: Job) -> list[Message]:
    """Compare what a session was begun with and what is there now.

    Returns:
        The differences the user has accepted (`maxact-tui resume --anyway`); empty if all is as it was.

    Raises:
        ResumeError: model, corpus, tokenizer or versions differ, and that was not accepted.
    """
    recorded = reader.meta().raw
    differences = _differences(recorded, describe_inputs(prepared, job))
    if differences and not recorded.get(ANYWAY):
        raise ResumeError(differences)
    return differences


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[Message]:
    pairs = [
        ("dtype", ("provenance", "dtype")),
        ("corpus", ("corpus", "hash")),
        ("tokenizer", ("tokenizer", "hash")),
        ("token policy", ("tokenizer", "policy")),
        ("maximum length", ("tokenizer", "max_length")),
    ]
    old, new = comparable_weights((before["provenance"], now["provenance"]))
    found = [message(Code.WEIGHTS_CHANGED)] if old != new else []
    found += [
        message(Code.INPUT_CHANGED, what=name)
        for name, (part, key) in pairs
        if before[part].get(key) != now[part].get(key)
    ]
    was, now_is = before["provenance"].get("versions", {}), now["provenance"].get("versions", {})
    found += [
        message(Code.VERSION_CHANGED, library=name, was=_named(was.get(name)), now=_named(now_is.get(name)))
        for name in ("torch", "transformers")
        if was.get(name) != now_is.get(name)
    ]
    return found


def _named(version: object) -> str | None:
    """A version as text; a session that somebody has edited may hold anything."""
    return None if version is None else str(version)
