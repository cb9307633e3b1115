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
_NAMES = ("extremes", "tokens")


def contradiction(tables: Tables) -> str:
    """In what the file contradicts itself; empty if in nothing.

    Status and checkpoint name the session that they are of; pages from the log of another one bring its own.
    No sample's largest |x|, and so that of no category, is beyond the largest of its site. A decoder block's output
    sees every token of the finished samples once (or equally often, if the block is run more than once).

    Raises:
        UnsoundError: a row is not what was written.
    """
    own = _text(tables, "meta", 1, "WHERE name = 'id'")
    for table, column, what in (("status", 1, "status"), ("checkpoints", 3, "newest checkpoint")):
        said = _text(tables, table, column)
        if isinstance(said, dict) and said.get("session", own) != own:
            return f"its {what} is another session's; another file, or another log, was put in its place"
    tokens = {row[0]: row[4] for row in tables.select("samples")}
    last = last_sample(tables)
    done = [int(n) for row in tables.select("sample_maxima") for n in unpack_int32(row[1], last + 1)]
    if not done:
        return ""
    if not set(done) <= tokens.keys():
        return "it has finished samples that are not in it"
    whole = sum(tokens[number] for number in done)
    hidden, kept = _hidden(tables), _kept(tables)
    maxima = SampleMaxima(tables)
    for first, rows in maxima.chunks(maxima.sites):
        for site, row in enumerate(rows, first):
            extremes = kept.get(site, {}).get("extremes")
            if extremes is None or not np.isfinite(extremes).all():
                continue
            if np.nanmax(row, initial=0.0) > np.abs(extremes).max() * (1 + _ROUNDED):
                return f"site {site} has a sample whose maximum is beyond its own"
    for site in hidden & kept.keys():
        seen = kept[site].get("tokens")
        if seen is not None and int(seen) % max(whole, 1):
            return f"site {site} has seen {int(seen):,} tokens, and the finished samples have {whole:,}"
    return ""


def _text(tables: Tables, table: str, column: int, rest: str = "") -> Any:
    """The JSON value of the first row's column."""
    row = tables.one(table, rest)
    return parse(row[column]) if row is not None else None


def _hidden(tables: Tables) -> set[int]:
    """Numbers of the outputs of decoder blocks."""
    plan = _text(tables, "meta", 1, "WHERE name = 'plan'")
    sites = plan.get("sites", []) if isinstance(plan, dict) else []
    return {n for n, site in enumerate(sites) if isinstance(site, dict) and _is_block(site)}


def _is_block(site: dict[str, Any]) -> bool:
    return (site.get("component"), site.get("kind")) == ("hidden", "block")


def _kept(tables: Tables) -> dict[int, dict[str, Any]]:
    """Extremes and tokens of the sites that have seen anything."""
    found: dict[int, dict[str, Any]] = {}
    for owner, name, *encoded in tables.select("arrays", f"WHERE name IN ({','.join('?' * len(_NAMES))})", _NAMES):
        if owner.isdecimal():
            found.setdefault(int(owner), {})[name] = decode(EncodedArray(*encoded), 2)
    return found
