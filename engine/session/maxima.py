"""The largest |x| of each sample at each site, which the session file keeps in blocks of the samples of a checkpoint.

- `SampleMaxima`  reads some sites of them: the whole table may be large (1,000 sites x 5,000 samples: 20 MB)
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from engine.session.codec import unpack_int32
from engine.stored import UnsoundError

CHUNK_BYTES = 2 << 20


class SampleMaxima:
    """The maxima as of one checkpoint.

    Args:
        db: an open session file; inside a transaction all that is read is of one and the same checkpoint.

    Attributes:
        sites: that have been measured.
        samples: of the corpus.

    Raises:
        UnsoundError: by any method, when there are maxima of samples that the corpus does not have, or not all of
            them.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._blocks: list[tuple[int, NDArray[np.int32], int]] = [
            (number, unpack_int32(samples), sites)
            for number, samples, sites in db.execute("SELECT id, samples, sites FROM sample_maxima ORDER BY id")
        ]
        self.sites = max((sites for _, _, sites in self._blocks), default=0)
        self.samples = int(db.execute("SELECT coalesce(max(sample) + 1, 0) FROM samples").fetchone()[0])
        for _, samples, sites in self._blocks:
            if not isinstance(sites, int) or sites < 0:
                raise UnsoundError("changed")
            if samples.size and not 0 <= samples.min() <= samples.max() < self.samples:
                raise UnsoundError("they are of samples that are not in it")

    def has(self, site: int) -> bool:
        """Whether the maxima of this site were measured for every sample that is done."""
        return all(site < sites for _, _, sites in self._blocks)

    def rows(self, first: int, last: int) -> NDArray[np.float32]:
        """Of the sites `first` to `last` - 1, float32 [sites, samples], NaN for samples a site has not seen."""
        found = np.full((last - first, self.samples), np.nan, np.float32)
        for number, samples, sites in self._blocks:
            count = min(last, sites) - first
            if count <= 0 or not samples.size:
                continue
            # Read in place: SQLite would copy the whole block for a part of it.
            with self._db.blobopen("sample_maxima", "data", number, readonly=True) as blob:
                if len(blob) != 4 * sites * samples.size:
                    raise UnsoundError("cut short or changed")
                blob.seek(4 * first * samples.size)
                data = np.frombuffer(blob.read(4 * count * samples.size), "<f4")
            found[:count, samples] = data.reshape(count, samples.size)
        return found

    def whole(self) -> NDArray[np.float32]:
        """Of all sites and samples, float32 [sites, samples]."""
        found = np.full((self.sites, self.samples), np.nan, np.float32)
        for first, rows in self.chunks(self.sites):
            found[first : first + len(rows)] = rows
        return found

    def chunks(self, sites: int) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """(first site, `rows`) of so many sites, some at a time."""
        step = max(CHUNK_BYTES // (4 * max(self.samples, 1)), 1)
        for first in range(0, sites, step):
            yield first, self.rows(first, min(first + step, sites))
