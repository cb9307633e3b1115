"""The same samples under two token policies: raw against BOS, or against the chat template.

- `partner_policy`  the policy a run is set against
- `start_partner`   the other run, in its own session
- `start_gemm_run`  the same run with the GEMM inputs, in its own session
- `await_partner`   wait for it, compare
- `write_pair`      the comparison of the two, beside the second session
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from engine.base.job import Job, Policy
from engine.process import allow_as, start_engine
from engine.session.library import SUFFIX
from engine.session.patience import Patience
from engine.session.reader import SessionReader
from engine.session.records import ENDED
from engine.session.writer import SessionWriter

POLL_SECONDS = 0.5


def partner_policy(policy: Policy) -> Policy:
    """What a run is set against unless the user says: BOS against none, none against everything else."""
    return "bos" if policy == "raw" else "raw"


def partner_path(session: Path, name: str) -> Path:
    """A path beside the session that says how the other run differs, by its policy or sites; none exists there yet."""
    stem = session.name.removesuffix(SUFFIX)
    candidate, number = session.with_name(f"{stem}-{name}{SUFFIX}"), 2
    while candidate.exists():
        candidate, number = session.with_name(f"{stem}-{name}-{number}{SUFFIX}"), number + 1
    return candidate


def start_partner(session: Path, policy: Policy | None = None, patience: Patience | None = None) -> Path:
    """Start a run of the same model over the same samples under another policy.

    Args:
        session: the session file.
        policy: the other one; None for what a run is usually set against.
        patience: with another process that writes into the session.

    Returns:
        Its session file.

    Raises:
        SessionError, OSError: the session or the engine could not be made.
    """
    patience = patience or Patience()
    job = _job_of(session, patience)
    other = policy or partner_policy(job.policy)
    return _start(session, partner_path(session, other), replace(job, policy=other), patience)


def start_gemm_run(session: Path, patience: Patience | None = None) -> Path:
    """Start a run of the same model over the same samples that measures the GEMM inputs beside the paper's sites.

    Arguments, result and errors are those of `start_partner`.
    """
    patience = patience or Patience()
    job = replace(_job_of(session, patience), sites="paper+gemm")
    return _start(session, partner_path(session, "gemm"), job, patience)


def _job_of(session: Path, patience: Patience) -> Job:
    def look(wait_seconds: float) -> Job:
        with SessionReader(session, wait_seconds) as reader:
            return reader.meta().job

    return patience.wait_for(look)


def _start(session: Path, path: Path, job: Job, patience: Patience) -> Path:
    SessionWriter.create(path, job).close()
    allow_as(path, session)
    start_engine(path, patience)
    return path


def await_partner(
    session: Path, path: Path, say: Callable[[str], None], is_left: Callable[[], bool] = lambda: False
) -> None:
    """Wait for the partner's end, and write the comparison; every step is said in one line.

    Once `is_left`, nobody waits for the comparison any more: the partner runs on alone.

    Args:
        session: the session it is compared with.
        path: of the partner.
        say: shows one line to the user.
        is_left: asked now and then.

    Raises:
        SessionError, ReportError, OSError: the comparison could not be written.
    """
    with SessionReader(path) as reader:
        while (status := reader.status()).phase not in ENDED:
            if is_left():
                return
            time.sleep(POLL_SECONDS)
    if status.phase != "finished":
        say(f"{path.stem} is {status.phase}: {status.detail or 'no reason given'}")
        return
    (report,) = write_pair(session, path)
    say(f"comparison: {report}")


def write_pair(first: Path, second: Path, form: str = "markdown") -> list[Path]:
    """Write the comparison of two sessions into the folder of the second; an earlier one is replaced.

    Raises:
        ReportError, SessionError: one of them holds nothing, or the folder cannot be written.
    """
    from engine.report.comparison import comparison_documents  # most screens never ask for reports
    from engine.report.writing import write_documents

    with SessionReader(first) as one, SessionReader(second) as other:
        documents = comparison_documents([one, other], form)
    return write_documents(documents, second.parent, force=True)
