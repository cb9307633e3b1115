"""Local files by glob, and standard input.

- `find_files`     the files a glob names, in a fixed order
- `local_samples`  the samples of one glob
"""

from __future__ import annotations

import glob
import sys
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from corpus.recipe import ANY_CATEGORY, SourceSpec
from corpus.samples import CorpusError, Sample
from corpus.sources.reading import SourceReading
from corpus.sources.rows import RowReader, jsonl_rows, parquet_rows
from corpus.sources.text import text_pieces

STANDARD_INPUT = "-"
_WILDCARDS = "*?["
_ROW_SUFFIXES = (".jsonl", ".ndjson")
_TABLE_SUFFIXES = (".parquet", ".pq")


def find_files(pattern: str) -> tuple[Path, tuple[Path, ...]]:
    """The folder a glob starts from, and the files it names, sorted by their path below that folder.

    A folder stands for everything in it; `**` goes through folders; hidden files count only where they are named.

    Raises:
        CorpusError: nothing matches.
    """
    expanded = str(Path(pattern).expanduser())
    if Path(expanded).is_dir():
        expanded = str(Path(expanded) / "**" / "*")
    base = Path(expanded)
    while any(mark in str(base) for mark in _WILDCARDS):
        base = base.parent
    if base.is_file():
        base = base.parent
    files = [Path(name) for name in glob.iglob(expanded, recursive=True)]  # noqa: PTH207  # an absolute pattern is fine here
    found = tuple(sorted((path for path in files if path.is_file()), key=lambda path: path.relative_to(base).parts))
    if not found:
        what = "no file matches" if any(mark in pattern for mark in _WILDCARDS) else "there is no file"
        raise CorpusError(f"{what} {pattern}; correct the path, and quote it so that the shell leaves it alone", code=2)
    return base, found


def local_samples(
    spec: SourceSpec, found: tuple[Path, Sequence[Path]] | None, reading: SourceReading
) -> Iterator[Sample]:
    """The samples of one glob: rows of `.jsonl` and `.parquet` files, pieces of all others, which are plain text.

    Args:
        spec: a source of kind `files`.
        found: what `find_files` returned for it; None for standard input.
        reading: limits, problems and progress.
    """
    reader = RowReader(spec, reading)
    if found is None:
        yield from _standard_input(sys.stdin.buffer, reader)
        return
    base, files = found
    for path in files:
        name = path.relative_to(base).as_posix()
        suffix = path.suffix.lower()
        try:
            if suffix in _TABLE_SUFFIXES:
                yield from parquet_rows(path, name, reader)
                continue
            with path.open("rb") as stream:
                if suffix in _ROW_SUFFIXES:
                    yield from jsonl_rows(stream, name, reader)
                elif spec.category == ANY_CATEGORY:
                    reading.problem(name, "plain text names no category; give it as CATEGORY=GLOB")
                else:
                    yield from text_pieces(stream, name, spec.category, reading)
        except OSError as error:
            reading.problem(name, f"cannot be read: {error.strerror or error}")


class _Joined:
    """A first piece already read, and the rest of the stream, as one stream."""

    def __init__(self, first: bytes, stream: BinaryIO) -> None:
        self.first, self.stream = first, stream

    def read(self, size: int) -> bytes:
        taken, self.first = self.first[:size], self.first[size:]
        return taken or self.stream.read(size)

    def __iter__(self) -> Iterator[bytes]:
        return chain([self.first], self.stream)


def _standard_input(stream: BinaryIO, reader: RowReader) -> Iterator[Sample]:
    """JSON lines if the first line with anything on it begins with a brace, else plain text."""
    first = b""
    while not first.strip():
        line = stream.readline(reader.reading.max_bytes)
        if not line:
            return
        first = line
    if first.lstrip().startswith(b"{"):
        first += b"" if first.endswith(b"\n") else stream.readline()
        yield from jsonl_rows(_Joined(first, stream), "stdin", reader)  # type: ignore[arg-type]  # only iterated
    elif reader.spec.category == ANY_CATEGORY:
        raise CorpusError("plain text on standard input names no category; use --source CATEGORY=-", code=2)
    else:
        joined = _Joined(first, stream)
        yield from text_pieces(joined, "stdin", reader.spec.category, reader.reading)  # type: ignore[arg-type]
