"""What is in a corpus, for `corpus show`: counts, lengths, scripts and languages, per category and in all.

- `CategorySummary`, `CorpusSummary`  the figures
- `summarise`        a corpus, with or without its tokens, in; the figures out
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from corpus.language import script_of
from corpus.samples import Corpus, CorpusError, Sample
from corpus.tokenization import TokenizedCorpus

_UNKNOWN = "unknown"
# Four bins to each doubling of the length.
_BINS_PER_OCTAVE = 4


@dataclass(frozen=True, slots=True)
class CategorySummary:
    """One category, or the whole corpus under the name `all`.

    Attributes:
        category: its name.
        samples: how many.
        text_bytes: UTF-8 bytes of the texts.
        total: sum of the lengths, in the summary's unit.
        shortest: shortest sample.
        median: median length.
        mean: mean length.
        longest: longest sample.
        scripts: samples per script, commonest first.
        languages: samples per language, commonest first.
    """

    category: str
    samples: int
    text_bytes: int
    total: int
    shortest: int
    median: float
    mean: float
    longest: int
    scripts: dict[str, int]
    languages: dict[str, int]


@dataclass(frozen=True, slots=True)
class CorpusSummary:
    """What `corpus show` shows.

    Attributes:
        name: what the user asked for.
        content_hash: `Corpus.content_hash`.
        unit: what lengths are counted in.
        overall: the whole corpus.
        categories: by name.
        lengths: int64 [samples], in the corpus's order, for plots.
        histogram_edges: int64 [bins + 1], four bins to a doubling.
        histogram_counts: int64 [bins].
        cut: samples cut to the longest length allowed; 0 without tokens.
        dropped: samples without any token; 0 without tokens.
        problems: what was skipped while reading.
    """

    name: str
    content_hash: str
    unit: Literal["tokens", "characters"]
    overall: CategorySummary
    categories: tuple[CategorySummary, ...]
    lengths: NDArray[np.int64]
    histogram_edges: NDArray[np.int64]
    histogram_counts: NDArray[np.int64]
    cut: int
    dropped: int
    problems: tuple[str, ...]


def summarise(corpus: Corpus, tokenized: TokenizedCorpus | None = None) -> CorpusSummary:
    """Count a corpus; lengths are tokens where it is tokenised, else characters.

    Scripts the corpus does not name are found out; without the library for it they count as `unknown`.
    """
    if tokenized is None:
        lengths = np.array([len(sample.text) for sample in corpus.samples], dtype=np.int64)
    else:
        lengths = tokenized.lengths
    scripts = [_script(sample) for sample in corpus.samples]
    members: dict[str, list[int]] = {}
    for index, sample in enumerate(corpus.samples):
        members.setdefault(sample.category, []).append(index)
    edges, counts = _histogram(lengths)
    return CorpusSummary(
        name=corpus.name,
        content_hash=corpus.content_hash,
        unit="characters" if tokenized is None else "tokens",
        overall=_summary("all", range(len(corpus.samples)), corpus, lengths, scripts),
        categories=tuple(_summary(name, members[name], corpus, lengths, scripts) for name in sorted(members)),
        lengths=lengths,
        histogram_edges=edges,
        histogram_counts=counts,
        cut=0 if tokenized is None else len(tokenized.cut),
        dropped=0 if tokenized is None else len(tokenized.dropped),
        problems=corpus.problems,
    )


def _summary(
    name: str, members: Sequence[int], corpus: Corpus, lengths: NDArray[np.int64], scripts: list[str]
) -> CategorySummary:
    own = lengths[np.array(members)]
    samples = [corpus.samples[index] for index in members]
    return CategorySummary(
        category=name,
        samples=len(samples),
        text_bytes=sum(len(sample.text.encode()) for sample in samples),
        total=int(own.sum()),
        shortest=int(own.min()),
        median=float(np.median(own)),
        mean=float(own.mean()),
        longest=int(own.max()),
        scripts=_ranked(scripts[index] for index in members),
        languages=_ranked(sample.language or _UNKNOWN for sample in samples),
    )


def _ranked(names: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(names).items(), key=lambda entry: (-entry[1], entry[0])))


def _script(sample: Sample) -> str:
    if sample.script:
        return sample.script
    try:
        return script_of(sample.text) or _UNKNOWN
    except CorpusError:
        return _UNKNOWN


def _histogram(lengths: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Counts over edges that grow geometrically from the shortest to just above the longest length."""
    low, high = max(1, int(lengths.min())), int(lengths.max()) + 1
    steps = max(1, int(np.ceil(np.log2(high / low) * _BINS_PER_OCTAVE)))
    edges = np.unique(np.ceil(np.geomspace(low, high, steps + 1)).astype(np.int64))
    edges[0], edges[-1] = min(edges[0], int(lengths.min())), high
    if len(edges) == 1:
        edges = np.array([edges[0], edges[0] + 1])
    counts, _ = np.histogram(lengths, bins=edges)
    return edges, counts.astype(np.int64)
