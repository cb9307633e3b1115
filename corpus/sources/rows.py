"""Rows of JSONL, Parquet and datasets: text or token ids, category, language.

- `RowReader`   makes samples of a source's rows
- `jsonl_rows`  a JSONL stream
- `parquet_rows`  a Parquet file
- `cut_text`    the longest beginning of a text within so many bytes
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from corpus.reading import CATEGORY_FIELDS, RowError, read_record
from corpus.recipe import ANY_CATEGORY, SourceSpec
from corpus.samples import CorpusError, Sample
from corpus.sources.reading import SourceReading

ID_FIELDS = ("input_ids", "token_ids", "tokens", "ids")
_BATCH_ROWS = 64


class RowReader:
    """Makes samples of a source's rows, by the source's own field names and labels."""

    def __init__(self, spec: SourceSpec, reading: SourceReading) -> None:
        self.spec = spec
        self.reading = reading
        self._categories = dict(spec.categories)
        self._decode: Callable[[Sequence[int]], str] | None = None

    def sample(self, row: Any, origin: str) -> Sample | None:
        """The row's sample, its text cut to the longest that can be used; None for a label without a category.

        Raises:
            RowError: the row cannot be used.
        """
        if isinstance(row, dict):
            row = self._with_text(row)
            category = self._category(row)
            if category is None:
                return None
            row = {**row, "category": category}
        sample = read_record(row, origin)
        if len(sample.text) * 4 > self.reading.max_bytes:
            return replace(sample, text=cut_text(sample.text, self.reading.max_bytes))
        return sample

    def _with_text(self, row: dict[str, Any]) -> dict[str, Any]:
        if isinstance(row.get("text", row.get("content")), str):
            return row
        ids = next((row[name] for name in ID_FIELDS if isinstance(row.get(name), list)), None)
        if ids is None:
            return row
        if not all(isinstance(token, int) and not isinstance(token, bool) and token >= 0 for token in ids):
            raise RowError("the token ids are not whole numbers from 0")
        if self._decode is None:
            self._decode = _decoder(self.spec)
        return {**row, "text": self._decode(ids)}

    def _category(self, row: dict[str, Any]) -> Any:
        if self.spec.category != ANY_CATEGORY:
            return self.spec.category
        if self.spec.category_field:
            value: Any = row
            for name in self.spec.category_field.split("."):
                value = value.get(name) if isinstance(value, dict) else None
        else:
            value = next((row[name] for name in CATEGORY_FIELDS if row.get(name) is not None), None)
        if value is None:
            raise RowError(f"no category ({self.spec.category_field or ', '.join(CATEGORY_FIELDS)})")
        return self._categories.get(value) if self._categories else value


def cut_text(text: str, max_bytes: int) -> str:
    """The longest beginning of a text that has at most `max_bytes` bytes of UTF-8, in whole characters."""
    raw = text[:max_bytes].encode()
    return text if len(raw) <= max_bytes and len(text) <= max_bytes else raw[:max_bytes].decode(errors="ignore")


def _decoder(spec: SourceSpec) -> Callable[[Sequence[int]], str]:
    """Token ids to text by the tokenizer the recipe names; special tokens leave no trace."""
    from tokenizers import Tokenizer

    if not spec.tokenizer:
        raise CorpusError(f"{spec.title} holds token ids; name their tokenizer in the recipe: tokenizer = 'org/model'")
    folder = Path(spec.tokenizer).expanduser()
    try:
        if folder.is_dir():
            tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        else:
            from huggingface_hub import hf_hub_download

            tokenizer = Tokenizer.from_file(hf_hub_download(spec.tokenizer, "tokenizer.json"))
    # The tokenizers library raises a bare Exception for a file it cannot read.
    except Exception as error:
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CorpusError(f"the tokenizer {spec.tokenizer} of {spec.title} cannot be had: {why}") from error
    return lambda ids: str(tokenizer.decode(list(ids), skip_special_tokens=True))


def jsonl_rows(stream: BinaryIO, name: str, reader: RowReader) -> Iterator[Sample]:
    """One JSON object per line; lines that cannot be used are named with their number."""
    reading = reader.reading
    for number, raw in enumerate(stream, start=1):
        reading.advance(len(raw), f"reading {reader.spec.category}")
        if not raw.strip():
            continue
        where = f"{name}:{number}"
        try:
            sample = reader.sample(json.loads(raw.decode("utf-8-sig" if number == 1 else "utf-8")), where)
        except json.JSONDecodeError as error:
            reading.problem(where, f"broken JSON: {error.msg} (column {error.colno})")
        except UnicodeDecodeError as error:
            reading.problem(where, f"not UTF-8 (byte {error.start + 1})")
        except RowError as error:
            reading.problem(where, str(error))
        except (RecursionError, ValueError) as error:
            reading.problem(where, f"JSON beyond this reader's limits ({type(error).__name__})")
        else:
            if sample is not None:
                yield sample


def parquet_rows(path: Path, name: str, reader: RowReader) -> Iterator[Sample]:
    """The rows of a Parquet file, a few at a time; a broken file ends with a problem that names it."""
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    reading = reader.reading
    size = path.stat().st_size
    number = told = 0
    try:
        with ParquetFile(path) as file:
            rows_in_all = max(1, file.metadata.num_rows)
            for batch in file.iter_batches(batch_size=_BATCH_ROWS):
                for row in batch.to_pylist():
                    number += 1
                    try:
                        sample = reader.sample(row, f"{name}:{number}")
                    except RowError as error:
                        reading.problem(f"{name}:{number}", str(error))
                        continue
                    if sample is not None:
                        yield sample
                share = size * number // rows_in_all
                reading.advance(share - told, f"reading {reader.spec.category}")
                told = share
    except (ArrowException, OSError) as error:
        reading.problem(name, f"broken Parquet after row {number}: {str(error).splitlines()[0]}")
