"""Recipes say what a corpus is made of, and say clearly what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from corpus.reading import load_corpus
from corpus.recipe import LengthBucket, SourceSpec, list_recipes, load_recipe, parse_source
from corpus.samples import CorpusError


def test_the_bundled_recipes_are_listed_by_name() -> None:
    recipes = list_recipes()
    assert [recipe.name for recipe in recipes] == ["diverse-5k", "paper-5k", "starter"]
    assert all(recipe.title for recipe in recipes)
    assert len({recipe.digest for recipe in recipes}) == 3


def test_diverse_5k_is_the_papers_mix() -> None:
    recipe = load_recipe("diverse-5k")
    assert recipe.samples == 5000 and recipe.seed == 42
    assert dict(recipe.quotas) == {
        "math": 850,
        "code": 850,
        "web": 850,
        "knowledge": 850,
        "chinese": 400,
        "minority": 300,
        "other": 900,
    }
    assert [(b.tokens, b.percent) for b in recipe.lengths] == [(256, 1), (512, 1), (1024, 2), (2048, 3), (4096, 93)]
    fed = {spec.category for spec in recipe.sources} | {c for spec in recipe.sources for _, c in spec.categories}
    assert set(dict(recipe.quotas)) <= fed


def test_the_starter_recipe_asks_for_exactly_what_is_bundled() -> None:
    recipe = load_recipe("starter")
    counts: dict[str, int] = {}
    for sample in load_corpus("starter").samples:
        counts[sample.category] = counts.get(sample.category, 0) + 1
    assert dict(recipe.quotas) == counts


def test_a_users_recipe_is_read_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        'title = "Mine"\nseed = 7\n[quotas]\nmath = 2\nweb = 1\n[[lengths]]\ntokens = 64\npercent = 25\n'
        '[[lengths]]\ntokens = 32\npercent = 75\n[[sources]]\nkind = "files"\npath = "*.txt"\ncategory = "web"\n'
        '[[sources]]\nkind = "hub"\ndataset = "a/b"\ncategory_field = "meta.set"\ncategories = { X = "math" }\n'
    )
    recipe = load_recipe(str(path))
    assert recipe.name == "mine" and recipe.samples == 3 and recipe.seed == 7
    assert recipe.lengths == (LengthBucket(32, 75.0), LengthBucket(64, 25.0)) and recipe.max_bytes == 256
    assert recipe.sources == (
        SourceSpec("files", "web", "*.txt"),
        SourceSpec("hub", "*", "a/b", category_field="meta.set", categories=(("X", "math"),)),
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[quotas]\nmath = 3\nweb = = 1", "line 3"),
        ("samples = 5\n[quotas]\nmath = 3", "add up to 3, but samples is 5"),
        ("[quotas]\n", "add up to 0"),
        ("title = 'x'", "no quotas"),
        ("[quotas]\nmath = 0", "quota of math"),
        ("[quotas]\nmath = 1.5", "quota of math"),
        ("[quotas]\nmath = true", "quota of math"),
        ("[quotas]\nmath = 1\n[[lengths]]\ntokens = 9\npercent = 90", "90 percent"),
        ("[quotas]\nmath = 1\n[[lengths]]\ntokens = 0\npercent = 100", "above 0"),
        ("[quotas]\nmath = 1\n[[sources]]\nkind = 'files'\npath = 'x'\ncategory = 'maths'", "category maths"),
        ("[quotas]\nmath = 1\n[[sources]]\nkind = 'ftp'", "ftp is no kind"),
        ("[quotas]\nmath = 1\n[[sources]]\nkind = 'hub'", "no dataset"),
        ("[quotas]\nmath = 1\n[[sources]]\nkind = 'starter'\ncolour = 'red'", "unknown field colour"),
        ("[quotas]\nmath = 1\n[[sources]]\nkind = 'hub'\ndataset = 'a/b'\nrows = 0", "rows"),
        ("sead = 3\n[quotas]\nmath = 1", "unknown field sead"),
        ("seed = 'x'\n[quotas]\nmath = 1", "wrong type"),
        ("bytes_per_token = 0\n[quotas]\nmath = 1", "bytes_per_token"),
        ("lengths = [4]\n[quotas]\nmath = 1", "must be a table"),
    ],
)
def test_a_wrong_recipe_is_refused_in_one_line(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(text)
    with pytest.raises(CorpusError) as caught:
        load_recipe(str(path))
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_a_recipe_that_does_not_exist_is_refused_with_those_that_do(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="diverse-5k, paper-5k, starter"):
        load_recipe("diverse-9k")
    with pytest.raises(CorpusError, match="cannot be read"):
        load_recipe(str(tmp_path / "none.toml"))
    (tmp_path / "latin.toml").write_bytes(b"title = 'caf\xe9'")
    with pytest.raises(CorpusError, match="no valid TOML"):
        load_recipe(str(tmp_path / "latin.toml"))


def test_sources_of_the_command_line_are_category_and_glob() -> None:
    assert parse_source("code=src/**/*.py") == SourceSpec("files", "code", "src/**/*.py")
    assert parse_source("web=-") == SourceSpec("files", "web", "-")
    assert parse_source("rows.jsonl") == SourceSpec("files", "*", "rows.jsonl")
    for wrong in ("=x", "code=", " = "):
        with pytest.raises(CorpusError, match="CATEGORY=GLOB"):
            parse_source(wrong)
