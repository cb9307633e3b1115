"""The manifest of a built corpus: what was wanted, what was found, and what is missing.

- `CategoryCount`, `LengthCount`  one category's and one length bucket's part of it
- `Manifest`       all of it; `to_json` and `from_json`
- `read_manifest`  the manifest beside a corpus file, if there is one
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from corpus.samples import CorpusError
from corpus.writing import manifest_path

MANIFEST_VERSION = 1


@dataclass(frozen=True, slots=True)
class CategoryCount:
    """What became of one category.

    Attributes:
        category: its name.
        wanted: samples the recipe asks for.
        got: samples in the corpus.
        seen: texts met in the sources, those too short included.
        too_short: texts left out as shorter than the recipe's minimum.
        duplicates: texts left out as equal or nearly equal to one already taken.
    """

    category: str
    wanted: int
    got: int
    seen: int
    too_short: int
    duplicates: int


@dataclass(frozen=True, slots=True)
class LengthCount:
    """What became of one length bucket: `got` of `wanted` samples, `full` of them at least 3/4 as long as allowed."""

    tokens: int
    wanted: int
    got: int
    full: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything about a built corpus but its texts; the same inputs give the same manifest.

    Attributes:
        recipe: the recipe's name.
        recipe_hash: `Recipe.digest`.
        seed: the seed used.
        samples: samples in the corpus.
        wanted: samples the recipe asks for.
        text_bytes: UTF-8 bytes of all texts.
        content_hash: `Corpus.content_hash` of the corpus when it is read.
        file_sha256: of the corpus file's bytes.
        categories: per category.
        lengths: per length bucket.
        languages: samples per ISO 639 code.
        scripts: samples per ISO 15924 code.
        sources: the sources read.
        shortfalls: one line for every quota that was not filled.
        problems: the first problems met while reading, with file and line.
        problem_count: all of them.
        libraries: versions of the libraries that decide the outcome.
    """

    recipe: str
    recipe_hash: str
    seed: int
    samples: int
    wanted: int
    text_bytes: int
    content_hash: str
    file_sha256: str
    categories: tuple[CategoryCount, ...]
    lengths: tuple[LengthCount, ...]
    languages: dict[str, int]
    scripts: dict[str, int]
    sources: tuple[str, ...]
    shortfalls: tuple[str, ...]
    problems: tuple[str, ...]
    problem_count: int
    libraries: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dict."""
        return {"version": MANIFEST_VERSION, **asdict(self)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Manifest:
        """Read what `to_json` wrote."""
        known = {name: data[name] for name in cls.__dataclass_fields__}
        known["categories"] = tuple(CategoryCount(**entry) for entry in known["categories"])
        known["lengths"] = tuple(LengthCount(**entry) for entry in known["lengths"])
        for name in ("sources", "shortfalls", "problems"):
            known[name] = tuple(known[name])
        return cls(**known)


def read_manifest(corpus: Path) -> Manifest | None:
    """The manifest beside a corpus file; None where there is none.

    Raises:
        CorpusError: there is one, but it cannot be understood.
    """
    path = manifest_path(corpus)
    if not path.is_file():
        return None
    try:
        return Manifest.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorpusError(f"the manifest {path} cannot be understood; build the corpus again or delete it") from error
