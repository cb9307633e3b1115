"""`maxact-tui effect` as a user meets it, on a session whose run has ended."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from engine.session.reader import SessionReader
from engine.session.records import ENDED
from tests.cli.test_commands import assert_one_line_error, maxact
from tests.engine.running import write_corpus


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path) -> Path:
    """A finished session made by the command line."""
    home = tmp_path_factory.mktemp("effects")
    path = home / "tiny.maxact"
    corpus = write_corpus(home / "short.jsonl")
    result = maxact(tiny_model_folder, "--corpus", corpus, "--session", path, "--headless", home=home)
    assert result.returncode == 0, result.stderr
    return path


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--scheme", "int8,itn8"], "did you mean int8?"),
        (["--layers", "x"], "3-7,11"),
        (["--site", "layer_0_hidden", "--component", "hidden"], "either one site"),
        (["--site", "layer_0_hidden", "--gemm"], "--gemm"),
    ],
)
def test_what_cannot_be_meant_is_said_before_a_model_is_loaded(finished: Path, options: list[str], words: str) -> None:
    began = time.monotonic()
    assert_one_line_error(maxact("effect", finished, *options, home=finished.parent), words, code=2)
    assert time.monotonic() - began < 20
    with SessionReader(finished) as reader:
        assert not [command for command in reader.commands() if command.name == "effect"]


def test_a_session_without_effects_says_how_to_measure_one(finished: Path) -> None:
    assert_one_line_error(maxact("effect", finished, "--list", home=finished.parent), "maxact-tui effect tiny")


def test_effects_are_measured_kept_listed_exported_and_the_engine_is_sent_away(finished: Path) -> None:
    home = finished.parent
    result = maxact("effect", "tiny", "--scheme", "int4,int8-token,none", "--samples", 4, "--format", "json", home=home)
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert [one["name"] for one in found["outcomes"]] == ["int4", "int8-token", "none"]
    assert "Traceback" not in result.stderr
    four, eight, nothing = (one["numbers"] for one in found["outcomes"])
    assert four["kl_mean"] > eight["kl_mean"] > nothing["kl_mean"] == 0
    assert nothing["perplexity"] == found["perplexity"]
    listed = maxact("effect", "tiny", "--list", home=home)
    assert listed.returncode == 0
    lines = listed.stdout.splitlines()
    assert "all GEMM inputs" in lines[0]
    assert [line.split()[0] for line in lines[2:6]] == ["unchanged", "int4", "int8-token", "none"]
    assert "100.0 %" in lines[5]
    assert "4 held-out samples" in listed.stdout
    document = maxact("export", "tiny", "--format", "summary", "-o", "-", home=home)
    assert json.loads(document.stdout)["effects"] == [found]
    report = maxact("export", "tiny", "--format", "markdown", "-o", "-", home=home)
    assert "| int8-token |" in report.stdout
    wrong = maxact("effect", "tiny", "--site", "layer_0_hiden", home=home)
    assert_one_line_error(wrong, "did you mean layer_0_hidden")
    with SessionReader(finished) as reader:
        service = reader.service()
        assert service is not None
        assert service.phase in ENDED
