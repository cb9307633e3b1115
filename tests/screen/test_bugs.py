"""A mistake of the program is told as one: a line, the log, no traceback on the terminal; no file is blamed for it."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from engine.session.records import Status
from maxact_tui import bugs
from maxact_tui.cli.main import main
from maxact_tui.shell.application import MaxactApp
from maxact_tui.watching.looking import Look
from maxact_tui.watching.snapshot import Wish
from tests.private import end_with
from tests.screen import sessions
from tests.screen.conftest import Shown, settle
from tests.screen.pictures import screen_text

BUGS = [AttributeError("no such thing"), TypeError("not this"), KeyError("name"), IndexError("far"), ValueError("odd")]


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "logs" / "bugs.log"
    monkeypatch.setenv(bugs.LOG_VARIABLE, str(path))
    monkeypatch.setattr(bugs, "_logged", set())
    return path


@pytest.fixture
def session(tmp_path: Path) -> Path:
    path = tmp_path / "run.maxact"
    sessions.finished(path, layers=3, samples=5)
    return path


def inject(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Reading the status of any session fails as a mistake of ours would."""

    def broken(*_: object) -> None:
        raise error

    monkeypatch.setattr(Status, "from_json", broken)


@pytest.mark.parametrize("error", BUGS, ids=lambda one: type(one).__name__)
def test_a_command_says_so_in_one_line(
    session: Path, log: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], error: Exception
) -> None:
    inject(monkeypatch, error)
    assert main(["show", str(session)]) == 1
    out, told = capfd.readouterr()
    assert out == ""
    assert told.count("\n") == 1
    assert told.startswith(f"maxact-tui: a bug in maxact-tui: {type(error).__name__}: ")
    assert told.endswith(f"; the traceback is in {log}; please report it\n")
    written = log.read_text(encoding="utf-8")
    assert "Traceback (most recent call last)" in written
    assert "in broken" in written
    assert log.stat().st_mode & 0o077 == 0


def test_debug_shows_the_traceback_before_the_line(
    session: Path, log: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    inject(monkeypatch, TypeError("not this"))
    assert main(["resume", str(session), "--debug"]) == 1
    lines = capfd.readouterr().err.splitlines()
    assert any(line.startswith("Traceback") for line in lines)
    assert lines[-1].startswith("maxact-tui: a bug in maxact-tui: TypeError: not this; ")


@pytest.mark.parametrize("error", BUGS, ids=lambda one: type(one).__name__)
def test_the_reading_thread_says_so_and_logs_it_once(
    session: Path, log: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    inject(monkeypatch, error)
    look = Look(session)
    shown = [one for _ in range(5) if (one := look.again(Wish())) is not None]
    look.close()
    assert [(one.is_bug, "damaged" in one.problem) for one in shown] == [(True, False)]
    assert shown[0].problem.endswith(f"; the traceback is in {log}; please report it")
    assert log.read_text(encoding="utf-8").count("Traceback") == 1


async def test_the_screen_says_so_and_goes_on(
    shown: Shown, session: Path, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise AttributeError("no such thing")

    monkeypatch.setattr("engine.analysis.model.find_threads", broken)
    async with shown(session, 200, 40) as pilot:
        await settle(pilot, lambda app: app.snapshot.is_bug)
        text = screen_text(pilot.app)
        assert pilot.app.is_running
    assert "a bug" in text
    assert str(log)[:40] in text
    assert "damaged" not in text
    assert "sessions rm" not in text


def test_what_breaks_the_screen_itself_ends_in_one_line(
    session: Path, log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    app = MaxactApp(session)
    end_with(app, TypeError("not this"))
    told = capsys.readouterr().err
    assert " ".join(told.split()).startswith(
        "maxact-tui: a bug in maxact-tui: TypeError: not this; the traceback is in "
    )
    assert "Traceback" not in told
    assert "TypeError: not this" in log.read_text(encoding="utf-8")


def test_a_log_that_cannot_be_written_is_replaced(
    session: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(bugs.LOG_VARIABLE, str(session / "no" / "folder"))
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    said = bugs.report_bug(ValueError("odd \x1b[31m"))
    assert said.isprintable()
    assert f"the traceback is in {tmp_path}" in said
