"""The command line as a user meets it: one process per command, its output, its exit code."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.run import runner
from engine.session.reader import SessionReader
from tests.cli.conftest import Here
from tests.cli.running import assert_one_line_error, maxact, refusal
from tests.engine.running import new_session, tiny_job, write_corpus

Refused = Callable[[str], tuple[int, str]]


def test_help_teaches_by_example() -> None:
    result = maxact("--help", home=Path("unused"))
    assert result.returncode == 0
    assert result.stderr == ""
    for text in ("maxact-tui demo", "Qwen/Qwen3-8B", "--corpus", "--dtype", "resume", "Usage: maxact-tui MODEL"):
        assert text in result.stdout


def test_a_headless_run_prints_the_summary_and_nothing_else_on_stdout(
    home: Path, tmp_path: Path, tiny_model_folder: Path
) -> None:
    """It names the lines of the corpus that cannot be used, uses the others, and counts what was cut."""
    path = write_corpus(tmp_path / "mixed.jsonl", samples=6)
    with path.open("ab") as file:
        file.write(b'{"text": "broken", \n{"category": "web"}\n{"text": "", "category": "web"}\n{"text": "\xff\xfe"}\n')
        file.write(json.dumps({"text": "river " * 500, "category": "web"}).encode())
    result = maxact(tiny_model_folder, "--corpus", path, home=home)
    assert result.returncode == 0, result.stderr
    assert "7 samples" in result.stdout.splitlines()[0]
    assert "M = " in result.stdout
    assert "corpus: 4 lines skipped, the first: line 7" in result.stdout
    assert "cut to the length allowed: 1 text" in result.stdout
    progress, *_, session = result.stderr.splitlines()
    assert not progress.startswith(("maxact-tui:", "session:")), "a tiny run may show one phase or many, but never none"
    assert session.startswith("session: ")
    with SessionReader(Path(session.removeprefix("session: "))) as reader:
        assert max(tokens for _, _, tokens in reader.sample_labels()) == 128, "the context window"


def test_json_is_one_object(home: Path, tiny_model_folder: Path, corpus: Path) -> None:
    result = maxact(tiny_model_folder, "--corpus", corpus, "--samples", 6, "--json", home=home)
    summary = json.loads(result.stdout)
    assert summary["run"]["samples"] == 6
    assert summary["maximum"]["magnitude"] > 0


def test_show_says_the_same_again(finished: Path, home: Path, here: Here) -> None:
    result = here("show", finished, home=home)
    assert result.returncode == 0
    assert "M = " in result.stdout


def test_a_session_is_found_by_the_start_of_its_name(finished: Path, home: Path, here: Here) -> None:
    assert here("show", "tiny.max", home=home).returncode == 0
    assert here("open", "tiny", home=home).stdout == here("show", finished, home=home).stdout


def test_sessions_are_listed(finished: Path, home: Path, here: Here) -> None:
    for arguments in (["sessions"], []):
        result = here(*arguments, home=home)
        assert result.returncode == 0
        assert any(line.startswith("tiny ") and "finished" in line for line in result.stdout.splitlines())


def test_an_empty_list_says_what_to_do(tmp_path: Path, here: Here) -> None:
    assert "maxact-tui demo" in here("sessions", home=tmp_path).stdout


def test_a_format_that_cannot_be_written_keeps_no_other_from_it(
    finished: Path, home: Path, tmp_path: Path, here: Here
) -> None:
    before = here("export", finished.name, "--format", "csv", "-o", tmp_path, home=home).stdout.split()
    result = here("export", finished.name, "--format", "csv,markdown", "-o", tmp_path, home=home)
    error = result.stderr
    assert (
        result.returncode != 0
        and error.count("\n") == 1
        and "exists already" in error
        and Path(before[0]).name in error
    )
    assert [Path(line).suffix for line in result.stdout.split()] == [".md"]


@pytest.mark.parametrize("form", ["json", "reference"])
def test_exports_are_written_and_named(finished: Path, home: Path, tmp_path: Path, form: str, here: Here) -> None:
    result = here("export", finished, "--format", form, "-o", tmp_path, home=home)
    assert result.returncode == 0, result.stderr
    written = [Path(line) for line in result.stdout.splitlines()]
    assert written
    assert sorted(written) == sorted(tmp_path.iterdir())
    for path in written:
        json.loads(path.read_text(encoding="utf-8"))
    again = here("export", finished, "--format", form, "-o", tmp_path, home=home)
    assert_one_line_error(again, "--force")
    assert here("export", finished, "--format", form, "-o", tmp_path, "--force", home=home).returncode == 0


def test_one_document_can_go_to_stdout(finished: Path, home: Path, here: Here) -> None:
    result = here("export", finished, "--format", "model-card", "-o", "-", home=home)
    assert result.returncode == 0, result.stderr
    assert "## Maximum activations" in result.stdout
    several = here("export", finished, "--format", "reference", "-o", "-", home=home)
    assert_one_line_error(several, "-o", code=2)


def test_formats_are_listed(home: Path, here: Here) -> None:
    listed = here("export", home=home).stdout
    for name in ("html", "markdown", "model-card", "csv", "json", "reference"):
        assert name in listed
    assert "in CSV a ' stands before texts that begin with = + - @" in " ".join(listed.split())


def test_sessions_are_compared(
    finished: Path, home: Path, tmp_path: Path, tiny_model_folder: Path, corpus: Path, here: Here
) -> None:
    other = new_session(tmp_path / "other.maxact", tiny_job(tiny_model_folder, corpus, policy="bos"))
    assert runner.run(other) == 0
    result = here("compare", finished, other, home=home)
    assert result.returncode == 0, result.stderr
    assert "bos" in result.stdout
    assert_one_line_error(here("compare", finished, home=home), "two sessions", code=2)


@pytest.mark.slow
def test_both_token_policies_run_into_one_comparison(tmp_path: Path, tiny_model_folder: Path, corpus: Path) -> None:
    result = maxact(tiny_model_folder, "--corpus", corpus, "--samples", 6, "--ab", "bos", home=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "special tokens" in result.stdout or "BOS" in result.stdout
    sessions = sorted(path.name for path in tmp_path.glob("*.maxact"))
    assert len(sessions) == 2
    assert sessions[0].endswith("-bos.maxact") or sessions[1].endswith("-bos.maxact")
    assert list(tmp_path.glob("*-vs-*.md"))


def test_published_checkpoints_are_listed_and_searched(home: Path, here: Here) -> None:
    everything = here("published", home=home).stdout
    assert "27 checkpoints" in everything
    assert everything.splitlines()[1].startswith("gemma-3-27b-it")
    assert "Ling-mini-5T" not in here("published", "qwen3", "--sort", "name", home=home).stdout
    assert_one_line_error(here("published", "nobody", home=home), "nobody", code=2)


@pytest.mark.parametrize("width", ["80", "120"])
@pytest.mark.parametrize(
    ("sort", "heading"),
    [("m", "M"), ("name", "checkpoint"), ("ratio", "M / median"), ("jump", "largest step"), ("layers", "layers")],
)
def test_published_checkpoints_show_what_they_are_sorted_by(
    home: Path, sort: str, heading: str, width: str, here: Here
) -> None:
    head, first, *_ = here("published", "qwen", "--sort", sort, home=home, COLUMNS=width).stdout.splitlines()
    assert re.search(rf"(^|  ){re.escape(heading)}(  |$)", head.rstrip())
    assert "…" not in head + first


def test_merge_of_one_session_with_itself_is_refused(finished: Path, home: Path, tmp_path: Path, here: Here) -> None:
    result = here("merge", finished, finished, "-o", tmp_path / "c.maxact", home=home)
    assert_one_line_error(result, "given twice", code=2)
    copy = tmp_path / "copy.maxact"
    copy.write_bytes(finished.read_bytes())
    result = here("merge", finished, copy, "-o", tmp_path / "c.maxact", home=home)
    assert_one_line_error(result, "24 of the 24 samples of copy.maxact were measured in tiny.maxact")
    assert not (tmp_path / "c.maxact").exists()


def test_the_hook_plan_is_printed_from_the_config_alone(
    home: Path, tmp_path: Path, tiny_model_folder: Path, here: Here
) -> None:
    (tmp_path / "config.json").write_text((tiny_model_folder / "config.json").read_text(encoding="utf-8"))
    result = here("plan", tmp_path, "--sites", "paper", home=home)
    assert result.returncode == 0, result.stderr
    for word in ("hidden", "attn_output", "3 blocks"):
        assert word in result.stdout
    assert "mlp_input" not in result.stdout


def test_doctor_finds_what_is_there(home: Path) -> None:
    result = maxact("doctor", home=home)
    assert "torch" in result.stdout
    assert "device" in result.stdout


class TestBadInput:
    """One clear line on stderr, the right exit code, no traceback, no session left that holds nothing."""

    @pytest.fixture
    def refused(self, tmp_path: Path, finished: Path, tiny_model_folder: Path, here: Here) -> Refused:
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
            found = refusal(here(*(names.get(word, word) for word in command.split()), home=home))
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


@pytest.mark.parametrize(("command", "code"), [("x --frobnicate", 2), ("show ./nowhere", 2), ("show HELLO", 1)])
def test_a_refusal_is_the_exit_code_of_the_process(tmp_path: Path, command: str, code: int) -> None:
    hello = tmp_path / "hello.maxact"
    hello.write_text("hello")
    words = (str(hello) if word == "HELLO" else word for word in command.split())
    assert refusal(maxact(*words, home=tmp_path / "home"))[0] == code


def test_debug_shows_the_engines_traceback(tmp_path: Path, tiny_model_folder: Path) -> None:
    (tmp_path / "empty.jsonl").touch()
    result = maxact(tiny_model_folder, "--corpus", tmp_path / "empty.jsonl", "--debug", home=tmp_path / "home")
    assert result.returncode == 1
    assert "Traceback" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("maxact-tui: ")
