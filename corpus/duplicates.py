"""Near-duplicate texts, found by MinHash and locality-sensitive hashing.

- `NearDuplicates`  remembers texts and tells whether a new one is nearly the same as one of them
"""

from __future__ import annotations

import re
from typing import Any

from corpus.samples import CorpusError

THRESHOLD = 0.8
_PERMUTATIONS = 128
_BANDS = (21, 6)
_SHINGLE_WORDS = 5
# The common case, for which the standard library is three times as fast.
_ASCII_WORDS = re.compile(r"\w+", re.ASCII)
# Scripts written without spaces: every character counts as a word, or a paragraph would be a single one.
_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}"


class NearDuplicates:
    """Texts whose sets of five-word shingles have an estimated Jaccard similarity of at least 0.8 are the same.

    MinHash with 128 permutations (Broder 1997; standard error 0.035 at 0.8) and 21 bands of 6 rows, by datasketch: a
    pair with similarity 0.8 is looked at with probability 1 - (1 - 0.8^6)^21 = 0.998, and then compared.
    """

    def __init__(self) -> None:
        try:
            import datasketch
            import regex
            import xxhash
        except ImportError as error:
            raise CorpusError(f"building a corpus needs {error.name}; run: pip install 'maxact-tui[corpus]'") from error
        self._hash = xxhash.xxh32_intdigest
        self._datasketch = datasketch
        self._words = regex.compile(rf"[{_UNSPACED}]|[\w--[{_UNSPACED}]]+", regex.V1)
        self._index = datasketch.MinHashLSH(params=_BANDS, num_perm=_PERMUTATIONS)
        self._signatures: dict[str, Any] = {}

    def add(self, text: str) -> bool:
        """Remember a text, unless it is nearly the same as one remembered before.

        Returns:
            Whether the text is new.
        """
        signature = self._datasketch.MinHash(num_perm=_PERMUTATIONS, seed=1, hashfunc=self._hash)
        signature.update_batch(self._shingles(text))
        for name in self._index.query(signature):
            if self._signatures[name].jaccard(signature) >= THRESHOLD:
                return False
        name = str(len(self._signatures))
        self._index.insert(name, signature)
        self._signatures[name] = signature
        return True

    def _shingles(self, text: str) -> list[bytes]:
        pattern = _ASCII_WORDS if text.isascii() else self._words
        words = pattern.findall(text.lower())
        if len(words) < _SHINGLE_WORDS:
            return [text.strip().lower().encode()]
        last = len(words) - _SHINGLE_WORDS + 1
        runs = zip(*(words[start : start + last] for start in range(_SHINGLE_WORDS)), strict=True)
        return [" ".join(run).encode() for run in set(runs)]
