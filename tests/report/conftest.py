"""The small session with known contents, in every dtype and detail the reports must cope with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.session.reader import SessionReader
from tests.analysis import sessions


@pytest.fixture(scope="session")
def session_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Session files by what they are."""
    folder = tmp_path_factory.mktemp("report")
    return {
        "bfloat16": sessions.write_session(folder / "bf16.maxact"),
        "float32": sessions.write_session(folder / "fp32.maxact", "float32"),
        "standard": sessions.write_session(folder / "standard.maxact", "float32", detail="standard"),
        "lean": sessions.write_session(folder / "lean.maxact", detail="lean"),
        "partial": sessions.write_session(folder / "partial.maxact", done=[3, 7], phase="stopped"),
    }


@pytest.fixture
def reader(session_files: dict[str, Path]) -> Iterator[SessionReader]:
    """The finished bfloat16 session."""
    with SessionReader(session_files["bfloat16"]) as opened:
        yield opened
