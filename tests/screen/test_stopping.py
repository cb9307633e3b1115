"""ctrl+z, kill -STOP and fg: the terminal is the shell's meanwhile, and the picture comes back."""

from __future__ import annotations

import os
import signal
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.screen.terminal import Terminal
from tests.waiting import until

SHELL_FLAGS = termios.ICANON | termios.ECHO | termios.ISIG


@pytest.fixture
def terminal(clean_session: Path) -> Iterator[Terminal]:
    with Terminal(clean_session, env={"MAXACT_BUG_LOG": os.devnull}) as opened:
        opened.wait_for("layer 11 hidden")
        opened.quiet()
        yield opened


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def flags(terminal: Terminal) -> int:
    return int(termios.tcgetattr(terminal.fd)[3]) & SHELL_FLAGS


def leave_and_come_back(terminal: Terminal) -> None:
    """After the process was stopped: forget the picture, as a shell's output does, and let it go on."""
    terminal.read(0.1)
    terminal.screen.reset()
    terminal.signal(signal.SIGCONT)
    terminal.wait_for("layer 11 hidden")
    assert flags(terminal) == 0, "keys come one by one again"
    terminal.press("?")
    terminal.wait_for("Move the cursor")  # the help itself: the word is among the keys of every screen
    terminal.press("\x1b")
    terminal.wait_for("layer 11 hidden")
    terminal.quiet()


@pytest.mark.parametrize("how", ["ctrl+z", "SIGTSTP"])
def test_a_stop_gives_the_terminal_to_the_shell_and_fg_brings_the_picture_back(terminal: Terminal, how: str) -> None:
    assert flags(terminal) == 0
    for _ in range(2):
        before = len(terminal.raw)
        if how == "ctrl+z":
            terminal.press("\x1a")
        else:
            terminal.signal(signal.SIGTSTP)
        until(lambda: terminal.read(0.05) >= 0 and state_of(terminal.pid) == "T")
        terminal.read(0.1)
        left = bytes(terminal.raw[before:])
        assert b"\x1b[?1049l" in left, "the shell's own screen is back"
        assert b"\x1b[?25h" in left, "with its cursor"
        assert flags(terminal) == SHELL_FLAGS
        leave_and_come_back(terminal)


def test_a_stop_that_nobody_can_handle_leaves_one_reader_of_keys_and_the_settings(terminal: Terminal) -> None:
    threads = len(list(Path(f"/proc/{terminal.pid}/task").iterdir()))
    terminal.signal(signal.SIGSTOP)
    until(lambda: state_of(terminal.pid) == "T")
    leave_and_come_back(terminal)
    assert len(list(Path(f"/proc/{terminal.pid}/task").iterdir())) <= threads + 1, "one more reads the session, perhaps"
    terminal.press("q")
    terminal.exit_code()
    assert flags(terminal) == SHELL_FLAGS, "the shell's own settings, not those of the screen"
