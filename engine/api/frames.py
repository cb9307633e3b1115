"""The tables of a session as data frames.

- `to_arrow`, `to_pandas`
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

from engine.api.errors import MaxactError, NotFoundError
from engine.report.records import Records, all_records
from engine.report.tabular import arrow_table

if TYPE_CHECKING:
    from engine.analysis.model import ModelSummary
    from engine.session.reader import SessionReader

TABLES = ("sites", "top", "channels", "samples", "quantization")


def to_arrow(reader: SessionReader, summary: ModelSummary, table: str) -> Any:
    """One table as a `pyarrow.Table`; see `Session.to_arrow`."""
    found = _table(reader, summary, table)
    try:
        return arrow_table(found, {"table": table})
    except ImportError:
        raise MaxactError("to_arrow needs pyarrow: pip install 'maxact-tui[report]'") from None


def to_pandas(reader: SessionReader, summary: ModelSummary, table: str) -> Any:
    """One table as a `pandas.DataFrame`; see `Session.to_pandas`."""
    found = _table(reader, summary, table)
    try:
        import pandas
    except ImportError:
        raise MaxactError("to_pandas needs pandas: pip install 'maxact-tui[report]'") from None
    frame = pandas.DataFrame(list(found.rows), columns=[column.name for column in found.columns])
    return frame.convert_dtypes()


def _table(reader: SessionReader, summary: ModelSummary, name: str) -> Records:
    for table in all_records(reader, summary):
        if table.name == name:
            return table
    nearest = difflib.get_close_matches(name, TABLES, n=1, cutoff=0.4)
    hint = f"did you mean {nearest[0]!r}?" if nearest else f"there are: {', '.join(TABLES)}"
    raise NotFoundError(f"there is no table {name!r}; {hint}")
