"""Tables for a spreadsheet or a data frame: comma-separated, or Parquet with types and units.

- `csv_documents`      sites, top lists, channels, samples and quantisers as `.csv`
- `parquet_documents`  the same as `.parquet`; unit and meaning of every column are in its field's metadata
- `arrow_table`        one of them in memory

In CSV unknown numbers are empty, infinite ones `inf`, and numbers are written so that they read back unchanged. In
Parquet unknown is null. Text is printable in both: what a reader prints must not reach its terminal raw.
"""

from __future__ import annotations

import csv
import io
import math
from typing import Any, Final

from engine.analysis.model import analyse
from engine.base.naming import model_name
from engine.base.wording import in_csv, printable
from engine.report.errors import ReportError
from engine.report.records import Records, all_records
from engine.report.writing import Document
from engine.session.reader import SessionReader

FORMAT: Final = "maxact-tui/tables"
VERSION: Final = 1


def csv_documents(reader: SessionReader, stem: str) -> list[Document]:
    """The five tables as CSV."""
    return [
        Document(f"{stem}.{table.name}.csv", _csv(table).encode("utf-8", "backslashreplace"))
        for table in all_records(reader, analyse(reader))
    ]


def parquet_documents(reader: SessionReader, stem: str) -> list[Document]:
    """The five tables as Parquet.

    Raises:
        ReportError: pyarrow is not installed.
    """
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        raise ReportError("parquet needs pyarrow: pip install 'maxact-tui[report]'") from None
    meta, status = reader.meta(), reader.status()
    about = {
        "format": FORMAT,
        "version": str(VERSION),
        "model": printable(model_name(meta.job.model)),
        "corpus_hash": str(meta.corpus.get("hash", "")),
        "samples": str(len(reader.samples_done())),
        "special_tokens": meta.job.policy,
        "partial": "false" if status.phase == "finished" else "true",
    }
    return [
        Document(f"{stem}.{table.name}.parquet", _parquet(table, {**about, "table": table.name}))
        for table in all_records(reader, analyse(reader))
    ]


def _csv(table: Records) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([column.name for column in table.columns])
    writer.writerows([_cell(value) for value in row] for row in table.rows)
    return out.getvalue()


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, float) else in_csv(str(value)) if isinstance(value, str) else str(value)


def _parquet(table: Records, about: dict[str, str]) -> bytes:
    from pyarrow.parquet import write_table

    out = io.BytesIO()
    write_table(arrow_table(table, about), out, compression="zstd")
    return out.getvalue()


def arrow_table(table: Records, about: dict[str, str]) -> Any:
    """The table as a `pyarrow.Table`; `about` is its metadata, unit and meaning of a column are in its field's.

    Raises:
        ImportError: pyarrow is not installed.
    """
    import pyarrow as pa

    types = {"text": pa.string(), "integer": pa.int64(), "real": pa.float64(), "flag": pa.bool_()}
    fields = [
        pa.field(c.name, types[c.kind], metadata={"unit": c.unit, "description": c.meaning}) for c in table.columns
    ]
    rows = list(table.rows)
    arrays = [
        pa.array([_arrow(row[place]) for row in rows], type=field.type, from_pandas=True)  # NaN becomes null
        for place, field in enumerate(fields)
    ]
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields, metadata=about))


def _arrow(value: Any) -> Any:
    return printable(value) if isinstance(value, str) else value
