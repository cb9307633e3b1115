"""Numbers of a whole model are computed from one site at a time: what is held grows by what is shown, no more."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.analysis.model import analyse
from engine.report.source import gather
from engine.session.reader import SessionReader
from maxact_tui.watching.boardview import read_board
from tests.screen.sessions import SessionScript

FEW, MANY = 4, 24
# Kept are 5.3 KiB a site of the board, 5.7 of the model. A site's histogram is of 512 KiB, a distribution computed from
# it of 160, its share of the per-sample maxima of 8, its largest elements as objects of 20.
SAMPLES = 2_000
BOARD_KIB, MODEL_KIB = 7.0, 7.5


@pytest.fixture(scope="module")
def sessions(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """One of few layers, one of many."""
    folder = tmp_path_factory.mktemp("sessions")
    for layers in (FEW, MANY):
        script = SessionScript(folder / f"{layers}.maxact", layers=layers, samples=SAMPLES, width=512, hostile=False)
        script.load().tick().checkpoint().finish()
    return folder / f"{FEW}.maxact", folder / f"{MANY}.maxact"


def peak(path: Path, work: Callable[[SessionReader], object]) -> float:
    """The most that was held meanwhile, in KiB."""
    with SessionReader(path) as reader:
        tracemalloc.start(1)
        try:
            work(reader)
            return tracemalloc.get_traced_memory()[1] / 1024
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize(
    ("work", "most"),
    [(read_board, BOARD_KIB), (analyse, MODEL_KIB), (gather, BOARD_KIB + MODEL_KIB)],
    ids=["board", "model", "report"],
)
def test_a_further_site_costs_what_is_kept_of_it(
    sessions: tuple[Path, Path], work: Callable[[SessionReader], object], most: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.session.maxima.CHUNK_BYTES", 16 * SAMPLES)  # of four sites at a time
    with SessionReader(sessions[0]) as reader:
        work(reader)  # what is computed once and kept
    few, many = (peak(path, work) for path in sessions)
    assert (many - few) / (4 * (MANY - FEW)) < most
