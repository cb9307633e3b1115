"""Several sessions of one model over different samples, as one. numpy only.

- `merge_sessions`  write a new session file that holds them all
- `MergeError`      one line: why these do not belong together
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.analysis.site import summarise
from engine.base.stored import UnsoundError
from engine.base.weights import comparable_weights
from engine.base.wording import counted
from engine.messages import Code, message
from engine.session.damage import reading
from engine.session.newfile import whole_session
from engine.session.reader import SessionMeta, SessionReader
from engine.session.records import SampleRecord, Status
from engine.session.splits import (
    CALIBRATION,
    CLOSED,
    CLOSED_OWNER,
    EVALUATION,
    IN_PASS,
    LOCAL,
    META,
    REST,
    SplitRecord,
)
from engine.statistics.experts import ExpertTotals, merge_experts
from engine.statistics.fields import LIVE_FIELDS, LiveRow
from engine.statistics.local_errors import LocalErrors, merge_local
from engine.statistics.part_totals import PartTotals, merge_parts
from engine.statistics.pass_sums import PassSums, merge_sums
from engine.statistics.totals import SiteTotals, merge


class MergeError(Exception):
    """These sessions cannot be merged; one line. `code` is the exit code: 2 for an argument that cannot be meant."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """One session: its finished samples get the numbers `first`, `first` + 1, ... in the merged one."""

    path: Path
    meta: SessionMeta
    status: Status
    totals: list[SiteTotals | None]
    experts: dict[int, ExpertTotals]
    samples: list[SampleRecord]
    order: NDArray[np.int64]
    first: int
    split: SplitRecord | None
    further: dict[str, dict[str, NDArray[Any]]]


def merge_sessions(paths: Sequence[Path], target: Path) -> None:
    """Write `target`, which reads as if its samples had been measured in one run.

    Counts, histograms, maxima and top lists are exact; ties go to the sessions given first. Only finished samples
    are taken over; how far each session was does not matter. Calibration and evaluation samples stay what they were:
    thresholds of the merged session come from the calibration samples of all. What was summed in the pass is added
    up as it is, so quantisers with static scales keep each session's own; damage likewise. A session that had not
    finished its evaluation brings nothing to the parts. `target` appears whole, or not at all.

    Raises:
        MergeError: models, settings or hook plans differ, a sample was measured in more than one of them, or one was
            given twice.
        SessionError: a file cannot be read, or `target` cannot be written or exists.
    """
    twice = [path for number, path in enumerate(paths) if path.resolve() in {p.resolve() for p in paths[:number]}]
    if twice:
        raise MergeError(f"{twice[0].name} was given twice; merge takes different sessions", code=2)
    parts: list[_Part] = []
    vocabulary: dict[int, bytes] = {}
    for path in paths:
        first = sum(len(part.samples) for part in parts)
        with SessionReader(path) as reader, reader.snapshot():
            part = _read(reader, first)
            ids = {int(token) for sample in part.samples for token in sample.token_ids}
            vocabulary.update(zip(sorted(ids), reader.pieces(sorted(ids)), strict=True))
        if parts:
            _require_same(parts[0], part)
        parts.append(part)
    _require_disjoint(parts)
    count = sum(len(part.samples) for part in parts)
    totals = _merged_totals(parts, count)
    order = np.concatenate([part.first + part.order for part in parts])
    status = _merged_status(parts)
    kept = {name: value for name, value in parts[0].meta.raw.items() if name not in ("job", "created")}
    with whole_session(target, parts[0].meta.job) as writer:
        writer.set_meta(**{**kept, "corpus": _merged_corpus(parts, count), "merged_from": [str(p.path) for p in parts]})
        writer.add_samples((replace(s, number=p.first + i) for p in parts for i, s in enumerate(p.samples)), vocabulary)
        writer.set_batches([tuple(int(number) for number in order)])
        writer.tick(status, _live(totals))
        writer.set_meta(**{META: _merged_split(parts)})
        writer.checkpoint(status, totals, order, _merged_experts(parts), _merged_further(parts))


def _read(reader: SessionReader, first: int) -> _Part:
    meta, done = reader.meta(), reader.samples_done()
    if meta.plan is None or not len(done):
        raise MergeError(f"{reader.path.name} holds no results yet")
    numbers = sorted(int(number) for number in done)
    place = {number: index for index, number in enumerate(numbers)}
    records = [reader.sample(number) for number in numbers]
    samples = [record for record in records if record is not None]
    order = np.array([place[int(number)] for number in done])
    status = reader.checkpoint_status() or reader.status()
    held = reader.all_totals()
    with reading(reader.path, "its list of finished samples"):
        if any(one is not None and not set(one.top["sample"].tolist()) <= place.keys() for one in held):
            raise UnsoundError("it lacks samples that have the largest elements")
    totals = [t and _renumbered(t, numbers, place) for t in held]
    experts = {layer: _readdressed(one, place) for layer, one in reader.expert_totals().items()}
    split, further = _read_parts_of_run(reader, place, len(totals))
    return _Part(reader.path, meta, status, totals, experts, samples, order, first, split, further)


def _read_parts_of_run(
    reader: SessionReader, place: Mapping[int, int], sites: int
) -> tuple[SplitRecord | None, dict[str, dict[str, NDArray[Any]]]]:
    """The samples of both parts by their new numbers and the arrays kept of them; nothing if they are not complete."""
    recorded = reader.meta().raw.get(META)
    if not recorded or reader.parts_closed() < REST:
        return None, {}
    split = SplitRecord.from_json(recorded)
    owners = [f"{kind}{site}" for kind in (CALIBRATION, EVALUATION, IN_PASS, LOCAL) for site in range(sites)]
    found = {owner: arrays for owner in owners if (arrays := reader.extra(owner))}
    # A sample that never fitted in memory is in no part.
    calibration, evaluation = (
        tuple(place[number] for number in numbers if number in place)
        for numbers in (split.calibration, split.evaluation)
    )
    return replace(split, calibration=calibration, evaluation=evaluation), found


def _renumbered(totals: SiteTotals, numbers: Sequence[int], place: Mapping[int, int]) -> SiteTotals:
    """The same totals with samples numbered 0 ... n-1 in the order of `numbers`."""
    top, address, ratio = totals.top.copy(), totals.nonfinite_address.copy(), totals.sun_ratio.copy()
    top["sample"] = [place[int(sample)] for sample in top["sample"]]
    address[0] = place.get(int(address[0]), -1)
    ratio[3] = place.get(int(ratio[3]), -1)
    return replace(
        totals, top=top, nonfinite_address=address, sun_ratio=ratio, sample_max=totals.sample_max[list(numbers)]
    )


def _shifted(totals: SiteTotals, first: int, count: int) -> SiteTotals:
    """The same totals with samples numbered from `first` among `count`."""
    top, address, ratio = totals.top.copy(), totals.nonfinite_address.copy(), totals.sun_ratio.copy()
    top["sample"] += first
    address[0] += first if address[0] >= 0 else 0
    ratio[3] += first if ratio[3] >= 0 else 0
    sample_max = np.full(count, np.nan, np.float32)
    sample_max[first : first + len(totals.sample_max)] = totals.sample_max
    return replace(totals, top=top, nonfinite_address=address, sun_ratio=ratio, sample_max=sample_max)


def _merged_totals(parts: Sequence[_Part], count: int) -> list[SiteTotals | None]:
    result: list[SiteTotals | None] = [None] * len(parts[0].totals)
    for part in parts:
        for site, one in enumerate(part.totals):
            if one is None:
                continue
            shifted, held = _shifted(one, part.first, count), result[site]
            result[site] = shifted if held is None else merge(held, shifted)
    return result


def _readdressed(totals: ExpertTotals, place: Mapping[int, int]) -> ExpertTotals:
    """The same expert totals with samples numbered by `place`."""
    gate, tokens = totals.gate_address.copy(), totals.input_address.copy()
    for address in (gate, tokens):
        address[:, 0] = [place.get(int(sample), -1) for sample in address[:, 0]]
    return replace(totals, gate_address=gate, input_address=tokens)


def _merged_experts(parts: Sequence[_Part]) -> dict[int, ExpertTotals]:
    result: dict[int, ExpertTotals] = {}
    for part in parts:
        place = {number: part.first + number for number in range(len(part.samples))}
        for layer, one in part.experts.items():
            shifted = _readdressed(one, place)
            result[layer] = merge_experts(result[layer], shifted) if layer in result else shifted
    return result


def _merged_split(parts: Sequence[_Part]) -> dict[str, Any] | None:
    """All calibration and all evaluation samples; the paper's protocol only if all followed it."""
    splits = [(part.first, part.split) for part in parts if part.split is not None]
    if not splits:
        return None
    return SplitRecord(
        tuple(first + number for first, split in splits for number in split.calibration),
        tuple(first + number for first, split in splits for number in split.evaluation),
        "paper" if all(split.protocol == "paper" for _, split in splits) else "exact",
    ).to_json()


