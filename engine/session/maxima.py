"""The largest |x| of each sample at each site, which the session file keeps in blocks of the samples of a checkpoint.

- `SampleMaxima`  reads some sites of them: the whole table may be large (1,000 sites x 5,000 samples: 20 MB)
- `put_block`     writes a block
- `last_sample`   the largest number of a sample
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.base.stored import UnsoundError
from engine.session.codec import pack_int32, unpack_int32
from engine.session.tables import CHANGED, Tables

CHUNK_BYTES: Final = 2 << 20
_MOST_SAMPLES: Final = 1 << 24  # a corpus of a thousand times the usual 5,000 is far below
_MOST_MAXIMA: Final = 1 << 29  # of all sites together, 2 GiB


def last_sample(tables: Tables) -> int:
    """The largest number of a sample, -1 without any.

    Raises:
        UnsoundError: no corpus has so many.
    """
    (last,) = tables.connection.execute("SELECT coalesce(max(sample), -1) FROM samples").fetchone()
    if not isinstance(last, int) or last >= _MOST_SAMPLES:
        raise UnsoundError("it names more samples than a run has")
    return last


def put_block(tables: Tables, samples: NDArray[np.int64], block: NDArray[np.float32]) -> None:
    """Append the maxima of some samples, float32 [sites, samples], each site's with a checksum of its own."""
    sums = np.array([zlib.crc32(row) for row in block], "<u4").tobytes()
    (number,) = tables.connection.execute("SELECT coalesce(max(id), 0) + 1 FROM sample_maxima").fetchone()
    row = (number, pack_int32(samples), len(block), *((sums,) if tables.is_checked else ()))
    tables.put("sample_maxima", [row], separate=np.ascontiguousarray(block, "<f4").tobytes())


class SampleMaxima:
    """The maxima as of one checkpoint.

    Args:
        tables: of an open session file; inside a transaction all that is read is of one and the same checkpoint.

    Attributes:
        sites: that have been measured.
        samples: of the corpus.

    Raises:
        UnsoundError: by any method, when there are maxima of samples that the corpus does not have, not all of them,
            or such as no |x| can be.
    """

    def __init__(self, tables: Tables) -> None:
        self._db = tables.connection
        self.samples = last_sample(tables) + 1
        self._blocks: list[tuple[int, NDArray[np.int32], int, NDArray[np.uint32] | None]] = [
            (number, unpack_int32(samples, self.samples), sites, np.frombuffer(sums[0], "<u4") if sums else None)
            for number, samples, sites, *sums in tables.select("sample_maxima", "ORDER BY id")
        ]
        self.sites = max((sites for _, _, sites, _ in self._blocks), default=0)
        for _, samples, sites, sums in self._blocks:
            if not isinstance(sites, int) or sites < 0 or (sums is not None and len(sums) != sites):
                raise UnsoundError("changed")
            if samples.size and not 0 <= samples.min() <= samples.max() < self.samples:
                raise UnsoundError("they are of samples that are not in it")

    def has(self, site: int) -> bool:
        """Whether the maxima of this site were measured for every sample that is done."""
        return all(site < sites for _, _, sites, _ in self._blocks)

    def rows(self, first: int, last: int) -> NDArray[np.float32]:
        """Of the sites `first` to `last` - 1, float32 [sites, samples], NaN for samples a site has not seen."""
        found = np.full((last - first, self.samples), np.nan, np.float32)
        for number, samples, sites, sums in self._blocks:
            count = min(last, sites) - first
            if count <= 0 or not samples.size:
                continue
            # Read in place: SQLite would copy the whole block for a part of it.
            with self._db.blobopen("sample_maxima", "data", number, readonly=True) as blob:
                if len(blob) != 4 * sites * samples.size:
                    raise UnsoundError("cut short or changed")
                blob.seek(4 * first * samples.size)
                data = np.frombuffer(blob.read(4 * count * samples.size), "<f4").reshape(count, samples.size)
            if sums is not None and [zlib.crc32(row.tobytes()) for row in data] != sums[first : first + count].tolist():
                raise UnsoundError(CHANGED)
            if ((data < 0) | np.isinf(data)).any():
                raise UnsoundError("they are not those of numbers")
            found[:count, samples] = data
        return found

    def whole(self) -> NDArray[np.float32]:
        """Of all sites and samples, float32 [sites, samples]."""
        if self.sites * self.samples > _MOST_MAXIMA:
            raise UnsoundError("there are more than a run keeps")
        found = np.full((self.sites, self.samples), np.nan, np.float32)
        for first, rows in self.chunks(self.sites):
            found[first : first + len(rows)] = rows
        return found

    def chunks(self, sites: int) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """(first site, `rows`) of so many sites, some at a time."""
        step = max(CHUNK_BYTES // (4 * max(self.samples, 1)), 1)
        for first in range(0, sites, step):
            yield first, self.rows(first, min(first + step, sites))
