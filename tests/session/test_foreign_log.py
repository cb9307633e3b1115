"""A session file and a write-ahead log of two sessions: refused, and neither is touched."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from engine.session.reader import SessionReader
from engine.session.schema import DamagedError
from engine.session.writer import SessionWriter
from tests.screen import sessions
from tests.session.stamping import stamped


@pytest.fixture(scope="module")
def crashed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a.maxact and b.maxact, each with its log, as killed engines leave them; c.maxact has ended."""
    live, crashed = tmp_path_factory.mktemp("live"), tmp_path_factory.mktemp("crashed")
    for name, samples in (("a", 5), ("b", 7)):
        script = sessions.running(live / f"{name}.maxact", layers=2, samples=samples)
        for file in live.glob(f"{name}.maxact*"):
            if not file.name.endswith("-shm"):
                shutil.copy(file, crashed)
        script.writer.close()
    sessions.finished(crashed / "c.maxact", layers=2, samples=6)
    return crashed


def placed(folder: Path, crashed: Path, file: str, log: str) -> Path:
    """The file of one session beside the log of another."""
    session = Path(shutil.copy(crashed / f"{file}.maxact", folder / "x.maxact"))
    shutil.copy(crashed / f"{log}.maxact-wal", folder / "x.maxact-wal")
    return session


@pytest.mark.parametrize(("file", "log"), ["ab", "ba", "ca", "cb"])
def test_a_file_with_the_log_of_another_is_refused_and_both_stay_as_they_are(
    tmp_path: Path, crashed: Path, file: str, log: str
) -> None:
    session = placed(tmp_path, crashed, file, log)
    before = [path.read_bytes() for path in (session, tmp_path / "x.maxact-wal")]
    for way in (SessionReader, SessionWriter.open):
        with pytest.raises(DamagedError, match=r"x\.maxact-wal beside it is the log of another session"):
            way(session)
    assert [path.read_bytes() for path in (session, tmp_path / "x.maxact-wal")] == before
    (tmp_path / "x.maxact-wal").unlink()
    if file == "c":
        SessionReader(session).close()


@pytest.mark.parametrize("name", "ab")
def test_a_file_with_its_own_log_is_whole(tmp_path: Path, crashed: Path, name: str) -> None:
    with SessionReader(placed(tmp_path, crashed, name, name)) as reader:
        assert len(reader.sample_labels()) == {"a": 5, "b": 7}[name]


@pytest.mark.parametrize("table", ["status", "checkpoints"])
def test_pages_of_another_log_bring_another_name(tmp_path: Path, crashed: Path, table: str) -> None:
    """A log that was begun anew holds only what was written since, and not the page with the session's name."""
    session = Path(shutil.copy(crashed / "c.maxact", tmp_path))
    column = {"status": "value", "checkpoints": "status"}[table]
    with stamped(session, table) as db:
        db.execute(f"UPDATE {table} SET {column} = json_set({column}, '$.session', 'ffff')")
    with pytest.raises(DamagedError, match="is another session's"):
        SessionReader(session)