def _merged_further(parts: Sequence[_Part]) -> dict[str, dict[str, NDArray[Any]]]:
    """What was kept of the parts of the runs; what one of the sessions lacks of it, the whole lacks."""
    lacking = {owner for part in parts for owner in _lacking(part)}
    result: dict[str, dict[str, NDArray[Any]]] = {}
    for owner, arrays in ((owner, arrays) for part in parts for owner, arrays in part.further.items()):
        held = result.get(owner)
        if owner in lacking:
            if owner.startswith(IN_PASS):  # what is left of them is no sums, and says which array is missing
                names = arrays.keys() if held is None else arrays.keys() & held.keys()
                result[owner] = {name: arrays[name] for name in names}
            continue
        if held is None:
            result[owner] = dict(arrays)
        elif owner.startswith(IN_PASS):
            sums = PassSums.from_arrays(held), PassSums.from_arrays(arrays)
            if sums[0] is not None and sums[1] is not None:
                result[owner] = merge_sums(sums[0], sums[1]).to_arrays()
        elif owner.startswith(LOCAL):
            local = LocalErrors.from_arrays(held), LocalErrors.from_arrays(arrays)
            if local[0] is not None and local[1] is not None:
                result[owner] = merge_local(local[0], local[1]).to_arrays()
        else:
            result[owner] = merge_parts(PartTotals.from_arrays(held), PartTotals.from_arrays(arrays)).to_arrays()
    if result:
        result[CLOSED_OWNER] = {CLOSED: np.asarray(REST, np.int64)}
    return result


