"""`maxact-tui corpus`: recipes, building, looking."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.cli.conftest import Here
from tests.cli.running import assert_one_line_error
from tests.engine.running import WORDS, write_corpus


def write_sources(folder: Path, files: int = 30) -> Path:
    """Text files of distinct words, long enough for a recipe."""
    folder.mkdir()
    for number in range(files):
        words = (f"{word}{(number * 37 + i) % 1009}" for i in range(40) for word in WORDS)
        (folder / f"{number}.txt").write_text(" ".join(words), encoding="utf-8")
    return folder


def test_recipes_are_listed(tmp_path: Path, here: Here) -> None:
    result = here("corpus", "list", home=tmp_path)
    assert result.returncode == 0
    for name in ("starter", "diverse-5k"):
        assert name in result.stdout


def test_a_recipe_of_ones_own_is_built_and_shown(tmp_path: Path, here: Here) -> None:
    sources = write_sources(tmp_path / "texts")
    recipe = tmp_path / "mine.toml"
    recipe.write_text(
        'title = "mine"\nseed = 1\n[quotas]\nweb = 10\ncode = 900\n[[lengths]]\ntokens = 256\npercent = 100\n',
        encoding="utf-8",
    )
    out = tmp_path / "mine.jsonl"
    result = here(
        "corpus", "build", recipe, "-o", out, "--source", f"web={sources}/1*.txt", "--source", f"code={sources}/2*.txt",
        home=tmp_path,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == str(out)
    assert "SHORT" in result.stdout
    shown = here("corpus", "show", out, home=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert "manifest: recipe mine" in shown.stdout


def test_every_line_that_was_skipped_is_counted_whatever_lengths_are_counted_in(
    tmp_path: Path, tiny_model_folder: Path, here: Here
) -> None:
    corpus = write_corpus(tmp_path / "mixed.jsonl", samples=6)
    bad = [b"{", b"[]", b"{}", b'{"text": ""}', b'{"text": 7}', b'{"text": "\xff"}', b'{"text": "x", "category": 3}']
    with corpus.open("ab") as file:
        file.write(b"\n".join([*bad, b"", b'{"text": "good", "category": "web"}']))
    for options in ([], ["--tokenizer", tiny_model_folder]):
        result = here("corpus", "show", corpus, *options, home=tmp_path)
        assert result.returncode == 0, result.stderr
        lines = result.stdout.splitlines()
        assert any("samples by length in tokens" in line for line in lines) == bool(options)
        start = lines.index("7 lines skipped:")
        assert lines[start + 5] == "  and 3 more"
        assert [line.strip().split(":")[0] for line in lines[start + 1 : start + 5]] == [
            f"line {n}" for n in (7, 8, 9, 10)
        ]


def test_a_policy_the_tokenizer_cannot_follow_names_an_option_of_this_command(
    tmp_path: Path, tiny_model_folder: Path, here: Here
) -> None:
    corpus = write_corpus(tmp_path / "short.jsonl", samples=6)
    plain = tmp_path / "plain"
    shutil.copytree(tiny_model_folder, plain, ignore=shutil.ignore_patterns("chat_template*"))
    options = ("--tokenizer", plain, "--policy", "chat")
    result = here("corpus", "show", corpus, *options, home=tmp_path)
    assert_one_line_error(result, "no chat template; take --policy raw or bos")


def test_bad_input_is_one_line(tmp_path: Path, here: Here) -> None:
    for arguments, words, code in (
        (["show", tmp_path / "none.jsonl"], ("none.jsonl",), 2),
        (["build", "no-such-recipe"], ("no-such-recipe",), 2),
        (["build", "diverse-5k", "--source", "code=nothing/**/*.py", "-o", tmp_path / "x.jsonl"], ("nothing",), 2),
        (["show", "starter", "--tokenizer", tmp_path / "nowhere"], ("nowhere",), 1),
    ):
        assert_one_line_error(here("corpus", *arguments, home=tmp_path), *words, code=code)
    assert not (tmp_path / "x.jsonl").exists()
