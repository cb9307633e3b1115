"""The real program on the demo model in a real terminal, the way a user goes: from the command to the files.

Start, wait for M, site, tokens, thread, sample, prompt, export, leave, attach, lose the engine, go on, end.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.session.reader import SessionReader
from engine.session.requests import send_command
from tests.screen.terminal import Terminal

COMMAND = [sys.executable, "-P", "-m", "maxact_tui"]
DEMO = ["demo", "--samples", "30", "--max-length", "64", "--batch-tokens", "128", "--threads", "1"]


@pytest.fixture
def home(tmp_path: Path, demo_gguf: Path) -> Iterator[Path]:
    """A folder for sessions; whatever still runs in it afterwards is stopped."""
    yield tmp_path
    for session in tmp_path.glob("*.maxact"):
        send_command(session, "stop")


def terminal_in(home: Path, *arguments: str) -> Terminal:
    env: dict[str, str | None] = {"MAXACT_SESSIONS": str(home), "HOME": str(home.parent)}
    return Terminal(home, 120, 36, command=[*COMMAND, *arguments], env=env)


@pytest.mark.slow
@pytest.mark.demo_model
def test_from_the_first_number_to_the_files_and_back(home: Path) -> None:
    with terminal_in(home, *DEMO) as terminal:
        terminal.wait_for(" RUNNING")
        terminal.press(" ")
        terminal.wait_for(" PAUSED")
        terminal.wait_for(lambda t: "M -" not in t.text and "token in context" in t.text and "as of" not in t.text)
        look_inside(terminal)
        ask_for_a_prompt(terminal)
        export(terminal, home)
        terminal.press("q")
        terminal.wait_for("leave it running")
        terminal.press("l")
        assert terminal.exit_code() == 3
    (session,) = home.glob("*.maxact")
    with SessionReader(session) as reader:
        assert reader.status().phase == "paused"
        assert {result.kind for result in reader.results()} == {"probe"}
        assert len(reader.results()) == 2
    with terminal_in(home, "attach") as terminal:
        terminal.wait_for(" PAUSED")
        with SessionReader(session) as reader:
            os.kill(reader.status().pid, signal.SIGKILL)
        terminal.wait_for("ENGINE GONE")
        go_on(terminal)
        terminal.wait_for(" FINISHED")
        terminal.press("q")
        assert terminal.exit_code() == 0
    with SessionReader(session) as reader:
        status = reader.status()
    assert (status.phase, status.samples_done) == ("finished", 30)


def look_inside(terminal: Terminal) -> None:
    """From M to its tokens, its thread, and the text of its sample with the values of every token."""
    terminal.press("x\r")
    terminal.wait_for("1[Tokens]2 Channels 3 Distribution 4 Samples 5 INT8")
    terminal.press("\x1b")
    terminal.wait_for(" PAUSED")
    terminal.press("t")
    terminal.wait_for("Threads: massive activations")
    terminal.press("\x1b")
    terminal.wait_for(" PAUSED")
    terminal.press("y")
    terminal.wait_for("Sample ")
    terminal.wait_for(lambda t: "token 0" in t.text and "channel" in t.text)
    terminal.press("\x1b")
    terminal.wait_for(" PAUSED")


def ask_for_a_prompt(terminal: Terminal) -> None:
    """The prompt whose maximum is known: some 23,160, at the token `Summer`, channel 507."""
    terminal.press("p")
    terminal.wait_for("raw")
    terminal.press("Summer is warm. Winter is cold.")
    terminal.wait_for("Winter is cold.")
    terminal.press("\r")
    # 23,160 in float32; what bfloat16 makes of it is up to the CPU's kernels, and within 2 %.
    terminal.wait_for(lambda t: re.search(r"23,[0-5]\d\d|22,[7-9]\d\d", t.text) is not None)
    terminal.wait_for("channel 507")
    terminal.press("\x1b")
    terminal.wait_for(" PAUSED")


def go_on(terminal: Terminal) -> None:
    """Continue from the last checkpoint the run whose engine is gone; not without being asked to."""
    for answer in ("n", "c"):
        terminal.wait_for("ENGINE GONE")
        terminal.press(" ")
        terminal.wait_for(lambda t: "Continue this run?" in t.text and "of 30 samples are saved" in t.text)
        terminal.press(answer)


def export(terminal: Terminal, home: Path) -> None:
    """The formats that are marked at first, into the folder that is proposed."""
    terminal.press("e")
    terminal.wait_for("html")
    terminal.press("\r")
    terminal.wait_for("Exported: 5 files")
    assert len(list(home.rglob("*-export/*"))) == 5
    terminal.press("\x1b")
    terminal.wait_for(" PAUSED")
