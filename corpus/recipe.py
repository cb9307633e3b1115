"""Recipes: what a corpus is made of, read from TOML files.

- `Recipe`        quotas per category, length buckets, sources, seed
- `SourceSpec`    one source of texts
- `LengthBucket`  the share of samples that is cut to a number of tokens
- `list_recipes`  the recipes that come with the program
- `load_recipe`   one of them by name, or the user's own file
- `parse_source`  `CATEGORY=GLOB` of the command line
- `check_categories`  refuses sources of a category without a quota
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from corpus.samples import CorpusError

Kind = Literal["starter", "files", "hub"]
KINDS: tuple[Kind, ...] = ("starter", "files", "hub")
ANY_CATEGORY = "*"

# English prose, source code and most other scripts come to 3 to 5 UTF-8 bytes per token under today's tokenizers,
# which makes bytes the fairest measure of length that is the same text for every model.
DEFAULT_BYTES_PER_TOKEN = 4.0
DEFAULT_MIN_TOKENS = 16
DEFAULT_ROWS = 50_000


@dataclass(frozen=True, slots=True)
class LengthBucket:
    """`percent` of the samples of each category are cut to `tokens` tokens."""

    tokens: int
    percent: float


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """One source of texts.

    Attributes:
        kind: `starter` (bundled), `files` (a glob, or `-` for standard input), `hub` (a Hugging Face dataset).
        category: the category of all its texts, or `*` where each row names its own.
        location: the glob, or the dataset's name.
        config: the dataset's configuration, else empty.
        split: the dataset's split.
        category_field: the row's field with the category, dots for nesting; empty for the usual names.
        categories: the source's label -> category, for rows whose labels are not the recipe's.
        tokenizer: names the tokenizer of rows that hold token ids.
        rows: rows read at most, from the dataset's start.
    """

    kind: Kind
    category: str = ANY_CATEGORY
    location: str = ""
    config: str = ""
    split: str = "train"
    category_field: str = ""
    categories: tuple[tuple[str, str], ...] = ()
    tokenizer: str = ""
    rows: int = DEFAULT_ROWS

    @property
    def title(self) -> str:
        """A short name for the manifest and for messages."""
        where = {"starter": "starter", "files": self.location, "hub": f"dataset {self.location}"}[self.kind]
        return f"{where} ({self.config})" if self.config else where


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a corpus is made of.

    Attributes:
        name: file name without `.toml`.
        title: one line for lists.
        samples: the sum of the quotas.
        quotas: samples per category, in the order in which they are filled.
        lengths: the buckets, shortest first; their percentages add up to 100.
        sources: where texts come from.
        seed: chooses among the texts.
        bytes_per_token: UTF-8 bytes that count as one token when lengths are cut.
        min_tokens: shorter texts are left out.
    """

    name: str
    title: str
    samples: int
    quotas: tuple[tuple[str, int], ...]
    lengths: tuple[LengthBucket, ...]
    sources: tuple[SourceSpec, ...]
    seed: int = 42
    bytes_per_token: float = DEFAULT_BYTES_PER_TOKEN
    min_tokens: int = DEFAULT_MIN_TOKENS

    @property
    def max_bytes(self) -> int:
        """UTF-8 bytes of the longest sample."""
        return int(self.lengths[-1].tokens * self.bytes_per_token)

    @property
    def digest(self) -> str:
        """Sha256 hex digest of everything in the recipe but its title."""
        fields = {name: value for name, value in asdict(self).items() if name != "title"}
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


def list_recipes() -> tuple[Recipe, ...]:
    """The recipes that come with the program, by name."""
    folder = resources.files("corpus") / "recipes"
    files = sorted(file.name for file in folder.iterdir() if file.name.endswith(".toml"))
    return tuple(load_recipe(name.removesuffix(".toml")) for name in files)


