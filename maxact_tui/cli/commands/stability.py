"""`stability`: how much of the maxima is due to batch composition and dtype, by running the peak samples again.

- `stability`  two reruns in sessions of their own, compared, kept in the session
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from corpus.reading import load_corpus
from corpus.samples import Sample
from corpus.wording import counted
from engine.analysis.nonfinite import session_alarm
from engine.analysis.stability import KIND, Stability, choose_peaks, rerun_maxima
from engine.base.job import Addition, Job
from engine.base.stored import build
from engine.process import allow_as, start_engine
from engine.session.reader import SessionReader
from engine.session.records import ENDED
from engine.session.requests import send_command
from engine.session.writer import SessionWriter
from engine.session.writing import write
from maxact_tui.cli.awaiting import patience_of
from maxact_tui.cli.headless import watch
from maxact_tui.errors import UserError
from maxact_tui.terminal.printing import console, note
from maxact_tui.texts.numbers import exact
from maxact_tui.watching.finding import find_session

ALONE_TOKENS = 1  # a budget below any sample: each gets a batch of its own


def stability(session: Path, *, samples: int, dtype: str) -> int:
    """Run the samples that hold the maxima again, each alone, then in another dtype; keep and print what differs.

    Args:
        session: a path, or the start of a name.
        samples: how many at most.
        dtype: of the second rerun; `auto` for float32 (bfloat16 if the session is in float32), `none` for none.

    Raises:
        UserError: nothing was measured, the run goes on, or a rerun failed; one line.
    """
    path = find_session(session)
    with SessionReader(path) as reader, tempfile.TemporaryDirectory(prefix="maxact-stability-") as folder:
        if reader.status().phase not in ENDED:
            raise UserError(f"{path.name} is still running; two runs at once would share the device: wait for its end")
        chosen = choose_peaks(reader, samples)
        if not chosen:
            raise UserError(f"{path.name} holds no results yet ({reader.status().phase})")
        found = _measure(reader, chosen, dtype, Path(folder))
        names = [site.name for site in plan.sites] if (plan := reader.meta().plan) else []
    _keep(path, found)
    _print(found, names)
    return 0


def _measure(reader: SessionReader, chosen: Sequence[int], wanted: str, folder: Path) -> Stability:
    job, provenance = reader.meta().job, reader.meta().provenance
    own = str(provenance.get("dtype", job.dtype))
    corpus = _write_corpus(reader, chosen, folder / "peaks.jsonl")
    base = replace(job, corpus=str(corpus), samples=None, batch_tokens=ALONE_TOKENS, detail="lean", dtype=own)
    counted = (
        np.array([site.counts_for_m for site in plan.sites]) if (plan := reader.meta().plan) else np.zeros(0, bool)
    )
    first, bad = rerun_maxima(reader, chosen, reader), [_bad_sites(reader)]
    with _rerun(reader.path, base, folder / "alone.maxact", f"each sample alone, {own}: ") as again:
        _check_tokens(reader, again, chosen)
        alone = rerun_maxima(reader, chosen, again)
        bad.append(_bad_sites(again))
    other, skipped = _other_dtype(wanted, own)
    rounded = np.full(len(alone), np.nan)
    if other:
        try:
            label = f"each sample alone, {other}: "
            with _rerun(reader.path, replace(base, dtype=other), folder / "other.maxact", label) as again:
                rounded = rerun_maxima(reader, chosen, again)
                bad.append(_bad_sites(again))
        except UserError as error:
            other, skipped = "", f"the rerun in {other} failed: {error}"
    with np.errstate(divide="ignore", invalid="ignore"):
        batch, rounding = alone / first - 1, rounded / alone - 1
    largest = tuple(_largest(values[counted]) for values in (first, alone, rounded))
    return Stability(
        dtype=own,
        other_dtype=other,
        skipped=skipped,
        samples=tuple(chosen),
        maximum=(largest[0], largest[1], largest[2]),
        batch=np.where(np.isfinite(batch), batch, np.nan),
        rounding=np.where(np.isfinite(rounding), rounding, np.nan),
        nonfinite=tuple(bad),
    )


def _bad_sites(reader: SessionReader) -> int:
    """How many sites hold NaN or infinity."""
    alarm = session_alarm(reader)
    return len(alarm.sites) if alarm is not None else 0


def _other_dtype(wanted: str, own: str) -> tuple[str, str]:
    """The dtype of the second rerun, or empty and why there is none."""
    if wanted == "none":
        return "", "not asked for (--dtype none)"
    other = wanted if wanted != "auto" else ("bfloat16" if own == "float32" else "float32")
    if other == own:
        return "", f"the session is in {own} itself"
    return other, ""


def _write_corpus(reader: SessionReader, chosen: Sequence[int], path: Path) -> Path:
    """The texts of the chosen samples as a corpus of their own.

    Raises:
        UserError: the session's corpus is not the same any more.
    """
    meta = reader.meta()
    texts: list[Sample] = list(load_corpus(meta.job.corpus, limit=meta.job.samples, seed=meta.job.seed).samples)
    for one in meta.raw.get("additions", []):
        more = build(Addition, one)
        texts += load_corpus(more.corpus, limit=more.samples, seed=meta.job.seed).samples
    if max(chosen) >= len(texts):
        raise UserError(f"the corpus {meta.job.corpus} has fewer texts than when it was measured; put the old one back")
    with path.open("w", encoding="utf-8") as file:
        for number in chosen:
            file.write(json.dumps({"text": texts[number].text, "category": texts[number].category}) + "\n")
    return path


def _check_tokens(reader: SessionReader, again: SessionReader, chosen: Sequence[int]) -> None:
    for index, number in enumerate(chosen):
        before, now = reader.sample(number), again.sample(index)
        if before is None or now is None or not np.array_equal(before.token_ids, now.token_ids):
            corpus = reader.meta().job.corpus
            raise UserError(f"sample {number} has other tokens now; the corpus {corpus} or the tokenizer has changed")


@contextmanager
def _rerun(session: Path, job: Job, path: Path, label: str) -> Iterator[SessionReader]:
    """Run a job of a session's model to its end in a session of its own and open it; ctrl+c stops the engine first.

    Raises:
        UserError: the run did not finish.
    """
    SessionWriter.create(path, job).close()
    allow_as(path, session)
    try:
        start_engine(path)
    except OSError as error:
        raise UserError(f"the engine could not be started: {error}") from error
    with SessionReader(path) as reader:
        try:
            status = watch(reader, label)
        except KeyboardInterrupt:
            send_command(path, "stop", patience=patience_of(path))
            watch(reader, "stopping: ")
            raise
        if status.phase != "finished":
            raise UserError(status.detail or f"the engine ended: {status.phase}")
        yield reader


def _keep(path: Path, found: Stability) -> None:
    settings = {"samples": len(found.samples), "dtype": found.other_dtype}
    title = f"{len(found.samples)} peak sample{'s' if len(found.samples) > 1 else ''} alone" + (
        f" and in {found.other_dtype}" if found.other_dtype else ""
    )
    arrays = {"batch": found.batch.astype(np.float32), "rounding": found.rounding.astype(np.float32)}
    data = found.to_data()
    write(path, lambda writer: writer.add_result(KIND, title, settings, data, arrays), patience_of(path), final=True)


def _print(found: Stability, names: Sequence[str]) -> None:
    out = console()
    first, alone, other = found.maximum
    peaks = f"where the peaks of {found.sites} of {counted(len(names), 'site')} lie"
    out.print(f"{counted(len(found.samples), 'sample')} run again, {peaks}")
    if not np.isnan(first):  # no site of a run over GEMM inputs counts for M
        line = f"M        {exact(first)} in its batch, {exact(alone)} alone"
        out.print(line + (f", {exact(other)} in {found.other_dtype}" if found.other_dtype else ""))
    for title, differences, limit in (
        ("batch", found.batch, found.batch_limit),
        (found.other_dtype, found.rounding, found.dtype_limit),
    ):
        if title and np.isfinite(differences).any():
            worst = int(np.nanargmax(np.abs(differences)))
            out.print(
                f"{title:<8} 95 % of the sites within {100 * limit:.2g} %; most at {names[worst]},"
                f" {100 * differences[worst]:+.2g} %",
            )
    if found.nonfinite_words:
        out.print(found.nonfinite_words, style="bold red", highlight=False)
    if found.skipped:
        note(f"no second rerun: {found.skipped}")


def _largest(values: NDArray[np.float64]) -> float:
    return float(np.nanmax(values)) if np.isfinite(values).any() else float("nan")
