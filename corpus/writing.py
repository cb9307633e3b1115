"""Write a built corpus: the samples as JSONL or Parquet, the manifest beside it, both or neither.

- `write_corpus`    samples and manifest under their final names, in one go
- `manifest_path`   where the manifest of a corpus file lies
- `check_output`    refuses, before any work, an output that could not be written
- `FORMATS`         the suffixes that can be written
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from corpus.owned import part_of, remove_parts
from corpus.samples import CorpusError, Sample

FORMATS = (".jsonl", ".parquet")
FIELDS = ("text", "category", "language", "script", "origin")
_ROWS_PER_GROUP = 256


def manifest_path(corpus: Path) -> Path:
    """`mine.jsonl` -> `mine.manifest.json`, in the same folder."""
    return corpus.with_name(f"{corpus.stem}.manifest.json")


def check_output(out: Path) -> None:
    """Refuse, before any work, an output that could not be written.

    Raises:
        CorpusError: another suffix, a missing folder, or no right to write there.
    """
    if out.suffix.lower() not in FORMATS:
        raise CorpusError(f"{out.name} is neither .jsonl nor .parquet; give -o a name that ends in one of them", code=2)
    if out.is_dir():
        raise CorpusError(f"{out} is a folder; give -o a file name", code=2)
    if not out.parent.is_dir():
        raise CorpusError(f"the folder {out.parent} does not exist; create it first", code=2)
    if not os.access(out.parent, os.W_OK):
        raise CorpusError(f"no right to write in {out.parent}; give -o another folder")


def write_corpus(out: Path, samples: Sequence[Sample], manifest: Callable[[str], dict[str, Any]]) -> None:
    """Write both files under temporary names, then give them their names; on any failure neither appears.

    Args:
        out: the corpus file; its suffix decides the format.
        samples: the samples, in the file's order.
        manifest: makes the manifest from the sha256 of the corpus file.

    Raises:
        CorpusError: no space, or another failure of the disk.
    """
    try:
        with _temporary(out) as corpus_file, _temporary(manifest_path(out)) as manifest_file:
            if out.suffix.lower() == ".parquet":
                _write_parquet(corpus_file, samples)
            else:
                _write_jsonl(corpus_file, samples)
            text = json.dumps(manifest(_sha256(corpus_file)), ensure_ascii=False, indent=1) + "\n"
            manifest_file.write_text(text, encoding="utf-8", newline="\n")
            corpus_file.replace(out)
            manifest_file.replace(manifest_path(out))
    except OSError as error:
        raise CorpusError(f"{out} cannot be written: {error.strerror or error}; nothing was left there") from error


@contextmanager
def _temporary(final: Path) -> Iterator[Path]:
    remove_parts(final)
    path = part_of(final)
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o666))
    try:
        yield path
    finally:
        with suppress(FileNotFoundError):
            path.unlink()


def _row(sample: Sample) -> dict[str, str]:
    return {name: getattr(sample, name) for name in FIELDS}


def _write_jsonl(path: Path, samples: Sequence[Sample]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for sample in samples:
            file.write(json.dumps(_row(sample), ensure_ascii=False) + "\n")
        file.flush()
        os.fsync(file.fileno())


def _write_parquet(path: Path, samples: Sequence[Sample]) -> None:
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter

    schema = pa.schema([(name, pa.string()) for name in FIELDS])
    with ParquetWriter(path, schema, compression="zstd") as writer:
        for start in range(0, len(samples), _ROWS_PER_GROUP):
            rows = [_row(sample) for sample in samples[start : start + _ROWS_PER_GROUP]]
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
