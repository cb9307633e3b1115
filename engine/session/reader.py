"""`SessionReader`: what every screen, report and comparison reads.

- `SessionReader`  read-only view of one session file, live or finished
- `SessionMeta`    what does not change during a run
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.base.stored import UnsoundError
from engine.session import schema, splits
from engine.session.codec import EncodedArray, decode, unpack_int32
from engine.session.damage import reads
from engine.session.maxima import SampleMaxima
from engine.session.records import LiveTable
from engine.session.rows import SessionMeta, SessionRows
from engine.session.tables import Row
from engine.statistics.declared import declared
from engine.statistics.experts import ExpertTotals
from engine.statistics.fields import FIRST_LIVE_FIELDS, LIVE_FIELDS
from engine.statistics.local_errors import LocalErrors
from engine.statistics.part_totals import PartTotals
from engine.statistics.pass_sums import PassSums
from engine.statistics.totals import SiteTotals

__all__ = ["SessionMeta", "SessionReader"]

_DTYPES = frozenset({"bfloat16", "float16", "float32"})
_LARGEST = float(np.finfo(np.float32).max)
_ADDRESSES = ("sample", "position", "channel", "bad_sample", "bad_position", "bad_channel")
# What the live scalars can be where they are known.
_LIVE_RANGES: Mapping[str, tuple[float, float]] = {
    **dict.fromkeys(("max", "min"), (-_LARGEST, _LARGEST)),
    "rms": (0.0, _LARGEST),
    **dict.fromkeys(("tokens", "nonfinite", "nan"), (0.0, 2.0**62)),
    **dict.fromkeys(_ADDRESSES, (-1.0, 2.0**31)),
}
_WIDEST = 1 << 18  # channels of a site, which is also the most that can be measured


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
        row = self._tables.one("live")
        if row is None:
            return None
        _, tick, sites, data = row
        if not (isinstance(tick, int) and isinstance(sites, int) and isinstance(data, bytes)):
            raise UnsoundError("cut short or changed")
        fields = FIRST_LIVE_FIELDS if len(data) == 8 * sites * FIRST_LIVE_FIELDS else len(LIVE_FIELDS)
        if len(data) != 8 * sites * fields:
            raise UnsoundError("cut short or changed")
        table = np.frombuffer(data, "<f8").reshape(sites, fields)
        return _as_live(tick, table if fields == len(LIVE_FIELDS) else _with_newer_fields(table))

    @reads("the maxima of its sites")
    def saved_magnitude(self) -> NDArray[np.float64]:
        """M_site of every site of the plan at the last checkpoint, float64 [sites], NaN where nothing was seen."""
        plan = self.meta().plan
        found = np.full(len(plan.sites) if plan else 0, np.nan)
        for site, *_ in self._tables.select("totals"):
            extremes = self.array(str(site), "extremes")
            if extremes is None:
                continue
            if not 0 <= site < len(found) or extremes.shape != (2,) or extremes.dtype.kind != "f":
                raise UnsoundError("they are not those of its sites")
            magnitude = float(np.abs(extremes).max())
            found[site] = magnitude if np.isfinite(magnitude) else np.nan
        return found

    @reads("the numbers of its sites")
    def saved_nonfinite_sites(self) -> int:
        """How many sites hold NaN or infinity at the last checkpoint."""
        rows = self._tables.select("arrays", "WHERE name = 'nonfinite'")
        return sum(bool(_decoded(row).any()) for row in rows)

    @reads("the numbers of a site")
    def totals(self, site: int) -> SiteTotals | None:
        """Everything kept of one site at the last checkpoint; None if it has seen nothing."""
        with self.snapshot():
            row = self._tables.one("totals", "WHERE site = ?", (site,))
            if row is None:
                return None
            maxima = SampleMaxima(self._tables)
            arrays = self.extra(str(site), sizes=_sizes(row[2], maxima.samples))
            _require_any(arrays)
            found = _as_totals(row[1], row[2], arrays, maxima.rows(site, site + 1)[0])
        return found if maxima.has(site) else replace(found, missing=found.missing | {"sample_max"})

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
        shapes = {row[0]: (row[1], row[2]) for row in self._tables.select("totals")}
        samples = self._last_sample() + 1
        for site, (maxima, has_maxima) in enumerate(self._rows_of_maxima(sites, fields)):
            if site not in shapes:
                yield None
                continue
            arrays = self.extra(str(site), fields, _sizes(shapes[site][1], samples))
            if fields is None:
                _require_any(arrays)
            found = _as_totals(*shapes[site], arrays, maxima)
            missing = found.missing if fields is None else found.missing & frozenset(fields)
            yield replace(found, missing=missing if has_maxima else missing | {"sample_max"})

    @reads("the maxima of its samples")
    def _rows_of_maxima(self, sites: int, fields: Collection[str] | None) -> Iterator[tuple[NDArray[np.float32], bool]]:
        """The per-sample maxima of each site, empty if not among the fields; and whether they were measured."""
        if fields is not None and "sample_max" not in fields:
            yield from [(np.zeros(0, np.float32), True)] * sites
            return
        maxima = SampleMaxima(self._tables)
        for first, rows in maxima.chunks(sites):
            for place, row in enumerate(rows):
                yield row, maxima.has(first + place)

    @reads("its arrays")
    def extra(
        self, owner: str, names: Collection[str] | None = None, sizes: Mapping[str, int] | None = None
    ) -> dict[str, NDArray[Any]]:
        """Arrays stored under `owner`.

        Args:
            owner: of them.
            names: those to read; all if None.
            sizes: of a site, if it is the owner: an array of more elements than it can have is not unpacked.

        Returns:
            They by name, empty if there are none.
        """
        rest = "WHERE owner = ?"
        if names is not None:
            rest += f" AND name IN ({','.join('?' * len(names))})"
        rows = self._tables.select("arrays", rest, (owner, *(names or ())))
        return {row[1]: _decoded(row, sizes) for row in rows}

    @reads("its arrays")
    def array(self, owner: str, name: str) -> NDArray[Any] | None:
        """One of the arrays stored under `owner`, without decoding the others; None if there is none."""
        row = self._tables.one("arrays", "WHERE owner = ? AND name = ?", (owner, name))
        return _decoded(row) if row else None

    @reads("the numbers of a site")
    def some_totals(self, site: int, fields: Collection[str]) -> SiteTotals | None:
        """Some arrays of one site at the last checkpoint, without its samples' maxima; None if it has seen nothing."""
        row = self._tables.one("totals", "WHERE site = ?", (site,))
        if row is None:
            return None
        arrays = self.extra(str(site), fields, _sizes(row[2], self._last_sample() + 1))
        return _as_totals(row[1], row[2], arrays, np.zeros(0, np.float32))

    @reads("its calibration and evaluation samples")
    def part(self, owner: str, names: Collection[str] | None = None) -> PartTotals | None:
        """What was kept of one site over a part of the run, the arrays of these names if given; None if nothing was."""
        arrays = self.extra(owner, names)
        return PartTotals.from_arrays(arrays) if arrays else None

    @reads("its sums of quantisers")
    def pass_sums(self, site: int) -> PassSums | None:
        """What was summed in the pass at a site; None if nothing was, or not all of it is there."""
        return PassSums.from_arrays(self.extra(f"{splits.IN_PASS}{site}"))

    @reads("the damage of quantisers")
    def local_errors(self, site: int) -> LocalErrors | None:
        """What quantising a site alone does to a few tokens; None if it was not measured, or not all of it is there."""
        return LocalErrors.from_arrays(self.extra(f"{splits.LOCAL}{site}"))

    @reads("its calibration and evaluation samples")
    def parts_closed(self) -> int:
        """How many of the two parts, calibration and evaluation, are complete.

        A session that does not say so tells it by what is kept where a part ends.
        """
        stored = self.array(splits.CLOSED_OWNER, splits.CLOSED)
        if stored is not None:
            if stored.shape != () or stored.dtype.kind != "i" or not 0 <= stored <= splits.REST:
                raise UnsoundError("changed")
            return int(stored)
        owners = [row[0] for row in self._db.execute("SELECT DISTINCT owner FROM arrays WHERE owner LIKE '%ation/%'")]
        if any(str(owner).startswith(splits.EVALUATION) for owner in owners):
            return splits.REST
        return 1 if any(str(owner).startswith(splits.CALIBRATION) for owner in owners) else 0

    @reads("its calibration and evaluation samples")
    def parts_lacking(self) -> tuple[frozenset[str], frozenset[str]]:
        """Names of the arrays that were kept of parts of the run and are not there; and of the sums of quantisers."""
        held: dict[str, set[str]] = {}
        for owner, name in self._db.execute("SELECT owner, name FROM arrays WHERE owner GLOB '[a-z]*/*'"):
            held.setdefault(str(owner), set()).add(str(name))
        parts, sums = set[str](), set[str]()
        is_over = self.parts_closed() == splits.REST
        for owner, names in held.items():
            kind, site = owner.rpartition("/")[0] + "/", owner.rpartition("/")[2]
            if kind == splits.CALIBRATION:
                parts |= {"histogram", "extremes", "channel_max"} - names
                if is_over and f"{splits.EVALUATION}{site}" not in held:
                    parts.add("histogram")
            elif kind == splits.IN_PASS:
                sums |= {"names", "table"} - names
        return frozenset(parts), frozenset(sums)

    @reads("the numbers of its experts")
    def expert_totals(self) -> dict[int, ExpertTotals]:
        """Per-expert totals of every MoE layer that was tapped, by the number of its first expert site."""
        owners = self._db.execute("SELECT DISTINCT owner FROM arrays WHERE owner LIKE ?", (f"{schema.EXPERTS}%",))
        numbers = sorted(_number_of(owner) for (owner,) in owners)
        return {number: ExpertTotals.from_arrays(self.extra(f"{schema.EXPERTS}{number}")) for number in numbers}

    @reads("the maxima of its samples")
    def sample_maxima(self) -> NDArray[np.float32]:
        """Per-sample max|x|, float32 [sites, samples], NaN for samples not done or not seen by a site."""
        with self.snapshot():
            return SampleMaxima(self._tables).whole()

    @reads("its list of finished samples")
    def samples_done(self) -> NDArray[np.int32]:
        """Numbers of the samples finished by the last checkpoint, in the order they were run, int32 [n]."""
        last = self._last_sample()
        blocks = [unpack_int32(row[1], last + 1) for row in self._tables.select("sample_maxima", "ORDER BY id")]
        found = np.concatenate(blocks) if blocks else np.zeros(0, np.int32)
        if np.unique(found).size != found.size:
            raise UnsoundError("some were counted twice")
        if len(found) and not 0 <= found.min() <= found.max() <= last:
            raise UnsoundError("it names samples that are not in it")
        return found


