"""What a session file says twice: of a session that no run has written the two differ.

- `contradiction`  the first difference, in words

Checksums tell that rows are what was written, not that they belong together: a table may come from another session, or
from another moment of this one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.base.stored import parse
from engine.session.codec import EncodedArray, decode, unpack_int32
from engine.session.maxima import SampleMaxima, last_sample
from engine.session.tables import Tables

_ROUNDED = 2.0**-23  # maxima of samples are float32, those of a site are exact


def contradiction(tables: Tables) -> str:
    """In what the file contradicts itself; empty if in nothing.

    Status and checkpoint name the session that they are of; pages from the log of another one bring its own.
    No sample's largest |x|, and so that of no category, is beyond the largest of its site. Tokens are not compared:
    a watched pass may end midway, and a block may leave tokens out.

    Raises:
        UnsoundError: a row is not what was written.
    """
    own = _text(tables, "meta", 1, "WHERE name = 'id'")
    for table, column, what in (("status", 1, "status"), ("checkpoints", 3, "newest checkpoint")):
        said = _text(tables, table, column)
        if isinstance(said, dict) and said.get("session", own) != own:
            return f"its {what} is another session's; another file, or another log, was put in its place"
    numbers = {row[0] for row in tables.select("samples")}
    last = last_sample(tables)
    done = [int(n) for row in tables.select("sample_maxima") for n in unpack_int32(row[1], last + 1)]
    if not done:
        return ""
    if not set(done) <= numbers:
        return "it has finished samples that are not in it"
    kept = _extremes(tables)
    maxima = SampleMaxima(tables)
    for first, rows in maxima.chunks(maxima.sites):
        for site, row in enumerate(rows, first):
            extremes = kept.get(site)
            if extremes is None or not np.isfinite(extremes).all():
                continue
            if np.nanmax(row, initial=0.0) > np.abs(extremes).max() * (1 + _ROUNDED):
                return f"site {site} has a sample whose maximum is beyond its own"
    return ""


def _text(tables: Tables, table: str, column: int, rest: str = "") -> Any:
    """The JSON value of the first row's column."""
    row = tables.one(table, rest)
    return parse(row[column]) if row is not None else None


def _extremes(tables: Tables) -> dict[int, Any]:
    """(largest, smallest) of every site that has seen anything."""
    rows = tables.select("arrays", "WHERE name = 'extremes'")
    return {int(owner): decode(EncodedArray(*encoded), 2) for owner, _, *encoded in rows if owner.isdecimal()}
