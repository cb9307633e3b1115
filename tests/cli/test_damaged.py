"""Commands on damaged sessions, on pipes, on a disk that cannot be written: one line, the exit code, no traceback."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.session.library import log_path
from engine.session.listing import list_sessions
from engine.session.reader import SessionReader
from engine.session.schema import DamagedError
from maxact_tui.cli.commands import opening
from maxact_tui.cli.main import main
from tests.screen import sessions
from tests.session.damages import BEGINNING, EVERYTHING, NUMBERS

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A finished session, as bytes."""
    path = tmp_path_factory.mktemp("whole") / "run.maxact"
    sessions.finished(path, layers=3, samples=5)
    return path.read_bytes()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: bytes) -> Path:
    """A sessions folder with a whole session, `good`, and one that is to be damaged, `bad`."""
    folder = tmp_path / "sessions"
    folder.mkdir()
    monkeypatch.setenv("MAXACT_SESSIONS", str(folder))
    monkeypatch.setenv("COLUMNS", "100")
    for name in ("good", "bad"):
        (folder / f"{name}.maxact").write_bytes(whole)
    return folder


@pytest.fixture
def bad(home: Path) -> Path:
    return home / "bad.maxact"


@pytest.fixture
def command(capfd: pytest.CaptureFixture[str]) -> Command:
    """Runs a command in this process: exit code, stdout, stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        capfd.readouterr()
        code = main([str(argument) for argument in arguments])
        out, error = capfd.readouterr()
        return code, out, error

    return run


def the_line(result: tuple[int, str, str]) -> str:
    """The one line of a command that was refused with exit code 1."""
    code, out, error = result
    assert (code, out, error.count("\n")) == (1, "", 1), error
    assert error.startswith("maxact-tui: ")
    assert error[:-1].isprintable()
    return error


READING = {
    "show": ["show", "bad"],
    "show --json": ["show", "bad", "--json"],
    "open": ["open", "bad"],
    "export": ["export", "bad", "--format", "json", "-o", "-"],
    "compare": ["compare", "good", "bad"],
    "compare as the first": ["compare", "bad", "good"],
}


@pytest.mark.parametrize("words", READING.values(), ids=READING)
@pytest.mark.parametrize("damage", EVERYTHING)
def test_what_reads_the_numbers_refuses_them_in_one_line(
    bad: Path, command: Command, damage: str, words: list[str]
) -> None:
    EVERYTHING[damage](bad)
    assert f"{bad} is damaged: " in the_line(command(*words))


@pytest.mark.parametrize("words", ["resume", "stop", "pause"])
@pytest.mark.parametrize("damage", ["pages from 2", "cut off", "no status", "no moment of creation"])
def test_what_steers_a_run_refuses_one_that_cannot_tell_its_state(
    bad: Path, command: Command, damage: str, words: str
) -> None:
    BEGINNING[damage](bad)
    assert f"{bad} is damaged: " in the_line(command(words, "bad"))


@pytest.mark.parametrize("words", ["resume", "stop", "pause"])
@pytest.mark.parametrize("damage", NUMBERS)
def test_what_steers_a_run_needs_no_numbers(bad: Path, command: Command, damage: str, words: str) -> None:
    NUMBERS[damage](bad)
    assert "bad is finished" in the_line(command(words, "bad"))


@pytest.mark.parametrize("words", [["sessions"], []], ids=["sessions", "no command"])
@pytest.mark.parametrize("damage", BEGINNING)
def test_lists_show_it_as_damaged_and_the_others_as_ever(
    bad: Path, command: Command, damage: str, words: list[str]
) -> None:
    BEGINNING[damage](bad)
    code, out, error = command(*words)
    assert (code, error) == (0, "")
    rows = {line.split()[0]: line for line in out.splitlines()[1:]}
    assert "damaged" in rows["bad"]
    assert "finished" in rows["good"]


@pytest.mark.parametrize("damage", BEGINNING)
def test_attach_looks_past_it(bad: Path, command: Command, damage: str) -> None:
    BEGINNING[damage](bad)
    code, _, error = command("attach")
    assert (code, error.count("\n")) == (2, 1)
    assert "no run is going on" in error


@pytest.mark.parametrize("damage", EVERYTHING)
def test_it_can_be_removed(bad: Path, home: Path, command: Command, damage: str) -> None:
    EVERYTHING[damage](bad)
    log_path(bad).write_text("a line")
    code, out, error = command("sessions", "rm", "-y", "bad")
    assert (code, out, error) == (0, f"removed {bad}\n", "")
    assert [path.name for path in home.iterdir() if path.name.startswith("bad")] == []
    assert (home / "good.maxact").exists()


def test_the_question_before_removing_says_that_it_is_damaged(
    bad: Path, command: Command, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    BEGINNING["pages from 10"](bad)

    class Nobody:
        def isatty(self) -> bool:
            return True

        def readline(self) -> str:
            return "n\n"

    monkeypatch.setattr(sys, "stdin", Nobody())
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    code, _, error = command("sessions", "rm", "bad")
    assert code == 1
    assert f"{bad}  damaged, " in error
    assert bad.exists()


def test_what_is_no_session_is_not_removed(home: Path, command: Command) -> None:
    other = home / "letter.maxact"
    other.write_text("Dear Ms. Page, " * 500)
    assert "is not a session file" in the_line(command("sessions", "rm", "-y", other))
    assert other.exists()


def test_a_folder_that_cannot_be_written_keeps_its_sessions(
    bad: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, missing_ok: bool = False) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    monkeypatch.setattr(Path, "unlink", refuse)
    said = the_line(command("sessions", "rm", "-y", bad))
    assert said == (f"maxact-tui: cannot remove {bad}: Read-only file system; see to the permissions of its folder\n")


@pytest.mark.timeout(120)  # a pipe that is waited for never ends
@pytest.mark.parametrize("words", ["show", "open", "export", "resume", "stop", "sessions rm -y"])
def test_a_pipe_is_refused_by_name_and_not_waited_for(home: Path, command: Command, words: str) -> None:
    pipe = home / "x.maxact"
    os.mkfifo(pipe)
    assert f"{pipe} is a pipe or a device, not a session file" in the_line(command(*words.split(), pipe))
    assert pipe.exists()


@pytest.mark.timeout(120)  # a pipe that is waited for never ends
def test_a_pipe_in_the_folder_is_passed_over(home: Path, command: Command) -> None:
    os.mkfifo(home / "x.maxact")
    code, out, error = command("sessions")
    assert (code, error) == (0, "")
    assert sorted(line.split()[0] for line in out.splitlines()[1:]) == ["bad", "good"]


def test_debug_shows_where_the_damage_was_found(bad: Path, command: Command) -> None:
    BEGINNING["a status of another kind"](bad)
    code, out, error = command("resume", "bad", "--debug")
    assert (code, out) == (1, "")
    assert "UnsoundError" in error
    assert "Traceback" in error
    assert error.splitlines()[-1].startswith(f"maxact-tui: {bad} is damaged: ")


def test_after_the_screen_a_file_that_broke_meanwhile_is_one_line(bad: Path) -> None:
    BEGINNING["no status"](bad)
    with pytest.raises(DamagedError):
        opening.say_goodbye(bad)


FULL = "checkpoint not written: database or disk is full; free some space, then continue with: maxact-tui resume bad"


def broken_off(path: Path, *, measured: bool) -> float:
    """A run whose engine ended without a word into its session; gives back when it had started."""
    path.unlink()
    script = sessions.SessionScript(path, layers=3, samples=5).load()
    if measured:
        script.tick().checkpoint()
    script.status = script.status.changed(boot="earlier")
    script.writer.set_status(script.status)
    script.writer.close()
    return script.status.started


def log_line(at: float, text: str) -> str:
    return f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(at))},123 INFO engine.run.recording: {text}\n"


class TestTheLogsLastWord:
    """What an engine could not write into its session any more, because the disk was full, its log tells."""

    def test_it_is_the_reason(self, bad: Path) -> None:
        started = broken_off(bad, measured=True)
        log_path(bad).write_text(
            log_line(started + 1, "run: started: 5 samples")
            + log_line(started + 5, f"run: failed: {FULL}")
            + "2026-11-28 17:10:42,546 ERROR engine.run.recording: the last status was not written: disk is full\n"
        )
        with SessionReader(bad) as reader:
            status = reader.status()
        assert (status.phase, status.detail) == ("failed", FULL)
        assert status.ended == int(started + 5)

    def test_it_is_told_by_show_and_sessions(self, bad: Path, command: Command) -> None:
        started = broken_off(bad, measured=True)
        log_path(bad).write_text(log_line(started + 5, f"run: failed: {FULL}"))
        code, out, _ = command("show", bad)
        assert code == 0
        assert f"why it ended: {FULL}" in " ".join(out.split())
        assert "failed" in next(line for line in command("sessions")[1].splitlines() if line.startswith("bad"))

    def test_it_is_told_of_a_run_without_numbers(self, bad: Path, command: Command) -> None:
        started = broken_off(bad, measured=False)
        log_path(bad).write_text(log_line(started + 5, f"run: failed: {FULL}"))
        assert the_line(command("show", bad)) == f"maxact-tui: bad.maxact holds no results yet (failed: {FULL})\n"

    def test_an_earlier_engines_failure_is_no_reason(self, bad: Path) -> None:
        started = broken_off(bad, measured=True)
        log_path(bad).write_text(log_line(started - 3600, f"run: failed: {FULL}"))
        (info,) = [one for one in list_sessions(bad.parent) if one.path == bad]
        assert info.status.phase == "gone"

    @pytest.mark.parametrize("log", [b"", b"\xff\xfe run: failed: x", b"99:99 run: failed: nothing\n"])
    def test_a_log_that_says_nothing_gives_no_reason(self, bad: Path, log: bytes) -> None:
        broken_off(bad, measured=True)
        log_path(bad).write_bytes(log)
        with SessionReader(bad) as reader:
            assert reader.status().phase == "gone"