def _with_newer_fields(data: NDArray[np.float64]) -> NDArray[np.float64]:
    """The live table of an older session with the fields it lacks: NaN were not told apart, no address is known."""
    found = np.full((len(data), len(LIVE_FIELDS)), -1.0)
    found[:, :FIRST_LIVE_FIELDS] = data
    found[:, LIVE_FIELDS.index("nan")] = np.nan
    return found


def _as_live(tick: int, data: NDArray[np.float64]) -> LiveTable:
    """The live table, its addresses -1 where a row is of a site that has seen nothing."""
    for field, (least, most) in _LIVE_RANGES.items():
        column = data[:, LIVE_FIELDS.index(field)]
        if ((column < least) | (column > most)).any():
            raise UnsoundError(f"'{field}' is not what a run writes")
    found = data.copy()
    addresses = [LIVE_FIELDS.index(field) for field in _ADDRESSES]
    found[:, addresses] = np.nan_to_num(found[:, addresses], nan=-1.0)
    return LiveTable(tick, found)


def _as_totals(
    dtype: object, width: object, arrays: Mapping[str, NDArray[Any]], sample_max: NDArray[np.float32]
) -> SiteTotals:
    """The totals of a site, every address in them one of its own."""
    if dtype not in _DTYPES:
        raise UnsoundError("their dtype is not known")
    width = _sizes(width, 0)["D"]
    found = SiteTotals.from_arrays(str(dtype), width, {**arrays, "sample_max": sample_max})
    top, samples = found.top, len(sample_max)
    for name, most in (("sample", samples), ("position", None), ("channel", width)):
        if len(top) and not (top[name].min() >= 0 and (not samples or most is None or top[name].max() < most)):
            raise UnsoundError("the largest elements are not of its samples and channels")
    return found


def _decoded(row: Row, sizes: Mapping[str, int] | None = None) -> NDArray[Any]:
    """The array of a row of `arrays`, if it has no more elements than one of a site of these sizes can have."""
    _, name, *encoded = row
    wanted = declared(SiteTotals).get(name) if sizes is not None else None
    return decode(EncodedArray(*encoded), wanted.most(sizes or {}) if wanted is not None else None)


def _sizes(width: object, samples: int) -> dict[str, int]:
    """The sizes of a site's arrays."""
    if not isinstance(width, int) or not 0 < width <= _WIDEST:
        raise UnsoundError("their width is not what a run writes")
    return {"D": width, "C": width, "N": samples}


def _number_of(owner: object) -> int:
    number = str(owner).removeprefix(schema.EXPERTS)
    if not number.isdecimal():
        raise UnsoundError("their owner is not known")
    return int(number)


def _require_any(arrays: Mapping[str, NDArray[Any]]) -> None:
    """Of arrays that are all gone the list of those that are missing would say less."""
    if not arrays:
        raise UnsoundError("their arrays are missing")
