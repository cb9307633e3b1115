"""The command line as a user meets it: one process per command, its output, its exit code."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.engine.running import write_corpus

Refused = Callable[[str], tuple[int, str]]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the sessions of this file's tests."""
    return tmp_path_factory.mktemp("sessions")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus") / "short.jsonl")


def maxact(*arguments: object, home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "maxact_tui", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        timeout=120,
        env={**os.environ, "MAXACT_SESSIONS": str(home), "COLUMNS": "100", "HF_HUB_OFFLINE": "1", **environment},
    )


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


@pytest.fixture(scope="module")
def finished(home: Path, tiny_model_folder: Path, corpus: Path) -> Path:
    """A finished session made by the command line."""
    path = home / "tiny.maxact"
    result = maxact(tiny_model_folder, "--corpus", corpus, "--session", path, "--headless", home=home)
    assert result.returncode == 0, result.stderr
    return path


def test_help_teaches_by_example() -> None:
    result = maxact("--help", home=Path("unused"))
    assert result.returncode == 0
    assert result.stderr == ""
    for text in ("maxact-tui demo", "Qwen/Qwen3-8B", "--corpus", "--dtype", "resume", "Usage: maxact-tui MODEL"):
        assert text in result.stdout


def test_a_headless_run_prints_the_summary_and_nothing_else_on_stdout(
    home: Path, tiny_model_folder: Path, corpus: Path
) -> None:
    result = maxact(tiny_model_folder, "--corpus", corpus, "--samples", 9, home=home)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("tiny-llama  float32, 9 samples") or "9 samples" in result.stdout.splitlines()[0]
    assert "M = " in result.stdout
    progress, *_, session = result.stderr.splitlines()
    assert not progress.startswith(("maxact-tui:", "session:")), "a tiny run may show one phase or many, but never none"
    assert session.startswith("session: ")


def test_json_is_one_object(home: Path, tiny_model_folder: Path, corpus: Path) -> None:
    result = maxact(tiny_model_folder, "--corpus", corpus, "--samples", 6, "--json", home=home)
    summary = json.loads(result.stdout)
    assert summary["run"]["samples"] == 6
    assert summary["maximum"]["magnitude"] > 0


def test_show_says_the_same_again(finished: Path, home: Path) -> None:
    result = maxact("show", finished, home=home)
    assert result.returncode == 0
    assert "M = " in result.stdout


def test_a_session_is_found_by_the_start_of_its_name(finished: Path, home: Path) -> None:
    assert maxact("show", "tiny.max", home=home).returncode == 0
    assert maxact("open", "tiny", home=home).stdout == maxact("show", finished, home=home).stdout


def test_sessions_are_listed(finished: Path, home: Path) -> None:
    for arguments in (["sessions"], []):
        result = maxact(*arguments, home=home)
        assert result.returncode == 0
        assert any(line.startswith("tiny ") and "finished" in line for line in result.stdout.splitlines())


def test_an_empty_list_says_what_to_do(tmp_path: Path) -> None:
    assert "maxact-tui demo" in maxact("sessions", home=tmp_path).stdout


@pytest.mark.parametrize("form", ["json", "reference"])
def test_exports_are_written_and_named(finished: Path, home: Path, tmp_path: Path, form: str) -> None:
    result = maxact("export", finished, "--format", form, "-o", tmp_path, home=home)
    assert result.returncode == 0, result.stderr
    written = [Path(line) for line in result.stdout.splitlines()]
    assert written
    assert sorted(written) == sorted(tmp_path.iterdir())
    for path in written:
        json.loads(path.read_text(encoding="utf-8"))
    again = maxact("export", finished, "--format", form, "-o", tmp_path, home=home)
    assert_one_line_error(again, "--force")
    assert maxact("export", finished, "--format", form, "-o", tmp_path, "--force", home=home).returncode == 0


def test_one_document_can_go_to_stdout(finished: Path, home: Path) -> None:
    result = maxact("export", finished, "--format", "model-card", "-o", "-", home=home)
    assert result.returncode == 0, result.stderr
    assert "## Maximum activations" in result.stdout
    several = maxact("export", finished, "--format", "reference", "-o", "-", home=home)
    assert_one_line_error(several, "-o", code=2)


def test_formats_are_listed(home: Path) -> None:
    listed = maxact("export", home=home).stdout
    for name in ("html", "markdown", "model-card", "csv", "json", "reference"):
        assert name in listed
    assert "in CSV a ' stands before texts that begin with = + - @" in " ".join(listed.split())


def test_sessions_are_compared(
    finished: Path, home: Path, tmp_path: Path, tiny_model_folder: Path, corpus: Path
) -> None:
    other = home / "other.maxact"
    run = maxact(tiny_model_folder, "--corpus", corpus, "--bos", "--session", other, "--headless", home=home)
    assert run.returncode == 0, run.stderr
    result = maxact("compare", finished, other, home=home)
    assert result.returncode == 0, result.stderr
    assert "bos" in result.stdout
    assert_one_line_error(maxact("compare", finished, home=home), "two sessions", code=2)


