"""`SessionReader`: what every screen, report and comparison reads.

- `SessionReader`  read-only view of one session file, live or finished
- `SessionMeta`    what does not change during a run
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.session import schema
from engine.session.codec import EncodedArray, UnsoundError, decode, unpack_int32
from engine.session.damage import reads
from engine.session.maxima import SampleMaxima
from engine.session.records import LIVE_FIELDS, LiveTable
from engine.session.rows import SessionMeta, SessionRows
from engine.statistics.experts import ExpertTotals
from engine.statistics.totals import SiteTotals

__all__ = ["SessionMeta", "SessionReader"]

_DTYPES = frozenset({"bfloat16", "float16", "float32"})


class SessionReader(SessionRows):
    """Reads one session file; never writes, never blocks the engine for long.

    Raises:
        SessionError: at opening and by any method, when the file cannot be read; `DamagedError` where it does not
            hold what was written into it.
    """

    def result_arrays(self, number: int) -> dict[str, NDArray[Any]]:
        """The arrays of one result by name; empty if it has none."""
        return self.extra(f"{schema.RESULTS}{number}")

    @reads("its newest numbers")
    def live(self) -> LiveTable | None:
        """The newest scalars of every site; None before the first tick."""
        row = self._db.execute("SELECT tick, sites, data FROM live").fetchone()
        if row is None:
            return None
        return LiveTable(row[0], np.frombuffer(row[2], "<f8").reshape(row[1], len(LIVE_FIELDS)))

    @reads("the maxima of its sites")
    def saved_magnitude(self) -> NDArray[np.float64]:
        """M_site of every site of the plan at the last checkpoint, float64 [sites], NaN where nothing was seen."""
        plan = self.meta().plan
        found = np.full(len(plan.sites) if plan else 0, np.nan)
        rows = self._db.execute(
            "SELECT site, a.dtype, shape, encoding, data FROM totals t JOIN arrays a "
            "ON a.owner = CAST(t.site AS TEXT) AND a.name = 'extremes'"
        )
        for site, *encoded in rows:
            magnitude = float(np.abs(decode(EncodedArray(*encoded))).max())
            found[site] = magnitude if np.isfinite(magnitude) else np.nan
        return found

    @reads("the numbers of a site")
    def totals(self, site: int) -> SiteTotals | None:
        """Everything kept of one site at the last checkpoint; None if it has seen nothing."""
        with self.snapshot():
            row = self._db.execute("SELECT dtype, width FROM totals WHERE site = ?", (site,)).fetchone()
            if row is None:
                return None
            arrays = self.extra(str(site))
            _require_any(arrays)
            arrays["sample_max"] = SampleMaxima(self._db).rows(site, site + 1)[0]
        return _as_totals(row[0], row[1], arrays)

    def all_totals(self) -> list[SiteTotals | None]:
        """`totals` of every site of the plan, in its order, as of one and the same checkpoint."""
        with self.snapshot():
            return list(self.iter_totals())

    @reads("the numbers of its sites")
    def iter_totals(self, fields: Collection[str] | None = None) -> Iterator[SiteTotals | None]:
        """`totals` of one site of the plan after the other; inside `snapshot` they are of one checkpoint.

        Args:
            fields: the arrays to read, all if None; the others are those of a site that has seen nothing.
        """
        plan = self.meta().plan
        sites = len(plan.sites) if plan else 0
        shapes = {row[0]: (row[1], row[2]) for row in self._db.execute("SELECT site, dtype, width FROM totals")}
        for site, maxima in enumerate(self._rows_of_maxima(sites, fields)):
            if site not in shapes:
                yield None
                continue
            dtype, width = shapes[site]
            arrays = self.extra(str(site), fields)
            if fields is None:
                _require_any(arrays)
            if maxima is not None:
                arrays["sample_max"] = maxima
            if fields is not None:
                arrays = (
                    SiteTotals.empty(dtype, width, len(arrays.get("sample_max", ())), census=False).to_arrays() | arrays
                )
            yield _as_totals(dtype, width, arrays)

    @reads("the maxima of its samples")
    def _rows_of_maxima(self, sites: int, fields: Collection[str] | None) -> Iterator[NDArray[np.float32] | None]:
        """The per-sample maxima of each site, if they are among the fields."""
        if fields is not None and "sample_max" not in fields:
            yield from [None] * sites
            return
        for _, rows in SampleMaxima(self._db).chunks(sites):
            yield from rows

    @reads("its arrays")
    def extra(self, owner: str, names: Collection[str] | None = None) -> dict[str, NDArray[Any]]:
        """Further arrays stored under `owner`, those of these names if given; empty if there are none."""
        query = "SELECT name, dtype, shape, encoding, data FROM arrays WHERE owner = ?"
        if names is not None:
            query += f" AND name IN ({','.join('?' * len(names))})"
        rows = self._db.execute(query, (owner, *(names or ())))
        return {row[0]: decode(EncodedArray(*row[1:])) for row in rows}

    @reads("its arrays")
    def array(self, owner: str, name: str) -> NDArray[Any] | None:
        """One of the arrays stored under `owner`, without decoding the others; None if there is none."""
        row = self._db.execute(
            "SELECT dtype, shape, encoding, data FROM arrays WHERE owner = ? AND name = ?", (owner, name)
        ).fetchone()
        return decode(EncodedArray(*row)) if row else None

    @reads("the numbers of its experts")
    def expert_totals(self) -> dict[int, ExpertTotals]:
        """Per-expert totals of every MoE layer that was tapped, by the number of its first expert site."""
        owners = self._db.execute("SELECT DISTINCT owner FROM arrays WHERE owner LIKE ?", (f"{schema.EXPERTS}%",))
        numbers = sorted(int(owner.removeprefix(schema.EXPERTS)) for (owner,) in owners)
        return {number: ExpertTotals.from_arrays(self.extra(f"{schema.EXPERTS}{number}")) for number in numbers}

    @reads("the maxima of its samples")
    def sample_maxima(self) -> NDArray[np.float32]:
        """Per-sample max|x|, float32 [sites, samples], NaN for samples not done or not seen by a site."""
        with self.snapshot():
            return SampleMaxima(self._db).whole()

    @reads("its list of finished samples")
    def samples_done(self) -> NDArray[np.int32]:
        """Numbers of the samples finished by the last checkpoint, in the order they were run, int32 [n]."""
        blocks = [unpack_int32(row[0]) for row in self._db.execute("SELECT samples FROM sample_maxima ORDER BY id")]
        numbers = np.concatenate(blocks) if blocks else np.zeros(0, np.int32)
        if np.unique(numbers).size != numbers.size:
            raise UnsoundError("some were counted twice")
        return numbers


def _as_totals(dtype: str, width: int, arrays: Mapping[str, NDArray[Any]]) -> SiteTotals:
    if dtype not in _DTYPES:
        raise UnsoundError("their dtype is not known")
    return SiteTotals.from_arrays(dtype, width, arrays)


def _require_any(arrays: Mapping[str, NDArray[Any]]) -> None:
    """Of arrays that are all gone the list of those that are missing would say less."""
    if not arrays:
        raise UnsoundError("their arrays are missing")
