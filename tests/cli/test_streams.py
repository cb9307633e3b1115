"""Standard streams that are closed, that nobody reads to their end, or that are full."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from engine.run.runner import run
from tests.engine.running import new_session, tiny_job, write_corpus
from tests.waiting import PROGRAM_SECONDS

PROGRAM = [sys.executable, "-P", "-m", "maxact_tui"]
# Every way of printing: rich tables, print, bytes, the help of cyclopts, lines as they come, another process.
PRINTING = [
    "show SESSION",
    "open SESSION --plain",
    "compare SESSION SESSION",
    "export SESSION -o -",
    "published",
    "settings",
    "doctor",
    "plan MODEL",
    "--help",
]


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path) -> Path:
    """A finished session, the only one of its folder."""
    texts, folder = tmp_path_factory.mktemp("texts"), tmp_path_factory.mktemp("sessions")
    path = new_session(folder / "run.maxact", tiny_job(tiny_model_folder, write_corpus(texts / "short.jsonl")))
    assert run(path) == 0
    return path


def maxact(command: str, session: Path, model: Path, **streams: Any) -> subprocess.CompletedProcess[str]:
    names = {"SESSION": str(session), "MODEL": str(model)}
    return subprocess.run(
        [*PROGRAM, *(names.get(word, word) for word in command.split())],
        **{"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams},
        text=True,
        check=False,
        timeout=PROGRAM_SECONDS,
        env={**os.environ, "MAXACT_SESSIONS": str(session.parent), "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip


@pytest.mark.parametrize("command", PRINTING)
def test_a_reader_that_has_gone_is_no_failure(session: Path, tiny_model_folder: Path, command: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        result = maxact(command, session, tiny_model_folder, stdout=writing)
    finally:
        os.close(writing)
    assert result.returncode == 0, result.stderr
    assert [line for line in result.stderr.splitlines() if not line.startswith("# ")] == []


@pytest.mark.parametrize(
    ("command", "code"),
    [("show SESSION --fail-on sqnr<200", 1), ("show SESSION --json --fail-on sqnr<200", 1), ("show no-such", 2)],
)
def test_the_exit_code_does_not_depend_on_a_reader_of_either_stream(
    session: Path, tiny_model_folder: Path, command: str, code: int
) -> None:
    """`2>&1 | head` in a script that checks the code."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        result = maxact(command, session, tiny_model_folder, stdout=writing, stderr=writing)
    finally:
        os.close(writing)
    assert result.returncode == code


@pytest.mark.parametrize("command", PRINTING)
def test_a_closed_stdout_is_the_null_device(session: Path, tiny_model_folder: Path, command: str) -> None:
    result = maxact(command, session, tiny_model_folder, stdout=None, preexec_fn=lambda: os.close(1))
    assert result.returncode == 0, result.stderr
    assert [line for line in result.stderr.splitlines() if not line.startswith("# ")] == []


@pytest.mark.parametrize("command", ["open SESSION", "compare SESSION SESSION", "show SESSION", "sessions", ""])
def test_a_closed_stdin_is_nobody_at_a_terminal(session: Path, tiny_model_folder: Path, command: str) -> None:
    result = maxact(command, session, tiny_model_folder, stdin=None, preexec_fn=lambda: os.close(0))
    expected = maxact(command, session, tiny_model_folder)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.split()[:3] == expected.stdout.split()[:3] != []


def test_with_every_stream_closed_the_work_is_done_and_no_file_is_mistaken_for_one(
    tmp_path: Path, tiny_model_folder: Path
) -> None:
    path = tmp_path / "run.maxact"
    command = f"MODEL --corpus {write_corpus(tmp_path / 'short.jsonl')} --session SESSION --json"
    everything = {"stdin": None, "stdout": None, "stderr": None, "preexec_fn": lambda: os.closerange(0, 3)}
    assert maxact(command, path, tiny_model_folder, **everything).returncode == 0
    assert json.loads(maxact("show SESSION --json", path, tiny_model_folder).stdout)["run"]["phase"] == "finished"
    assert maxact("show no-such", path, tiny_model_folder, **everything).returncode == 2


@pytest.mark.slow
def test_a_wait_whose_progress_nobody_reads_is_left_and_the_run_goes_on(
    tmp_path: Path, tiny_model_folder: Path
) -> None:
    path = tmp_path / "run.maxact"
    command = f"MODEL --corpus {write_corpus(tmp_path / 'short.jsonl')} --session SESSION --headless"
    reading, writing = os.pipe()
    os.close(reading)
    try:
        assert maxact(command, path, tiny_model_folder, stderr=writing).returncode == 3
    finally:
        os.close(writing)
    followed = maxact("open SESSION --plain", path, tiny_model_folder)
    assert (followed.returncode, followed.stderr) == (0, "")
    assert "finished" in followed.stdout