def test_both_token_policies_run_into_one_comparison(tmp_path: Path, tiny_model_folder: Path, corpus: Path) -> None:
    result = maxact(tiny_model_folder, "--corpus", corpus, "--samples", 6, "--ab", "bos", home=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "special tokens" in result.stdout or "BOS" in result.stdout
    sessions = sorted(path.name for path in tmp_path.glob("*.maxact"))
    assert len(sessions) == 2
    assert sessions[0].endswith("-bos.maxact") or sessions[1].endswith("-bos.maxact")
    assert list(tmp_path.glob("*-vs-*.md"))


def test_published_checkpoints_are_listed_and_searched(home: Path) -> None:
    everything = maxact("published", home=home).stdout
    assert "27 checkpoints" in everything
    assert everything.splitlines()[1].startswith("gemma-3-27b-it")
    assert "Ling-mini-5T" not in maxact("published", "qwen3", "--sort", "name", home=home).stdout
    assert_one_line_error(maxact("published", "nobody", home=home), "nobody", code=2)


@pytest.mark.parametrize("width", ["80", "120"])
@pytest.mark.parametrize(
    ("sort", "heading"),
    [("m", "M"), ("name", "checkpoint"), ("ratio", "M / median"), ("jump", "largest step"), ("layers", "layers")],
)
def test_published_checkpoints_show_what_they_are_sorted_by(home: Path, sort: str, heading: str, width: str) -> None:
    head, first, *_ = maxact("published", "qwen", "--sort", sort, home=home, COLUMNS=width).stdout.splitlines()
    assert re.search(rf"(^|  ){re.escape(heading)}(  |$)", head.rstrip())
    assert "…" not in head + first


def test_merge_of_one_session_with_itself_is_refused(finished: Path, home: Path, tmp_path: Path) -> None:
    result = maxact("merge", finished, finished, "-o", tmp_path / "c.maxact", home=home)
    assert_one_line_error(result, "given twice", code=2)
    copy = tmp_path / "copy.maxact"
    copy.write_bytes(finished.read_bytes())
    result = maxact("merge", finished, copy, "-o", tmp_path / "c.maxact", home=home)
    assert_one_line_error(result, "24 of the 24 samples of copy.maxact were measured in tiny.maxact")
    assert not (tmp_path / "c.maxact").exists()


def test_the_hook_plan_is_printed_from_the_config_alone(home: Path, tmp_path: Path, tiny_model_folder: Path) -> None:
    (tmp_path / "config.json").write_text((tiny_model_folder / "config.json").read_text(encoding="utf-8"))
    result = maxact("plan", tmp_path, "--sites", "all", home=home)
    assert result.returncode == 0, result.stderr
    for word in ("hidden", "attn_output", "down_proj_input", "3 blocks"):
        assert word in result.stdout
    assert "mlp_input" not in maxact("plan", tmp_path, home=home).stdout


def test_doctor_finds_what_is_there(home: Path) -> None:
    result = maxact("doctor", home=home)
    assert "torch" in result.stdout
    assert "device" in result.stdout


class TestBadInput:
    """One clear line on stderr, the right exit code, no traceback, no session left that holds nothing."""

    @pytest.fixture
    def refused(self, tmp_path: Path, finished: Path, tiny_model_folder: Path) -> Refused:
        """Runs a command in which words in capitals stand for files; its exit code and error."""
        folder = tmp_path / "folder"
        folder.mkdir()
        (tmp_path / "empty.jsonl").touch()
        (tmp_path / "hello.maxact").write_text("hello")
        names: dict[str, Path | str] = {
            "NOTHING": "",
            "FOLDER": folder,
            "SESSION": finished,
            "MODEL": tiny_model_folder,
        }
        names |= {"EMPTY": tmp_path / "empty.jsonl", "HELLO": tmp_path / "hello.maxact"}
        names |= {"HELLO/x.maxact": tmp_path / "hello.maxact" / "x"}
        home = tmp_path / "home"

        def run(command: str) -> tuple[int, str]:
            found = refusal(maxact(*(names.get(word, word) for word in command.split()), home=home))
            assert not home.exists() or not [path for path in home.iterdir() if path.suffix != ".lock"]
            return found

        return run

    @pytest.mark.parametrize(
        ("command", "words"),
        [
            ("x --frobnicate", ("--frobnicate", "--help")),
            ("x --samples 0", ("--samples",)),
            ("x --bos --chat", ("exclude",)),
            ("sesions", ("did you mean the command sessions?",)),
            ("./nowhere", ("nowhere does not exist", "check the path")),
            ("./nowhere.gguf --json", ("nowhere.gguf does not exist",)),
            ("~no-user-here/model", ("write it in full",)),
            ("NOTHING", ("an argument is empty", "maxact-tui ''")),
            ("MODEL --corpus NOTHING", ("an argument is empty",)),
            ("MODEL --session=", ("--session= names nothing",)),
            ("MODEL --session FOLDER", ("is a folder", "run.maxact")),
            ("MODEL --session SESSION", ("exists already",)),
            ("MODEL --settings none.toml", ("no settings file none.toml",)),
            ("resume SESSION --settings none.toml", ("no settings file none.toml",)),
            ("MODEL --device cpu --backend triton", ("triton", "cpu", "auto")),
            ("MODEL --device cuda:0 --backend numba", ("cuda:0",)),
            ("MODEL --device cuda:77", ("cuda:77",)),
            ("FOLDER", ("no config.json",)),
            ("EMPTY", ("not a GGUF file",)),
            ("plan ./nowhere", ("nowhere does not exist",)),
            ("MODEL --corpus none.jsonl", ("none.jsonl does not exist", "starter")),
            ("MODEL --corpus FOLDER", ("is a folder",)),
            ("MODEL --corpus texts.docx", ("texts.docx does not exist",)),
            ("MODEL --corpus HELLO", ("no kind of corpus", ".jsonl")),
            ("MODEL --device cdua", ("no device 'cdua'", "cuda:N")),
            ("attach", ("no run is going on", "maxact-tui sessions")),
            ("open no-such", ("no-such", "maxact-tui sessions")),
            ("show no-such", ("no-such", "maxact-tui sessions")),
            ("show NOTHING", ("an argument is empty", "maxact-tui show ''")),
            ("show FOLDER", ("is a folder, not a session file", "maxact-tui sessions")),
            ("resume no-such", ("no-such", "maxact-tui sessions")),
            ("export no-such", ("no-such", "maxact-tui sessions")),
            ("export SESSION --format jsno", ("jsno", "json")),
            ("export SESSION --format html,jsno", ("did you mean json?",)),
            ("export SESSION --format reference -o -", ("several files",)),
            ("export SESSION -o EMPTY", ("names a folder",)),
            ("compare SESSION", ("two sessions",)),
            ("compare SESSION SESSION --format pdf", ("--format",)),
            ("merge SESSION -o x", ("at least two",)),
            ("merge SESSION SESSION -o x", ("given twice",)),
            ("effect SESSION --scheme itn8", ("did you mean int8?",)),
            ("effect SESSION --site layer_0_hiden", ("did you mean layer_0_hidden?",)),
            ("published nobody", ("nobody",)),
            ("published --sort size", ("--sort",)),
            ("stability SESSION --samples 0", ("--samples",)),
            ("add SESSION none.jsonl", ("does not exist",)),
            ("add SESSION starter --samples 0", ("--samples",)),
            ("corpus show none.jsonl", ("does not exist",)),
            ("corpus show starter --max-length 0", ("--max-length",)),
            ("corpus build nothing", ("no recipe",)),
            ("corpus build diverse-5k --source code=nothing/*.py", ("correct the path",)),
            ("corpus build diverse-5k -o x.txt", (".parquet",)),
        ],
    )
    def test_what_cannot_be_meant_ends_with_2(self, refused: Refused, command: str, words: tuple[str, ...]) -> None:
        code, error = refused(command)
        assert code == 2
        assert [word for word in words if word not in error] == [], error

    @pytest.mark.parametrize(
        ("command", "words"),
        [
            ("nobody/no-such-model", ("nobody/no-such-model",)),
            ("MODEL --corpus EMPTY", ("empty.jsonl",)),
            ("MODEL --session HELLO/x.maxact", ("cannot write",)),
            ("show HELLO", ("not a session file",)),
            ("resume SESSION", ("is finished",)),
        ],
    )
    def test_what_turns_out_impossible_ends_with_1(
        self, refused: Refused, command: str, words: tuple[str, ...]
    ) -> None:
        code, error = refused(command)
        assert code == 1
        assert [word for word in words if word not in error] == [], error


def test_debug_shows_the_engines_traceback(tmp_path: Path, tiny_model_folder: Path) -> None:
    (tmp_path / "empty.jsonl").touch()
    result = maxact(tiny_model_folder, "--corpus", tmp_path / "empty.jsonl", "--debug", home=tmp_path / "home")
    assert result.returncode == 1
    assert "Traceback" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("maxact-tui: ")


def test_bad_lines_of_a_corpus_are_named_and_the_others_used(
    home: Path, tmp_path: Path, tiny_model_folder: Path
) -> None:
    path = write_corpus(tmp_path / "mixed.jsonl", samples=6)
    with path.open("ab") as file:
        file.write(b'{"text": "broken", \n{"category": "web"}\n{"text": "", "category": "web"}\n{"text": "\xff\xfe"}\n')
    result = maxact(tiny_model_folder, "--corpus", path, home=home)
    assert result.returncode == 0, result.stderr
    assert "6 samples" in result.stdout
    assert "4 lines skipped" in result.stdout
    assert "7" in next(line for line in result.stdout.splitlines() if "skipped" in line)


def test_texts_beyond_the_context_window_are_cut_and_counted(
    home: Path, tmp_path: Path, tiny_model_folder: Path
) -> None:
    path = tmp_path / "long.jsonl"
    path.write_text(json.dumps({"text": "river " * 500, "category": "web"}), encoding="utf-8")
    result = maxact(tiny_model_folder, "--corpus", path, home=home)
    assert result.returncode == 0, result.stderr
    assert "128 tokens" in result.stdout
    assert "cut to the length allowed: 1 text" in result.stdout
