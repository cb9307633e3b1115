"""Batches by token budget: which samples run together and in which order, and the padded arrays themselves.

- `BatchPlan`, `plan_batches`  every sample once, little padding, the dearest batches first, the rest shuffled
- `Batch`, `collate`           token ids of one batch, right-padded
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from corpus.sampling import seeded_order, stratified_order
from corpus.tokenization import TokenizedCorpus


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """The batches of a run, in the order in which they run.

    Attributes:
        batches: sample numbers of each batch, ascending within a batch.
        tokens: real tokens of all batches.
        padded_tokens: rows times row length, summed over the batches; at least `tokens`.
        token_budget: padded tokens a batch may have.
        seed: the seed of the order.
    """

    batches: tuple[tuple[int, ...], ...]
    tokens: int
    padded_tokens: int
    token_budget: int
    seed: int

    @property
    def padding_share(self) -> float:
        """The share of the padded tokens that is padding, 0 to 1."""
        return 1.0 - self.tokens / self.padded_tokens if self.padded_tokens else 0.0

    @property
    def digest(self) -> str:
        """Sha256 hex digest of the batches in order: a resumed run checks that it has the same plan."""
        text = ";".join(",".join(map(str, batch)) for batch in self.batches)
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch, ready for a model.

    Attributes:
        input_ids: int64 [B, T], right-padded; T is the longest sample of the batch.
        lengths: int64 [B], real tokens per row.
        samples: int32 [B], sample numbers, ascending.
        padded: whether any row is shorter than T; without padding no mask is needed.
    """

    input_ids: NDArray[np.int64]
    lengths: NDArray[np.int64]
    samples: NDArray[np.int32]
    padded: bool


def plan_batches(
    lengths: Sequence[int] | NDArray[np.int64], categories: Sequence[str], *, token_budget: int, seed: int
) -> BatchPlan:
    """Put every sample with at least one token into exactly one batch.

    Samples are sorted by length, those of equal length in an order that mixes the categories, and cut into batches
    greedily from the longest down. The batch with the longest sample runs first and the one with the most padded
    tokens right after it, so that the memory a run needs is known at once; then come the few that bring in the
    categories still missing, then all others shuffled by the seed: every stretch of the run sees all lengths and
    categories, and running maxima converge early.

    Args:
        lengths: tokens of each sample; samples without tokens are left out.
        categories: category of each sample.
        token_budget: rows times row length of a batch stay within it, unless a single sample is longer.
        seed: chooses the order.

    Raises:
        ValueError: a budget below one, or as many categories as lengths are not given.
    """
    if token_budget < 1:
        raise ValueError(f"the token budget must be at least 1, not {token_budget}")
    if len(lengths) != len(categories):
        raise ValueError(f"{len(lengths)} lengths but {len(categories)} categories")
    tokens_of = [int(length) for length in lengths]
    mixed = [sample for sample in stratified_order(categories, seed) if tokens_of[sample] > 0]
    longest_first = sorted(mixed, key=lambda sample: -tokens_of[sample])
    groups: list[tuple[int, ...]] = []
    start = 0
    while start < len(longest_first):
        rows = max(1, token_budget // tokens_of[longest_first[start]])
        groups.append(tuple(sorted(longest_first[start : start + rows])))
        start += rows
    padded = [len(group) * max(tokens_of[sample] for sample in group) for group in groups]
    kinds = [frozenset(categories[sample] for sample in group) for group in groups]
    return BatchPlan(
        batches=tuple(groups[index] for index in _running_order(padded, kinds, seed)),
        tokens=sum(tokens_of[sample] for sample in longest_first),
        padded_tokens=sum(padded),
        token_budget=token_budget,
        seed=seed,
    )


def _running_order(padded: list[int], kinds: list[frozenset[str]], seed: int) -> list[int]:
    """Batch 0 (the longest rows), the fullest, those that bring categories not yet seen, then the others shuffled."""
    if not padded:
        return []
    order = [0]
    fullest = max(range(len(padded)), key=lambda index: (padded[index], -index))
    if padded[fullest] > padded[0]:
        order.append(fullest)
    rest = [index for index in seeded_order(len(padded), seed, "batches") if index not in order]
    unseen = frozenset().union(*kinds).difference(*(kinds[index] for index in order))
    while unseen:
        richest = max(rest, key=lambda index: len(kinds[index] & unseen))
        rest.remove(richest)
        order.append(richest)
        unseen -= kinds[richest]
    return order + rest


def collate(tokenized: TokenizedCorpus, batch: Sequence[int], *, pad_id: int = 0) -> Batch:
    """Build the padded arrays of one batch.

    Args:
        tokenized: the corpus as token ids.
        batch: sample numbers, as `plan_batches` gives them.
        pad_id: any valid token id; what stands in the padding is masked out and never measured.
    """
    rows = [tokenized.tokens(sample) for sample in batch]
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    input_ids = np.full((len(rows), int(lengths.max())), pad_id, dtype=np.int64)
    for line, row in zip(input_ids, rows, strict=True):
        line[: len(row)] = row
    padded = bool((lengths < input_ids.shape[1]).any())
    return Batch(input_ids, lengths, np.array(batch, dtype=np.int32), padded)