def load_recipe(source: str) -> Recipe:
    """Read a recipe by name, or from the user's `.toml` file.

    Raises:
        CorpusError: unknown name, unreadable file, broken TOML (with its line), or fields that do not fit together.
    """
    if source.endswith(".toml"):
        path = Path(source).expanduser()
        try:
            raw = path.read_bytes()
        except OSError as error:
            raise CorpusError(f"{path} cannot be read: {error.strerror or error}") from error
        name = path.stem
    else:
        name = source
        file = resources.files("corpus") / "recipes" / f"{source}.toml"
        if "/" in source or not file.is_file():
            known = ", ".join(recipe.name for recipe in list_recipes())
            raise CorpusError(f"no recipe is called {source}; there are {known}, or give a .toml file", code=2)
        raw = file.read_bytes()
    try:
        table = tomllib.loads(raw.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise CorpusError(f"the recipe {source} is no valid TOML: {error}") from error
    return _recipe(name, table)


def parse_source(text: str) -> SourceSpec:
    """Read `CATEGORY=GLOB` (or `GLOB` alone for rows that name their own category, `-` for standard input)."""
    category, separator, pattern = text.partition("=")
    if not separator:
        category, pattern = ANY_CATEGORY, text
    if not category.strip() or not pattern.strip():
        raise CorpusError(f"--source {text!r} is not CATEGORY=GLOB; for example --source 'code=src/**/*.py'", code=2)
    return SourceSpec("files", category.strip(), pattern.strip())


class _Table:
    """A TOML table whose fields are taken out one by one, so that unknown ones can be named."""

    def __init__(self, where: str, values: Any) -> None:
        if not isinstance(values, Mapping):
            raise CorpusError(f"{where} must be a table")
        self.where, self.left = where, dict(values)

    def take(self, name: str, kind: type | tuple[type, ...], default: Any = None) -> Any:
        value = self.left.pop(name, default)
        if value is None:
            raise CorpusError(f"{self.where} has no {name}; add it")
        if not isinstance(value, kind) or isinstance(value, bool):
            raise CorpusError(f"{self.where}: {name} = {value!r} is of the wrong type")
        return value

    def close(self) -> None:
        if self.left:
            raise CorpusError(f"{self.where} has an unknown field {sorted(self.left)[0]}; correct its spelling")


def _recipe(name: str, values: dict[str, Any]) -> Recipe:
    where = f"the recipe {name}"
    table = _Table(where, values)
    quotas = tuple(table.take("quotas", dict).items())
    for category, quota in quotas:
        if isinstance(quota, bool) or not isinstance(quota, int) or quota < 1:
            raise CorpusError(f"{where}: the quota of {category} is {quota!r}; give a whole number from 1")
    total = sum(quota for _, quota in quotas)
    samples = table.take("samples", int, total)
    if not quotas or samples != total:
        raise CorpusError(f"{where}: the quotas add up to {total}, but samples is {samples}; make them agree")
    recipe = Recipe(
        name=name,
        title=table.take("title", str, name),
        samples=samples,
        quotas=quotas,
        lengths=_lengths(where, table.take("lengths", list, [{"tokens": 4096, "percent": 100}])),
        sources=tuple(_source(f"{where}, source {n}", s) for n, s in enumerate(table.take("sources", list, []), 1)),
        seed=table.take("seed", int, 42),
        bytes_per_token=float(table.take("bytes_per_token", (int, float), DEFAULT_BYTES_PER_TOKEN)),
        min_tokens=table.take("min_tokens", int, DEFAULT_MIN_TOKENS),
    )
    table.close()
    if recipe.bytes_per_token <= 0 or recipe.min_tokens < 0:
        raise CorpusError(f"{where}: bytes_per_token must be above 0 and min_tokens not below 0")
    check_categories(recipe, recipe.sources)
    return recipe


def check_categories(recipe: Recipe, sources: tuple[SourceSpec, ...]) -> None:
    """Refuse sources of a category the recipe has no quota for."""
    known = [category for category, _ in recipe.quotas]
    for source in sources:
        named = [source.category, *(category for _, category in source.categories)]
        for category in named:
            if category not in (*known, ANY_CATEGORY):
                raise CorpusError(
                    f"the category {category} of {source.title} is not in the recipe {recipe.name}; "
                    f"it has {', '.join(known)}"
                )


def _lengths(where: str, values: list[Any]) -> tuple[LengthBucket, ...]:
    buckets = []
    for number, value in enumerate(values, start=1):
        table = _Table(f"{where}, length {number}", value)
        bucket = LengthBucket(table.take("tokens", int), float(table.take("percent", (int, float))))
        table.close()
        if bucket.tokens < 1 or bucket.percent < 0:
            raise CorpusError(f"{where}, length {number}: tokens must be above 0 and percent not below 0")
        buckets.append(bucket)
    total = sum(bucket.percent for bucket in buckets)
    if abs(total - 100.0) > 1e-6:
        raise CorpusError(f"{where}: the lengths add up to {total:g} percent; make it 100")
    return tuple(sorted(buckets, key=lambda bucket: bucket.tokens))


def _source(where: str, values: Any) -> SourceSpec:
    table = _Table(where, values)
    kind = table.take("kind", str)
    if kind not in KINDS:
        raise CorpusError(f"{where}: {kind} is no kind of source; choose one of {', '.join(KINDS)}")
    needs = {"starter": "", "files": "path", "hub": "dataset"}[kind]
    spec = SourceSpec(
        kind=kind,
        category=table.take("category", str, ANY_CATEGORY),
        location=table.take(needs, str) if needs else "",
        config=table.take("config", str, ""),
        split=table.take("split", str, "train"),
        category_field=table.take("category_field", str, ""),
        categories=tuple(table.take("categories", dict, {}).items()),
        tokenizer=table.take("tokenizer", str, ""),
        rows=table.take("rows", int, DEFAULT_ROWS),
    )
    table.close()
    if not all(isinstance(category, str) for _, category in spec.categories) or spec.rows < 1:
        raise CorpusError(f"{where}: categories must map labels to categories, and rows must be above 0")
    return spec
