"""The judge of the torture itself: what it lets pass is a line for the user, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.torture.judging import UntoldError, require_told
from tests.torture.starting import Started


def ended(folder: Path, code: str) -> Started:
    """A process that has run this."""
    out, err = folder / "out", folder / "err"
    with out.open("wb") as first, err.open("wb") as second:
        process = subprocess.Popen([sys.executable, "-I", "-S", "-c", code], stdout=first, stderr=second)
    return Started(process, out, err)


@pytest.mark.parametrize(
    "code",
    [
        "raise ValueError('x')",
        "import os; os.kill(os.getpid(), 9)",
        "raise SystemExit(1)",
        "import sys; sys.stderr.write('maxact-tui: a bug in maxact-tui: KeyError: 1\\n'); sys.exit(1)",
        "import sys; sys.stderr.write('maxact-tui: no \\x1b[2J\\n'); sys.exit(1)",
        "print('\\x1b]0;x\\x07')",
        "import sys; sys.exit(77)",
    ],
)
def test_what_is_no_line_for_a_user_is_found(tmp_path: Path, code: str) -> None:
    with pytest.raises(UntoldError):
        require_told(ended(tmp_path, code), 60)


def test_one_line_and_its_code_pass(tmp_path: Path) -> None:
    code = "import sys; print('42'); sys.stderr.write('maxact-tui: it is damaged\\n'); sys.exit(1)"
    assert require_told(ended(tmp_path, code), 60) == 1


def test_what_does_not_end_is_not_waited_for(tmp_path: Path) -> None:
    started = ended(tmp_path, "import time; time.sleep(600)")
    with pytest.raises(subprocess.TimeoutExpired):
        require_told(started, 0.01)
    started.kill()
