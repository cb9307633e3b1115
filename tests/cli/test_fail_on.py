"""`--fail-on`: a gate for scripts, its grammar, its exit codes; and the log of a start that failed."""

from __future__ import annotations

import os
import time
from functools import partial
from pathlib import Path

import pytest

from engine.report.conditions import parse_conditions
from engine.report.errors import ReportError
from engine.run import runner
from engine.session.library import log_path
from engine.session.newfile import KEPT_SECONDS, forget_logs
from engine.session.reader import SessionReader
from maxact_tui.cli.headless import follow
from maxact_tui.cli.main import main
from maxact_tui.errors import UserError
from tests.engine.running import new_session, tiny_job, write_corpus
from tests.planting import planted_llama


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    path = new_session(folder / "whole.maxact", tiny_job(tiny_model_folder, write_corpus(folder / "c.jsonl", 8)))
    assert runner.run(path) == 0
    return path


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("planted")
    model = planted_llama(folder / "weight", "weight")
    path = new_session(folder / "planted.maxact", tiny_job(model, write_corpus(folder / "c.jsonl", 8)))
    assert runner.run(path) == 0
    return path


def shown(capsys: pytest.CaptureFixture[str], path: Path, conditions: str) -> tuple[int, list[str]]:
    """Exit code of `show --fail-on`, and its lines on stderr."""
    code = main(["show", str(path), "--fail-on", conditions])
    return code, capsys.readouterr().err.splitlines()


def test_a_whole_model_passes(capsys: pytest.CaptureFixture[str], whole: Path) -> None:
    assert shown(capsys, whole, "nonfinite, overflow,m>1e4,max>65_504,sqnr<-10,crest>=1e9,kurtosis>1e9") == (0, [])


def test_each_condition_that_holds_has_a_line(capsys: pytest.CaptureFixture[str], whole: Path) -> None:
    with SessionReader(whole) as reader:
        from engine.analysis.model import analyse

        summary = analyse(reader)
    assert summary.maximum is not None
    code, lines = shown(capsys, whole, "nonfinite,m>0.001,MAX<=0,sqnr<500")
    assert code == 1 and len(lines) == 2
    assert lines[0].startswith(f"maxact-tui: failed on m>0.001: M is {summary.maximum.magnitude:,.6g}"[:45])
    assert lines[1].startswith("maxact-tui: failed on sqnr<500: ") and lines[1].endswith(" dB")


def test_damage_is_a_share_or_in_per_cent(capsys: pytest.CaptureFixture[str], whole: Path) -> None:
    with SessionReader(whole) as reader:
        from engine.quantization.populations import read_board
        from engine.quantization.ranking import rank

        plan = reader.meta().plan
        worst = next(one for one in rank(read_board(reader)) if one.by == "damage")
    assert plan is not None
    below = f"{100 * worst.value / 2:.6f}%"
    for limit in (below, f"{worst.value / 2:.8f}"):
        code, (line,) = shown(capsys, whole, f"damage>{limit}")
        assert code == 1 and plan.sites[worst.site].name in line and line.endswith(" %")
    assert shown(capsys, whole, f"damage>{200 * worst.value:.6f}%") == (0, [])
    for wrong, words in (("damage>5", "write damage>5%"), ("sqnr<20%", "only damage is a share")):
        code, (line,) = shown(capsys, whole, wrong)
        assert code == 2 and words in line


def test_nan_and_infinity_are_beyond_every_limit(capsys: pytest.CaptureFixture[str], planted: Path) -> None:
    conditions = ["nonfinite", "overflow", "m>1e30", "max<0", "sqnr<-900", "damage>90%", "massive"]
    code, lines = shown(capsys, planted, ",".join(conditions))
    assert code == 1 and [line.split(": ")[1] for line in lines] == [f"failed on {one}" for one in conditions]
    assert "NaN in 12 sites, first L1 mlp_output" not in lines[-1]
    assert all("first L1 mlp_output" in line for line in lines[:-1])


def test_what_was_not_measured_is_no_pass(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, tiny_model_folder: Path
) -> None:
    job = tiny_job(tiny_model_folder, write_corpus(tmp_path / "c.jsonl", 4), detail="lean", quant="off")
    path = new_session(tmp_path / "lean.maxact", job)
    assert runner.run(path) == 0
    assert shown(capsys, path, "sqnr<20") == (
        1,
        ["maxact-tui: failed on sqnr<20: cannot be checked: it was not measured"],
    )
    code, (line,) = shown(capsys, path, "damage>5%")
    assert code == 1 and line.startswith("maxact-tui: failed on damage>5%: cannot be checked: it was not measured; run")


