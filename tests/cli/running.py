"""The command line in the tests: as a process of its own, and in this one.

- `maxact`                 run a command as a user does: its own process, its output, its exit code
- `main_here`              the same in the process of the tests, at a tenth of the cost
- `refusal`                exit code and the one line of a command that was refused
- `assert_one_line_error`
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

import pytest

from maxact_tui.cli.main import main
from tests.waiting import PROGRAM_SECONDS


def maxact(*arguments: object, home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "maxact_tui", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        timeout=PROGRAM_SECONDS,
        env={**os.environ, **surroundings(home), **environment},
    )


def main_here(
    *arguments: object, home: Path, captured: pytest.CaptureFixture[str], **environment: str
) -> subprocess.CompletedProcess[str]:
    words = [str(argument) for argument in arguments]
    captured.readouterr()
    # Some options become variables for what the command starts.
    variables = patch.dict(os.environ, {**surroundings(home), **environment})
    with variables, Path(os.devnull).open(encoding="utf-8") as nothing, patch.object(sys, "stdin", nothing):
        code = main(words)
    out, error = captured.readouterr()
    return subprocess.CompletedProcess(words, code, out, error)


def surroundings(home: Path) -> dict[str, str]:
    """The variables a command sees: its sessions, and a terminal's width."""
    return {"MAXACT_SESSIONS": str(home), "COLUMNS": "100", "HF_HUB_OFFLINE": "1"}


def refusal(result: subprocess.CompletedProcess[str]) -> tuple[int, str]:
    """Exit code and error of a command that was refused: one line on stderr, nothing on stdout, no traceback."""
    errors = [line for line in result.stderr.splitlines() if line.startswith("maxact-tui: ")]
    assert (len(errors), result.stdout) == (1, ""), result.stderr
    assert "Traceback" not in result.stderr
    return result.returncode, errors[0]


def assert_one_line_error(result: subprocess.CompletedProcess[str], *words: str, code: int = 1) -> None:
    found, error = refusal(result)
    assert found == code, error
    for word in words:
        assert word in error
