"""Runs of tiny random models for the tests of the engine's loop."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.base.job import Job
from engine.run import commands
from engine.session.reader import SessionReader
from engine.session.requests import send_command
from engine.session.splits import CALIBRATION, EVALUATION, IN_PASS
from engine.session.writer import SessionWriter
from engine.statistics.pass_sums import PassSums
from engine.statistics.patterns import moments
from engine.statistics.totals import ARRAY_FIELDS, SiteTotals
from tests.values import some

WORDS = [
    "the",
    "river",
    "carries",
    "snow",
    "of",
    "mountains",
    "down",
    "to",
    "warm",
    "sea",
    "library",
    "closes",
    "winter",
    "summer",
]


# Saved after every batch: three quarters of a tiny run's time.
EVERY_BATCH = {"checkpoint_seconds": 0.0}


def write_corpus(path: Path, samples: int = 24) -> Path:
    """A JSONL corpus of short texts in three categories."""
    random = np.random.default_rng(7)
    with path.open("w", encoding="utf-8") as file:
        for number in range(samples):
            text = " ".join(random.choice(WORDS, size=random.integers(3, 30)))
            file.write(json.dumps({"text": text, "category": ("math", "code", "web")[number % 3]}) + "\n")
    return path


def tiny_job(model: Path, corpus: Path, **changes: object) -> Job:
    """A job that takes a second and saves when it pauses, stops or ends; `**EVERY_BATCH` where more is needed."""
    fields = {"device": "cpu", "batch_tokens": 128, "backend": "torch", "threads": 1, "checkpoint_seconds": 600.0}
    given: dict[str, Any] = {**fields, **changes}
    return Job(model=str(model), corpus=str(corpus), **given)


def new_session(path: Path, job: Job) -> Path:
    """The session file as the command line makes it."""
    SessionWriter.create(path, job).close()
    return path


def read_totals(path: Path) -> list[SiteTotals | None]:
    """Totals of every site of a session."""
    with SessionReader(path) as reader:
        return reader.all_totals()


def assert_equal_totals(left: list[SiteTotals | None], right: list[SiteTotals | None]) -> None:
    """Integers, extremes and top lists exactly equal; moments (whose sums may be about other pivots) to 1e-12."""
    assert len(left) == len(right) > 0
    for number, (a, b) in enumerate(zip(left, right, strict=True)):
        assert a is not None
        assert b is not None
        for name in set(ARRAY_FIELDS) - {"power_sums", "pivot", "ratio_sums"}:
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=f"site {number} {name}")
        np.testing.assert_allclose(a.ratio_sums, b.ratio_sums, rtol=1e-12)
        assert_equal_moments(a, b)


def assert_equal_moments(a: SiteTotals, b: SiteTotals) -> None:
    """Mean, deviation, mean |x|, rms and kurtosis to 1e-12 of the rms or of themselves."""
    one, other = moments(a), moments(b)
    assert one is not None
    assert other is not None
    np.testing.assert_allclose(one.mean, other.mean, rtol=0, atol=1e-12 * one.rms)
    for name in ("std", "abs_mean", "rms", "kurtosis"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-12, err_msg=name)


def read_parts(path: Path) -> tuple[dict[str, np.ndarray], dict[int, PassSums]]:
    """dict[str, np.ndarray] of both parts by owner, and the sums taken in the pass by site."""
    with SessionReader(path) as reader:
        plan = reader.meta().plan
        assert plan is not None
        owners = [f"{kind}{site}" for kind in (CALIBRATION, EVALUATION) for site in range(len(plan.sites))]
        sums = {site: reader.extra(f"{IN_PASS}{site}") for site in range(len(plan.sites))}
        histograms = {owner: reader.extra(owner).get("histogram", np.zeros(0)) for owner in owners}
        return histograms, {site: some(PassSums.from_arrays(one)) for site, one in sums.items() if one}


def assert_equal_parts(left: Path, right: Path) -> None:
    """dict[str, np.ndarray] exactly, sums as far as the order of float64 additions goes."""
    (histograms, sums), (others, other_sums) = read_parts(left), read_parts(right)
    for owner, histogram in histograms.items():
        np.testing.assert_array_equal(histogram, others[owner], err_msg=owner)
    assert sums.keys() == other_sums.keys()
    for site, one in sums.items():
        assert one.names == other_sums[site].names
        np.testing.assert_allclose(one.table, other_sums[site].table, rtol=1e-12)


def stop_after_batches(path: Path, batches: int) -> None:
    """Ask for a stop that the engine sees after some batches: it looks between batches, as a screen's wish would be."""
    original, seen = commands.RunDesk.obey, 0

    def obey(self: commands.RunDesk, work: Callable[[], None]) -> None:
        nonlocal seen
        seen += 1
        if seen == batches:
            send_command(path, "stop")
        original(self, work)
        if self.stop_wished:
            commands.RunDesk.obey = original  # type: ignore[method-assign]

    commands.RunDesk.obey = obey  # type: ignore[method-assign]


def limit_pages(monkeypatch: pytest.MonkeyPatch, full: range) -> None:
    """From one checkpoint's number to another's, let SQLite find the disk full."""
    original = SessionWriter.checkpoint
    written = 0

    def checkpoint(self: SessionWriter, *arguments: object, **named: object) -> None:
        nonlocal written
        written += 1
        pages = self._connection.execute("PRAGMA page_count").fetchone()[0]
        self._connection.execute(f"PRAGMA max_page_count = {pages if written in full else 2**30}")
        original(self, *arguments, **named)  # type: ignore[arg-type]
        self._connection.execute(f"PRAGMA max_page_count = {2**30}")

    monkeypatch.setattr(SessionWriter, "checkpoint", checkpoint)
