"""What a file says twice differs: it is named and refused, and the commands end with 1."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from engine.run import runner
from engine.session.maxima import SampleMaxima, put_block
from engine.session.reader import SessionReader
from engine.session.schema import DamagedError
from engine.session.tables import Tables
from maxact_tui.cli.main import main
from tests.engine.running import new_session, tiny_job, write_corpus
from tests.session.stamping import stamped


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path) -> bytes:
    """A finished run, as bytes."""
    folder = tmp_path_factory.mktemp("contradictions")
    session = new_session(folder / "run.maxact", tiny_job(tiny_model_folder, write_corpus(folder / "a.jsonl", 6)))
    assert runner.run(session) == 0
    return session.read_bytes()


def a_sample_beyond_its_site(session: Path) -> None:
    with stamped(session) as db:
        tables = Tables(db)
        block = SampleMaxima(tables).whole()
        block[0, 2] *= 2
        numbers = np.arange(block.shape[1])
        db.execute("DELETE FROM sample_maxima")
        put_block(tables, numbers, block)


def a_finished_sample_that_is_not_there(session: Path) -> None:
    with stamped(session, "samples") as db:
        db.execute("DELETE FROM samples WHERE sample = 5")


@pytest.mark.parametrize("change", [a_sample_beyond_its_site, a_finished_sample_that_is_not_there])
def test_it_is_named_and_refused(
    tmp_path: Path, whole: bytes, change: Callable[[Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    session = tmp_path / "run.maxact"
    session.write_bytes(whole)
    change(session)
    with pytest.raises(DamagedError, match="contradicts itself: "):
        SessionReader(session)
    assert main(["show", str(session)]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert "is damaged: its database cannot be read (it contradicts itself: " in said.err
    assert said.err.count("\n") == 1


def test_what_a_run_has_written_contradicts_nothing(tmp_path: Path, whole: bytes) -> None:
    session = tmp_path / "run.maxact"
    session.write_bytes(whole)
    SessionReader(session).close()
