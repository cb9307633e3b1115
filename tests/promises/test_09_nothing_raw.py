"""Promise 9: nothing foreign reaches the terminal raw, every failure is one line; in a real terminal.

The door itself is tested in `tests.cli.test_printing`, reports in `tests.report.test_hostile_names`.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from engine.messages import as_written
from engine.session.reader import SessionReader
from engine.session.writer import SessionWriter
from tests.analysis import sessions
from tests.promises.strangers import main_in_a_terminal
from tests.values import some

EVIL = "\x1b]0;pwn\x07\x1b[31mEVIL\u202e\x9b2J"
RAW = (b"\x1b]0;pwn", b"\x1b[31mEVIL", "\u202e".encode(), b"\x07", "\x9b".encode())


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A session whose name and whose every text is hostile."""
    path = sessions.write_session(tmp_path_factory.mktemp("hostile") / f"{EVIL}.maxact", phase="stopped")
    with SessionReader(path) as reader:
        meta, status = reader.meta(), reader.status()
    plan = some(meta.plan)
    writer = SessionWriter.open(path)
    writer.set_meta(
        plan=replace(plan, sites=tuple(replace(site, name=EVIL + site.name) for site in plan.sites)).to_json(),
        provenance={**meta.provenance, "dtype": EVIL, "architecture": EVIL, "notes": [EVIL]},
        job={**meta.job.to_json(), "model": EVIL, "corpus": EVIL},
    )
    writer.set_status(status.changed(phase="stopped", message=as_written(EVIL)))
    writer.add_event(EVIL, as_written(EVIL))
    writer.close(final=True)
    return path


def assert_clean(raw: bytes) -> None:
    assert not [one for one in RAW if one in raw], raw[-400:]


@pytest.mark.parametrize(
    "words",
    [["show"], ["show", "--json"], ["open", "--plain"], ["export", "--format", "markdown", "-o", "-"],
     ["export", "--format", "json", "-o", "-"], ["export", "--format", "model-card", "-o", "-"]],
    ids=" ".join,
)  # fmt: skip
def test_a_hostile_session_in_a_terminal(hostile: Path, words: list[str]) -> None:
    name, *rest = words
    code, raw = main_in_a_terminal(name, hostile, *rest, session=hostile)
    assert code == 0, raw
    assert b"EVIL" in raw
    assert_clean(raw)


def test_the_list_in_a_terminal(hostile: Path) -> None:
    code, raw = main_in_a_terminal("sessions", "--plain", session=hostile)
    assert code == 0
    assert_clean(raw)


@pytest.mark.parametrize(
    "words",
    [["show", EVIL], ["show", f"/x/{EVIL}.maxact"], [f"/x/{EVIL}", "--headless"], ["plan", EVIL],
     ["corpus", "show", EVIL], ["export", EVIL], ["effect", EVIL], ["--nonsense", EVIL],
     ["--settings", EVIL, "settings"]],
    ids=lambda words: words[0] if words[0].isprintable() else "a model",
)  # fmt: skip
def test_a_failure_is_one_line(tmp_path: Path, words: list[str]) -> None:
    code, raw = main_in_a_terminal(*words, session=tmp_path / "none.maxact")
    assert code in (1, 2)
    assert_clean(raw)
    assert raw.startswith(b"maxact-tui: ")
    assert raw.count(b"\n") == 1


def test_a_damaged_session_of_a_hostile_name(tmp_path: Path, hostile: Path) -> None:
    path = Path(shutil.copy(hostile, tmp_path / f"bad{EVIL}.maxact"))
    path.write_bytes(b"SQLite format 3\0" + bytes(200))
    code, raw = main_in_a_terminal("show", path, session=path)
    assert code == 1
    assert_clean(raw)
    assert raw.count(b"\n") == 1
