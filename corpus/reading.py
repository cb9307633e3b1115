"""Read the bundled starter corpus or a user's file into a `Corpus`.

- `load_corpus`    `starter`, a JSONL or Parquet file, or a plain text file
- `check_source`   whether there is such a file, without reading it
- `content_hash`   sha256 over categories and texts in order
- `read_record`    the fields of one JSON row, with the spellings people use
- `RowError`       a row that cannot be used
- `TEXT_FIELDS`, `CATEGORY_FIELDS`, `LANGUAGE_FIELDS`  those spellings, the first one present counts

A `.txt` file is split into samples at blank lines; each paragraph is one sample of category `other`.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any

from corpus.samples import Corpus, CorpusError, Sample
from corpus.sampling import choose_samples
from corpus.wording import counted

TEXT_FIELDS = ("text", "content")
CATEGORY_FIELDS = ("category", "domain", "source")
LANGUAGE_FIELDS = ("language", "lang")
DEFAULT_CATEGORY = "other"

_PARQUET_ROWS = 256
_JSONL_SUFFIXES = (".jsonl", ".ndjson", ".json")
_PARQUET_SUFFIXES = (".parquet", ".pq")
_TEXT_SUFFIXES = (".txt", ".text", ".md", ".rst")
_SUFFIXES = _JSONL_SUFFIXES + _PARQUET_SUFFIXES + _TEXT_SUFFIXES


class RowError(ValueError):
    """One row cannot be used; the message says why, without the line number."""


def load_corpus(source: str, *, limit: int | None = None, seed: int = 42) -> Corpus:
    """Read a corpus whole; rows that cannot be used are skipped and named in `problems`.

    Args:
        source: `starter`, or the path of a `.jsonl` (also .ndjson, .json with one object per line), `.parquet` or
            `.txt` file.
        limit: at most this many samples, each category in its share, chosen by `seed`; None for all.
        seed: chooses the subset; the samples stay in the source's order.

    Raises:
        CorpusError: the file is missing, unreadable, of an unknown kind, or holds no usable sample.
    """
    if limit is not None and limit < 1:
        raise CorpusError(f"--samples {limit} leaves nothing to measure; ask for at least 1", code=2)
    if source == "starter":
        with resources.as_file(resources.files("corpus") / "data" / "starter.jsonl") as path:
            samples, problems = _read_jsonl(path, "starter")
    else:
        samples, problems = _read_file(Path(source).expanduser())
    if not samples:
        why = (
            f": {counted(len(problems), 'line')} skipped, the first: {problems[0]}"
            if problems
            else ": the file is empty"
        )
        raise CorpusError(f"no usable text in {source}{why}")
    if limit is not None and limit < len(samples):
        chosen = choose_samples([sample.category for sample in samples], limit, seed)
        samples = [samples[index] for index in chosen]
    return Corpus(source, tuple(samples), content_hash(samples), tuple(problems))


def check_source(source: str) -> None:
    """Refuse what is no corpus by its name alone, before anything is read.

    Raises:
        CorpusError: the file is missing, not to be read by this user, no plain file, or of an unknown kind.
    """
    if source == "starter":
        return
    path = Path(source).expanduser()
    try:
        if not path.exists():
            raise CorpusError(f"{path} does not exist; give a .jsonl, .parquet or .txt file, or starter", code=2)
        if path.is_dir():
            raise CorpusError(f"{path} is a folder; give one file, or build one with `corpus build`", code=2)
        if not path.is_file():  # a pipe or a device may never end
            raise CorpusError(f"{path} is no plain file but a pipe or a device; write the texts into a file", code=2)
    except OSError as error:
        raise CorpusError(f"{path} cannot be read: {error.strerror or error}", code=2) from error
    if path.suffix.lower() not in _SUFFIXES:
        kinds = ", ".join(_SUFFIXES)
        raise CorpusError(f"{path.name} is no kind of corpus known here; rename it to one of {kinds}", code=2)
    if not os.access(path, os.R_OK):
        raise CorpusError(f"{path} cannot be read: {os.strerror(errno.EACCES)}", code=2)


def content_hash(samples: Iterable[Sample]) -> str:
    """Sha256 hex digest over the categories and texts in order, each preceded by its length in bytes."""
    digest = hashlib.sha256()
    for sample in samples:
        for part in (sample.category.encode(), sample.text.encode()):
            digest.update(len(part).to_bytes(8, "little"))
            digest.update(part)
    return digest.hexdigest()


def read_record(record: Any, origin: str) -> Sample:
    """Make a sample of one decoded JSON row.

    Raises:
        RowError: the row is no object, has no text, or its text is empty or not text at all.
    """
    if not isinstance(record, dict):
        raise RowError(f"not a JSON object but {type(record).__name__}")
    text = _first(record, TEXT_FIELDS)
    if text is None:
        raise RowError(f"no field {' or '.join(TEXT_FIELDS)}")
    if not isinstance(text, str):
        raise RowError(f"the text is {type(text).__name__}, not a string")
    if not text.strip():
        raise RowError("the text is empty")
    category = _first(record, CATEGORY_FIELDS)
    language = _first(record, LANGUAGE_FIELDS)
    named = record.get("origin")
    sample = Sample(
        text=text,
        category=_label(DEFAULT_CATEGORY if category is None else category),
        origin=named if isinstance(named, str) and named else origin,
        language=language if isinstance(language, str) else "",
        script=script if isinstance(script := record.get("script"), str) else "",
    )
    try:
        "".join((sample.text, sample.category, sample.origin, sample.language, sample.script)).encode()
    except UnicodeEncodeError:
        raise RowError("half of a surrogate pair (\\ud800 to \\udfff) is not text") from None
    return sample


def _first(record: dict[str, Any], fields: tuple[str, ...]) -> Any:
    return next((record[field] for field in fields if record.get(field) is not None), None)


def _label(category: Any) -> str:
    if not isinstance(category, str) or not category.strip():
        raise RowError("the category is not a word")
    return category.strip()


def _read_file(path: Path) -> tuple[list[Sample], list[str]]:
    check_source(str(path))
    suffix = path.suffix.lower()
    try:
        if suffix in _JSONL_SUFFIXES:
            return _read_jsonl(path, path.name)
        return _read_parquet(path) if suffix in _PARQUET_SUFFIXES else _read_paragraphs(path)
    except OSError as error:
        raise CorpusError(f"{path} cannot be read: {error.strerror or error}") from error


def _lines(path: Path, problems: list[str]) -> Iterator[tuple[int, str]]:
    """The decoded lines with their numbers from 1; a line that is not UTF-8 becomes a problem."""
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            try:
                yield number, raw.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                problems.append(f"line {number}: not UTF-8 (byte {error.start + 1})")


def _read_jsonl(path: Path, name: str) -> tuple[list[Sample], list[str]]:
    samples: list[Sample] = []
    problems: list[str] = []
    for number, line in _lines(path, problems):
        if not line.strip():
            continue
        try:
            samples.append(read_record(json.loads(line), f"{name}:{number}"))
        except json.JSONDecodeError as error:
            problems.append(f"line {number}: broken JSON: {error.msg} (column {error.colno})")
        except RowError as error:
            problems.append(f"line {number}: {error}")
        except (RecursionError, ValueError) as error:
            problems.append(f"line {number}: JSON beyond this reader's limits ({type(error).__name__})")
    return samples, problems


def _read_parquet(path: Path) -> tuple[list[Sample], list[str]]:
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise CorpusError(f"{path.name} needs pyarrow; run: pip install 'maxact-tui[corpus]'") from error
    samples: list[Sample] = []
    problems: list[str] = []
    number = 0
    try:
        with ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_PARQUET_ROWS):
                for row in batch.to_pylist():
                    number += 1
                    try:
                        samples.append(read_record(row, f"{path.name}:{number}"))
                    except RowError as error:
                        problems.append(f"row {number}: {error}")
    except ArrowException as error:
        raise CorpusError(f"{path} is broken Parquet after row {number}: {str(error).splitlines()[0]}") from error
    return samples, problems


def _read_paragraphs(path: Path) -> tuple[list[Sample], list[str]]:
    samples: list[Sample] = []
    problems: list[str] = []
    block: list[str] = []
    start = 1

    def close() -> None:
        if block:
            text = "".join(block).strip("\r\n")
            samples.append(Sample(text, DEFAULT_CATEGORY, f"{path.name}:{start}"))
            block.clear()

    for number, line in _lines(path, problems):
        if not line.strip():
            close()
            continue
        if not block:
            start = number
        block.append(line)
    close()
    return samples, problems
