"""Tokenised corpora kept on disk, so that the second run with the same model and corpus starts at once.

- `tokenize_cached`  `corpus.tokenization.tokenize`, or its result from an earlier run
- `cache_folder`     where they lie
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import BadZipFile

import numpy as np

from corpus.owned import open_part, owned_folder
from corpus.samples import Corpus, Progress
from corpus.tokenization import Policy, TokenizedCorpus, tokenize, tokenizer_hash

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Part of every key: raised when the file's layout or the meaning of a policy changes.
_LAYOUT = 1
# Some 50 corpora of 5,000 samples; the least recently used ones make room.
_KEEP_BYTES = 4 << 30


def cache_folder() -> Path:
    """`tokenized` below `$MAXACT_CACHE`, else below the user's cache folder; anything in it can be deleted."""
    override = os.environ.get("MAXACT_CACHE")
    if override:
        return Path(override).expanduser().absolute() / "tokenized"
    from platformdirs import user_cache_path

    return user_cache_path("maxact-tui", appauthor=False) / "tokenized"


def tokenize_cached(
    corpus: Corpus,
    tokenizer: PreTrainedTokenizerBase,
    *,
    policy: Policy,
    max_length: int,
    progress: Progress | None = None,
    folder: Path | None = None,
) -> TokenizedCorpus:
    """Tokenise a corpus, or take what an earlier run left for the same texts, tokenizer, policy and length.

    A cache that cannot be read or written is not an error: the corpus is then tokenised again.

    Args:
        corpus: the texts.
        tokenizer: the model's own.
        policy: see `corpus.tokenization.Policy`.
        max_length: tokens per sample at most.
        progress: called with (samples done, samples, label) while tokenising.
        folder: the cache; None for the user's.

    Raises:
        CorpusError: as `tokenize`.
    """
    names = tokenizer_hash(tokenizer)
    key = hashlib.sha256(f"{_LAYOUT}\0{corpus.content_hash}\0{names}\0{policy}\0{max_length}".encode()).hexdigest()
    path = (folder or cache_folder()) / f"{key}.npz"
    with suppress(OSError):
        _own(path.parent)
        kept = _load(path, corpus, names, policy, max_length)
        if kept is not None:
            return kept
    tokenized = tokenize(corpus, tokenizer, policy=policy, max_length=max_length, progress=progress)
    with suppress(OSError):
        _store(path, tokenized)
    return tokenized


def _own(folder: Path) -> None:
    """Refuse a folder that others can write into; close ours to others who could read it: it holds texts."""
    owned_folder(folder.parent, folder.name)


def _load(path: Path, corpus: Corpus, names: str, policy: Policy, max_length: int) -> TokenizedCorpus | None:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        tokenized = TokenizedCorpus(
            ids=arrays["ids"],
            offsets=arrays["offsets"],
            categories=tuple(sample.category for sample in corpus.samples),
            was_cut=arrays["was_cut"],
            dropped=tuple(arrays["dropped"].tolist()),
            policy=policy,
            max_length=max_length,
            corpus_hash=corpus.content_hash,
            tokenizer_hash=names,
            vocabulary=_pieces(arrays["vocabulary_ids"], arrays["vocabulary_ends"], arrays["vocabulary_bytes"]),
        )
        if len(tokenized.offsets) != len(corpus.samples) + 1 or tokenized.offsets[-1] != len(tokenized.ids):
            return None
        # The time of last use decides what makes room.
        path.touch()
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return None
    return tokenized


def _pieces(ids: np.ndarray, ends: np.ndarray, joined: np.ndarray) -> Mapping[int, bytes]:
    raw = joined.tobytes()
    starts = [0, *ends.tolist()[:-1]]
    return {token: raw[a:b] for token, a, b in zip(ids.tolist(), starts, ends.tolist(), strict=True)}


def _store(path: Path, tokenized: TokenizedCorpus) -> None:
    _own(path.parent)
    pieces = list(tokenized.vocabulary.values())
    with open_part(path) as (part, file):
        np.savez(
            file,
            ids=tokenized.ids,
            offsets=tokenized.offsets,
            was_cut=tokenized.was_cut,
            dropped=np.array(tokenized.dropped, dtype=np.int64),
            vocabulary_ids=np.array(list(tokenized.vocabulary), dtype=np.int64),
            vocabulary_ends=np.cumsum([len(piece) for piece in pieces], dtype=np.int64),
            vocabulary_bytes=np.frombuffer(b"".join(pieces), dtype=np.uint8),
        )
    part.replace(path)
    _make_room(path)


def _make_room(newest: Path) -> None:
    files = [(file.stat(), file) for file in newest.parent.glob("*.npz")]
    used = 0
    for status, file in sorted(files, key=lambda entry: entry[0].st_mtime, reverse=True):
        used += status.st_size
        if used > _KEEP_BYTES and file != newest:
            file.unlink(missing_ok=True)