@pytest.mark.parametrize(
    "text", ["", "nan", "nonfinite,", "sqnr", "sqnr<", "sqnr=20", "sqnr<x", "rms>1", "m>1e999", "m>>1", "\x1b[2Jm"]
)
def test_what_is_not_known_is_refused_with_what_is(
    capsys: pytest.CaptureFixture[str], whole: Path, tmp_path: Path, text: str
) -> None:
    for command in (["show", str(whole)], ["demo", "--session", str(tmp_path / "new.maxact")]):
        assert main([*command, "--fail-on", text]) == 2
        said = capsys.readouterr()
        (line,) = said.err.splitlines()
        assert said.out == "" and not (tmp_path / "new.maxact").exists()
        if text:
            assert (
                "nonfinite, overflow, massive, or m, max, crest, kurtosis, sqnr, damage" in line and "\x1b" not in line
            )


def test_the_grammar() -> None:
    (word, low, high) = parse_conditions(" Nonfinite , sqnr <= -2.5,M>1_000")
    assert (word.name, low.name, low.comparison, low.limit) == ("nonfinite", "sqnr", "<=", -2.5)
    assert (high.name, high.comparison, high.limit) == ("m", ">", 1000.0)
    with pytest.raises(ReportError) as caught:
        parse_conditions("overflow;m>1")
    assert caught.value.code == 2


def test_a_headless_run_that_is_done_fails_on_its_conditions(
    capsys: pytest.CaptureFixture[str], planted: Path, whole: Path
) -> None:
    follow_one = partial(follow, as_json=True, debug=False, disposable=False)
    assert follow_one(planted, fail_on=parse_conditions("nonfinite")) == 1
    assert "failed on nonfinite: NaN in " in capsys.readouterr().err
    assert follow_one(whole, fail_on=parse_conditions("nonfinite")) == 0
    assert follow_one(planted) == 0


def test_a_list_flags_the_session(
    capsys: pytest.CaptureFixture[str], planted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAXACT_SESSIONS", str(planted.parent))
    monkeypatch.setenv("COLUMNS", "100")
    assert main(["sessions"]) == 0
    assert "Inf/NaN" in capsys.readouterr().out


def test_the_log_of_a_start_that_failed_is_there_as_long_as_it_is_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("INTERNAL ASSERT FAILED")

    path = new_session(tmp_path / "a.maxact", tiny_job(tiny_model_folder, write_corpus(tmp_path / "c.jsonl", 2)))
    log = log_path(path)
    log.write_text("Traceback ... INTERNAL ASSERT FAILED\n", encoding="utf-8")
    with monkeypatch.context() as patched:
        patched.setattr(runner, "prepare", broken)
        assert runner.run(path) == 1
    with pytest.raises(UserError) as caught:
        follow(path, as_json=False, debug=False, disposable=True)
    assert f"(log: {log})" in str(caught.value) and not path.exists() and "INTERNAL" in log.read_text(encoding="utf-8")

    forget_logs(tmp_path)
    assert log.exists()
    old = time.time() - KEPT_SECONDS - 60
    os.utime(log, (old, old))
    beside = new_session(tmp_path / "b.maxact", tiny_job(tiny_model_folder, tmp_path / "c.jsonl"))
    log_path(beside).write_text("whose session is there", encoding="utf-8")
    os.utime(log_path(beside), (old, old))
    forget_logs(tmp_path)
    assert not log.exists() and log_path(beside).exists()


def test_a_start_that_says_all_in_its_line_leaves_nothing(tmp_path: Path) -> None:
    path = new_session(tmp_path / "a.maxact", tiny_job(tmp_path / "nowhere", write_corpus(tmp_path / "c.jsonl", 2)))
    log_path(path).write_text("a line", encoding="utf-8")
    assert runner.run(path) == 1
    with pytest.raises(UserError) as caught:
        follow(path, as_json=False, debug=False, disposable=True)
    assert "log" not in str(caught.value)
    assert [one.name for one in tmp_path.iterdir()] == ["c.jsonl"]
