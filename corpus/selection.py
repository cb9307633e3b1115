"""Which of many texts go into a corpus: a uniform choice by hash, in memory that does not grow with the sources.

- `Reserve`      the texts of one category that may be taken, at most twice its quota
- `LengthRoom`   the length buckets of one category, and where a text fits
- `reserve_size` how many texts of a category are kept
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from hashlib import blake2b

from corpus.recipe import LengthBucket
from corpus.samples import Sample
from corpus.sampling import largest_remainder

# Half of the reserve may turn out to be near-duplicates before a quota stays unfilled.
_RESERVE_FACTOR = 2
_RESERVE_EXTRA = 64


def reserve_size(quota: int) -> int:
    """How many texts are kept at hand for a quota."""
    return quota * _RESERVE_FACTOR + _RESERVE_EXTRA


class Reserve:
    """Keeps the texts whose hashes with the seed are smallest: a uniform sample, whatever the order they come in.

    The hash covers category and text, so equal texts count once and the choice does not depend on file names.

    Attributes:
        seen: texts offered.
        duplicates: texts offered again while the first one was still kept.
    """

    def __init__(self, quota: int, seed: int) -> None:
        self.size = reserve_size(quota)
        self.seen = 0
        self.duplicates = 0
        self._seed = seed
        self._kept: dict[int, Sample] = {}
        # A heap of negated keys: the largest key kept is on top and leaves first.
        self._largest: list[int] = []

    def offer(self, sample: Sample) -> None:
        """Take a text in, or let it go."""
        self.seen += 1
        key = self._key(sample)
        if key in self._kept:
            self.duplicates += 1
        elif len(self._kept) < self.size:
            heapq.heappush(self._largest, -key)
            self._kept[key] = sample
        elif key < -self._largest[0]:
            del self._kept[-heapq.heapreplace(self._largest, -key)]
            self._kept[key] = sample

    def _key(self, sample: Sample) -> int:
        head = f"{self._seed}\0{sample.category}\0"
        return int.from_bytes(blake2b(head.encode() + sample.text.encode(), digest_size=16).digest(), "big")

    def __len__(self) -> int:
        return len(self._kept)

    def pop(self) -> Sample:
        """Give out the text with the smallest key."""
        if self._largest:
            self._order = sorted(self._kept, reverse=True)
            self._largest = []
        return self._kept.pop(self._order.pop())


class LengthRoom:
    """The length buckets of one category and how much room each has left.

    Attributes:
        tokens: tokens of each bucket, ascending.
        wanted: samples each bucket should get.
        got: samples each bucket got.
        full: of those, the samples at least three quarters as long as the bucket allows.
    """

    def __init__(self, buckets: Sequence[LengthBucket], quota: int, bytes_per_token: float) -> None:
        self.tokens = [bucket.tokens for bucket in buckets]
        self.wanted = largest_remainder([bucket.percent for bucket in buckets], quota)
        self.got = [0] * len(buckets)
        self.full = [0] * len(buckets)
        self._limits = [int(bucket.tokens * bytes_per_token) for bucket in buckets]

    def place(self, text_bytes: int) -> int:
        """Give the text its place and return the bytes it may have.

        The smallest bucket with room that holds the text whole; if none does, the largest with room, and it is cut.
        """
        free = [place for place, wanted in enumerate(self.wanted) if self.got[place] < wanted]
        whole = [place for place in free if self._limits[place] >= text_bytes]
        place = whole[0] if whole else free[-1]
        self.got[place] += 1
        self.full[place] += text_bytes * 4 >= self._limits[place] * 3
        return self._limits[place]