def _lacking(part: _Part) -> Iterator[str]:
    """Owners of which a session must have had more than it has."""
    for owner, arrays in part.further.items():
        site = owner.rpartition("/")[2]
        if owner.startswith(IN_PASS) and PassSums.from_arrays(arrays) is None:
            yield owner
        if owner.startswith(LOCAL) and LocalErrors.from_arrays(arrays) is None:
            yield owner
        if owner.startswith(CALIBRATION) and f"{EVALUATION}{site}" not in part.further:
            yield f"{EVALUATION}{site}"


def _require_same(a: _Part, b: _Part) -> None:
    left, right = a.meta, b.meta
    compared = {
        "model weights": tuple(comparable_weights((left.provenance, right.provenance))),
        "dtype": (left.provenance.get("dtype"), right.provenance.get("dtype")),
        "tokenizer": (left.raw.get("tokenizer", {}).get("hash"), right.raw.get("tokenizer", {}).get("hash")),
        "token policy": (left.job.policy, right.job.policy),
        "detail": (left.job.detail, right.job.detail),
        "sites": (left.plan and [s.name for s in left.plan.sites], right.plan and [s.name for s in right.plan.sites]),
    }
    different = [name for name, (one, other) in compared.items() if one != other]
    if different:
        raise MergeError(
            f"{a.path.name} and {b.path.name} differ in {', '.join(different)}; only sessions of one model with the "
            "same settings can be merged (maxact-tui compare takes any two)"
        )


def _require_disjoint(parts: Sequence[_Part]) -> None:
    seen: dict[bytes, str] = {}
    for part in parts:
        own = {hashlib.sha256(sample.token_ids.tobytes()).digest(): sample.number for sample in part.samples}
        common = [(number, seen[key]) for key, number in own.items() if key in seen]
        if common:
            (first, where), share = common[0], f"{len(common):,} of the {counted(len(own), 'sample')}"
            raise MergeError(
                f"{share} of {part.path.name} were measured in {where}, too (the first is number {first}); "
                "merge takes sessions over different samples"
            )
        seen.update(dict.fromkeys(own, part.path.name))


def _merged_status(parts: Sequence[_Part]) -> Status:
    now = time.time()
    sums = {
        name: sum(getattr(part.status, name) for part in parts)
        for name in ("samples_done", "tokens_done", "padded_tokens", "batches_done", "running_seconds")
    }
    seconds = sums["running_seconds"]
    return Status(
        phase="finished",
        message=message(Code.MERGED, sessions=len(parts)),
        started=now,
        heartbeat=now,
        ended=now,
        samples_total=sums["samples_done"],
        tokens_total=sums["tokens_done"],
        batches_total=sums["batches_done"],
        tokens_per_second=sums["tokens_done"] / seconds if seconds else 0.0,
        **sums,
    )


def _merged_corpus(parts: Sequence[_Part], count: int) -> dict[str, object]:
    hashes = "".join(str(part.meta.corpus.get("hash", "")) for part in parts)
    return {
        "name": " + ".join(str(part.meta.corpus.get("name", part.path.name)) for part in parts),
        "hash": hashlib.sha256(hashes.encode()).hexdigest(),
        "samples": count,
        "problems": [problem for part in parts for problem in part.meta.corpus.get("problems", [])],
        "cut": sum(part.meta.corpus.get("cut", 0) for part in parts),
        "empty": sum(part.meta.corpus.get("empty", 0) for part in parts),
    }


def _live(totals: Sequence[SiteTotals | None]) -> NDArray[np.float64]:
    table = np.full((len(totals), len(LIVE_FIELDS)), np.nan)
    for site, one in enumerate(totals):
        if one is None:
            continue
        first = one.top[0] if len(one.top) else {"sample": -1, "position": -1, "channel": -1}
        highest, lowest = one.extremes if np.isfinite(one.extremes).all() else (np.nan, np.nan)
        bad_sample, bad_position, bad_channel = one.nonfinite_address
        table[site] = LiveRow(
            max=highest,
            min=lowest,
            rms=summarise(one).rms,
            tokens=float(one.tokens),
            nonfinite=float(one.nonfinite.sum()),
            sample=first["sample"],
            position=first["position"],
            channel=first["channel"],
            nan=float(one.nonfinite[0]),
            bad_sample=bad_sample,
            bad_position=bad_position,
            bad_channel=bad_channel,
        )
    return table
