"""Plain mode: a session told in appended lines, for screen readers and logs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from maxact_tui.cli.plain import Narrator
from maxact_tui.watching.looking import Look
from maxact_tui.watching.snapshot import Wish
from tests.screen import sessions
from tests.waiting import PATIENCE_SECONDS

PROGRAM = "import sys; from maxact_tui.__main__ import main; main()"


def said(narrator: Narrator, look: Look) -> list[str]:
    lines: list[str] = []
    while (snapshot := look.again(Wish())) is not None:
        lines += narrator.lines(snapshot)
    return lines


def test_what_happens_is_said_once_and_progress_now_and_then(tmp_path: Path) -> None:
    script = sessions.SessionScript(tmp_path / "run.maxact", hostile=False).load().tick()
    now = [0.0]
    narrator, look = Narrator(clock=lambda: now[0]), Look(script.path)
    first = said(narrator, look)
    assert any(line.startswith("model HuggingFaceTB/SmolLM2-135M-Instruct, bfloat16") for line in first)
    assert any(line.startswith("running:") and "1/14 samples" in line for line in first)
    assert any("M 23,168 at " in line for line in first)
    assert said(narrator, look) == []
    script.event("maximum", "new maximum 23,168 at layer_11_hidden", after=3, site=4)
    told = [line for line in said(narrator, look) if "new maximum" in line]
    assert len(told) == 1
    assert "new maximum 23,168 at layer_11_hidden" in told[0]
    script.tick()
    script.tick()
    assert [line for line in said(narrator, look) if "running" in line]  # another tenth is done
    now[0] = 61.0
    script.status = script.status.changed(samples_done=2)
    script.tick()
    assert any("3/14" in line for line in said(narrator, look))  # a minute has passed
    look.close()


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    script = sessions.running(tmp_path / "run.maxact", model="evil\x1b]0;owned\x07[/]")
    script.event("problem", "\x1b[2Jcleared\u202e", after=1)
    look = Look(script.path)
    lines = said(Narrator(), look)
    look.close()
    assert any("\\x1b[2Jcleared" in line for line in lines)
    assert all(character.isprintable() for line in lines for character in line)


def run(arguments: list[str], path: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "MAXACT_SESSIONS": str(path.parent), "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def test_a_finished_session_is_told_and_summed_up(clean_session: Path) -> None:
    process = run(["open", str(clean_session), "--plain"], clean_session)
    out, error = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0, error
    assert "new maximum 23,168" in out
    assert "M = 23,168" in out
    assert "\x1b" not in out


@pytest.mark.parametrize("ascii_only", [True, False])
def test_attach_follows_and_ctrl_c_leaves_the_run_going(tmp_path: Path, ascii_only: bool) -> None:
    script = sessions.running(tmp_path / "run.maxact")
    process = run(["--plain", *(["--ascii"] if ascii_only else []), "attach"], script.path)
    assert process.stdout is not None
    lines: list[str] = []
    while not lines or not lines[-1].startswith("M 23,168"):
        lines.append(process.stdout.readline())
        assert lines[-1], "it ended"
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 3
    assert "left running" in error
    assert script.writer.new_commands() == []
    assert "\x1b" not in "".join(lines) + out
    assert not ascii_only or "".join(lines).isascii()
